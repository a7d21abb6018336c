"""Loads the user's code from a snapshot: as a run or sweep began with it, whatever its files say now."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.definition import Definition
from flowlearner.errors import ArtifactError, NotFoundError, UsageError
from flowlearner.loading import claim_folders, iter_user_lines, list_workflows
from flowlearner.records import Artifact

# What was the script or the notebook itself is imported under this name, so that its main block does not run.
MAIN = "flowlearner_restored_main"

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
        path.write_text(module["source"], encoding="utf-8")
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
        UsageError: the code does not import any more.
        NotFoundError: the snapshot has no such workflow.
    """
    folder = unpack(snapshot_id, modules, base)
    names = {MAIN if name == "__main__" else name for name in modules}
    path, todays = list(sys.path), {n: sys.modules.pop(n) for n in names if n in sys.modules}
    try:
        put_on_path(folder)
        yield _find_definition(snapshot_id, MAIN if module == "__main__" else module, workflow)
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(todays)
        sys.path[:] = path
        importlib.invalidate_caches()


def _find_definition(snapshot_id: str, module: str, workflow: str) -> Definition:
    try:
        found = importlib.import_module(module)
    except Exception as error:
        frames = "".join(f"\n  {line}" for line in iter_user_lines(error))
        raise UsageError(
            f"the code of snapshot {snapshot_id[:8]} does not import: {type(error).__name__}: {error}{frames}"
        ) from error
    for definition in list_workflows(found).values():
        if definition.name == workflow:
            return definition
    raise NotFoundError(f"module '{module}' of snapshot {snapshot_id[:8]} has no workflow '{workflow}'")
