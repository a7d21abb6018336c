"""Runs a run again without the cache, and compares what each node gives with what it gave.

It happens in a catalog and a store of its own, which are thrown away: what drifts is never taken for a
result, and neither lists nor searches show it. What stays is the verdict.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.cache import Earlier
from flowlearner.capture import read_environment
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.engine.base import Origin, RunListener, utc_now
from flowlearner.engine.local import LocalLauncher
from flowlearner.engine.submit import Submission, get_user, opened, prepare, run_submission
from flowlearner.errors import CodeError, ParameterError, UsageError, shorten, suggest
from flowlearner.graph import Graph
from flowlearner.lease import get_process_owner, is_process
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact, Environment, NodeRun, Reproduction, RunRecord, Status
from flowlearner.replay.again import Request, Restored, find_earlier, opened_run
from flowlearner.replay.differences import find_difference

REPRODUCED, DRIFTED, ENVIRONMENT_CHANGED = "REPRODUCED", "DRIFTED", "ENVIRONMENT-CHANGED"
SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Tolerance:
    """By how much numbers may differ that count as equal: a part of the larger one, or of 1.

    Attributes:
        of_all: where nothing else is said.
        of_nodes: by node or operator; infinity excuses everything that it gives.
    """

    of_all: float = 0.0
    of_nodes: Mapping[str, float] = field(default_factory=dict)

    def find(self, node: NodeRun) -> float:
        return self.of_nodes.get(node.name, self.of_nodes.get(node.operator, self.of_all))


def reproduce_run(
    run: RunRecord,
    settings: Settings,
    *,
    times: int = 1,
    tolerance: Tolerance | None = None,
    request: Request | None = None,
    listener: RunListener | None = None,
) -> Reproduction:
    """Run a run again from its snapshot, compare, and keep the verdict.

    Where something differs and so do packages or the machine, it runs a second time: what differs between the
    two as well does so in any environment.

    Args:
        times: how often it runs.
        request: holds the Secret parameters, which are stored nowhere.

    Raises:
        UsageError: it has not ended, no node of it has, or it cannot be run again.
    """
    tolerance = tolerance or Tolerance()
    _check(run, times, tolerance)
    listener = listener or RunListener()
    now = read_environment()
    packages = list_package_changes(run.environment, now)
    changes = packages + list_machine_changes(run.environment, now)
    with opened(settings) as (catalog, store), contextlib.ExitStack() as stack:
        opening = opened_run(run, request or Request(), catalog, store, settings, listener)
        try:
            restored = stack.enter_context(opening)
        except CodeError as error:
            if not packages:
                raise
            found = _judge(run, [_fail_all(run, error)], packages)
            catalog.record_reproduction(found)
            return found
        folder = Path(stack.enter_context(make_folder(settings.home_path)))
        attempts: list[_Attempt] = []
        while len(attempts) < times:
            place = settings.model_copy(
                update={"home": folder / str(len(attempts)), "catalog": "", "artifacts": ""}
            )
            attempts.append(_attempt(restored, catalog, store, place, tolerance, listener))
            if attempts[-1].first is not None and changes and len(attempts) == times == 1:
                times = 2
        found = _judge(run, attempts, changes)
        catalog.record_reproduction(found)
        return found


def _check(run: RunRecord, times: int, tolerance: Tolerance) -> None:
    if not run.status.is_final:
        raise UsageError(f"run {run.id} is {run.status}; only what has ended can be compared")
    if times < 1:
        raise ParameterError(f"times: expected a number of 1 or more, found {times}")
    if not any(n.status in (Status.COMPLETED, Status.FAILED) for n in run.nodes):
        raise UsageError(
            f"run {run.id} is {run.status}, and no node of it has ended: there is nothing to compare"
        )
    known = {n.name: None for n in run.nodes} | {n.operator: None for n in run.nodes}
    for name in tolerance.of_nodes:
        if name not in known:
            raise UsageError(
                f"tolerance: run {run.id} has no node or operator '{name}'; it has "
                f"{shorten(known)}.{suggest(name, known)}"
            )


def list_package_changes(before: Environment | None, now: Environment) -> list[dict[str, Any]]:
    """Return the packages of other versions, with Python and the kind of machine, which are like packages."""
    if before is None:
        return []
    facts = {"system": platform.system(), "architecture": platform.machine()}
    old = {
        "python": before.python,
        **{k: before.machine.get(k, v) for k, v in facts.items()},
        **before.packages,
    }
    return _list_changes(old, {"python": now.python, **facts, **now.packages})


def list_machine_changes(before: Environment | None, now: Environment) -> list[dict[str, Any]]:
    """Return what else numbers may depend on and is different: processors, settings of threads and hashes."""
    if before is None:
        return []
    facts = [n for n in ("implementation", "cpu", "cpus") if n in before.machine]
    old, new = ({n: str(e.machine[n]) for n in facts} for e in (before, now))
    if "settings" in before.machine:
        old |= before.machine["settings"]
        new |= now.machine["settings"]
    return _list_changes(old, new)


def _list_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "before": old.get(name), "now": new.get(name)}
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _fail_all(run: RunRecord, error: CodeError) -> _Attempt:
    """Return what becomes of the nodes of a run whose code does not import: the first one cannot be run."""
    found = {"output": None, "kind": "error", "error": {"type": type(error).__name__, "message": str(error)}}
    nodes = [
        {"node": n.name, "operator": n.operator, "verdict": DRIFTED if i == 0 else SKIPPED}
        | {"difference": found if i == 0 else None}
        for i, n in enumerate(run.nodes)
    ]
    return _Attempt(tuple(nodes), {}, nodes[0])


def make_folder(home: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a folder for one reproduction; those of processes of this machine that were killed are removed."""
    home.mkdir(parents=True, exist_ok=True)
    owner = get_process_owner()
    prefix = f"reproduce-{owner.host}-"
    for old in [p for p in home.iterdir() if p.name.startswith(prefix)]:
        pid, _, started = old.name.removeprefix(prefix).rpartition("-")[0].partition("-")
        if pid.isdigit() and is_process(int(pid), float(started)) is False:
            shutil.rmtree(old, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{prefix}{owner.pid}-{owner.pid_started}-", dir=home)


# One execution


@dataclass(frozen=True)
class _Attempt:
    """What became of each node.

    Attributes:
        nodes: as JSON, in the order of the graph.
        hashes: what each gave.
        first: the first node that gave something else.
    """

    nodes: tuple[dict[str, Any], ...]
    hashes: Mapping[str, tuple[str, ...]]
    first: dict[str, Any] | None


def _attempt(
    restored: Restored,
    catalog: Catalog,
    store: ArtifactStore,
    place: Settings,
    tolerance: Tolerance,
    listener: RunListener,
) -> _Attempt:
    run = restored.run
    options = replace(restored.make_options(), executor="local", cache=False, parent_id=None)
    earlier = find_earlier(run, catalog)
    given = list(list_artifacts([restored.params, list(restored.pinned.values())]))
    with opened(place) as (own_catalog, _):
        own_catalog.add_artifacts([carry(a, store) for a in catalog.find_artifacts(given).values()])
    submission = prepare(
        restored.definition,
        restored.params,
        options,
        place,
        listener,
        Origin(
            code=restored.code.info,
            snapshot=restored.code.snapshot,
            operators=restored.operators,
            pinned=restored.pinned,
            earlier={
                n.name: replace(
                    earlier[n.name], is_settled=True, artifacts=_carry_all(earlier[n.name], store)
                )
                for n in restored.graph.nodes
                if n.operator.effects and n.name in earlier
            },
        ),
    )
    submission = replace(submission, graph=_leave_out(submission, run))
    with opened(place) as (own_catalog, own_store):
        with LocalLauncher() as launcher:
            run_submission(submission, launcher, run_id=run.id)
        record = own_catalog.get_run(run.id)
        artifacts = own_catalog.find_artifacts({o.hash for n in record.nodes for o in n.outputs})
        comparison = _Comparison(
            catalog.find_artifacts({o.hash for n in run.nodes for o in n.outputs}),
            artifacts,
            (store, own_store),
        )
        return _compare(run, record, submission.graph, comparison, tolerance)


def _leave_out(submission: Submission, run: RunRecord) -> Graph:
    """Return the graph without what did not end then, and what acts on the world and gave nothing then."""
    graph, settled = submission.graph, submission.origin.earlier
    ended = {n.name for n in run.nodes if n.status in (Status.COMPLETED, Status.FAILED)}
    gone = {
        n.name for n in graph.nodes if n.name not in ended or (n.operator.effects and n.name not in settled)
    }
    gone |= graph.find_descendants(list(gone))
    return replace(graph, nodes=tuple(n for n in graph.nodes if n.name not in gone))


def carry(artifact: Artifact, store: ArtifactStore) -> Artifact:
    """Return an artifact as another store can read it: what is a file, by its place."""
    if artifact.inline is not None:
        return artifact
    source = store.open(artifact)
    assert source.path is not None, "what is not in the catalog is a file"
    return replace(artifact, path=str(Path(source.path).absolute()))


def _carry_all(earlier: Earlier, store: ArtifactStore) -> dict[str, Artifact]:
    return {name: carry(a, store) for name, a in earlier.artifacts.items()}


def list_artifacts(value: Any) -> Iterator[str]:
    """Yield the hashes of "artifact:HASH" anywhere in parameters."""
    if isinstance(value, str) and value.startswith(ARTIFACT_PREFIX):
        yield value.removeprefix(ARTIFACT_PREFIX)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from list_artifacts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from list_artifacts(item)


# Comparing


@dataclass(frozen=True)
class _Comparison:
    before: Mapping[str, Artifact]
    now: Mapping[str, Artifact]
    stores: tuple[ArtifactStore, ArtifactStore]


def _compare(
    run: RunRecord, again: RunRecord, graph: Graph, comparison: _Comparison, tolerance: Tolerance
) -> _Attempt:
    found = {n.name: n for n in again.nodes}
    nodes: list[dict[str, Any]] = []
    for node in run.nodes:
        now = found.get(node.name)
        body: dict[str, Any] = {"node": node.name, "operator": node.operator}
        is_new = now is not None and not now.cached and now.status is not Status.SKIPPED
        if now is None or not is_new or node.name not in graph.by_name:
            nodes.append(body | {"verdict": SKIPPED, "difference": None})
            continue
        difference, is_within = _compare_node(node, now, comparison, tolerance.find(node))
        verdict = REPRODUCED if difference is None or is_within else DRIFTED
        nodes.append(body | {"verdict": verdict, "difference": difference})
    hashes = {n.name: tuple(o.hash for o in n.outputs) for n in again.nodes}
    first = next((n for n in nodes if n["verdict"] == DRIFTED), None)
    return _Attempt(tuple(nodes), hashes, first)


def _compare_node(
    before: NodeRun, now: NodeRun, comparison: _Comparison, tolerance: float
) -> tuple[dict[str, Any] | None, bool]:
    """Return in what a node differs from what it was, None where it does not, and whether it is excused."""
    if now.error is not None:
        if before.error is not None and before.error.type == now.error.type:
            return None, True
        error = {"type": now.error.type, "message": now.error.message}
        return {"output": None, "kind": "error", "error": error}, False
    if before.error is not None:
        error = {"type": before.error.type, "message": before.error.message}
        return {"output": None, "kind": "no-error", "before": error}, False
    outputs = {o.name: o for o in before.outputs}
    differences = []
    for output in now.outputs:
        was = outputs.get(output.name)
        if was is None or was.hash == output.hash:
            continue
        found, is_within = find_difference(
            comparison.before.get(was.hash),
            comparison.now[output.hash],
            was.hash,
            comparison.stores,
            tolerance,
        )
        differences.append(({"output": output.name, **found}, is_within))
    if not differences:
        return None, True
    # What is not excused tells more.
    worst = min(differences, key=lambda pair: pair[1])
    given = [name for name, hash_ in now.inputs.items() if before.inputs.get(name) != hash_]
    is_other = before.fingerprint != now.fingerprint
    return worst[0] | {"inputs_differ": given, "code_differs": is_other}, worst[1]


def _judge(run: RunRecord, attempts: Sequence[_Attempt], packages: Sequence[dict[str, Any]]) -> Reproduction:
    drifted = [a for a in attempts if a.first is not None]
    verdict, shown = REPRODUCED, attempts[0]
    diverged: dict[str, Any] | None = None
    if drifted:
        positions = {n.name: i for i, n in enumerate(run.nodes)}
        shown = min(drifted, key=lambda a: positions[a.first["node"]] if a.first else len(positions))
        assert shown.first is not None, "it drifted"
        diverged = {k: shown.first[k] for k in ("node", "operator", "difference")}
        varies = len({a.hashes.get(diverged["node"]) for a in attempts}) > 1
        verdict = ENVIRONMENT_CHANGED if packages and not varies else DRIFTED
    return Reproduction(
        run_id=run.id,
        verdict=verdict,
        at=utc_now(),
        owner=get_user(),
        times=len(attempts),
        diverged=diverged,
        nodes=shown.nodes,
        packages=tuple(packages),
    )
