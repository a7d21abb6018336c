"""Processes that die or stand still within a run or sweep: what others see of it, do, and tell Prefect."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flowlearner import Client, UsageError, operator, workflow
from flowlearner.catalog import Catalog
from flowlearner.config import get_settings
from flowlearner.engine.base import NodeEvent, RunListener, RunOptions
from flowlearner.engine.crashes import settle_all, settle_crashes
from flowlearner.engine.submit import execute
from flowlearner.errors import LeaseLost
from flowlearner.lease import get_process_owner
from flowlearner.records import Owner, RunRecord, Status
from flowlearner.sweep.resume import resume_sweep
from tests.catalog.make import begin, begin_sweep
from tests.engine.api import Api
from tests.engine.processes import LIMIT_S, is_running, wait_until
from tests.heartbeats import QUICK_COMMANDS, find_beating, stop, stop_until_expired

FLOWS = """
    import time
    from pathlib import Path
    from typing import Annotated
    import flowlearner
    from flowlearner import Metric, Range, operator, workflow

    @operator
    def first(n: int) -> int:
        return n + 1

    @operator
    def wait(n: int) -> int:
        Path("waiting").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        print("late")
        flowlearner.report(late=1.0)
        return n + 1

    @operator
    def last(n: int) -> list[int]:
        return [n] * 30_000

    @workflow
    def slow(n: int = 1) -> list[int]:
        return last(wait(first(n)))

    @operator
    def score(n: int, x: int) -> Metric:
        return n * x

    @workflow(executor="local")
    def search(x: Annotated[int, Range(1, 4)] = 1) -> Metric:
        return score(wait(x), x)
"""
# As with Ray, whose workers take long to start: the flow run is kept beside the driver.
SWEEP_ON_PREFECT = """
import os, threading
from flowlearner.cli.main import main
from flowlearner.engine.base import Budget
from flowlearner.engine.local import LocalLauncher
from flowlearner.sweep import submit
from flowlearner.sweep.beside import FlowBeside

def execute(submission, *, sweep_id=None, history=None):
    ready = threading.Event()
    ready.set()
    beside = FlowBeside(submission, os.environ["PREFECT_API_URL"], ready)
    with LocalLauncher() as launcher:
        budget = Budget.of_machine()
        return submit.run_sweep(
            submission, launcher, budget, sweep_id=sweep_id, history=history, beside=beside
        )[0]

submit.execute_sweep = execute
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows.py").write_text(textwrap.dedent(FLOWS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start commands with short heartbeats that wait in the middle, until there is a file `go`."""
    processes: list[subprocess.Popen[str]] = []

    def begin_one(*args: str, before: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", before + QUICK_COMMANDS, *args],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        wait_until(lambda: (folder / "waiting").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process

    yield begin_one
    for process in processes:
        process.kill()
        process.communicate()


def dump() -> list[str]:
    """Return all that the catalog holds, but for leases."""
    with sqlite3.connect(get_settings().home_path / "catalog.db") as connection:
        lines = list(connection.iterdump())
    connection.close()
    return [line for line in lines if not line.startswith('INSERT INTO "lease"')]


def finish(process: subprocess.Popen[str]) -> str:
    """Let a stopped process go on; check that it ends in good order, and return what it says."""
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    return out + err


# A process that is killed


@pytest.mark.slow
@pytest.mark.parametrize("by", ["run", "cancel", "resume"])
def test_whoever_writes_next_records_the_crash_and_tells_prefect(
    api: Api, start: Start, folder: Path, by: str
) -> None:
    process = start("run", "flows.py:slow")
    client = Client()
    (run,) = client.list_runs()
    assert api.find_flow_run(run.id)["state_type"] == "RUNNING"
    process.kill()
    process.wait()
    assert client.get_run(run.id).status is Status.CRASHED
    (folder / "go").touch()
    if by == "run":
        one.run()
    elif by == "cancel":
        client.cancel_run(run.id)
    else:
        assert client.resume(run.id, executor="local").status is Status.COMPLETED
    assert client.catalog.get_run(run.id).status is Status.CRASHED
    assert api.find_flow_run(run.id)["state_type"] == "CRASHED"


@pytest.mark.slow
@pytest.mark.parametrize("by", ["run", "resume"])
def test_prefect_hears_of_a_sweep_whose_driver_was_killed(
    api: Api, start: Start, folder: Path, by: str
) -> None:
    process = start("sweep", "flows.py:search", "--trials", "3", before=SWEEP_ON_PREFECT)
    client = Client()
    (sweep,) = client.list_sweeps()
    wait_until(lambda: client.catalog.get_sweep(sweep.id).prefect_flow_run_id)
    process.kill()
    process.wait()
    assert client.get_sweep(sweep.id).status is Status.CRASHED
    (folder / "go").touch()
    if by == "run":
        one.run()
        assert client.catalog.get_sweep(sweep.id).status is Status.CRASHED
    else:
        resume_sweep(sweep.id, get_settings())
        assert client.catalog.get_sweep(sweep.id).status is Status.COMPLETED
    assert api.find_flow_run(sweep.id)["state_type"] == "CRASHED"


@operator
def give(n: int) -> int:
    return n


@workflow(executor="local")
def one(n: int = 1) -> int:
    return give(n)


@pytest.mark.slow
def test_a_server_that_was_away_is_told_when_it_is_back(api: Api) -> None:
    """The flow run goes on for Prefect, as nobody could tell it that the run has crashed."""
    body = {"flow_id": api.ask("/flows/", {"name": "away"})["id"], "name": uuid.uuid4().hex}
    states = {"crashed": "RUNNING", "cancelled": "CANCELLING", "going": "RUNNING", "sweep": "RUNNING"}
    flow_runs: dict[str, str] = {}
    with Catalog(get_settings().catalog_url) as catalog:
        for name, state in states.items():
            made = api.ask("/flow_runs/", body | {"state": {"type": state}})
            flow_runs[name] = made["id"]
            link = {"prefect_flow_run_id": made["id"], "prefect_api_url": "http://127.0.0.1:9/api"}
            if name == "sweep":
                begin_sweep(catalog, name)
                process = catalog.get_sweep(name).process
                assert process is not None
                catalog.link_sweep(name, process, *link.values())
                catalog.store_crashed_sweeps(lambda _: True)
            else:
                begin(catalog, name, process=get_process_owner(), status=Status.RUNNING, **link)
                if name != "going":
                    catalog.store_crash(name, get_process_owner())
    settle_all(get_settings(), api.url)
    ends = {name: api.ask(f"/flow_runs/{i}")["state_type"] for name, i in flow_runs.items()}
    assert ends == {"crashed": "CRASHED", "cancelled": "CRASHED", "going": "RUNNING", "sweep": "CRASHED"}


def test_a_catalog_or_a_server_that_does_not_answer_fails_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9/api"
    settle_all(get_settings(), nobody)
    Path(get_settings().home_path / "catalog.db").write_bytes(b"no database" * 1000)
    settle_all(get_settings(), nobody)
    assert Path(get_settings().home_path / "catalog.db").read_bytes().startswith(b"no database")


def test_no_beating_process_outlives_a_killed_run(start: Start) -> None:
    process = start("run", "flows.py:slow", "--executor", "local")
    (beating,) = find_beating(process.pid)
    process.kill()
    wait_until(lambda: not is_running(beating))


# A process that stands still


@pytest.mark.parametrize("executor", ["local", pytest.param("prefect", marks=pytest.mark.slow)])
def test_a_run_that_was_taken_over_while_its_process_stood_still_writes_nothing_more(
    start: Start, folder: Path, executor: str, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue("api") if executor == "prefect" else None
    process = start("run", "flows.py:slow", "--executor", executor)
    client = Client()
    (run,) = client.list_runs()
    wait_until(lambda: {n.name: n.status for n in client.get_run(run.id).nodes}.get("first") == "COMPLETED")
    stop(process.pid)
    assert client.get_run(run.id).status is Status.RUNNING
    (folder / "go").touch()
    again = client.resume(run.id, executor="local")
    assert len(again.outputs.result) == 30_000
    assert {n.name: n.cached for n in again.nodes} == {"first": True, "wait": False, "last": False}
    client.close()
    before = dump()
    said = finish(process)
    assert f"run {run.id}: another process took this one for dead" in said
    assert f"flowlearner runs show {run.id[:8]}" in said
    assert dump() == before
    stopped = Client().get_run(run.id)
    assert (stopped.status, stopped.outputs._names, stopped.metrics) == (Status.CRASHED, (), {})
    assert {n.name: n.status for n in stopped.nodes} == {"first": "COMPLETED", "wait": "CRASHED"}
    if api is not None:
        assert api.find_flow_run(run.id)["state_type"] == "CRASHED"


@pytest.mark.parametrize("on_prefect", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_sweep_that_was_taken_over_while_its_driver_stood_still_is_not_written_to_by_it(
    start: Start, folder: Path, on_prefect: bool, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue("api") if on_prefect else None
    before_it = SWEEP_ON_PREFECT if on_prefect else ""
    process = start("sweep", "flows.py:search", "--trials", "3", "--parallel", "1", before=before_it)
    client = Client()
    (sweep,) = client.list_sweeps()
    if api is not None:
        wait_until(lambda: client.catalog.get_sweep(sweep.id).prefect_flow_run_id)
    stop(process.pid)
    (folder / "go").touch()
    resume_sweep(sweep.id, get_settings())
    assert client.get_sweep(sweep.id).counts == {"COMPLETED": 3}
    client.close()
    before = dump()
    assert f"sweep {sweep.id}: another process took this one for dead" in finish(process)
    assert dump() == before
    assert Client().get_sweep(sweep.id).status is Status.COMPLETED
    if api is not None:
        assert api.find_flow_run(sweep.id)["state_type"] == "CRASHED"


def test_a_sweep_that_was_recorded_as_crashed_while_its_driver_stood_still_ends_there(
    start: Start, folder: Path
) -> None:
    process = start("sweep", "flows.py:search", "--trials", "3", "--parallel", "1")
    stop_until_expired(process.pid)
    with Catalog(get_settings().catalog_url) as catalog:
        # As a process of another host does, which only sees that the lease has run out.
        assert len(catalog.store_crashed_sweeps(catalog.has_expired)) == 1
        catalog.store_crashes(catalog.has_expired)
    before = dump()
    (folder / "go").touch()
    assert "another process took this one for dead" in finish(process)
    assert dump() == before
    with Client() as client:
        (sweep,) = client.list_sweeps()
        assert sweep.status is Status.CRASHED
        resume_sweep(sweep.id, get_settings())
        assert client.get_sweep(sweep.id).counts == {"COMPLETED": 3}


class _Crashing(RunListener):
    """Records the run as crashed, as another process would, just before its end is recorded."""

    def __init__(self) -> None:
        self.finished: list[Status] = []

    def node_changed(self, event: NodeEvent) -> None:
        if event.status is Status.COMPLETED:
            with Catalog(get_settings().catalog_url) as catalog:
                assert catalog.store_crash(event.run_id, get_process_owner())

    def run_finished(self, run_id: str, status: Status) -> None:
        self.finished.append(status)


def test_a_run_that_was_recorded_as_crashed_does_not_end_as_if_it_were_not() -> None:
    listener = _Crashing()
    with pytest.raises(LeaseLost) as raised:
        execute(one, {}, RunOptions(executor="local"), get_settings(), listener)
    assert listener.finished == [Status.CRASHED]
    assert raised.value.run_id is not None
    run = Client().get_run(raised.value.run_id)
    assert (run.status, list(run.outputs)) == (Status.CRASHED, [])


# A process that is not seen


@pytest.fixture(params=["host", "container"])
def elsewhere(request: pytest.FixtureRequest) -> Owner:
    ours = get_process_owner()
    if request.param == "host":
        return replace(ours, host="elsewhere")
    return replace(ours, boot_id=ours.boot_id.rpartition("/")[0] + "/4026530000")


def crash_elsewhere(client: Client, process: Owner) -> RunRecord:
    """Make a run that did not complete, of a process that cannot be seen; its lease holds for 1,000 s."""
    run = one.run()
    with client.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE run SET status = 'RUNNING', finished_us = NULL")
    client.catalog.update_run(run.id, process=process)
    client.catalog.begin_lease(process, 500)
    return client.catalog.get_run(run.id)


def read_all(client: Client, run_id: str) -> set[Status]:
    """Return the status of a run in everything that shows it."""
    found = {client.get_run(run_id).status}
    found |= {r.status for r in client.list_runs()}
    for status in (Status.RUNNING, Status.CRASHED):
        by_filter = client.list_runs(status=status)
        by_query = client.list_runs(query=f"status = '{status}'")
        assert [r.id for r in by_filter] == [r.id for r in by_query]
        assert client.count_runs(status=status) == len(by_filter)
        found |= {status for _ in by_filter}
    return found


def test_a_run_of_elsewhere_runs_for_as_long_as_its_lease_holds_and_has_crashed_for_everybody_then(
    elsewhere: Owner,
) -> None:
    with Client() as client:
        run = crash_elsewhere(client, elsewhere)
        assert read_all(client, run.id) == {Status.RUNNING}
        assert settle_crashes(client.catalog) == []
        client.catalog.begin_lease(elsewhere, 0.01)
        wait_until(lambda: client.catalog.has_expired(elsewhere))
        assert read_all(client, run.id) == {Status.CRASHED}
        assert client.catalog.get_run(run.id).status is Status.RUNNING
        one.run()
        assert client.catalog.get_run(run.id).status is Status.CRASHED


def test_a_sweep_of_elsewhere_runs_for_as_long_as_its_lease_holds(elsewhere: Owner) -> None:
    with Client() as client:
        begin_sweep(client.catalog, "a")
        client.catalog.update_sweep("a", process=elsewhere)

        def read() -> set[Status]:
            return {client.get_sweep("a").status, *(s.status for s in client.list_sweeps())}

        client.catalog.begin_lease(elsewhere, 500)
        assert read() == {Status.RUNNING}
        client.catalog.begin_lease(elsewhere, 0.01)
        wait_until(lambda: client.catalog.has_expired(elsewhere))
        assert read() == {Status.CRASHED}
        one.run()
        assert client.catalog.get_sweep("a").status is Status.CRASHED


def test_who_resumes_a_run_of_elsewhere_waits_for_its_lease(elsewhere: Owner) -> None:
    with Client() as client:
        run = crash_elsewhere(client, elsewhere)
        client.catalog.begin_lease(elsewhere, 0.4)
        again = client.resume(run.id)
        assert again.outputs.result == 1
        assert client.catalog.get_run(run.id).status is Status.CRASHED


def test_a_run_of_elsewhere_without_a_lease_is_neither_dead_nor_resumed(elsewhere: Owner) -> None:
    with Client() as client:
        run = crash_elsewhere(client, elsewhere)
        with client.catalog.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM lease")
        assert read_all(client, run.id) == {Status.RUNNING}
        with pytest.raises(UsageError, match="still runs"):
            client.resume(run.id)
