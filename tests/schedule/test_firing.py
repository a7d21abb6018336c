"""Schedules on a real Prefect server: what fires, what does not, and what outlives every process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from flowlearner import Client
from flowlearner.cli.main import main
from flowlearner.config import Settings
from flowlearner.engine.server import get_server, stop_server
from flowlearner.pages import stop_pages
from flowlearner.records import Status
from flowlearner.schedule.runner import RunnerFiles, get_runner, stop_runner
from tests.schedule.project import await_that, write_project

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 90.0
wait_until = partial(await_that, limit_s=LIMIT_S)
INTERVAL = timedelta(seconds=2)
# Each of its steps starts processes that take seconds, more on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Home:
    """A home with its services, and a user's folder."""

    settings: Settings
    folder: Path
    env: dict[str, str]

    def call(self, *args: str, expects: int = 0, **env: str) -> str:
        """Call the command line in this process; return its standard output, or its message of a failure."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.env, **env}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "path", list(sys.path))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(list(args))
            sys.modules.pop("sched_flows", None)
        assert status == expects, f"{args}: {out.getvalue()}{err.getvalue()}{self.log}"
        return err.getvalue() if expects else out.getvalue()

    def ask(self, *args: str) -> Any:
        return json.loads(self.call(*args, "--json"))

    def find(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(s for s in self.ask("schedules", "list") if s["name"] == name)
        return found

    def list_runs(self, schedule: str) -> list[Any]:
        """Return what is in the catalog under a schedule's name, newest first."""
        if not (self.settings.home_path / "catalog.db").exists():
            return []
        with Client(self.settings) as client:
            return client.list_runs(tags={"schedule": schedule})

    def wait_for_run(self, schedule: str, count: int, status: Status = Status.COMPLETED) -> Any:
        """Return the newest run once there are so many of a status."""

        def find() -> Any:
            found = [r for r in self.list_runs(schedule) if r.status is status]
            return found[0] if len(found) >= count else None

        return wait_until(find, f"{count} runs of '{schedule}' that are {status}; {self.log}")

    def count_open(self, name: str) -> int:
        """Return how many of a schedule's flow runs are due, begin or run, as Prefect's server knows."""
        url = f"{get_server(self.settings).url}/flow_runs/count"
        states = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]
        asked = {
            "deployments": {"name": {"any_": [name]}},
            "flow_runs": {"state": {"type": {"any_": states}}},
        }
        counted: int = httpx.post(url, json=asked).json()
        return counted

    @property
    def log(self) -> str:
        path = RunnerFiles(self.settings).log_path
        return path.read_text()[-20_000:] if path.exists() else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose services run; they are stopped at the end, whatever happened."""
    place = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    env = {
        "FLOWLEARNER_HOME": str(place),
        "PREFECT_PROFILES_PATH": str(place / "none.toml"),
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        # No sweep here needs the one that `up` would start, which takes as long as all the rest.
        "FLOWLEARNER_RAY_ADDRESS": "auto",
    }
    settings = Settings(home=place)
    made = Home(settings, folder, env)
    try:
        made.call("up")
        # What takes seconds to begin does so while others are tested.
        made.call("schedules", "add", "weekly", "--cron", "0 2 * * 0", "--spec", "sweep.yaml")
        made.call("schedules", "trigger", "weekly")
        made.call("schedules", "add", "long", "--every", "5", "sched_flows.py:slow")
        yield made
    finally:
        stop_pages(settings)
        stop_runner(settings)
        stop_server(settings)


def test_up_gives_a_runner_that_status_lists(home: Home) -> None:
    services = {s["name"]: s for s in home.ask("status")}
    assert services["schedules"]["state"] == "running"
    assert services["schedules"]["url"].endswith("/work-pools/work-pool/flowlearner")
    os.kill(services["schedules"]["pid"], 0)


def test_an_interval_fires_until_it_is_paused_and_a_trigger_runs_all_the_same(home: Home) -> None:
    target = ("sched_flows.py:mean", "-p", "rows=rows.csv", "--tag", "team=ops")
    added = home.ask("schedules", "add", "tick", "--every", "2", *target)
    assert (added["name"], added["paused"], added["last"]) == ("tick", False, None)
    assert added["next"] is not None
    run = home.wait_for_run("tick", 1)
    assert run.metrics["mean"] == 2.5
    assert run.record.tags["team"] == "ops"
    assert run.record.prefect_flow_run_id is not None
    assert run.record.command.endswith(
        f"run {home.folder}/sched_flows.py:mean -p rows={home.folder}/rows.csv"
    )

    paused = home.ask("schedules", "pause", "tick")
    assert (paused["paused"], paused["next"]) == (True, None)
    assert paused["last"] is not None
    # What the worker had asked for already begins all the same.
    wait_until(lambda: home.count_open("tick") == 0, "nothing is due or runs any more")
    count = len(home.list_runs("tick"))

    assert home.ask("schedules", "trigger", "tick")["name"] == "tick"
    home.wait_for_run("tick", count + 1)
    # That took longer than its interval.
    assert len(home.list_runs("tick")) == count + 1
    assert (
        home.list_runs("tick")[0].record.started_at - home.list_runs("tick")[1].record.started_at > INTERVAL
    )
    found = home.find("tick")
    assert (found["paused"], found["last_status"]) in ((True, "COMPLETED"), (True, "RUNNING"))


def test_a_schedule_of_a_sweep_leaves_a_sweep_under_its_name(home: Home) -> None:
    def find() -> Any:
        with Client(home.settings) as client:
            return next((s for s in client.list_sweeps() if s.status.is_final), None)

    sweep = wait_until(find, "the sweep ends")
    assert sweep.status is Status.COMPLETED, home.log
    assert dict(sweep.record.tags) == {"from": "spec", "schedule": "weekly"}
    assert (sweep.experiment, len(sweep.trial_records)) == ("nights", 3)
    assert sweep.record.prefect_flow_run_id is not None
    assert home.find("weekly")["last_run_id"] == sweep.id


def test_a_name_is_given_once_or_replaced_and_looked_for_among_those_there_are(home: Home) -> None:
    run = ("--cron", "30 4 * * 1", "--timezone", "Europe/Paris", "sched_flows.py:slow", "-p", "seconds=1")
    refused = home.call("schedules", "add", "weekly", *run, expects=2)
    assert "there is a schedule 'weekly' already" in refused
    assert "--replace" in refused
    assert home.find("weekly")["workflow"] == "mean"

    replaced = home.ask("schedules", "add", "weekly", *run, "--replace")
    assert (replaced["workflow"], replaced["cron"]) == ("slow", "30 4 * * 1")
    assert replaced["params"] == {"seconds": "1"}
    names = [s["name"] for s in home.ask("schedules", "list")]
    assert names == ["long", "tick", "weekly"]
    assert "Did you mean 'weekly'?" in home.call("schedules", "pause", "weekli", expects=2)

    listed = home.call("schedules", "list")
    assert "sched_flows.py:slow" in listed
    assert "30 4 * * 1 Europe/Paris" in listed
    assert "paused" in listed
    assert "fires next at" in home.call("schedules", "resume", "weekly")
    again = home.call("schedules", "add", "tick", "--every", "1", *run[-3:], "--replace", "--json")
    assert json.loads(again)["paused"] is False
    home.call("schedules", "pause", "tick")


def test_prefects_own_command_line_lists_and_runs_them(home: Home) -> None:
    server = get_server(home.settings)
    env = {**os.environ, **home.env, "PREFECT_API_URL": server.url, "COLUMNS": "200"}
    prefect = [str(Path(sys.executable).with_name("prefect")), "deployment"]
    with subprocess.Popen([*prefect, "run", "slow/weekly"], env=env, stdout=subprocess.PIPE) as running:
        listed = subprocess.run(
            [*prefect, "ls"], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert "slow/tick" in listed.stdout
    assert "slow/weekly" in listed.stdout
    home.wait_for_run("weekly", 1)


def test_one_runs_at_a_time_and_others_are_skipped(home: Home) -> None:
    wait_until(lambda: home.list_runs("long"), "the first run")
    wait_until(lambda: home.find("long")["skipped"], "a firing that is skipped")
    assert home.find("long")["last_status"] == "RUNNING"
    assert len(home.list_runs("long")) == 1
    assert "is still going" in home.call("schedules", "trigger", "long", expects=2)


def test_a_run_has_the_environment_of_add_and_goes_on_when_its_runner_is_killed(home: Home) -> None:
    signal_path, store = home.folder / "enough", home.folder / "store"
    library = f"{REPOSITORY}{os.pathsep}{home.folder / 'library'}"
    target = ("sched_library:talking", "-p", f"until={signal_path}")
    env = {
        "PYTHONPATH": library,
        "FLOWLEARNER_ARTIFACTS": str(store),
        "FLOWLEARNER_INLINE_LIMIT_BYTES": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        # What PYTHONPATH does in a new process.
        patch.setattr(sys, "path", [str(home.folder / "library"), *sys.path])
        home.call("schedules", "add", "talking", "--cron", "0 2 * * *", *target, **env)
        sys.modules.pop("sched_library")
    home.call("schedules", "trigger", "talking")
    wait_until(lambda: "still here" in home.log, "it prints")
    runner = get_runner(home.settings).pid
    assert runner is not None
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: get_runner(home.settings).state == "stopped", "the runner is dead")
    assert {s["name"]: s["state"] for s in home.ask("status")}["schedules"] == "stopped"
    count = home.log.count("still here")
    wait_until(lambda: home.log.count("still here") > count + 2, "it goes on printing")
    signal_path.touch()
    home.wait_for_run("talking", 1)
    assert any(store.rglob("*"))


def test_a_run_that_was_killed_with_runner_and_server_is_crashed_and_blocks_nothing(home: Home) -> None:
    server = get_server(home.settings).pid
    assert server is not None
    for pid in (*(pid for _, pid in RunnerFiles(home.settings).list_running()), server):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: home.list_runs("long")[0].status is Status.CRASHED, "its reader sees it")
    states = {s["name"]: s["state"] for s in home.ask("up")}
    assert states == {"prefect": "running", "ray": "external", "schedules": "running", "ui": "running"}
    wait_until(lambda: len(home.list_runs("long")) == 2, "it fires again")
    assert [r.status for r in home.list_runs("long")] == [Status.RUNNING, Status.CRASHED]
    wait_until(lambda: home.find("talking")["last_status"] == "COMPLETED", "Prefect knows its end")


def test_down_ends_what_runs_in_good_order_and_after_up_all_is_as_before(home: Home) -> None:
    before = {s["name"]: (s["paused"], s["cron"], s["every_s"]) for s in home.ask("schedules", "list")}
    assert len(before) == 4
    pids = [pid for _, pid in RunnerFiles(home.settings).list_running()]
    assert home.ask("down") == {"stopped": ["ui", "schedules", "prefect"]}
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()
    assert home.list_runs("long")[0].status in (Status.CANCELLED, Status.CRASHED)
    assert [s["state"] for s in home.ask("status")] == ["stopped", "external", "stopped", "stopped"]

    home.call("up")
    after = {s["name"]: (s["paused"], s["cron"], s["every_s"]) for s in home.ask("schedules", "list")}
    assert after == before
    wait_until(lambda: len(home.list_runs("long")) == 3, "it fires again")
    message = home.call("schedules", "remove", "long", expects=2)
    assert "is still going. Wait for it, or stop it: flowlearner runs cancel" in message
    home.call("runs", "cancel", home.list_runs("long")[0].id)
    wait_until(lambda: home.find("long")["last_status"] == "CANCELLED", "the last run is cancelled")
    assert home.find("long")["paused"] is True
    home.call("schedules", "remove", "long")
    assert [s["name"] for s in home.ask("schedules", "list")] == ["talking", "tick", "weekly"]
