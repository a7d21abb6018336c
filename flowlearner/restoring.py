"""Loads the user's code from a snapshot: as a run or sweep began with it, whatever its files say now."""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import cloudpickle

from flowlearner.artifacts import ArtifactStore, Encoded
from flowlearner.definition import Definition
from flowlearner.errors import ArtifactError, CodeError, NotFoundError, UsageError
from flowlearner.loading import claim_folders, iter_user_lines, list_workflows
from flowlearner.operation import RESTORED_MAIN, is_restoring
from flowlearner.records import Artifact

# Under this name its main block does not run.
MAIN = RESTORED_MAIN

Modules = Mapping[str, Mapping[str, Any]]


def read_modules(artifact: Artifact, store: ArtifactStore) -> Modules:
    """Return the modules of a stored snapshot: the source of each, and whether it is a package.

    Raises:
        ArtifactError: the snapshot is gone or damaged.
    """
    body = json.loads(store.open(artifact).read())
    if body.get("format") != 1:
        raise ArtifactError(f"snapshot {artifact.hash[:8]}: made by a newer flowlearner")
    modules: Modules = body["modules"]
    return modules


def encode_again(artifact: Artifact, store: ArtifactStore) -> Encoded:
    """Return a stored value so that it can be stored once more, wherever its bytes may be by then."""
    data = store.open(artifact).read()

    def write(sink: BinaryIO) -> None:
        sink.write(data)

    return Encoded(artifact.hash, artifact.codec, artifact.type, write, len(data), artifact.preview)


def get_first_name(module: str) -> str:
    """Return the name that a module had when its code was captured."""
    return "__main__" if module == MAIN else module


def unpack(snapshot_id: str, modules: Modules, base: Path) -> Path:
    """Write modules into a folder below `base` that is named by the snapshot; what is there already stays.

    Returns:
        the folder, from which they can be imported.
    """
    folder = base / snapshot_id
    if folder.exists():
        return folder
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base.stat().st_uid != os.getuid():
        raise UsageError(f"{base} belongs to another user, so code is not loaded from there. Remove it")
    made = Path(tempfile.mkdtemp(dir=base))
    for name, module in modules.items():
        parts = (MAIN if name == "__main__" else name).split(".")
        path = (
            made.joinpath(*parts, "__init__.py")
            if module["package"]
            else made.joinpath(*parts[:-1], f"{parts[-1]}.py")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        source = keep_readable(module["source"]) if name == "__main__" else module["source"]
        path.write_text(source, encoding="utf-8")
    try:
        made.rename(folder)
    except OSError:
        # Another process was first.
        shutil.rmtree(made, ignore_errors=True)
    return folder


def put_on_path(folder: Path, further: tuple[str, ...] = ()) -> None:
    """Let imports find what was unpacked before all else; modules of other snapshots are forgotten.

    Args:
        further: folders that are searched last, where they exist: for what a snapshot lacks.
    """
    base = str(folder.parent) + os.sep
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(base) and not Path(file).is_relative_to(folder):
            del sys.modules[name]
    sys.path[:] = [str(folder), *(p for p in sys.path if not f"{p}{os.sep}".startswith(base))]
    sys.path += [p for p in further if p and p not in sys.path and Path(p).exists()]
    importlib.invalidate_caches()
    claim_folders((str(folder),))


@contextlib.contextmanager
def loaded_definition(
    snapshot_id: str, modules: Modules, base: Path, module: str, workflow: str
) -> Iterator[Definition]:
    """Import a workflow from a snapshot: within the block imports find the modules of then.

    Args:
        base: folder for unpacked snapshots.
        module, workflow: where the workflow is, by name.

    Raises:
        CodeError: the code does not import any more.
        UsageError: this process is loading, or has loaded, code of another run at the moment.
        NotFoundError: the snapshot has no such workflow.
    """
    if not _restored.acquire(blocking=False):
        raise UsageError(
            "the code of an earlier run is in use in this process, which holds one at a time; use another one"
        )
    try:
        with _put_in_place(snapshot_id, modules, base):
            yield _find_definition(snapshot_id, MAIN if module == "__main__" else module, workflow)
    finally:
        _restored.release()


# Modules have one name each in a process.
_restored = threading.Lock()


@contextlib.contextmanager
def _put_in_place(snapshot_id: str, modules: Modules, base: Path) -> Iterator[None]:
    """Let imports find the modules of a snapshot within the block, and those of today after it."""
    folder = unpack(snapshot_id, modules, base)
    names = {MAIN if name == "__main__" else name for name in modules}
    path, todays = list(sys.path), {n: sys.modules.pop(n) for n in names if n in sys.modules}
    try:
        put_on_path(folder, (os.getcwd(),))
        yield
    finally:
        if MAIN in sys.modules and MAIN in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.unregister_pickle_by_value(sys.modules[MAIN])
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(todays)
        sys.path[:] = path
        importlib.invalidate_caches()


def _find_definition(snapshot_id: str, module: str, workflow: str) -> Definition:
    failed: Exception | None = None
    token = is_restoring.set(True)
    try:
        if module == MAIN:
            found, failed = _load_main()
        else:
            found = importlib.import_module(module)
    except Exception as error:
        raise _explain_import(snapshot_id, error) from error
    finally:
        is_restoring.reset(token)
    for definition in list_workflows(found).values():
        if definition.name == workflow:
            return definition
    if failed is not None:
        raise _explain_import(snapshot_id, failed) from failed
    raise NotFoundError(f"module '{module}' of snapshot {snapshot_id[:8]} has no workflow '{workflow}'")


def _explain_import(snapshot_id: str, error: Exception) -> CodeError:
    frames = "".join(f"\n  {line}" for line in iter_user_lines(error))
    return CodeError(
        f"the code of snapshot {snapshot_id[:8]} does not import: {type(error).__name__}: {error}{frames}"
    )


def _load_main() -> tuple[ModuleType, Exception | None]:
    """Load what was the script or the notebook itself, statement by statement.

    What fails is left out, with what needs it: the statement that started the run, which must not start it
    again, and cells that failed then as they do now.

    Returns:
        the module, and the first failure.
    """
    spec = importlib.util.find_spec(MAIN)
    if spec is None or spec.origin is None:
        raise UsageError("it holds no script or notebook")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN] = module
    # To a child process goes what the names stand for here: to import it there would run it.
    cloudpickle.register_pickle_by_value(module)
    failed: Exception | None = None
    flags = 0
    statements = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    # Python compiles `name.call()` otherwise where the same text imports `name`: each statement is compiled
    # with all imports, which do not run there, so that functions have the very code that they had.
    imports = ast.If(ast.Constant(False), _list_imports(statements) or [ast.Pass()], [])
    ast.fix_missing_locations(imports)
    for statement in statements:
        try:
            whole = ast.Module([imports, statement], [])
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                flags |= sum(getattr(__future__, a.name).compiler_flag for a in statement.names)
                whole = ast.Module([statement], [])
            code = compile(whole, spec.origin, "exec", flags, dont_inherit=True)
            exec(code, vars(module))
        except Exception as error:  # noqa: BLE001 - whatever a script or a cell raises
            failed = failed or error
    return module, failed


def _list_imports(nodes: Iterable[ast.AST]) -> list[ast.stmt]:
    """Return the imports of a module, those inside functions and classes left out."""
    found: list[ast.stmt] = []
    for node in nodes:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            found.append(node)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
            found += _list_imports(ast.iter_child_nodes(node))
    return found


def keep_readable(source: str) -> str:
    """Return the text of cells that are joined, those that are no Python left blank; lines stay in place."""
    lines = source.splitlines(keepends=True)
    kept: list[str] = []
    while len(kept) < len(lines):
        start = len(kept)
        if not lines[start].strip():
            kept.append(lines[start])
            continue
        # A cell may hold blank lines: what parses is as long as it can be.
        ends = [i for i in range(start + 1, len(lines) + 1) if i == len(lines) or not lines[i].strip()]
        end = next((e for e in reversed(ends) if _parses("".join(lines[start:e]))), None)
        kept += lines[start:end] if end is not None else ["\n"] * (ends[0] - start)
    return "".join(kept)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
