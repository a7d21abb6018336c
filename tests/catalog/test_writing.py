"""What the engine writes comes back as it was."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import CatalogError, NotFoundError
from flowlearner.records import CacheEntry, ErrorInfo, LogLine, MetricPoint, Status
from tests.catalog.make import (
    CODE,
    ENVIRONMENT,
    NOW,
    PROCESS,
    begin,
    make_artifact,
    make_hash,
    make_node,
    make_operator,
    make_output,
    make_run,
    make_workflow,
)


def test_a_run_comes_back_as_it_was_begun(catalog: Catalog) -> None:
    run = make_run(
        "a" * 16,
        started_at=NOW,
        workflow_fingerprint="f" * 64,
        executor="local",
        run_seed=7,
        params={"depth": 4, "eta": 0.1, "label": "late", "flag": True, "none": None, "list": [1, "a"],
                "rows": {"type": "pandas.DataFrame", "hash": make_hash(1), "source": "/data/f.parquet"}},
        tags={"team": "ops"},
        notes="first try",
        parent_id="b" * 16,
        sweep_id="s1",
        trial_number=3,
        code=CODE,
        environment=ENVIRONMENT,
        process=PROCESS,
        command="flowlearner run x",
        prefect_flow_run_id="p1",
        prefect_api_url="http://127.0.0.1:4200/api",
    )  # fmt: skip
    catalog.begin_run(run, make_workflow(), [make_operator()])
    assert catalog.get_run(run.id) == run


def test_times_keep_their_microseconds(catalog: Catalog) -> None:
    begin(catalog, "a", started_at=NOW + timedelta(microseconds=1))
    assert catalog.get_run("a").started_at == NOW + timedelta(microseconds=1)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e308, 5e-324, -0.0, 10**400, 2**63])
def test_extreme_parameters_come_back(catalog: Catalog, value: float) -> None:
    begin(catalog, "a", params={"x": value})
    found = catalog.get_run("a").params["x"]
    assert found == value
    assert type(found) is type(value)
    assert math.copysign(1, found) == math.copysign(1, value) if value == 0 else True


def test_a_parameter_that_is_nan_comes_back(catalog: Catalog) -> None:
    begin(catalog, "a", params={"x": math.nan, "list": [math.nan, 1]})
    params = catalog.get_run("a").params
    assert math.isnan(params["x"])
    assert math.isnan(params["list"][0])


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE run; --", 'a"b', "%_\\", "naïve 漢字 🎉", "line\nbreak", " ", ""]
)
def test_any_text_comes_back(catalog: Catalog, text: str) -> None:
    begin(catalog, "a", notes=text, tags={"t" + text: text}, experiment="e" + text, params={"p" + text: text})
    run = catalog.get_run("a")
    assert (run.notes, run.tags, run.experiment) == (text, {"t" + text: text}, "e" + text)
    assert run.params == {"p" + text: text}


def test_text_that_no_database_stores_is_replaced(catalog: Catalog) -> None:
    begin(catalog, "a", notes="nul \0 and half \ud800", tags={"t": "\udcff"})
    run = catalog.get_run("a")
    assert run.notes == "nul � and half \\ud800"
    assert run.tags == {"t": "\\udcff"}


def test_an_id_is_used_once(catalog: Catalog) -> None:
    begin(catalog, "a", notes="first")
    with pytest.raises(CatalogError, match="there is a run 'a' already"):
        begin(catalog, "a", notes="second")
    assert catalog.get_run("a").notes == "first"


def test_runs_of_one_version_with_other_graphs_keep_their_own(catalog: Catalog) -> None:
    for run_id, graph in (("a", {"nodes": ["x"]}), ("b", {"nodes": ["x", "y"]})):
        catalog.begin_run(make_run(run_id), make_workflow(graph=graph), [])
    assert catalog.get_graph("a") == {"nodes": ["x"]}
    assert catalog.get_graph("b") == {"nodes": ["x", "y"]}


def test_nodes_come_back_whole_and_in_compiled_order(catalog: Catalog) -> None:
    begin(catalog, "a")
    failed = make_node(
        "second", 1, status=Status.FAILED, attempt=3, miss_reason="first run of this node",
        error=ErrorInfo("ValueError", "no", "Traceback ..."), inputs={"rows": make_hash(1), "key": None},
    )  # fmt: skip
    done = make_node(
        "first", 0, cached=True, cached_from="z", cache_key=make_hash(9), fingerprint="f" * 64,
        outputs=(make_output(1, "rows"), make_output(2, "auc", 0.5), make_output(3, "bad", math.nan)),
        metrics=(MetricPoint("loss", 0.5, 1, NOW), MetricPoint("loss", math.inf, 2)),
    )  # fmt: skip
    catalog.record_nodes("a", [failed, done])
    first, second = catalog.get_run("a").nodes
    assert second == failed
    assert math.isnan(first.outputs[2].value)
    assert replace(first, outputs=first.outputs[:2]) == replace(done, outputs=done.outputs[:2])


def test_recording_a_node_again_replaces_it(catalog: Catalog) -> None:
    begin(catalog, "a")
    catalog.record_nodes("a", [make_node("n", status=Status.RUNNING, finished_at=None)])
    catalog.record_nodes("a", [make_node("n", outputs=(make_output(1),))])
    (node,) = catalog.get_run("a").nodes
    assert (node.status, node.outputs) == (Status.COMPLETED, (make_output(1),))


def test_what_belongs_to_a_node_is_written_with_it_or_not_at_all(catalog: Catalog) -> None:
    begin(catalog, "a")
    entry = CacheEntry("k", "a", "n", ())
    bad = LogLine(NOW, "INFO", None, "n")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        catalog.record_nodes("a", [make_node("n")], [make_artifact(1)], [entry], [bad])
    assert catalog.get_run("a").nodes == ()
    assert catalog.find_artifacts([make_hash(1)]) == {}
    assert catalog.find_cache_entries(["k"]) == {}


@pytest.mark.parametrize(
    "method", ["record_nodes", "append_logs", "append_metrics", "set_tags", "delete_runs"]
)
def test_writing_to_a_run_that_does_not_exist_is_refused(catalog: Catalog, method: str) -> None:
    arguments = {
        "record_nodes": ("nope", [make_node("n")]),
        "append_logs": ("nope", [LogLine(NOW, "INFO", "x")]),
        "append_metrics": ("nope", [MetricPoint("m", 1.0)]),
        "set_tags": ("nope", {"a": "b"}),
        "delete_runs": (["nope"],),
    }[method]
    with pytest.raises(NotFoundError, match="no run 'nope'"):
        getattr(catalog, method)(*arguments)


def test_a_run_ends_once(catalog: Catalog) -> None:
    begin(catalog, "a")
    assert catalog.finish_run("a", Status.CANCELLED, NOW, (), [MetricPoint("m", 1.0)], None)
    assert not catalog.finish_run("a", Status.COMPLETED, NOW, [make_output(1)], [MetricPoint("m", 2.0)], None)
    run = catalog.get_run("a")
    assert (run.status, run.metrics, run.outputs) == (Status.CANCELLED, {"m": 1.0}, {})


def test_an_end_needs_a_final_status(catalog: Catalog) -> None:
    begin(catalog, "a")
    with pytest.raises(ValueError, match="expected a final status, found RUNNING"):
        catalog.finish_run("a", Status.RUNNING, NOW, (), (), None)


def test_outputs_metrics_and_error_of_an_end_come_back(catalog: Catalog) -> None:
    begin(catalog, "a")
    error = ErrorInfo("ValueError", "no", "Traceback")
    outputs = [make_output(2, "model"), make_output(1, "auc", 0.5)]
    points = [MetricPoint("auc", 0.5, None, NOW), MetricPoint("loss", 3.0, 1), MetricPoint("loss", 2.0, 2)]
    catalog.finish_run("a", Status.FAILED, NOW, outputs, points, error)
    run = catalog.get_run("a")
    assert list(run.outputs.values()) == outputs
    assert run.metrics == {"auc": 0.5, "loss": 2.0}
    assert (run.error, run.finished_at) == (error, NOW)
    assert catalog.list_metric_points("a") == points
    assert catalog.list_metric_points("a", "loss") == points[1:]


def test_metrics_that_are_no_finite_number_come_back(catalog: Catalog) -> None:
    begin(catalog, "a")
    points = [MetricPoint("x", math.nan), MetricPoint("y", math.inf), MetricPoint("z", -math.inf)]
    catalog.finish_run("a", Status.COMPLETED, NOW, (), points, None)
    metrics = catalog.get_run("a").metrics
    assert math.isnan(metrics["x"])
    assert (metrics["y"], metrics["z"]) == (math.inf, -math.inf)
    assert [str(p.value) for p in catalog.list_metric_points("a")] == ["nan", "inf", "-inf"]


def test_the_latest_row_keeps_last_least_and_greatest_over_several_writes(catalog: Catalog) -> None:
    begin(catalog, "a")
    for values in ([3.0, 1.0], [math.nan], [2.0, 7.0, 4.0]):
        catalog.append_metrics("a", [MetricPoint("m", v, i) for i, v in enumerate(values)])
    with catalog.database.read() as connection:
        row = connection.exec_driver_sql("SELECT value, least, greatest, count, step FROM metric").one()
    assert tuple(row) == (4.0, 1.0, 7.0, 6, 2)


def test_columns_of_a_run_can_be_changed_while_it_runs(catalog: Catalog) -> None:
    begin(catalog, "a", status=Status.PENDING)
    assert catalog.update_run(
        "a", status=Status.RUNNING, started_at=NOW, prefect_flow_run_id="p", process=PROCESS, params={"x": 2}
    )
    run = catalog.get_run("a")
    assert (run.status, run.started_at, run.prefect_flow_run_id) == (Status.RUNNING, NOW, "p")
    assert (run.process, run.params) == (PROCESS, {"x": 2})
    assert catalog.count_runs(query="param.x = 2") == 1


def test_a_final_status_is_not_changed_back(catalog: Catalog) -> None:
    begin(catalog, "a")
    catalog.finish_run("a", Status.FAILED, NOW, (), (), None)
    assert not catalog.update_run("a", status=Status.RUNNING)
    assert catalog.get_run("a").status is Status.FAILED


def test_only_known_columns_can_be_changed(catalog: Catalog) -> None:
    begin(catalog, "a")
    with pytest.raises(TypeError, match="'id' cannot be changed"):
        catalog.update_run("a", id="b")


def test_a_wish_to_cancel_is_seen_and_too_late_after_the_end(catalog: Catalog) -> None:
    begin(catalog, "a")
    assert not catalog.is_cancel_requested("a")
    assert catalog.request_cancel("a")
    assert catalog.is_cancel_requested("a")
    assert catalog.get_run("a").cancel_requested
    catalog.finish_run("a", Status.CANCELLED, NOW, (), (), None)
    assert not catalog.request_cancel("a")
    with pytest.raises(NotFoundError):
        catalog.request_cancel("nope")


def test_tags_are_set_replaced_and_removed(catalog: Catalog) -> None:
    begin(catalog, "a", tags={"team": "ops", "old": "1"})
    catalog.set_tags("a", {"team": "web", "new": "2"})
    catalog.remove_tags("a", ["old", "never there"])
    assert catalog.get_run("a").tags == {"team": "web", "new": "2"}


def test_notes_are_replaced(catalog: Catalog) -> None:
    begin(catalog, "a", notes="x")
    catalog.set_notes("a", "y")
    assert catalog.get_run("a").notes == "y"


def test_a_deleted_run_is_hidden_and_restored(catalog: Catalog) -> None:
    begin(catalog, "a")
    begin(catalog, "b")
    catalog.delete_runs(["a"])
    assert [r.id for r in catalog.list_runs()] == ["b"]
    assert [r.id for r in catalog.list_runs(deleted_only=True)] == ["a"]
    assert catalog.get_run("a").deleted_at is not None
    catalog.restore_runs(["a"])
    assert catalog.count_runs() == 2
    assert catalog.get_run("a").deleted_at is None


def test_deleting_runs_of_which_one_does_not_exist_deletes_none(catalog: Catalog) -> None:
    begin(catalog, "a")
    with pytest.raises(NotFoundError, match="no run 'nope'"):
        catalog.delete_runs(["a", "nope"])
    assert catalog.count_runs() == 1


def test_deleting_twice_keeps_the_first_time(catalog: Catalog) -> None:
    begin(catalog, "a")
    catalog.delete_runs(["a"])
    first = catalog.get_run("a").deleted_at
    catalog.delete_runs(["a"])
    assert catalog.get_run("a").deleted_at == first


def test_logs_come_back_in_order_and_by_node(catalog: Catalog) -> None:
    begin(catalog, "a")
    lines = [LogLine(NOW, "INFO", f"line {i}\n漢", "even" if i % 2 == 0 else None) for i in range(6)]
    catalog.append_logs("a", lines[:2])
    catalog.record_nodes("a", [], logs=lines[2:])
    assert catalog.list_logs("a") == lines
    assert catalog.list_logs("a", node="even") == lines[::2]
    assert catalog.list_logs("a", limit=2) == lines[-2:]


def begin_and_fail(catalog: Catalog) -> None:
    with catalog.batch():
        begin(catalog, "a")
        catalog.record_nodes("a", [make_node("n")])
        raise RuntimeError


def test_a_batch_is_one_transaction(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError):
        begin_and_fail(catalog)
    assert catalog.count_runs() == 0
    with catalog.batch():
        begin(catalog, "a")
        catalog.record_nodes("a", [make_node("n")])
    assert len(catalog.get_run("a").nodes) == 1


def test_a_write_after_a_batch_that_failed_does_not_believe_in_its_runs(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError):
        begin_and_fail(catalog)
    with pytest.raises(NotFoundError, match="no run 'a'"):
        catalog.record_nodes("a", [make_node("n")])


def test_threads_share_one_catalog(catalog: Catalog) -> None:
    begin(catalog, "a")

    def work(number: int) -> None:
        for i in range(50):
            catalog.record_nodes("a", [make_node(f"n{number}-{i}", number * 100 + i)])
            assert not catalog.is_cancel_requested("a")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(catalog.get_run("a").nodes) == 400


def test_a_part_of_a_batch_that_fails_is_undone_by_itself(catalog: Catalog) -> None:
    begin(catalog, "a")
    bad = LogLine(NOW, "INFO", None, "n")  # type: ignore[arg-type]
    with catalog.batch():
        catalog.record_nodes("a", [make_node("before")])
        with pytest.raises(TypeError):
            catalog.record_nodes("a", [make_node("failed")], logs=[bad])
        catalog.record_nodes("a", [make_node("after")])
    assert {n.name for n in catalog.get_run("a").nodes} == {"before", "after"}


def test_writing_to_a_run_that_another_process_purged_is_refused(catalog: Catalog, url: str) -> None:
    begin(catalog, "a")
    with Catalog(url) as other:
        other.delete_runs(["a"])
        other.purge_runs()
    with pytest.raises(NotFoundError, match="no run 'a'"):
        catalog.record_nodes("a", [make_node("n")])
