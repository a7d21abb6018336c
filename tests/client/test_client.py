"""The client: lists, ids, searches, logs, metrics, marks on runs, summaries, values by name and by hash."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowlearner import ArtifactError, Client, NotFoundError, ParameterError, QueryError, Run, UsageError
from flowlearner.catalog import Catalog
from flowlearner.records import Status
from tests.client.flows import (
    MANY_ROWS,
    begin_run,
    curves,
    failing,
    make_dead_process,
    things,
    tips,
)


def make_three() -> list[Run]:
    """Run tips three times, the oldest first; `mean` is 0.75, 1.5 and 2.25."""
    return [
        tips.with_options(experiment=f"e{i}", tags={"team": "ops" if i < 3 else "web"}).run(scale=float(i))
        for i in (1, 2, 3)
    ]


def ids_of(runs: list[Run]) -> list[str]:
    return [r.id for r in runs]


# Lists


def test_lists_are_newest_first_and_come_in_pages(client: Client) -> None:
    first, second, third = ids_of(make_three())
    assert ids_of(client.list_runs()) == [third, second, first]
    assert ids_of(client.list_runs(limit=2)) == [third, second]
    assert ids_of(client.list_runs(limit=2, offset=2)) == [first]
    assert ids_of(client.list_runs(limit=0)) == []
    assert ids_of(client.list_runs(limit=None, offset=1)) == [second, first]


def test_a_listed_run_has_no_nodes_until_it_is_refreshed(client: Client) -> None:
    make_three()
    run = client.list_runs(limit=1)[0]
    assert run.nodes == ()
    assert len(run.refresh().nodes) == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"experiment": "e2"}, [2]),
        ({"workflow": "tips"}, [3, 2, 1]),
        ({"workflow": "curves"}, []),
        ({"tags": {"team": "ops"}}, [2, 1]),
        ({"tags": {"team": "ops"}, "experiment": "e3"}, []),
        ({"owner": "nobody at all"}, []),
        ({"status": "completed"}, [3, 2, 1]),
        ({"status": Status.FAILED}, []),
        ({"status": ["FAILED", "COMPLETED"], "experiment": "e1"}, [1]),
        ({"query": "mean > 1"}, [3, 2]),
        ({"query": "param.scale = 1 or tag.team = web"}, [3, 1]),
        ({"order_by": "metric.mean", "descending": False}, [1, 2, 3]),
        ({"order_by": "param.scale"}, [3, 2, 1]),
        ({"order_by": "tag.team", "limit": 1}, [3]),
        ({"order_by": "created", "descending": False}, [1, 2, 3]),
    ],
)
def test_a_filter_or_order_gives_the_runs_that_it_names(
    client: Client, filters: dict[str, Any], expected: list[int]
) -> None:
    runs = ids_of(make_three())
    assert ids_of(client.list_runs(**filters)) == [runs[i - 1] for i in expected]


def test_a_count_is_the_length_of_the_whole_list(client: Client) -> None:
    make_three()
    assert client.count_runs() == 3
    assert client.count_runs(query="mean > 1", status="COMPLETED") == 2


def test_an_unknown_status_or_order_names_the_nearest(client: Client) -> None:
    make_three()
    with pytest.raises(ParameterError, match=r"no status 'COMPLETE'.*Did you mean 'COMPLETED'"):
        client.list_runs(status="COMPLETE")
    with pytest.raises(ParameterError, match=r"cannot order by 'creatd'.*Did you mean 'created'"):
        client.list_runs(order_by="creatd")


def test_trials_are_listed_when_asked_for(client: Client) -> None:
    plain = tips.run()
    record = client.get_record(plain.id)
    with Catalog(client.settings.catalog_url) as catalog:
        version = catalog.get_workflow("tips").versions[0]
        trial = replace(record, id="trial", sweep_id="sweep", trial_number=0, nodes=())
        catalog.begin_run(trial, version, [])
    assert ids_of(client.list_runs()) == [plain.id]
    assert set(ids_of(client.list_runs(include_trials=True))) == {plain.id, "trial"}
    assert ids_of(client.list_runs(sweep_id="sweep")) == ["trial"]
    assert client.count_runs(include_trials=True) == 2


# Ids


def test_any_prefix_that_one_run_has_names_it(client: Client) -> None:
    for run_id in ("abc1", "abc2", "b"):
        begin_run(client, run_id)
    assert client.get_run("abc1").id == "abc1"
    assert client.get_run("abc2"[:4]).id == "abc2"
    assert client.get_run("b").id == "b"
    client.set_notes("abc1", "x")
    assert [line.message for line in client.logs("b")] == []


def test_an_id_that_starts_another_names_only_itself(client: Client) -> None:
    begin_run(client, "abc")
    begin_run(client, "abcd")
    assert client.get_run("abc").id == "abc"


def test_an_ambiguous_prefix_lists_the_runs_that_have_it(client: Client) -> None:
    begin_run(client, "abc1")
    begin_run(client, "abc2")
    for use in (client.get_run, client.logs, client.get_graph, client.cancel_run):
        with pytest.raises(NotFoundError, match=r"'ab' is ambiguous: abc1, abc2\. Give more of the id"):
            use("ab")


@pytest.mark.parametrize("run_id", ["nope", "", "%", "\x00", "\ud800", "x" * 5000])
def test_an_unknown_id_is_not_found(client: Client, run_id: str) -> None:
    begin_run(client, "abc1")
    with pytest.raises(NotFoundError, match="no run"):
        client.get_run(run_id)


# Searches


def test_a_search_is_a_list_with_a_query(client: Client) -> None:
    _, second, third = ids_of(make_three())
    assert ids_of(client.search("metric.mean >= 1.5 AND NOT experiment = e1")) == [third, second]
    assert ids_of(client.search("metric.mean >= 1.5", limit=1)) == [third]
    assert len(client.search("")) == 3


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("mean >", 6),
        ("mean > 1 and", 12),
        ("(mean > 1", 0),
        ("mean > 'x", 7),
        ("maen > 1", 0),
        ("mean ! 1", 5),
    ],
)
def test_a_query_that_does_not_parse_says_where(client: Client, query: str, position: int) -> None:
    make_three()
    with pytest.raises(QueryError) as caught:
        client.search(query)
    assert caught.value.position == position
    assert str(caught.value).splitlines()[-1] == "  " + " " * position + "^"


QUERY_WORDS = r"""and or not in is null like ( ) , = != < >= ~ !~ 'a' "b" ` ' \ mean metric.mean tag.team
param. status created 1 -3d 2026-01-01 1e999 nan COMPLETED deleted trial sweep"""
WORDS = st.sampled_from(QUERY_WORDS.split())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=9).map(" ".join)))
def test_any_text_is_a_query_or_a_query_error(client: Client, text: str) -> None:
    if not client.list_runs(limit=1):
        tips.run()
    with contextlib.suppress(QueryError):
        client.list_runs(query=text, limit=2)


# Logs, metrics, graph


def test_logs_hold_what_nodes_printed_and_logged(client: Client) -> None:
    run = tips.run(n=4, scale=2.0)
    assert [(line.node, line.message) for line in client.logs(run.id, "load") if "rows" in line.message] == [
        ("load", "4 rows")
    ]
    found = [line for line in client.logs(run.id, "mean") if line.level == "WARNING"]
    assert [line.message for line in found] == ["scaled by 2.0"]
    whole = client.logs(run.id)
    assert {"load", "mean"} <= {line.node for line in whole}
    assert client.list_logs(run.id, limit=1) == whole[-1:]


def test_logs_of_an_unknown_node_name_the_nearest(client: Client) -> None:
    run = tips.run()
    with pytest.raises(NotFoundError, match=r"no node 'lod'.*Did you mean 'load'"):
        client.logs(run.id, "lod")


def test_the_history_of_a_metric_has_its_steps_and_what_is_no_number(client: Client) -> None:
    run = curves.run(steps=2)
    points = client.list_metric_points(run.id, "loss")
    assert [p.step for p in points] == [0, 1, 2, 3]
    assert [p.value for p in points[:2]] == [1.0, 0.5]
    assert math.isnan(points[2].value)
    assert points[3].value == math.inf
    assert [(p.value, p.step) for p in client.list_metric_points(run.id, "worst")] == [(-math.inf, None)]
    assert len(client.list_metric_points(run.id)) == 5
    assert client.list_metric_points(run.id, "unheard") == []


def test_the_graph_of_a_run_has_its_nodes(client: Client) -> None:
    run = tips.run()
    assert [n["name"] for n in client.get_graph(run.id)["nodes"]] == ["load", "mean"]


# Marks


def test_tags_are_set_and_removed_one_by_one(client: Client) -> None:
    run = tips.with_options(tags={"team": "ops", "kind": "a"}).run()
    client.set_tags(run.id, {"kind": "b", "new": "é"})
    assert client.get_run(run.id).tags == {"team": "ops", "kind": "b", "new": "é"}
    client.remove_tags(run.id, ["kind", "unheard"])
    assert client.get_run(run.id).tags == {"team": "ops", "new": "é"}
    assert ids_of(client.list_runs(tags={"new": "é"})) == [run.id]


def test_notes_are_replaced(client: Client) -> None:
    run = tips.with_options(notes="first").run()
    client.set_notes(run.id, "second\nline")
    assert client.get_run(run.id).notes == "second\nline"
    client.set_notes(run.id, "")
    assert client.get_run(run.id).notes == ""


def test_a_mark_on_an_unknown_run_is_not_found(client: Client) -> None:
    tips.run()
    for use in (
        lambda: client.set_tags("nope", {"a": "b"}),
        lambda: client.remove_tags("nope", ["a"]),
        lambda: client.set_notes("nope", "x"),
        lambda: client.delete_runs(["nope"]),
        lambda: client.restore_runs(["nope"]),
    ):
        with pytest.raises(NotFoundError, match="no run 'nope'"):
            use()


def test_a_deleted_run_is_hidden_until_it_is_restored(client: Client) -> None:
    first, second, third = ids_of(make_three())
    assert client.delete_runs([second[:12]]) == [second]
    assert ids_of(client.list_runs()) == [third, first]
    assert ids_of(client.list_runs(include_deleted=True)) == [third, second, first]
    assert ids_of(client.list_runs(deleted_only=True)) == [second]
    assert client.get_run(second).outputs.mean == 1.5
    assert client.restore_runs([second[:12]]) == [second]
    assert ids_of(client.list_runs()) == [third, second, first]


def test_deleting_is_all_or_none(client: Client) -> None:
    first, second, _ = ids_of(make_three())
    with pytest.raises(NotFoundError):
        client.delete_runs([first, "nope"])
    begin_run(client, "live")
    with pytest.raises(UsageError, match=r"still running: live.*flowlearner runs cancel live"):
        client.delete_runs([second, "live"])
    assert client.list_runs(deleted_only=True) == []


def test_a_crashed_run_can_be_deleted(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    assert client.delete_runs(["dead"]) == ["dead"]
    assert client.list_runs() == []


def test_an_ended_run_cannot_be_cancelled(client: Client) -> None:
    run = tips.run()
    with pytest.raises(UsageError, match=f"run {run.id} is COMPLETED; only a run that has not ended"):
        client.cancel_run(run.id)


def test_cancelling_asks_the_process_of_a_run_and_gives_up_waiting(client: Client) -> None:
    begin_run(client, "live")
    run = client.cancel_run("live", wait_s=0)
    assert run.status is Status.RUNNING
    assert client.catalog.is_cancel_requested("live")


def test_cancelling_a_run_whose_process_is_dead_stores_its_crash(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    assert client.cancel_run("dead").status is Status.CRASHED
    assert client.catalog.get_run("dead").status is Status.CRASHED


# Values


def test_a_value_loads_by_output_by_output_of_a_node_and_by_hash(client: Client) -> None:
    run = tips.run(n=4)
    hash_ = run.record.outputs["rows"].hash
    for rows in (
        client.load_output(run.id, "rows"),
        client.load_output(run.id, "load.result"),
        client.load_output(run.id, "load"),
        client.load_artifact(hash_),
        client.load_artifact(hash_[:12]),
    ):
        assert list(rows["x"]) == [0, 1, 2, 3]


def test_an_unknown_output_of_a_run_names_the_nearest(client: Client) -> None:
    run = tips.run()
    with pytest.raises(NotFoundError, match=r"has no output 'load.resalt'.*Did you mean 'load.result'"):
        client.load_output(run.id, "load.resalt")


@pytest.mark.parametrize("hash_", ["", "zz", "\x00", "%"])
def test_an_unknown_hash_is_not_found(client: Client, hash_: str) -> None:
    tips.run()
    with pytest.raises(NotFoundError, match="no artifact"):
        client.load_artifact(hash_)


def test_a_pickled_artifact_is_refused_by_hash_too(client: Client) -> None:
    hash_ = things.run().record.outputs["result"].hash
    with pytest.raises(ArtifactError, match="unsafe=True"):
        client.load_artifact(hash_)
    assert client.load_artifact(hash_, unsafe=True).size == 3


def find_file(client: Client, run: Run) -> Path:
    path = client.get_artifact(run.id, "rows").path
    assert path is not None
    return Path(client.settings.artifacts_url) / path


def test_damaged_bytes_are_refused_and_the_cure_is_named(client: Client) -> None:
    run = tips.run(n=MANY_ROWS)
    file = find_file(client, run)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"not what was stored.*Run the workflow again"):
        _ = run.outputs.rows
    assert len(client.check_catalog()) == 1
    assert tips.run(n=MANY_ROWS).outputs.rows["x"].sum() == sum(range(MANY_ROWS))
    assert client.check_catalog() == []


def test_a_missing_file_is_refused_and_the_cure_is_named(client: Client) -> None:
    run = tips.run(n=MANY_ROWS)
    find_file(client, run).unlink()
    with pytest.raises(ArtifactError, match=r"missing.*Run the workflow again"):
        client.load_output(run.id, "rows")


def test_an_artifact_knows_who_gave_it_and_who_took_it(client: Client) -> None:
    first, second = tips.run(scale=1.0), tips.run(scale=2.0)
    hash_ = first.record.outputs["rows"].hash
    producers = [(u.run_id, u.node, u.role, u.cached) for u in client.find_producers(hash_)]
    assert producers == [(first.id, "load", "output", False), (second.id, "load", "output", True)]
    consumers = [(u.run_id, u.node, u.name) for u in client.find_consumers(hash_)]
    assert consumers == [(first.id, "mean", "rows"), (second.id, "mean", "rows")]
    again = tips.run(n=7)
    client.delete_runs([first.id])
    assert [u.run_id for u in client.find_producers(hash_)] == [second.id]
    assert len(client.find_consumers(hash_, limit=1)) == 1
    assert again.id not in {u.run_id for u in client.find_consumers(hash_)}


def test_a_run_that_was_given_an_artifact_is_among_its_consumers(client: Client) -> None:
    from_catalog = tips.run(n=4).record.outputs["mean"].hash
    assert client.find_artifact(from_catalog).hash == from_catalog
    assert client.find_artifacts([]) == {}
    assert set(client.find_artifacts([from_catalog, "f" * 64])) == {from_catalog}


# Summaries


def test_experiments_count_how_their_runs_ended(client: Client) -> None:
    tips.with_options(experiment="a").run()
    tips.with_options(experiment="a").run()
    gone = tips.with_options(experiment="a").run()
    failing.with_options(experiment="a").submit()
    curves.with_options(experiment="b").run()
    client.delete_runs([gone.id])
    found = {
        e.name: (e.run_count, e.trial_count, e.completed_count, e.failed_count)
        for e in client.list_experiments()
    }
    assert found == {"a": (3, 0, 2, 1), "b": (1, 0, 1, 0)}
    assert [e.name for e in client.list_experiments()] == ["b", "a"]
    assert client.get_experiment("a").run_count == 3
    with pytest.raises(NotFoundError, match=r"no experiment 'aa'.*Did you mean 'a'"):
        client.get_experiment("aa")


def test_workflows_count_versions_and_how_their_runs_ended(client: Client) -> None:
    tips.run()
    tips.run()
    failing.submit()
    found = {w.name: w for w in client.list_workflows()}
    assert set(found) == {"tips", "failing"}
    summary = found["tips"]
    assert (summary.doc, summary.version_count) == ("Average tips.", 1)
    assert (summary.run_count, summary.completed_count, summary.failed_count) == (2, 2, 0)
    assert (found["failing"].completed_count, found["failing"].failed_count) == (0, 1)
    detail = client.get_workflow("tips")
    assert detail.operators == ("load", "mean")
    assert client.get_workflow(detail.versions[0].fingerprint[:10]).summary.name == "tips"
    with pytest.raises(NotFoundError, match=r"no workflow 'tip'.*Did you mean 'tips'"):
        client.get_workflow("tip")


def test_operators_count_calls_apart_from_hits(client: Client) -> None:
    tips.run(scale=1.0)
    tips.run(scale=2.0)
    tips.run(scale=2.0)
    failing.submit()
    found = {o.name: o for o in client.list_operators()}
    assert list(found) == ["load", "mean", "refuse"]
    assert {n: (o.executed_count, o.cached_count, o.success_rate) for n, o in found.items()} == {
        "load": (1, 2, 1.0),
        "mean": (2, 1, 1.0),
        "refuse": (1, 0, 0.0),
    }
    assert found["load"].doc == "Make rows."
    assert found["load"].workflow_count == 1
    detail = client.get_operator("load")
    assert detail.workflows == ("tips",)
    assert "DataFrame" in detail.versions[0].source
    with pytest.raises(NotFoundError, match=r"no operator 'laod'.*Did you mean 'load'"):
        client.get_operator("laod")


# The client itself


def test_a_client_of_an_empty_home_lists_nothing(client: Client) -> None:
    assert client.list_runs() == []
    assert client.list_experiments() == []
    assert client.check_catalog() == []


def test_a_closed_client_opens_again_on_use(client: Client) -> None:
    run = tips.run()
    assert client.get_run(run.id).id == run.id
    client.close()
    assert client.get_run(run.id).id == run.id


def test_runs_of_one_client_are_seen_by_another(client: Client) -> None:
    assert client.list_runs() == []
    run = tips.run()
    assert ids_of(client.list_runs()) == [run.id]
