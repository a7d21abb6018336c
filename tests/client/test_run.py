"""A run as people hold it: outputs that load lazily, its JSON, its statuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowlearner import ArtifactError, Client, NotFoundError, RunFailed
from flowlearner.client import Outputs, Run
from flowlearner.lease import is_dead
from flowlearner.records import Artifact, LogLine, NodeRun, Owner, RunRecord, Status
from tests.client.flows import Thing, begin_run, curves, failing, make_dead_process, things, tips


@dataclass
class CountingReader:
    """The reader of a run, which says what is loaded."""

    client: Client
    loaded: list[str] = field(default_factory=list)

    def get_record(self, run_id: str) -> RunRecord:
        return self.client.get_record(run_id)

    def load_output(self, run_id: str, name: str, *, unsafe: bool = False) -> Any:
        self.loaded.append(name)
        return self.client.load_output(run_id, name, unsafe=unsafe)

    def find_artifacts(self, hashes: list[str]) -> dict[str, Artifact]:
        return self.client.find_artifacts(hashes)


def test_an_output_loads_when_it_is_first_asked_for_and_only_once(client: Client) -> None:
    reader = CountingReader(client)
    run = Run(reader, tips.run().record)
    assert list(run.outputs) == ["rows", "mean"]
    assert reader.loaded == []
    assert run.outputs.mean == 0.75
    assert run.outputs["mean"] == 0.75
    assert run.outputs.rows is run.outputs["rows"]
    assert reader.loaded == ["mean", "rows"]


def test_outputs_are_a_collection_of_their_names() -> None:
    outputs = tips.run().outputs
    assert len(outputs) == 2
    assert "rows" in outputs
    assert "row" not in outputs
    assert {"rows", "mean"} <= set(dir(outputs))
    assert "rows" in repr(outputs)


@pytest.mark.parametrize("name", ["row", "means"])
def test_an_unknown_output_names_the_nearest(name: str) -> None:
    run = tips.run()
    nearest = {"row": "rows", "means": "mean"}[name]
    with pytest.raises(AttributeError, match=f"no output '{name}'.*Did you mean '{nearest}'"):
        getattr(run.outputs, name)
    with pytest.raises(NotFoundError, match=f"no output '{name}'.*Did you mean '{nearest}'"):
        run.outputs[name]
    assert not hasattr(run.outputs, "_repr_png_")


def test_an_output_whose_name_is_a_method_is_reached_by_its_key() -> None:
    outputs = Outputs(("keys",), "r", lambda name: name.upper())
    assert outputs["keys"] == "KEYS"


def test_a_pickled_output_is_refused_unless_it_is_trusted() -> None:
    run = things.run(size=3)
    with pytest.raises(ArtifactError, match=r"pickle.*unsafe=True"):
        _ = run.outputs.result
    thing = run.load("result", unsafe=True)
    assert isinstance(thing, Thing)
    assert thing.size == 3


@pytest.mark.parametrize("flow", [tips, curves, things])
def test_the_json_of_a_run_is_read_by_every_parser(flow: Any) -> None:
    run = flow.run()

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    for document in (run.to_json(), run.summary_json()):
        text = json.dumps(document, allow_nan=False)
        assert json.loads(text, parse_constant=refuse) == document


def test_the_json_of_a_run_says_what_ran() -> None:
    run = tips.with_options(experiment="e", tags={"team": "ops"}, notes="first", seed=7).run(n=6, scale=2.0)
    document = run.to_json()
    assert document["id"] == run.id
    assert (document["workflow"], document["experiment"], document["status"]) == ("tips", "e", "COMPLETED")
    assert document["params"] == {"n": 6, "scale": 2.0}
    assert document["metrics"] == {"mean": 2.5}
    assert (document["tags"], document["notes"], document["seed"]) == ({"team": "ops"}, "first", 7)
    assert document["outputs"]["mean"]["value"] == 2.5
    assert document["outputs"]["rows"]["preview"]["rows"] == 6
    assert [n["name"] for n in document["nodes"]] == ["load", "mean"]
    assert document["created_at"] <= document["started_at"] <= document["finished_at"]
    assert document["environment"]["packages"]


def test_metrics_that_are_no_numbers_are_words_in_json() -> None:
    metrics = curves.run().to_json()["metrics"]
    assert metrics == {"loss": "Infinity", "worst": "-Infinity"}


def test_a_failed_run_is_held_by_the_error_and_can_be_read(client: Client) -> None:
    with pytest.raises(RunFailed, match="no 5") as caught:
        failing.run(n=5)
    run = client.get_run(caught.value.run.id)
    assert run.status is Status.FAILED
    assert run.error is not None
    assert "no 5" in run.error.message
    assert run.to_json()["nodes"][0]["error"]["type"] == "ValueError"
    with pytest.raises(NotFoundError, match="FAILED"):
        client.load_output(run.id, "result")


def test_a_run_shows_itself_in_a_notebook_without_raw_html() -> None:
    run = tips.with_options(experiment="<b>bold</b>").run()
    assert "<b>" not in run._repr_html_()
    assert run.id in run._repr_html_()
    assert repr(run) == f"<run {run.id} of tips: COMPLETED, rows, mean>"


def test_refresh_reads_the_run_again(client: Client) -> None:
    run = client.get_run(tips.run().id)
    client.set_tags(run.id, {"team": "ops"})
    assert run.tags == {}
    assert run.refresh().tags == {"team": "ops"}


def test_duration_is_from_start_to_end() -> None:
    run = tips.run()
    assert run.record.started_at is not None
    assert run.record.finished_at is not None
    assert run.duration_s == (run.record.finished_at - run.record.started_at).total_seconds()


def test_a_run_whose_process_is_dead_reads_crashed_everywhere(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    begin_run(client, "live")
    assert client.get_run("dead").status is Status.CRASHED
    assert {r.id: r.status for r in client.list_runs()} == {"dead": "CRASHED", "live": "RUNNING"}
    assert [r.id for r in client.list_runs(status="crashed")] == ["dead"]
    assert [r.id for r in client.list_runs(status=["RUNNING", "PENDING"])] == ["live"]
    assert (client.count_runs(status="CRASHED"), client.count_runs(status="RUNNING")) == (1, 1)
    error = client.get_run("dead").error
    assert error is not None
    assert "ended without finishing" in error.message


def test_reading_a_crash_stores_nothing_and_store_crashes_does(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    begin_run(client, "live")
    client.get_run("dead")
    assert client.catalog.get_run("dead").status is Status.RUNNING
    assert client.store_crashes() == ["dead"]
    stored = client.catalog.get_run("dead")
    assert stored.status is Status.CRASHED
    assert stored.finished_at is not None
    assert stored.error is not None
    assert client.catalog.get_run("live").status is Status.RUNNING
    assert client.store_crashes() == []


@pytest.mark.parametrize("sign", ["none", "node", "log"])
def test_a_crashed_run_ended_at_its_last_recorded_sign_of_life(client: Client, sign: str) -> None:
    begin_run(client, "dead", make_dead_process())
    began = client.catalog.get_run("dead").started_at
    assert began is not None
    later, last = began + timedelta(seconds=5), began + timedelta(seconds=13)
    if sign != "none":
        node = NodeRun("a", "op", 0, Status.RUNNING, started_at=last if sign == "node" else later)
        line = LogLine(last if sign == "log" else later, "INFO", "still here", "a")
        client.catalog.record_nodes("dead", [node], logs=[line])
    expected = began if sign == "none" else last
    assert client.get_run("dead").record.finished_at == expected
    assert client.list_runs()[0].record.finished_at == expected
    client.store_crashes()
    assert client.get_run("dead").duration_s == (0 if sign == "none" else 13)
    assert client.search("duration > 60") == []


def test_a_query_for_crashed_runs_finds_one_whose_process_is_dead(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    begin_run(client, "live")
    assert [r.id for r in client.search("status = CRASHED")] == ["dead"]
    assert [r.id for r in client.search("status = RUNNING")] == ["live"]


def test_nodes_that_a_crash_left_open_read_crashed_before_and_after_it_is_stored(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    nodes = [NodeRun("a", "op", 0, Status.COMPLETED), NodeRun("b", "op", 1, Status.RUNNING)]
    client.catalog.record_nodes("dead", nodes)
    assert [n.status for n in client.get_run("dead").nodes] == ["COMPLETED", "CRASHED"]
    client.store_crashes()
    assert [n.status for n in client.get_run("dead").nodes] == ["COMPLETED", "CRASHED"]


def test_the_next_run_stores_the_crashes_before_it(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    begin_run(client, "live")
    tips.run()
    assert client.catalog.get_run("dead").status is Status.CRASHED
    assert client.catalog.get_run("live").status is Status.RUNNING


def test_a_run_that_ends_while_its_process_is_looked_for_has_not_crashed(client: Client) -> None:
    begin_run(client, "quick", make_dead_process())

    def end_first(owner: Owner) -> bool:
        client.catalog.finish_run("quick", Status.COMPLETED, datetime.now(UTC), (), (), None)
        return is_dead(owner)

    assert client.catalog.store_crashes(end_first) == []
    assert client.get_run("quick").status is Status.COMPLETED
