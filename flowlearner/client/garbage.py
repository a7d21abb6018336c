"""Garbage: finding and removing what no kept run needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.errors import UsageError, shorten
from flowlearner.records import Artifact

# Bytes are stored before their row is written; what is younger may belong to a run that is just going on.
SETTLED_S = 3600.0
# Nobody asks any more whether a process lives that was last heard of so long ago.
LEASES_KEPT_S = 24 * 3600.0
# How many files are deleted while no run can begin. In an object store each takes its time, and other writers
# wait meanwhile: PostgreSQL must not take this process for stuck.
FILES_AT_ONCE = 100


@dataclass(frozen=True)
class GarbageReport:
    """What no kept run needs.

    Attributes:
        runs: runs that were deleted, which end with it.
        artifacts: stored values of deleted runs or of none.
        files: files of the store that the catalog does not know.
        size_bytes: of the artifacts and files together; a value that is kept by reference counts nothing.
        removed: whether all this is gone now, or would go.
    """

    runs: int
    artifacts: int
    files: int
    size_bytes: int
    removed: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "artifacts": self.artifacts,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "removed": self.removed,
        }


def collect_garbage(
    catalog: Catalog, store: ArtifactStore, list_running: Callable[[], Sequence[str]], *, dry_run: bool
) -> GarbageReport:
    """Find, and unless it is a dry run remove, what no kept run needs.

    Args:
        list_running: gives the ids of the runs that are going on.

    Raises:
        UsageError: a run is going on; it may be about to use what would go.
    """
    if dry_run:
        return _find(catalog, store)[0]
    # While this process writes no run can begin, so none can come to need what goes.
    with catalog.batch():
        running = list_running()
        if running:
            raise UsageError(
                f"runs are going on: {shorten(running)}. Collect garbage when they have ended, "
                f"or cancel them: flowlearner runs cancel {running[0]}"
            )
        report, artifacts, files = _find(catalog, store)
        # Before the runs: a sweep whose trials are gone looks like one that has begun none yet.
        catalog.remove_artifacts([a.hash for a in artifacts])
        catalog.purge_runs()
    # Rows first: a file without a row is found the next time, a row without its file would be a lie.
    paths = [a.path for a in artifacts if a.path is not None] + files
    for start in range(0, len(paths), FILES_AT_ONCE):
        with catalog.batch():
            if list_running():
                # It may store an equal value and find the file there. What is left goes the next time.
                break
            known = catalog.list_artifact_paths()
            for path in paths[start : start + FILES_AT_ONCE]:
                if path not in known:
                    store.delete(Artifact("", "", "", 0, "", path=path))
    store.sweep_temporary(SETTLED_S)
    catalog.purge_leases(LEASES_KEPT_S)
    catalog.compact()
    return replace(report, removed=True)


def _find(catalog: Catalog, store: ArtifactStore) -> tuple[GarbageReport, list[Artifact], list[str]]:
    deleted = catalog.count_runs(deleted_only=True, include_trials=True)
    artifacts = catalog.list_unneeded_artifacts()
    known = catalog.list_artifact_paths()
    settled = time.time() - SETTLED_S
    files = {p: size for p, size, mtime in store.list_paths() if p not in known and mtime < settled}
    ours = [a for a in artifacts if a.path is None or not os.path.isabs(a.path)]
    size = sum(a.size_bytes for a in ours) + sum(files.values())
    return GarbageReport(deleted, len(artifacts), len(files), size, False), artifacts, list(files)
