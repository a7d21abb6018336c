"""Finds the code of an earlier run: in its snapshot, or as the user's files are today."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore, Encoded
from flowlearner.capture import Snapshot, take_snapshot
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.errors import NotFoundError, UsageError
from flowlearner.loading import list_workflows, load_workflow
from flowlearner.operation import RESTORED_MAIN, Operator
from flowlearner.records import CodeInfo, RunRecord
from flowlearner.restoring import Modules, encode_again, get_first_name, loaded_definition, read_modules

SNAPSHOTS = "code"
"""Folder below the home in which snapshots are unpacked."""


@dataclass(frozen=True)
class Code:
    """The workflow of an earlier run.

    Attributes:
        info: commit and branch that it was captured with.
        snapshot: where it was loaded from; None for today's code.
        modules: what the snapshot holds.
    """

    definition: Definition
    info: CodeInfo = field(default_factory=CodeInfo)
    snapshot: Encoded | None = None
    modules: Modules = field(default_factory=dict)


@contextlib.contextmanager
def opened_code(
    run: RunRecord, catalog: Catalog, store: ArtifactStore, settings: Settings, *, current: bool
) -> Iterator[Code]:
    """Give the workflow of a run; within the block imports find the modules that belong to it.

    Args:
        current: the code of today instead of that of the snapshot.

    Raises:
        UsageError: the code does not import any more, or the run has no snapshot.
        NotFoundError: the workflow, or its file, is not there.
        ArtifactError: the snapshot is lost.
    """
    module = find_module(run, catalog)
    if current:
        yield Code(_find_current(run, module))
        return
    if run.code.snapshot is None:
        raise UsageError(
            f"run {run.id} has no snapshot of its code, since it ended before its code was stored. "
            "--current runs today's code"
        )
    try:
        artifact = catalog.get_artifact(run.code.snapshot)
    except NotFoundError:
        raise UsageError(
            f"run {run.id}: the snapshot of its code is not in the catalog. --current runs today's code"
        ) from None
    modules = read_modules(artifact, store)
    base = settings.home_path / SNAPSHOTS
    with loaded_definition(artifact.hash, modules, base, module, run.workflow) as definition:
        yield Code(definition, run.code, encode_again(artifact, store), modules)


def include_operators(code: Code, operators: Iterable[Operator[Any, Any]], limit_bytes: int) -> Code:
    """Return code whose snapshot has the modules of these operators too, with what they import.

    Args:
        limit_bytes: bound on the source that is added.
    """
    names = {get_first_name(o.fn.__module__) for o in operators}
    if code.snapshot is None or names <= code.modules.keys():
        return code
    taken = take_snapshot(min(names - code.modules.keys()), limit_bytes)
    own = {"__main__", RESTORED_MAIN}
    added = {n: m for n, m in taken.modules.items() if n not in code.modules and n not in own}
    modules = {n: dict(m) for n, m in (*code.modules.items(), *added.items())}
    return replace(code, snapshot=Snapshot(modules, taken.left_out).encode(), modules=modules)


def find_module(run: RunRecord, catalog: Catalog) -> str:
    """Return the module of a run's workflow as it was named then."""
    versions = catalog.get_workflow(run.workflow).versions
    return next((v.module for v in versions if v.fingerprint == run.workflow_fingerprint), versions[0].module)


def _find_current(run: RunRecord, module: str) -> Definition:
    """Return the workflow as it is today: in this process's own script or notebook, or where it was."""
    if module == "__main__":
        for definition in list_workflows(sys.modules["__main__"]).values():
            if definition.name == run.workflow:
                return definition
    tried = []
    for place in _list_places(run, module):
        try:
            return load_workflow(f"{place}:{run.workflow}")
        except NotFoundError as error:
            tried.append(str(error))
    where = f"module '{module}'" if module != "__main__" else "the script or notebook"
    found = f": {'; '.join(tried)}" if tried else ""
    raise NotFoundError(
        f"run {run.id}: {where} of workflow '{run.workflow}' is not found from {Path.cwd()}{found}. Change "
        "to the folder that it was run in, or leave --current out: its code is kept with the run"
    )


def _list_places(run: RunRecord, module: str) -> list[str]:
    """Return where a workflow may be today: the Python files of the run's command line, then its module."""
    words: list[str] = []
    with contextlib.suppress(ValueError):
        words = [w.partition(".py:")[0] + ".py" if ".py:" in w else w for w in shlex.split(run.command)]
    # A file that is named is loaded anew where it was edited; a module stays as this process has it.
    files = [w for w in (*words, f"{module}.py") if w.endswith(".py") and Path(w).expanduser().is_file()]
    return [*dict.fromkeys(files), *([module] if module != "__main__" else [])]
