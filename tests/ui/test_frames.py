"""What the client returns, as tables."""

from __future__ import annotations

import io
import math
from datetime import UTC

import pandas as pd
import pytest

from flowlearner import Client
from flowlearner.records import MetricPoint
from tests.ui.filling import Filled
from ui import frames


def test_columns_are_metrics_and_what_differs(runs: Filled, client: Client) -> None:
    found = [client.get_run(runs.good), client.get_run(runs.again)]
    assert frames.choose_columns(found) == [
        "metric.accuracy",
        "metric.loss",
        "metric.score",
        "param.rate",
    ]


def test_a_run_is_a_row_with_numbers_in_full(runs: Filled, client: Client) -> None:
    found = [client.get_run(runs.good), client.get_run(runs.odd)]
    table = frames.make_runs(found, ["metric.score", "param.rate", "tag.team", "nonsense"], UTC)
    assert table["metric.score"].tolist()[0] == found[0].metrics["score"]
    assert math.isnan(table["metric.score"][1])
    assert table["tag.team"].tolist()[0] == "ops"
    assert "nonsense" not in table
    assert table["status"].tolist() == [["COMPLETED"], ["COMPLETED"]]


def test_values_of_one_kind_are_numbers_and_of_two_are_texts() -> None:
    assert frames.make_column([1, None, 2.5]).dtype == "float64"
    assert frames.make_column([True, 1]).tolist() == ["True", "1"]
    assert frames.make_column(["x" * 10_000])[0] == "x" * 499 + "…"


def test_metrics_are_compared_by_last_least_greatest_and_difference(runs: Filled, client: Client) -> None:
    comparison = client.compare([runs.good, runs.again])
    good, again = (i[:8] for i in (runs.good, runs.again))
    points = pd.concat(
        [frames.make_points(client.list_metric_points(i), i[:8]) for i in (runs.good, runs.again)]
    )
    views = {
        view: frames.make_metrics(comparison, points, view, 0, with_equal=True)
        for view in frames.METRIC_VIEWS.values()
    }
    assert views["last"].loc["loss", good] == pytest.approx(0.1 / 5)
    assert views["greatest"].loc["loss", again] == pytest.approx(0.3)
    assert views["least"].loc["loss", again] == pytest.approx(0.3 / 5)
    assert views["least"].loc["score", good] == views["last"].loc["score", good]
    assert views["difference"].loc["score", again] == pytest.approx(-0.2)
    assert views["difference"][good].eq(0).all()


def test_metrics_that_are_not_finite_stay_numbers(runs: Filled, client: Client) -> None:
    comparison = client.compare([runs.good, runs.odd])
    table = frames.make_metrics(comparison, frames.make_points([]), "last", 0, with_equal=True)
    assert table.dtypes.eq("float64").all()
    assert table.loc["loss", runs.odd[:8]] == math.inf


def test_a_comparison_holds_what_differs_only(runs: Filled, client: Client) -> None:
    comparison = client.compare([runs.good, runs.again])
    assert frames.make_comparison(comparison, "params", with_equal=False).index.tolist() == ["rate"]
    assert set(frames.make_comparison(comparison, "params", with_equal=True).index) == {"n", "rate", "rounds"}
    nodes = frames.make_comparison(comparison, "nodes", with_equal=False)
    assert "input 'rate'" in nodes.loc["fit", "what differs"]
    assert "score" not in frames.make_comparison(comparison, "outputs", with_equal=True).index


def test_runs_are_grouped_by_all_params_but_the_seed(runs: Filled, client: Client) -> None:
    found = [client.get_run(i) for i in (runs.good, runs.good, runs.again)]
    table = frames.group_by_seed(found, ["score"])
    assert table["n"].tolist() == [2, 1]
    assert table["param.rate"].tolist() == ["0.1", "0.3"]
    assert table["score std"].tolist()[0] == 0.0


def test_points_without_a_step_are_counted() -> None:
    table = frames.make_points([MetricPoint("a", 1.0), MetricPoint("a", 2.0), MetricPoint("b", 3.0, step=7)])
    assert table["step"].tolist() == [0, 1, 7]


def test_a_curve_has_two_finite_values() -> None:
    points = frames.make_points(
        [MetricPoint("a", v) for v in (1.0, 2.0)] + [MetricPoint("b", v) for v in (1.0, math.nan)], "r"
    )
    assert frames.list_curves(points) == ["a"]
    assert frames.list_curves(frames.make_points([])) == []


def test_facts_of_metrics_have_extremes_where_there_are_several_values() -> None:
    points = frames.make_points([MetricPoint("loss", v) for v in (3.0, 1.0, 2.0)])
    table = frames.make_metric_facts({"loss": 2.0, "score": 0.5}, points)
    assert table.to_numpy().tolist() == [["loss", 2.0, 1.0, 3.0, 3], ["score", 0.5, 0.5, 0.5, 1]]


def test_parallel_coordinates_run_from_least_to_greatest_without_broken_lines() -> None:
    table = pd.DataFrame(
        {"label": ["a", "b", "c"], "x": [1, 3, 2], "kind": ["u", "v", "u"], "m": [0.1, 0.2, math.nan]}
    )
    lines = frames.make_parallel(table, ["x", "kind", "m"], "m")
    assert set(lines["label"]) == {"a", "b"}
    assert lines[lines["name"] == "x"]["place"].tolist() == [0.0, 1.0]
    assert lines[lines["name"] == "kind"]["shown"].tolist() == ["u", "v"]


def test_a_timeline_has_nodes_that_ran(runs: Filled, client: Client) -> None:
    table = frames.make_timeline(client.get_run(runs.failed), UTC)
    assert table["node"].tolist() == ["refuse"]
    assert table["status"].tolist() == ["FAILED"]


def test_an_interface_tells_what_is_required(runs: Filled, client: Client) -> None:
    table = frames.make_interface(client.get_operator("fit").versions[0].interface)
    assert table[table["name"] == "rate"]["default"].tolist() == ["required"]
    assert table.iloc[-1][["", "type"]].tolist() == ["gives", "Model"]
    assert frames.make_interface({}).empty


def test_texts_are_compared_line_by_line() -> None:
    assert frames.diff_texts("a\nb", "a\nb") == ""
    assert frames.diff_texts("a\nb", "a\nc").splitlines()[-2:] == ["-b", "+c"]


def test_downloads_hold_exact_numbers_and_plain_statuses(runs: Filled, client: Client) -> None:
    run = client.get_run(runs.good)
    table = frames.make_runs([run], ["metric.score"], UTC)
    for read in (
        pd.read_csv(io.BytesIO(frames.to_csv(table))),
        pd.read_parquet(io.BytesIO(frames.to_parquet(table))),
    ):
        assert read["metric.score"][0] == run.metrics["score"]
        assert read["status"][0] == "COMPLETED"
        assert read["run"][0] == run.id


def test_sweeps_tell_the_best_where_one_metric_counts(runs: Filled, client: Client) -> None:
    table = frames.make_sweeps([client.get_sweep(runs.sweep), client.get_sweep(runs.pair)], UTC)
    assert table["best"][0] == client.get_sweep(runs.sweep).best.metrics["score"]
    assert math.isnan(table["best"][1])
    assert table["trials"].tolist() == [6, 4]


def test_a_preview_of_a_table_has_its_rows_and_columns(runs: Filled, client: Client) -> None:
    preview = client.get_artifact(runs.good, "rows").preview
    assert preview is not None
    head, facts = frames.make_preview(preview)
    assert head.columns.tolist() == ["x", "y", "team"]
    assert facts["column"].tolist() == ["x", "y", "team"]
    assert sum(facts["histogram"][0]) == 20
