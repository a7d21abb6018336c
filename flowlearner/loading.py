"""Finding and importing the user's workflow: from "FILE:WORKFLOW" to the object that `@workflow` made."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from flowlearner.definition import Definition
from flowlearner.errors import FlowLearnerError, NotFoundError, UsageError, shorten, suggest

PACKAGE = Path(__file__).resolve().parent
# Where `operators`, `examples` and `ui` of this distribution lie, beside `flowlearner` itself.
STOCK_ROOT = PACKAGE.parent
STOCK = ("operators", "examples", "ui")
FRAMES_SHOWN = 10
EXPECTED = "expected FILE.py:WORKFLOW or package.module:WORKFLOW"


@dataclass(frozen=True)
class Target:
    """What "FILE:WORKFLOW" names.

    Attributes:
        path: the Python file, or None where a module is named.
        module: dotted name to import.
        root: folder that comes first on `sys.path`.
        workflow: name of the workflow; None for the only one.
    """

    path: Path | None
    module: str
    root: Path
    workflow: str | None


_loaded: dict[str, tuple[int, ...]] = {}
_roots: list[str] = []


def load_workflow(target: str) -> Definition:
    """Import the file or module of a workflow and return the workflow.

    The file's folder comes first on `sys.path`, then the current one, so that the user's own folders win over
    those of this distribution. A file that is unchanged since it was loaded is not imported again.

    Args:
        target: "FILE.py:WORKFLOW" or "package.module:WORKFLOW"; with one workflow in it ":WORKFLOW" may be
            left out.

    Raises:
        NotFoundError: there is no such file, module or workflow.
        UsageError: the file does not import; the message shows the user's own frames.

    Example:
        delays = load_workflow("flights.py:delays")
    """
    found = parse_target(target)
    module = _import_file(found, found.path) if found.path else _import_module(found)
    place = _show_path(found.path) if found.path else found.module
    return _find_workflow(module, found.workflow, place)


def parse_target(target: str) -> Target:
    """Read "FILE:WORKFLOW" or "package.module:WORKFLOW"; the file must exist.

    Raises:
        NotFoundError: there is no such file.
        UsageError: the text names neither a file nor a module.
    """
    head, colon, name = target.rpartition(":")
    if not colon or os.sep in name or name.endswith(".py"):
        head, name = target, ""
    if not head or (name and not name.isidentifier()):
        raise UsageError(f"'{target}': {EXPECTED}, for example flights.py:delays")
    workflow = name or None
    path = Path(head).expanduser()
    if head.endswith(".py") or os.sep in head or path.is_file():
        return _make_file_target(path, head, workflow)
    if not all(part.isidentifier() for part in head.split(".")):
        raise UsageError(f"'{target}': {EXPECTED}, for example flights.py:delays")
    return Target(None, head, Path.cwd(), workflow)


def _make_file_target(path: Path, shown: str, workflow: str | None) -> Target:
    if path.is_dir():
        files = shorten(sorted(p.name for p in path.glob("*.py")))
        raise NotFoundError(f"'{shown}' is a folder; {EXPECTED}. Python files in it: {files}")
    if not path.exists():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise NotFoundError(f"no file '{shown}' (looked in {Path.cwd()}).{suggest(path.name, beside)}")
    if path.suffix == ".ipynb":
        raise UsageError(
            f"'{shown}' is a notebook: run the workflow in it with .run(...), or move it to a .py file"
        )
    if path.suffix != ".py":
        raise UsageError(f"'{shown}' is not a Python file; {EXPECTED}")
    path = path.resolve()
    if (path.parent / "__init__.py").exists() and _has_relative_import(path):
        root = path.parent
        names = [path.stem]
        while (root / "__init__.py").exists():
            names.insert(0, root.name)
            root = root.parent
        return Target(path, ".".join(names), root, workflow)
    return Target(path, path.stem, path.parent, workflow)


def _has_relative_import(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.lstrip().startswith("from .") for line in lines)


def _import_file(target: Target, path: Path) -> ModuleType:
    stat = path.stat()
    # A forged mtime, or one of a coarse clock, still changes the ctime.
    state = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
    known = sys.modules.get(target.module)
    if known is not None and _file_of(known) == str(path) and _loaded.get(str(path), state) == state:
        _put_first(target.root)
        _loaded[str(path)] = state
        return known
    _put_first(target.root)
    known = sys.modules.get(target.module)
    if known is not None and _file_of(known) != str(path):
        raise UsageError(
            f"{_show_path(path)}: the name '{target.module}' belongs to a module that is already in use "
            f"({_file_of(known) or 'built into Python'}). Rename the file."
        )
    if "." in target.module:
        sys.modules.pop(target.module, None)
        with _explained(_show_path(path), target.module):
            module = importlib.import_module(target.module)
    else:
        module = _execute(path, target.module)
    _loaded[str(path)] = state
    return module


def _execute(path: Path, name: str) -> ModuleType:
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _explained(_show_path(path), name):
        spec.loader.exec_module(module)
    return module


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file itself: Python tells its compiled copy by size and second, which an edit may keep."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _import_module(target: Target) -> ModuleType:
    _put_first(target.root)
    with _explained(target.module, target.module):
        try:
            return importlib.import_module(target.module)
        except ModuleNotFoundError as error:
            if error.name and (target.module == error.name or target.module.startswith(f"{error.name}.")):
                raise NotFoundError(
                    f"no module '{target.module}' in {Path.cwd()} or in this environment; {EXPECTED}"
                ) from None
            raise


# The import path


def _put_first(root: Path) -> None:
    """Let modules of `root`, then of the current folder, win over all others."""
    importlib.invalidate_caches()
    first = str(root)
    _forget_shadowed(first)
    for previous in _roots:
        if previous in sys.path:
            sys.path.remove(previous)
    _roots[:] = [first]
    here = str(Path.cwd())
    if here != first and here not in sys.path and "" not in sys.path:
        _roots.append(here)
    sys.path[:0] = _roots
    claim_folders(_roots)


def _forget_shadowed(first: str) -> None:
    """Drop modules that would hide those of `first`, or our stock from it."""
    stale = {top for top in {name.partition(".")[0] for name in sys.modules} if _is_stale(top, first)}
    for name in [n for n in sys.modules if n.partition(".")[0] in stale]:
        del sys.modules[name]


def _is_stale(top: str, first: str) -> bool:
    """Tell whether a loaded module, stock or of another folder of the user's, is not what `first` means."""
    module = sys.modules.get(top)
    if module is None:
        return False
    file = _file_of(module) or next(iter(getattr(module, "__path__", ())), "")
    if not file or Path(file).is_relative_to(first):
        return False
    if top in STOCK and Path(file).is_relative_to(STOCK_ROOT):
        return _provides(first, top)
    is_users = any(Path(file).is_relative_to(root) for root in _roots if root != first)
    return is_users and (top in STOCK or _provides(first, top))


def get_roots() -> tuple[str, ...]:
    """Return the folders that `load_workflow` has put first, for another process to do the same."""
    return tuple(_roots)


def claim_folders(roots: Iterable[str]) -> None:
    """Let folders named as our stock (`operators`, `ui`, ...) win although they have no `__init__.py`.

    Python prefers a package with that file anywhere on the path to a folder without it.

    Args:
        roots: folders at the beginning of `sys.path`, the first winning.
    """
    for root in roots:
        if Path(root) == STOCK_ROOT:
            return
        for name in STOCK:
            folder = Path(root, name)
            known = sys.modules.get(name)
            if known is not None and not (_file_of(known) or "").startswith(str(STOCK_ROOT) + os.sep):
                continue
            if folder.is_dir() and not (folder / "__init__.py").exists() and any(folder.glob("*.py")):
                spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
                spec.submodule_search_locations = [str(folder)]
                for stale in [m for m in sys.modules if m.partition(".")[0] == name]:
                    del sys.modules[stale]
                sys.modules[name] = importlib.util.module_from_spec(spec)


def _provides(root: str, name: str) -> bool:
    folder = Path(root, name)
    return Path(root, f"{name}.py").is_file() or (folder.is_dir() and any(folder.glob("*.py")))


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return str(Path(file).resolve()) if file else None


# What the user sees of an import that fails


class _explained:  # noqa: N801 - a context manager, read as a verb
    """Turns whatever an import raises into a UsageError, and leaves no half-made module behind."""

    def __init__(self, place: str, module: str) -> None:
        self._place = place
        self._module = module

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        sys.modules.pop(self._module, None)
        if isinstance(error, (FlowLearnerError, KeyboardInterrupt)):
            return
        if isinstance(error, SystemExit):
            reason = f"it ends Python while it is imported (exit status {error.code})"
            cure = "\nPut what is a script under `if __name__ == '__main__':`."
        else:
            reason = f"{type(error).__name__}: {_describe(error)}"
            cure = _find_cure(error)
        frames = "".join(f"\n  {line}" for line in iter_user_lines(error))
        raise UsageError(f"{self._place} does not import: {reason}{frames}{cure}") from error


def _find_cure(error: BaseException) -> str:
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name = error.obj.__name__
    else:
        name = (error.name if isinstance(error, ImportError) else None) or ""
    package = name.partition(".")[0]
    if package and (file := _find_hiding_file(package)):
        place = _show_path(file)
        return f"\nThe file {place} is named like the package '{package}' and hides it. Rename the file."
    if not isinstance(error, ModuleNotFoundError) or not package:
        return ""
    if name != package and importlib.machinery.PathFinder.find_spec(package) is not None:
        return f"\nThe package '{package}' has no such module; correct the name."
    return f"\nInstall '{package}' in this environment, or correct the name."


def _find_hiding_file(name: str) -> Path | None:
    """Return the user's file that is imported in place of another module of its name."""
    found = importlib.machinery.PathFinder.find_spec(name)
    if found is None or found.origin is None or not _is_users(found.origin):
        return None
    file = Path(found.origin)
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    others = [p for p in sys.path if Path(p).resolve() != folder.resolve()]
    is_other = (
        name in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(name, others) is not None
    )
    return file if is_other else None


def _describe(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - whatever a user's own __str__ raises
        return f"its message cannot be shown ({type(broken).__name__})"


def iter_user_lines(error: BaseException) -> Iterator[str]:
    """Yield where an error passed through the user's own code, in the order of the calls."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    for position, frame in enumerate(frames):
        # A recursion without end has a thousand.
        if FRAMES_SHOWN <= position < len(frames) - FRAMES_SHOWN:
            if position == FRAMES_SHOWN:
                yield f"… {len(frames) - 2 * FRAMES_SHOWN} more calls"
            continue
        yield f"{_show_path(Path(frame.filename))}, line {frame.lineno}, in {frame.name}"
        if frame.line:
            yield f"  {frame.line}"
    if isinstance(error, SyntaxError) and error.filename:
        yield f"{_show_path(Path(error.filename))}, line {error.lineno}"
        if error.text:
            text = error.text.rstrip("\n")
            yield f"  {text.lstrip()}"
            column = (error.offset or 1) - 1 - (len(text) - len(text.lstrip()))
            yield "  " + " " * max(column, 0) + "^"


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename)
    return not any(path.is_relative_to(folder) for folder in _FOREIGN)


_FOREIGN = tuple(
    {
        str(PACKAGE),
        *(p for n, p in sysconfig.get_paths().items() if n in ("stdlib", "platstdlib", "purelib", "platlib")),
    }
)


def _show_path(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# Choosing the workflow


def list_workflows(module: ModuleType) -> Mapping[str, Definition]:
    """Return the workflows that a module defines, by name; where it defines none, those that it imports."""
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Definition) and not name.startswith("__")
    }
    own = {name: value for name, value in found.items() if value.fn.__module__ == module.__name__}
    return own or found


def _find_workflow(module: ModuleType, name: str | None, place: str) -> Definition:
    workflows = list_workflows(module)
    if name is None:
        distinct = {id(w): n for n, w in workflows.items()}
        if len(distinct) == 1:
            return next(iter(workflows.values()))
        if not workflows:
            raise NotFoundError(f"{place} has no workflow; decorate a function with @workflow")
        raise NotFoundError(
            f"{place} has {len(distinct)} workflows: {shorten(workflows)}. "
            f"Choose one, for example {place}:{next(iter(workflows))}"
        )
    value = vars(module).get(name)
    if isinstance(value, Definition):
        return value
    by_own_name = next((w for w in workflows.values() if w.name == name), None)
    if by_own_name is not None:
        return by_own_name
    listed = f" It has {shorten(workflows)}." if workflows else " It has none."
    if value is None:
        raise NotFoundError(f"{place} has no workflow '{name}'.{listed}{suggest(name, workflows)}")
    kind = (
        "an operator"
        if getattr(value, "__flowlearner_operator__", False)
        else f"of type {type(value).__name__}"
    )
    cure = " Call it in a function decorated with @workflow." if kind == "an operator" else ""
    if callable(value) and not cure:
        cure = " Decorate it with @workflow."
    raise NotFoundError(f"{place}: '{name}' is {kind}, not a workflow.{cure}{listed}")
