"""Shapes what the client returns into tables to draw."""

from __future__ import annotations

import difflib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import pandas as pd

from flowlearner.client import Comparison, Run, Sweep
from ui.components.text import cut, short_id, show_number, show_value

FIXED = ("run", "workflow", "status", "created", "duration")
LONGEST_CELL = 500
MOST_LINES = 500
"""More lines than this nobody tells apart in one chart."""
METRIC_VIEWS = {"Last": "last", "Least": "least", "Greatest": "greatest", "Difference": "difference"}


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
        "run": [r.id for r in runs],
        "workflow": [r.workflow for r in runs],
        "status": [[r.status.value] for r in runs],
        "created": make_times([r.record.created_at for r in runs], zone),
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


def make_times(times: Sequence[datetime | None], zone: tzinfo) -> pd.Series[pd.Timestamp]:
    """Return times as a column in a time zone."""
    return pd.Series(pd.DatetimeIndex(list(times), dtype="datetime64[us, UTC]").tz_convert(zone))


def make_column(values: Sequence[Any]) -> pd.Series:
    """Return values as a column of numbers where all are, else of texts."""
    found = [v for v in values if v is not None]
    if found and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found):
        return pd.Series(values, dtype="float64")
    return pd.Series([None if v is None else cut(show_value(v), LONGEST_CELL) for v in values], dtype="str")


def make_comparison(comparison: Comparison, section: str, *, with_equal: bool) -> pd.DataFrame:
    """Return one row for each name of a section, one column for each run."""
    rows = [r for r in comparison.sections[section] if r.differs or with_equal]
    if section == "outputs":
        # Those that are metrics stand among the metrics.
        metrics = {r.name for r in comparison.metrics}
        rows = [r for r in rows if r.name not in metrics]
    runs = [short_id(r.id) for r in comparison.runs]
    values = [[_show_cell(section, v) for v in row.values] for row in rows]
    table = pd.DataFrame(values, index=[r.name for r in rows], columns=runs)
    if section == "nodes":
        table["what differs"] = [", ".join(r.changed) for r in rows]
    return table


def _show_cell(section: str, value: Any) -> Any:
    if section == "nodes" and isinstance(value, Mapping):
        text = str(value["status"]).lower()
        return f"{text}, cached" if value.get("cached") else text
    if section == "outputs" and isinstance(value, Mapping):
        found = value.get("value")
        return str(value["hash"])[:12] if found is None else show_value(found)
    return cut(show_value(value), LONGEST_CELL)


def make_metrics(
    comparison: Comparison, points: pd.DataFrame, view: str, baseline: int, *, with_equal: bool
) -> pd.DataFrame:
    """Return one row for each metric, one column for each run.

    Args:
        points: what the runs reported, as `make_points` gives it; their `run` is the short id.
        view: "last", "least" or "greatest" of what a run reported; "difference" of the last to a baseline.
        baseline: the place of that run.
    """
    runs = [short_id(r.id) for r in comparison.runs]
    rows = [r for r in comparison.metrics if r.differs or with_equal]
    table = pd.DataFrame(
        [[run.metrics.get(row.name, math.nan) for run in comparison.runs] for row in rows],
        index=[r.name for r in rows],
        columns=runs,
        dtype="float64",
    )
    if view == "difference":
        return table.sub(table.iloc[:, baseline], axis=0)
    if view in ("least", "greatest") and len(points):
        reported = points.groupby(["metric", "run"])["value"]
        extreme = (reported.min() if view == "least" else reported.max()).unstack()
        # What was not reported by steps has one value, which is the least and the greatest.
        return extreme.reindex(index=table.index, columns=table.columns).fillna(table)
    return table


def group_by_seed(runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """Return one row for runs that differ in the seed alone: how many, and metrics' mean and deviation.

    Of the params those are given that are not the same in all runs, as `param.max_depth`.
    """
    names = dict.fromkeys(name for run in runs for name in run.params if name != "seed")
    texts = {name: [cut(show_value(run.params.get(name)), LONGEST_CELL) for run in runs] for name in names}
    differing = {f"param.{name}": values for name, values in texts.items() if len(set(values)) > 1}
    keys = pd.DataFrame({"workflow": [run.workflow for run in runs], **differing})
    numbers: dict[tuple[str, ...], int] = {}
    place = pd.Series(
        [numbers.setdefault(row, len(numbers)) for row in keys.itertuples(index=False, name=None)]
    )
    table = keys.loc[~place.duplicated()].reset_index(drop=True)
    columns: dict[str, Any] = {"n": place.value_counts().sort_index()}
    for name in metrics:
        values = pd.Series([run.metrics.get(name, math.nan) for run in runs], dtype="float64").groupby(place)
        columns[f"{name} mean"], columns[f"{name} std"] = values.mean(), values.std()
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def make_points(points: Iterable[Any], run: str = "") -> pd.DataFrame:
    """Return reported metrics as name, step and value; without a step the place in the order counts."""
    counts: dict[str, int] = {}
    rows = []
    for point in points:
        place = counts[point.name] = counts.get(point.name, -1) + 1
        step = place if point.step is None else point.step
        rows.append({"run": run, "metric": point.name, "step": step, "value": point.value})
    return pd.DataFrame(rows, columns=["run", "metric", "step", "value"])


def list_curves(points: pd.DataFrame) -> list[str]:
    """Return the metrics of which some run has more than one finite value."""
    if points.empty:
        return []
    finite = points[points["value"].map(math.isfinite)]
    counts = finite.groupby(["metric", "run"]).size()
    return sorted(counts[counts > 1].index.get_level_values("metric").unique())


def make_metric_facts(metrics: Mapping[str, float], points: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each metric of a run: the last value, the extremes, and how many there were."""
    names = sorted(metrics)
    grouped = points.groupby("metric")["value"].agg(["min", "max", "count"]).reindex(names)
    last = pd.Series([metrics[n] for n in names], index=names, dtype="float64")
    return pd.DataFrame(
        {
            "metric": names,
            "last": last.to_numpy(),
            "least": grouped["min"].fillna(last).to_numpy(),
            "greatest": grouped["max"].fillna(last).to_numpy(),
            "values": grouped["count"].fillna(1).astype("int64").to_numpy(),
        }
    )


def make_parallel(table: pd.DataFrame, names: Sequence[str], metric: str) -> pd.DataFrame:
    """Return, for each row and column, where its line passes, from 0 for the least to 1 for the greatest.

    Args:
        table: with the columns `names`, one of which is `metric`, and `label`.
    """
    parts = []
    for name in names:
        numbers = pd.to_numeric(table[name], errors="coerce").astype("float64")
        finite = numbers.where(numbers.map(math.isfinite))
        is_number = finite.notna().any()
        values = finite if is_number else table[name].astype("category").cat.codes.astype("float64")
        spread = values.max() - values.min()
        parts.append(
            pd.DataFrame(
                {
                    "label": table["label"],
                    "name": name,
                    "place": (values - values.min()) / spread if spread else 0.5,
                    "shown": [show_number(v) if is_number else show_value(v) for v in table[name]],
                    "value": pd.to_numeric(table[metric], errors="coerce"),
                }
            )
        )
    if not parts:
        return pd.DataFrame(columns=["label", "name", "place", "shown", "value"])
    lines = pd.concat(parts, ignore_index=True)
    whole = lines["place"].notna() & lines["value"].map(math.isfinite)
    broken = set(lines.loc[~whole, "label"])
    lines = lines[~lines["label"].isin(broken)]
    return lines[lines["label"].isin(list(dict.fromkeys(lines["label"]))[:MOST_LINES])]


def make_timeline(run: Run, zone: tzinfo) -> pd.DataFrame:
    """Return when each node began and ended; of those that have done both."""
    table = make_nodes(run, zone)
    table["finished"] = table["started"] + pd.to_timedelta(table["duration"], unit="s")
    table["status"] = [s[0] for s in table["status"]]
    return table.dropna(subset=["started", "finished"])[["node", "status", "started", "finished", "duration"]]


def make_interface(interface: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each parameter and output of an operator or a workflow."""
    return pd.DataFrame(
        [
            {
                "": "takes",
                "name": p["name"],
                "type": p.get("type", ""),
                "default": "required" if p.get("required", True) else cut(show_value(p.get("default")), 80),
                "range": p.get("bounds") or "",
                "about": p.get("doc") or "",
            }
            for p in interface.get("params", ())
        ]
        + [
            {
                "": "gives",
                "name": o["name"],
                "type": o.get("type", ""),
                "default": "",
                "range": "",
                "about": "",
            }
            for o in interface.get("outputs", ())
        ],
        columns=["", "name", "type", "default", "range", "about"],
    )


def diff_texts(before: str, after: str) -> str:
    """Return in what two texts differ, as a unified diff; empty where they do not."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=3)
    return "\n".join(lines)


def to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV with numbers in full."""
    return flatten(table).to_csv(index=False).encode()


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return a table as Parquet."""
    file = io.BytesIO()
    flatten(table).to_parquet(file, index=False)
    return file.getvalue()


def flatten(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for other programs: a status is a word, not a list of one."""
    if "status" not in table:
        return table
    return table.assign(status=[s[0] if isinstance(s, list) else s for s in table["status"]])


def make_nodes(run: Run, zone: tzinfo) -> pd.DataFrame:
    """Return one row for each node of a run: how it fared and when."""
    nodes = run.nodes
    times = {
        name: make_times([getattr(n, name) for n in nodes], zone) for name in ("started_at", "finished_at")
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


def make_trials(table: pd.DataFrame, zone: tzinfo) -> pd.DataFrame:
    """Return the trials of a sweep as they are shown: with links, times of the zone, and short texts."""
    texts = {
        name: [cut(show_value(v), LONGEST_CELL) for v in table[name]]
        for name in table.columns
        if table[name].dtype == object
    }
    return table.assign(
        **texts,
        run_id=[f"/run?id={i}" for i in table["run_id"]],
        status=pd.Series([[s] for s in table["status"]], index=table.index, dtype=object),
        started_at=table["started_at"].dt.tz_convert(zone),
    ).drop(columns=["finished_at"])


def make_sweeps(sweeps: Sequence[Sweep], zone: tzinfo) -> pd.DataFrame:
    """Return one row for each sweep."""
    best = [s.find_best() if len(s.record.metrics) == 1 else None for s in sweeps]
    return pd.DataFrame(
        {
            "sweep": [s.id for s in sweeps],
            "workflow": [s.workflow for s in sweeps],
            "status": [[s.status.value] for s in sweeps],
            "created": make_times([s.record.created_at for s in sweeps], zone),
            "metric": [", ".join(s.record.metrics) for s in sweeps],
            "best": pd.Series([b.values[0] if b else None for b in best], dtype="float64"),
            "trials": [sum(s.counts.values()) for s in sweeps],
            "failed": [s.counts.get("FAILED", 0) + s.counts.get("CRASHED", 0) for s in sweeps],
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
