"""Shapes what the client returns into tables to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

import pandas as pd

from flowlearner.client import Comparison, Run, Sweep
from ui.components.text import short_id, show_value

FIXED = ("run", "workflow", "status", "created", "duration")


def list_names(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return the names of params, metrics and tags that some run has, sorted, as `metric.auc`."""
    found: dict[str, dict[str, None]] = {"metric": {}, "param": {}, "tag": {}}
    for run in runs:
        for kind, names in (("metric", run.metrics), ("param", run.params), ("tag", run.tags)):
            found[kind].update(dict.fromkeys(names))
    return {kind: [f"{kind}.{name}" for name in sorted(names)] for kind, names in found.items()}


def choose_columns(runs: Sequence[Run], limit: int = 6) -> list[str]:
    """Return columns worth showing: metrics first, then params that are not the same in all runs."""
    names = list_names(runs)
    differing = [
        name
        for name in names["param"]
        if len({show_value(run.params.get(name.removeprefix("param."))) for run in runs}) > 1
    ]
    return [*names["metric"], *differing][:limit]


def make_runs(runs: Sequence[Run], columns: Sequence[str], zone: tzinfo) -> pd.DataFrame:
    """Return one row for each run: what all have, and the columns that are named as `metric.auc`."""
    rows: dict[str, Any] = {
        "run": [short_id(r.id) for r in runs],
        "workflow": [r.workflow for r in runs],
        "status": [[r.status.value] for r in runs],
        "created": pd.Series([r.record.created_at for r in runs], dtype="datetime64[us, UTC]").dt.tz_convert(
            zone
        ),
        "duration": pd.Series([r.duration_s for r in runs], dtype="float64"),
        "experiment": [r.experiment for r in runs],
        "owner": [r.record.owner for r in runs],
    }
    for column in columns:
        kind, _, name = column.partition(".")
        source = {"metric": "metrics", "param": "params", "tag": "tags"}.get(kind)
        if source is not None:
            rows[column] = make_column([getattr(r, source).get(name) for r in runs])
    return pd.DataFrame(rows)


def make_column(values: Sequence[Any]) -> pd.Series:
    """Return values as a column of numbers where all are, else of texts."""
    found = [v for v in values if v is not None]
    if found and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found):
        return pd.Series(values, dtype="float64")
    return pd.Series([show_value(v) for v in values], dtype="str")


def make_comparison(comparison: Comparison, section: str, *, with_equal: bool) -> pd.DataFrame:
    """Return one row for each name of a section, one column for each run."""
    rows = [r for r in comparison.sections[section] if r.differs or with_equal]
    runs = [short_id(r.id) for r in comparison.runs]
    values = [[_show_cell(section, v) for v in row.values] for row in rows]
    return pd.DataFrame(values, index=[r.name for r in rows], columns=runs)


def _show_cell(section: str, value: Any) -> Any:
    if section == "nodes" and isinstance(value, Mapping):
        text = str(value["status"]).lower()
        return f"{text}, cached" if value.get("cached") else text
    if section == "outputs" and isinstance(value, Mapping):
        found = value.get("value")
        return str(value["hash"])[:12] if found is None else show_value(found)
    if section == "metrics":
        return value
    return show_value(value)


def make_deltas(comparison: Comparison, baseline: int) -> pd.DataFrame:
    """Return how far each run's metrics are from those of one of them."""
    columns = [short_id(r.id) for r in comparison.runs]
    rows = {}
    for row in comparison.metrics:
        base = row.values[baseline]
        if isinstance(base, (int, float)):
            rows[row.name] = [v - base if isinstance(v, (int, float)) else None for v in row.values]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype="float64")


def group_by_seed(runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """Return one row for runs that differ in the seed alone: how many, and metrics' mean and deviation."""
    rows = []
    for run in runs:
        params = {k: show_value(v) for k, v in run.params.items() if k != "seed"}
        rows.append(
            {"workflow": run.workflow, **params, **{f"metric.{m}": run.metrics.get(m) for m in metrics}}
        )
    table = pd.DataFrame(rows)
    keys = [c for c in table.columns if not c.startswith("metric.")]
    differing = [c for c in keys if table[c].nunique(dropna=False) > 1] or keys[:1]
    grouped = table.groupby(differing, dropna=False, sort=False)
    parts: dict[str, Any] = {"n": grouped.size()}
    for name in metrics:
        column = pd.to_numeric(table[f"metric.{name}"], errors="coerce")
        values = column.groupby([table[c] for c in differing], dropna=False, sort=False)
        parts[f"{name} mean"], parts[f"{name} std"] = values.mean(), values.std()
    return pd.DataFrame(parts).reset_index()


def make_points(points: Iterable[Any], run: str = "") -> pd.DataFrame:
    """Return reported metrics as name, step and value; without a step the place in the order counts."""
    counts: dict[str, int] = {}
    rows = []
    for point in points:
        place = counts[point.name] = counts.get(point.name, -1) + 1
        step = place if point.step is None else point.step
        rows.append({"run": run, "metric": point.name, "step": step, "value": point.value})
    return pd.DataFrame(rows, columns=["run", "metric", "step", "value"])


def make_nodes(run: Run, zone: tzinfo) -> pd.DataFrame:
    """Return one row for each node of a run: how it fared and when."""
    nodes = run.nodes
    times = {
        name: pd.Series([getattr(n, name) for n in nodes], dtype="datetime64[us, UTC]").dt.tz_convert(zone)
        for name in ("started_at", "finished_at")
    }
    return pd.DataFrame(
        {
            "node": [n.name for n in nodes],
            "operator": [n.operator for n in nodes],
            "status": [[n.status.value] for n in nodes],
            "cached": [n.cached for n in nodes],
            "started": times["started_at"],
            "duration": (times["finished_at"] - times["started_at"]).dt.total_seconds(),
            "why": [n.miss_reason or "" for n in nodes],
        }
    )


def make_sweeps(sweeps: Sequence[Sweep], zone: tzinfo) -> pd.DataFrame:
    """Return one row for each sweep."""
    best = [s.find_best() if len(s.record.metrics) == 1 else None for s in sweeps]
    return pd.DataFrame(
        {
            "sweep": [short_id(s.id) for s in sweeps],
            "workflow": [s.workflow for s in sweeps],
            "status": [[s.status.value] for s in sweeps],
            "created": pd.Series(
                [s.record.created_at for s in sweeps], dtype="datetime64[us, UTC]"
            ).dt.tz_convert(zone),
            "metric": [", ".join(s.record.metrics) for s in sweeps],
            "best": pd.Series([b.values[0] if b else None for b in best], dtype="float64"),
            "trials": [sum(s.counts.values()) for s in sweeps],
            "experiment": [s.experiment for s in sweeps],
        }
    )


def make_preview(preview: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first rows of a stored table, and what is known of its columns."""
    columns = preview["columns"]
    head = pd.DataFrame(preview["head"], columns=[c["name"] for c in columns])
    facts = pd.DataFrame(
        {
            "column": [c["name"] for c in columns],
            "type": [c["type"] for c in columns],
            "nulls": [c.get("nulls") for c in columns],
            "distinct": pd.Series([c.get("distinct") for c in columns], dtype="Int64"),
            **{name: [show_value(c.get(name)) for c in columns] for name in ("min", "mean", "std", "max")},
            "histogram": [(c.get("histogram") or {}).get("counts", []) for c in columns],
        }
    )
    return head, facts
