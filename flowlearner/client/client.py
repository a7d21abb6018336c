"""Owns the client: reading, searching, comparing and managing what is remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog, upgrade_catalog
from flowlearner.client.comparison import Comparison, compare
from flowlearner.client.garbage import GarbageReport, collect_garbage
from flowlearner.client.launching import Launching
from flowlearner.client.provenance import Provenance
from flowlearner.client.replays import Replays
from flowlearner.client.run import Run, is_abandoned, settle
from flowlearner.client.sweep import Sweep, settle_sweep
from flowlearner.client.values import Values
from flowlearner.config import Settings, get_settings
from flowlearner.engine.crashes import settle_crashes
from flowlearner.errors import ArtifactError, NotFoundError, UsageError, shorten, suggest
from flowlearner.heartbeat import is_gone
from flowlearner.records import (
    ExperimentSummary,
    LogLine,
    MetricPoint,
    OperatorDetail,
    OperatorSummary,
    RunRecord,
    SavedView,
    Status,
    SweepRecord,
    TrialRecord,
    WorkflowDetail,
    WorkflowSummary,
)

OPEN = (Status.PENDING, Status.RUNNING)
CANCEL_POLL_S = 0.1


class Client(Values, Replays, Provenance, Launching):
    """Access to the catalog and the artifacts. It opens them on first use, and threads may share it.

    Wherever a run is named by its id, any prefix will do that only one run has.

    Args:
        settings: where they are; from the environment if left out.

    Example:
        with Client() as client:
            best = client.search("metric.auc > 0.7 and param.max_depth <= 6")
            model = best[0].outputs.model
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None
        self._store: ArtifactStore | None = None

    @property
    def catalog(self) -> Catalog:
        with self._lock:
            if self._catalog is not None and self._catalog.is_replaced():
                self._catalog.close()
                self._catalog = None
            if self._catalog is None:
                # A reader leaves the tables as they are; the next run, or `catalog upgrade`, upgrades them.
                self._catalog = Catalog(self.settings.catalog_url, upgrade=False)
            return self._catalog

    @property
    def store(self) -> ArtifactStore:
        with self._lock:
            if self._store is None:
                self._store = ArtifactStore(self.settings.artifacts_url, self.settings.inline_limit_bytes)
            return self._store

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        with self._lock:
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Runs

    def get_run(self, run_id: str) -> Run:
        """Return a run with its nodes.

        Raises:
            NotFoundError: no run has the id, or several start with it.

        Example:
            run = client.get_run("1f3a")
            run.status, run.metrics["auc"], run.outputs.model
        """
        return Run(self, self.get_record(run_id))

    def get_record(self, run_id: str) -> RunRecord:
        """Return what is recorded of a run; one whose process died reads CRASHED."""
        record = self.catalog.get_run(run_id)
        if is_abandoned(record, self.catalog):
            # It may have ended in good order between the two looks.
            record = self.catalog.get_run(record.id)
        return settle(record, self.catalog)

    # Sweeps

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Return a sweep by its id or the beginning of it.

        Raises:
            NotFoundError: no sweep has the id, or several start with it.
        """
        return Sweep(self, self.get_sweep_record(sweep_id))

    def get_sweep_record(self, sweep_id: str) -> SweepRecord:
        """Return what is recorded of a sweep; one whose driver died reads CRASHED."""
        return settle_sweep(self.catalog.get_sweep(sweep_id), self.catalog)

    def list_trial_records(self, sweep_id: str) -> list[TrialRecord]:
        """Return the trials of a sweep by their numbers."""
        return self.catalog.list_trials(sweep_id)

    def find_best_trial(self, sweep: SweepRecord) -> TrialRecord | None:
        """Return the best completed trial of a sweep for one metric; None while there is none."""
        return self.catalog.find_best_trial(sweep)

    def count_saved(self, sweep_id: str) -> dict[str, tuple[int, int]]:
        """Return by operator how many calls took the result of another trial, and of an earlier run."""
        return self.catalog.count_saved(sweep_id)

    def list_sweeps(
        self,
        *,
        workflow: str | None = None,
        experiment: str | None = None,
        limit: int | None = 50,
        offset: int = 0,
    ) -> list[Sweep]:
        """Return sweeps, newest first."""
        found = self.catalog.list_sweeps(workflow=workflow, experiment=experiment, limit=limit, offset=offset)
        return [Sweep(self, settle_sweep(record, self.catalog)) for record in found]

    def stop_sweep(self, sweep_id: str) -> Sweep:
        """Ask a sweep to start no more trials; those in flight end as they will.

        Raises:
            NotFoundError: no such sweep.
            UsageError: it has ended.
        """
        sweep = self.get_sweep(sweep_id)
        if sweep.status.is_final:
            raise UsageError(f"sweep {sweep.id} has ended: it is {sweep.status}")
        self.catalog.update_sweep(sweep.id, stop_requested=True)
        return sweep

    # Lists of runs

    def list_runs(
        self,
        *,
        query: str | None = None,
        workflow: str | None = None,
        experiment: str | None = None,
        owner: str | None = None,
        status: Status | str | Sequence[Status | str] | None = None,
        tags: Mapping[str, str] | None = None,
        parent_id: str | None = None,
        sweep_id: str | None = None,
        include_trials: bool = False,
        include_deleted: bool = False,
        deleted_only: bool = False,
        limit: int | None = 50,
        offset: int = 0,
        order_by: str = "created",
        descending: bool = True,
    ) -> list[Run]:
        """Return runs, newest first; their nodes are left out until `refresh`.

        Args:
            query: a search such as "metric.auc > 0.7 and not tag.team = 'ops'".
            status: one status, or several of which one must fit.
            tags: name to value; all must fit.
            include_trials: trials of sweeps too.
            include_deleted: runs that are marked as deleted too.
            deleted_only: only those.
            limit: at most so many; None for all.
            order_by: an attribute such as "created", or `metric.x`, `param.x`, `tag.x`.

        Raises:
            QueryError: the query does not parse; it holds the position.
            ParameterError: no such status or order.

        Example:
            best = client.list_runs(workflow="delays", order_by="metric.auc", limit=1)[0]
        """
        records = self.catalog.list_runs(
            query=query,
            workflow=workflow,
            experiment=experiment,
            owner=owner,
            status=status,
            tags=tags,
            parent_id=parent_id,
            sweep_id=sweep_id,
            include_trials=include_trials,
            include_deleted=include_deleted,
            deleted_only=deleted_only,
            crashed=self._list_crashed(status, query),
            limit=limit,
            offset=offset,
            order_by=order_by,
            descending=descending,
        )
        return [Run(self, r) for r in self._settle_all(records)]

    def search(self, query: str, *, limit: int | None = 50, include_trials: bool = False) -> list[Run]:
        """Return runs that fit a query, newest first.

        Raises:
            QueryError: the query does not parse.

        Example:
            client.search("metric.auc > 0.7 and param.max_depth <= 6")
        """
        return self.list_runs(query=query, limit=limit, include_trials=include_trials)

    def explain_names(self, query: str = "", order_by: str = "") -> list[str]:
        """Return why a query or an order may find nothing: its metrics, params and tags that no run has.

        Example:
            client.explain_names("metric.acu > 0.7")  # No run has a metric 'acu'. Did you mean 'metric.auc'?
        """
        return self.catalog.explain_names(query, order_by)

    def count_runs(self, **filters: Any) -> int:
        """Return how many runs `list_runs` would give without a limit; the filters are the same."""
        crashed = self._list_crashed(filters.get("status"), filters.get("query"))
        return self.catalog.count_runs(**filters, crashed=crashed)

    def _list_crashed(self, status: object, query: str | None) -> list[str]:
        """Return the runs of which the catalog does not know yet that they crashed, where a filter asks."""
        asked = status is not None or "status" in (query or "").lower()
        return list(self.catalog.list_abandoned(partial(is_gone, self.catalog))) if asked else []

    def compare(self, run_ids: Sequence[str]) -> Comparison:
        """Put runs side by side.

        Raises:
            UsageError: fewer than two runs, or one twice.

        Example:
            client.compare(["1f3a", "9c0d"]).to_json()["metrics"]
        """
        runs = [self.get_run(i) for i in run_ids]
        if len({r.id for r in runs}) < max(len(runs), 2):
            raise UsageError(f"compare takes two or more different runs, found {shorten(r.id for r in runs)}")
        return compare(runs)

    def list_logs(self, run_id: str, node: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return what a run logged and printed, in order.

        Args:
            node: only the lines of this node.
            limit: only the last so many.

        Raises:
            NotFoundError: no such run, or no such node in it.

        Example:
            for line in client.list_logs("1f3a", node="train"):
                print(line.at, line.message)
        """
        record = self.catalog.get_run(run_id)
        names = [n.name for n in record.nodes]
        if node is not None and node not in names:
            raise NotFoundError(
                f"run {record.id} has no node '{node}'; it has {shorten(names)}.{suggest(node, names)}"
            )
        return self.catalog.list_logs(record.id, node, limit)

    def logs(self, run_id: str, node: str | None = None) -> list[LogLine]:
        """Return all that a run, or one node of it, logged and printed."""
        return self.list_logs(run_id, node)

    def list_metric_points(self, run_id: str, name: str | None = None) -> list[MetricPoint]:
        """Return the history of a run's metrics, or of one of them."""
        return self.catalog.list_metric_points(run_id, name)

    def get_graph(self, run_id: str) -> dict[str, Any]:
        """Return the compiled graph of a run as JSON values."""
        return self.catalog.get_graph(run_id)

    # Changing runs

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run; other tags stay.

        Example:
            client.set_tags("1f3a", {"stage": "candidate"})
        """
        self.catalog.set_tags(self.catalog.resolve_run_id(run_id), tags)

    def remove_tags(self, run_id: str, names: Iterable[str]) -> None:
        """Remove tags of a run; a name that it does not have is no mistake."""
        self.catalog.remove_tags(self.catalog.resolve_run_id(run_id), names)

    def set_notes(self, run_id: str, text: str) -> None:
        """Replace the notes of a run."""
        self.catalog.set_notes(self.catalog.resolve_run_id(run_id), text)

    def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Mark runs as deleted, all or none, and return their ids; `restore_runs` brings them back.

        Raises:
            UsageError: one of them is still running.

        Example:
            client.delete_runs([run.id for run in client.search("status = FAILED and created < 30d")])
        """
        records = [self.get_record(i) for i in run_ids]
        running = [r.id for r in records if not r.status.is_final]
        if running:
            raise UsageError(
                f"still running: {shorten(running)}. Cancel first: flowlearner runs cancel {running[0]}"
            )
        ids = [r.id for r in records]
        self.catalog.delete_runs(ids)
        return ids

    def restore_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Take the mark of `delete_runs` away and return the ids."""
        ids = [self.catalog.resolve_run_id(i) for i in run_ids]
        self.catalog.restore_runs(ids)
        return ids

    def cancel_run(self, run_id: str, wait_s: float = 30.0) -> Run:
        """Ask the process of a run to stop it, and wait until it has.

        Args:
            wait_s: how long to wait; after that the run is returned as it is.

        Raises:
            UsageError: the run has ended already.

        Example:
            for run in client.list_runs(status="RUNNING"):
                client.cancel_run(run.id)
        """
        record = self.catalog.get_run(run_id)
        if is_abandoned(record, self.catalog):
            self.store_crashes()
            return self.get_run(record.id)
        if record.status.is_final or not self.catalog.request_cancel(record.id):
            run = self.get_run(record.id)
            raise UsageError(f"run {run.id} is {run.status}; only a run that has not ended can be cancelled")
        deadline = time.monotonic() + wait_s
        while True:
            run = self.get_run(record.id)
            left = deadline - time.monotonic()
            if run.status.is_final or left <= 0:
                return run
            time.sleep(min(CANCEL_POLL_S, left))

    def store_crashes(self) -> list[str]:
        """Record runs as CRASHED whose process is known dead, and return their ids."""
        return settle_crashes(self.catalog)

    def _settle_all(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        return [
            replace(self.get_record(r.id), nodes=()) if is_abandoned(r, self.catalog) else r for r in records
        ]

    # What there is

    def list_experiments(self) -> list[ExperimentSummary]:
        """Return all experiments, the latest used first."""
        return self.catalog.list_experiments()

    def list_workflows(self) -> list[WorkflowSummary]:
        """Return all workflows, the latest used first."""
        return self.catalog.list_workflows()

    def list_operators(self) -> list[OperatorSummary]:
        """Return all operators by name."""
        return self.catalog.list_operators()

    def get_experiment(self, name: str) -> ExperimentSummary:
        """Return an experiment with its counts.

        Raises:
            NotFoundError: there is none of this name.
        """
        known = {e.name: e for e in self.catalog.list_experiments()}
        if name not in known:
            raise NotFoundError(
                f"no experiment '{name}' in the catalog; it has {shorten(known)}.{suggest(name, known)}"
            )
        return known[name]

    def get_workflow(self, name_or_fingerprint: str) -> WorkflowDetail:
        """Return a workflow with its versions, newest first."""
        return self.catalog.get_workflow(name_or_fingerprint)

    def get_operator(self, name_or_fingerprint: str) -> OperatorDetail:
        """Return an operator with its versions, newest first, and the workflows that use it."""
        return self.catalog.get_operator(name_or_fingerprint)

    # Views

    def list_views(self) -> list[SavedView]:
        """Return the lists of runs that were given a name, by name."""
        return self.catalog.list_views()

    def save_view(self, name: str, query: str) -> None:
        """Give a list of runs a name, by which the pages offer it to everybody; an earlier one is replaced.

        Args:
            query: that of the address of the page, such as "workflow=delays&order=metric.auc".

        Raises:
            UsageError: the name is empty.

        Example:
            client.save_view("best delays", "workflow=delays&order=metric.auc")
        """
        if not name.strip():
            raise UsageError("a view needs a name")
        self.catalog.save_view(name.strip(), query)

    def delete_view(self, name: str) -> None:
        """Remove a view.

        Raises:
            NotFoundError: there is none of this name.
        """
        self.catalog.delete_view(name)

    # Keeping house

    def check_catalog(self) -> list[str]:
        """Return what is wrong with the catalog or with stored values, in words; empty where all is whole."""
        problems = self.catalog.check()
        for artifact in self.catalog.list_artifacts(limit=None):
            whole = self.catalog.find_artifacts([artifact.hash]).get(artifact.hash, artifact)
            try:
                self.store.check(whole)
            except ArtifactError as error:
                problems.append(str(error))
        return problems

    def upgrade_catalog(self) -> tuple[str, str]:
        """Bring the tables of an older catalog up to date; a current one stays as it is.

        Returns:
            the version of the tables before ("" where nobody had numbered them) and now.
        """
        self.close()
        return upgrade_catalog(self.settings.catalog_url)

    def collect_garbage(self, dry_run: bool = True) -> GarbageReport:
        """Find, and with `dry_run=False` remove, what no kept run needs: deleted runs and their own values.

        Raises:
            UsageError: a run is going on; it may be about to use what would go.

        Example:
            print(client.collect_garbage())  # what would go
            client.collect_garbage(dry_run=False)
        """
        return collect_garbage(self.catalog, self.store, self._list_running, dry_run=dry_run)

    def _list_running(self) -> list[str]:
        return [
            r.id for r in self.list_runs(status=OPEN, include_trials=True, include_deleted=True, limit=None)
        ]
