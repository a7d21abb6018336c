"""A sweep as people hold it: its trials as a table, the best of them, what mattered, its JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from flowlearner.catalog import Catalog
from flowlearner.client.run import Run, error_json, time_json, to_plain
from flowlearner.errors import NotFoundError, UsageError, shorten, suggest
from flowlearner.heartbeat import is_gone
from flowlearner.records import Status, SweepRecord, TrialRecord, describe_crash
from flowlearner.sweep.search import load_optuna

if TYPE_CHECKING:
    import pandas as pd

MIN_FOR_IMPORTANCE = 4


class SweepReader(Protocol):
    """What a sweep asks of its client."""

    def get_run(self, run_id: str) -> Run: ...

    def get_sweep_record(self, sweep_id: str) -> SweepRecord: ...

    def list_trial_records(self, sweep_id: str) -> list[TrialRecord]: ...

    def find_best_trial(self, sweep: SweepRecord) -> TrialRecord | None: ...

    def count_saved(self, sweep_id: str) -> dict[str, tuple[int, int]]: ...


class Sweep:
    """A search over a workflow's parameters, as it was when it was read; `refresh` reads it again.

    Attributes:
        record: everything that the catalog holds of it but its trials.
    """

    def __init__(self, reader: SweepReader, record: SweepRecord) -> None:
        self._reader = reader
        self.record = record
        self._trials: list[TrialRecord] | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def workflow(self) -> str:
        return self.record.workflow

    @property
    def experiment(self) -> str:
        return self.record.experiment

    @property
    def status(self) -> Status:
        return self.record.status

    @property
    def counts(self) -> Mapping[str, int]:
        """Trials by status."""
        counts = dict(self.record.counts)
        if self.status is Status.CRASHED:
            # What nobody drives any more has crashed with the driver.
            for status in (Status.PENDING.value, Status.RUNNING.value):
                open_ = counts.pop(status, 0)
                if open_:
                    counts[Status.CRASHED.value] = counts.get(Status.CRASHED.value, 0) + open_
        return counts

    @property
    def node_executions(self) -> Mapping[str, int]:
        """How often each operator ran; what trials had in common ran once."""
        return self.record.node_executions

    @property
    def node_savings(self) -> dict[str, dict[str, int]]:
        """How many calls of each operator did not run: `shared` by trials, `reused` from earlier runs."""
        saved = self._reader.count_saved(self.id)
        return {name: {"shared": shared, "reused": reused} for name, (shared, reused) in saved.items()}

    @property
    def trial_records(self) -> list[TrialRecord]:
        """The trials by their numbers."""
        if self._trials is None:
            trials = self._reader.list_trial_records(self.id)
            if self.status is Status.CRASHED:
                trials = [t if t.status.is_final else replace(t, status=Status.CRASHED) for t in trials]
            self._trials = trials
        return self._trials

    def trials(self) -> pd.DataFrame:
        """Return a table with one row a trial, in the order of their numbers.

        Its columns are number, run_id, status, a column for each parameter that varies and for each metric
        that is searched for, started_at, finished_at and duration_s. A name that two of them have is given as
        `param.NAME` and `metric.NAME`. A file or table is named by where it came from, or by its hash. A
        metric is NaN where a trial has none; of a trial that has not completed it is what was reported last.

        Parallel coordinates (its parameters and metrics) and slices (one parameter against one metric) are
        drawn from this table, too.
        """
        import pandas as pd

        trials = self.trial_records
        fixed = ("number", "run_id", "status", "started_at", "finished_at", "duration_s")
        names, metrics = list(self.record.spec.get("space", {})), self.record.metrics
        taken = Counter([*fixed, *names, *metrics])
        times = {
            name: pd.to_datetime(pd.Series([getattr(t, name) for t in trials], dtype=object), utc=True)
            for name in ("started_at", "finished_at")
        }
        return pd.DataFrame(
            {
                "number": pd.Series([t.number for t in trials], dtype="int64"),
                "run_id": pd.Series([t.run_id for t in trials], dtype="str"),
                "status": pd.Series([t.status.value for t in trials], dtype="str"),
                **{
                    f"param.{name}" if taken[name] > 1 else name: [
                        _name_stored(t.point.get(name)) for t in trials
                    ]
                    for name in names
                },
                **{
                    f"metric.{name}" if taken[name] > 1 else name: pd.Series(
                        [t.values[i] for t in trials], dtype="float64"
                    )
                    for i, name in enumerate(metrics)
                },
                **times,
                "duration_s": (times["finished_at"] - times["started_at"]).dt.total_seconds(),
            }
        )

    @property
    def best(self) -> Run:
        """The run of the best completed trial; of several equal ones the first.

        Raises:
            NotFoundError: no trial has completed.
            UsageError: several metrics are searched for; see `pareto`.
        """
        if len(self.record.metrics) > 1:
            raise UsageError(f"sweep {self.id} searches for several metrics; see sweep.pareto")
        found = self.find_best()
        if found is None:
            raise NotFoundError(f"sweep {self.id} has no completed trial")
        return self._reader.get_run(found.run_id)

    def find_best(self) -> TrialRecord | None:
        """Return the best completed trial, None while there is none or where several metrics count."""
        if len(self.record.metrics) > 1:
            return None
        if self._trials is None:
            return self._reader.find_best_trial(self.record)
        completed = self._list_completed()
        if not completed:
            return None
        sign = 1 if self.record.modes[0] == "max" else -1
        return max(completed, key=lambda t: (sign * (t.values[0] or 0.0), -t.number))

    @property
    def pareto(self) -> list[Run]:
        """The runs of trials that no other one beats in every metric, by trial number."""
        return [self._reader.get_run(t.run_id) for t in self.find_pareto()]

    def find_pareto(self) -> list[TrialRecord]:
        """Return the trials of the Pareto front."""
        signs = [1 if mode == "max" else -1 for mode in self.record.modes]
        scored = [
            ([s * float(v or 0) for s, v in zip(signs, t.values, strict=True)], t)
            for t in self._list_completed()
        ]
        front: list[tuple[list[float], TrialRecord]] = []
        # From the best in the first metric on, a trial is only beaten by those before it.
        for mine, trial in sorted(scored, key=lambda pair: pair[0], reverse=True):
            if not any(_dominates(other, mine) for other, _ in front):
                front.append((mine, trial))
        return sorted((t for _, t in front), key=lambda t: t.number)

    def _list_completed(self) -> list[TrialRecord]:
        return [t for t in self.trial_records if t.status is Status.COMPLETED and None not in t.values]

    def _find_metric(self, metric: str | None) -> int:
        """Return the place of a metric that is searched for; None is the first."""
        names = self.record.metrics
        if metric is not None and metric not in names:
            raise UsageError(
                f"sweep {self.id} searches for {shorten(names)}, not for '{metric}'.{suggest(metric, names)}"
            )
        return 0 if metric is None else names.index(metric)

    def importance(self, metric: str | None = None) -> dict[str, float]:
        """Return how much each parameter that varies explains of a metric, as shares of 1, largest first.

        By fANOVA (Hutter, Hoos and Leyton-Brown, 2014) on the completed trials with a finite value. What did
        not vary among them explains nothing; parameters under a condition are left out.

        Raises:
            UsageError: the sweep does not search for the metric, or too few trials have completed.
        """
        index = self._find_metric(metric)
        completed = [t for t in self._list_completed() if math.isfinite(t.values[index] or 0.0)]
        if len(completed) < MIN_FOR_IMPORTANCE:
            raise UsageError(
                f"sweep {self.id}: importance needs {MIN_FOR_IMPORTANCE} trials that completed with a finite "
                f"value, found {len(completed)}"
            )
        columns = {
            d["name"]: _make_axis([t.point[d["name"]] for t in completed], d)
            for d in self.record.spec["dimensions"]
            if not d.get("when")
        }
        constant = dict.fromkeys([name for name, (axis, _) in columns.items() if axis.single()], 0.0)
        if len(constant) == len(columns) or len({t.values[index] for t in completed}) == 1:
            return dict.fromkeys(columns, 0.0)
        optuna = load_optuna()
        study = optuna.create_study()
        study.add_trials(
            optuna.trial.create_trial(
                params={name: values[i] for name, (_, values) in columns.items() if name not in constant},
                distributions={name: axis for name, (axis, _) in columns.items() if name not in constant},
                value=trial.values[index],
            )
            for i, trial in enumerate(completed)
        )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()} | constant

    def history(self, metric: str | None = None) -> pd.DataFrame:
        """Return completed trials in the order in which they ended, with the best value up to then.

        Columns: number, finished_at, value, best.

        Args:
            metric: where several are searched for; None is the first.

        Raises:
            UsageError: the sweep does not search for the metric.
        """
        import pandas as pd

        index = self._find_metric(metric)
        ended = sorted(self._list_completed(), key=lambda t: (t.finished_at is None, t.finished_at, t.number))
        values = pd.Series([t.values[index] for t in ended], dtype="float64")
        return pd.DataFrame(
            {
                "number": pd.Series([t.number for t in ended], dtype="int64"),
                "finished_at": pd.to_datetime(
                    pd.Series([t.finished_at for t in ended], dtype=object), utc=True
                ),
                "value": values,
                "best": values.cummax() if self.record.modes[index] == "max" else values.cummin(),
            }
        )

    def refresh(self) -> Sweep:
        """Read the sweep again and return it."""
        self.record, self._trials = self._reader.get_sweep_record(self.id), None
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the sweep with its trials as JSON values."""
        single = len(self.record.metrics) == 1
        return {
            **self.summary_json(),
            "spec": to_plain(self.record.spec),
            "node_savings": self.node_savings,
            "pareto": None if single else [t.run_id for t in self.find_pareto()],
            "trials": [_trial_json(t, single) for t in self.trial_records],
        }

    def summary_json(self) -> dict[str, Any]:
        """Return the sweep as lists show it: without its trials."""
        record, best = self.record, self.find_best()
        single = len(record.metrics) == 1
        return {
            "id": record.id,
            "workflow": record.workflow,
            "experiment": record.experiment,
            "status": record.status.value,
            "metric": record.metrics[0] if single else list(record.metrics),
            "mode": record.modes[0] if single else list(record.modes),
            "best": None
            if best is None
            else {"run_id": best.run_id, "params": to_plain(best.point), "value": to_plain(best.values[0])},
            "counts": dict(self.counts),
            "node_executions": dict(record.node_executions),
            "tags": dict(record.tags),
            "notes": record.notes,
            "owner": record.owner,
            "created_at": time_json(record.created_at),
            "started_at": time_json(record.started_at),
            "finished_at": time_json(record.finished_at),
            "error": error_json(record.error),
        }

    def __repr__(self) -> str:
        return f"<sweep {self.id} of {self.workflow}: {self.status}, {len(self.trial_records)} trials>"


def settle_sweep(record: SweepRecord, catalog: Catalog) -> SweepRecord:
    """Return a sweep as it is to be read: one whose driver is known dead has crashed."""
    if record.status.is_final or record.process is None or not is_gone(catalog, record.process):
        return record
    return replace(record, status=Status.CRASHED, error=record.error or describe_crash(record.process))


def _name_stored(value: Any) -> Any:
    """Return a recorded parameter as a cell: a file or table by where it came from, else by its hash."""
    if isinstance(value, Mapping) and {"type", "hash"} <= set(value):
        return value.get("source") or value["hash"]
    return value


def _dominates(a: list[float], b: list[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


def _make_axis(values: list[Any], dimension: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Return the distribution that holds all values that were tried, and the values as it takes them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if "values" not in dimension:
        numbers = [float(v) for v in values]
        return FloatDistribution(min(numbers), max(numbers), log=dimension["log"]), numbers
    # As text, for true and 1 are one category else.
    texts = [json.dumps(v, sort_keys=True) for v in values]
    return CategoricalDistribution(list(dict.fromkeys(texts))), texts


def _trial_json(trial: TrialRecord, single: bool) -> dict[str, Any]:
    return {
        "number": trial.number,
        "run_id": trial.run_id,
        "status": trial.status.value,
        "params": to_plain(trial.point),
        "value": to_plain(trial.values[0] if single else list(trial.values)),
        "started_at": time_json(trial.started_at),
        "finished_at": time_json(trial.finished_at),
        "error": error_json(trial.error),
    }
