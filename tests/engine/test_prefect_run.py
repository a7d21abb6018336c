"""Runs on a real Prefect server: what Prefect sees of them, and that it agrees with the catalog."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import prefect
import pytest

from flowlearner import Client, RunFailed, operator, workflow
from flowlearner.records import Status
from tests.engine.api import Api
from tests.engine.processes import LIMIT_S, is_running, wait_until

pytestmark = [
    pytest.mark.slow,
    # Prefect's client leaves an event loop to the garbage collector when a test's thread ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Halves(NamedTuple):
    left: int
    right: int


@operator
def halve(number: int) -> Halves:
    logging.getLogger("user").info("halving %s", number)
    print("printed")
    return Halves(number // 2, number - number // 2)


@operator
def double(number: int) -> int:
    return 2 * number


@operator
def add(a: int, b: int) -> int:
    return a + b


@workflow
def sums(number: int = 10) -> int:
    """Halve, double, add."""
    halves = halve(number)
    return add(double(halves.left), double(halves.right))


@operator(retries=2)
def fail(number: int) -> int:
    raise ValueError(f"no {number}")


@workflow
def failing(number: int = 1) -> int:
    other = double(number)
    return add(double(fail(number)), other)


def test_the_flow_of_a_workflow_is_a_genuine_prefect_flow() -> None:
    assert isinstance(sums.flow, prefect.Flow)
    assert sums.flow.name == "sums"
    assert list(sums.flow.parameters.properties) == ["number"]
    assert sums.flow.description == "Halve, double, add."


def test_prefect_shows_the_run_and_its_nodes_by_the_same_names(api: Api) -> None:
    run = sums.with_options(tags={"team": "ops"}).run(number=21)
    assert run.outputs.result == 42
    flow_run = api.find_flow_run(run.id)
    assert flow_run["state_type"] == "COMPLETED"
    assert flow_run["parameters"] == {"number": 21}
    assert run.record.prefect_flow_run_id == flow_run["id"]
    assert "team:ops" in flow_run["tags"]
    tasks = api.wait_for_tasks(run.id, 4)
    assert set(tasks) == {"halve", "double", "double_2", "add"} == {n.name for n in run.nodes}
    assert {t["state_type"] for t in tasks.values()} == {"COMPLETED"}
    assert all("team:ops" in t["tags"] for t in tasks.values())
    # The dependencies are what Prefect draws.
    above = {i["id"] for inputs in tasks["add"]["task_inputs"].values() for i in inputs if "id" in i}
    assert above == {tasks["double"]["id"], tasks["double_2"]["id"]}


def test_hits_are_not_submitted_to_prefect(api: Api) -> None:
    sums.run(number=30)
    again = sums.run(number=30)
    assert all(n.cached for n in again.nodes)
    assert api.find_flow_run(again.id)["state_type"] == "COMPLETED"
    assert api.wait_for_tasks(again.id, 0) == {}


def test_logs_reach_prefect_and_the_catalog(api: Api) -> None:
    run = sums.run(number=41)
    lines = {(line.node, line.message) for line in Client().logs(run.id)}
    assert {("halve", "halving 41"), ("halve", "printed")} <= lines
    task = api.wait_for_tasks(run.id, 4)["halve"]

    def messages() -> set[str]:
        found = api.ask("/logs/filter", {"logs": {"task_run_id": {"any_": [task["id"]]}}})
        return {line["message"] for line in found}

    wait_until(lambda: {"halving 41", "printed"} <= messages())


def test_a_failing_node_fails_the_run_and_the_rest_is_told_apart(api: Api) -> None:
    with pytest.raises(RunFailed, match="node 'fail' failed: ValueError: no 1") as raised:
        failing.run()
    run = raised.value.run
    states = {n.name: n.status for n in run.nodes}
    assert states == {"double": "COMPLETED", "fail": "FAILED", "double_2": "SKIPPED", "add": "SKIPPED"}
    assert {n.name: n.attempt for n in run.nodes}["fail"] == 3
    flow_run = api.find_flow_run(run.id)
    assert flow_run["state_type"] == "FAILED"
    assert "ValueError: no 1" in flow_run["state"]["message"]
    tasks = api.wait_for_tasks(run.id, 2)
    assert {n: t["state_type"] for n, t in tasks.items()} == {"double": "COMPLETED", "fail": "FAILED"}
    assert tasks["fail"]["run_count"] == 3


def test_a_hundred_nodes_are_all_there_with_their_final_states(api: Api) -> None:
    @workflow
    def many() -> list[int]:
        first = [double(n) for n in range(10)]
        for _ in range(9):
            first = [add(a, b) for a, b in zip(first, first[1:] + first[:1], strict=True)]
        return first

    run = many.with_options(cache=False).run()
    assert run.status is Status.COMPLETED
    assert len(run.nodes) == 100
    assert {t["state_type"] for t in api.wait_for_tasks(run.id, 100).values()} == {"COMPLETED"}


SCRIPT = """
import os
import subprocess
import sys
import time
from pathlib import Path

from flowlearner import operator, workflow


@operator(isolate=True)
def wait_long(mark: str) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(mark).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return 1


@operator
def follow(number: int) -> int:
    return number


@workflow
def waiting(mark: str) -> int:
    return follow(wait_long(mark))


@operator
def double(number: int) -> int:
    return 2 * number


@workflow
def short(number: int = 3) -> int:
    return double(number)


if __name__ == "__main__":
    short.flow.serve(name="nightly", pause_on_shutdown=False)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "flows.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *args],
        cwd=script.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def started(script: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes in sessions of their own, which are ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> subprocess.Popen[str]:
        processes.append(start(script, *args))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def read_pids(mark: Path) -> list[int]:
    wait_until(lambda: mark.exists() and len(mark.read_text().split()) == 2)
    return [int(p) for p in mark.read_text().split()]


def test_ctrl_c_ends_in_cancelled_everywhere_and_no_child_is_left(
    api: Api, started: Callable[..., subprocess.Popen[str]], script: Path
) -> None:
    mark = script.parent / "mark"
    process = started("-m", "flowlearner.cli.main", "run", "flows.py:waiting", "-p", f"mark={mark}", "--json")
    pids = read_pids(mark)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    run = Client().get_run(json.loads(out)["id"])
    assert run.status is Status.CANCELLED
    assert {n.name: n.status for n in run.nodes} == {"wait_long": "CANCELLED", "follow": "CANCELLED"}
    assert api.find_flow_run(run.id)["state_type"] == "CANCELLED"
    wait_until(lambda: not any(is_running(p) for p in pids))


def test_a_run_is_cancelled_from_another_process(
    api: Api, started: Callable[..., subprocess.Popen[str]], script: Path
) -> None:
    mark = script.parent / "mark"
    process = started("-m", "flowlearner.cli.main", "run", "flows.py:waiting", "-p", f"mark={mark}")
    pids = read_pids(mark)
    client = Client()
    run = client.cancel_run(client.list_runs()[0].id)
    assert run.status is Status.CANCELLED
    _, err = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err
    assert api.find_flow_run(run.id)["state_type"] == "CANCELLED"
    wait_until(lambda: not any(is_running(p) for p in pids))


def test_a_run_that_is_cancelled_on_prefects_pages_stops(
    api: Api, started: Callable[..., subprocess.Popen[str]], script: Path
) -> None:
    mark = script.parent / "mark"
    process = started("-m", "flowlearner.cli.main", "run", "flows.py:waiting", "-p", f"mark={mark}")
    pids = read_pids(mark)
    run_id = Client().list_runs()[0].id
    flow_run = api.find_flow_run(run_id)
    api.ask(f"/flow_runs/{flow_run['id']}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    _, err = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err
    run = Client().get_run(run_id)
    assert run.status is Status.CANCELLED
    assert {n.name: n.status for n in run.nodes} == {"wait_long": "CANCELLED", "follow": "CANCELLED"}
    assert api.find_flow_run(run_id)["state_type"] == "CANCELLED"
    wait_until(lambda: not any(is_running(p) for p in pids))


def test_a_process_ends_without_a_stray_line(api: Api, started: Callable[..., subprocess.Popen[str]]) -> None:
    process = started("-m", "flowlearner.cli.main", "run", "flows.py:short")
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "result" in out
    ours = ("run ", "double: ")
    assert [line for line in err.splitlines() if not line.startswith(ours)] == []


def test_a_served_workflow_is_run_by_prefects_own_command_line(
    api: Api, started: Callable[..., subprocess.Popen[str]], script: Path
) -> None:
    served = started(str(script))

    def is_deployed() -> bool:
        assert served.poll() is None, served.communicate()
        return any(d["name"] == "nightly" for d in api.ask("/deployments/filter", {}))

    wait_until(is_deployed)
    command = [sys.executable, "-m", "prefect", "deployment", "run", "short/nightly", "--param", "number=7"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert asked.returncode == 0, asked.stderr
    client = Client()

    def completed() -> bool:
        return any(r.status is Status.COMPLETED for r in client.list_runs(workflow="short"))

    wait_until(completed)
    run = client.list_runs(workflow="short")[0]
    assert run.outputs.result == 14
    shown = subprocess.run(
        [sys.executable, "-m", "prefect", "flow-run", "ls"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert "short" in shown.stdout
