"""up, status and down on real local services."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from flowlearner.engine.guard import list_descendants
from tests.cli.test_process import call, start
from tests.engine.processes import is_running, wait_until


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_up_starts_the_services_that_status_lists_and_starts_again_and_down_stops(project: Path) -> None:
    try:
        status, out, err = call(project, "up", "--json")
        assert status == 0, err
        services = json.loads(out)
        assert [(s["name"], s["state"]) for s in services] == [
            ("prefect", "running"),
            ("ray", "running"),
            ("schedules", "running"),
            ("ui", "running"),
        ]
        for service in services:
            assert service["url"].removeprefix("http://").startswith("127.0.0.1:")
            os.kill(service["pid"], 0)
        family = [p for s in services for p in (s["pid"], *list_descendants(s["pid"]))]
        assert json.loads(call(project, "status", "--json")[1]) == services
        assert json.loads(call(project, "up", "--json")[1]) == services

        killed = {s["name"]: s["pid"] for s in services if s["name"] != "prefect"}
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        # Whoever made the process has yet to see that it ended.
        wait_until(lambda: not any(is_running(pid) for pid in killed.values()))
        status, out, err = call(project, "status", "--json")
        assert [s["state"] for s in json.loads(out)] == ["running", "stopped", "stopped", "stopped"]
        assert err == "Not running: ray, schedules, ui. Start them: flowlearner up\n"
        cured = json.loads(call(project, "up", "--json")[1])
        assert [s["state"] for s in cured] == ["running"] * 4
        assert not {s["pid"] for s in cured} & set(killed.values())
        family += [p for s in cured for p in (s["pid"], *list_descendants(s["pid"]))]
    finally:
        stopped = call(project, "down", "--json")
    assert (stopped[0], json.loads(stopped[1])) == (0, {"stopped": ["ui", "schedules", "ray", "prefect"]})
    assert [pid for pid in family if is_running(pid)] == []
    for after in json.loads(call(project, "status", "--json")[1]):
        assert (after["state"], after["pid"]) == ("stopped", None)


@pytest.mark.slow
def test_up_in_the_foreground_stops_what_it_started_at_an_interrupt(project: Path) -> None:
    with start(project, "up", "--foreground") as process:
        try:
            assert process.stderr is not None
            said = ""
            while "Press Ctrl-C to stop" not in said:
                line = process.stderr.readline()
                assert line, f"it ended early: {said}"
                said += line
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=90)
        finally:
            process.kill()
            call(project, "down")
    assert process.returncode == 0
    assert "running" in out
    assert "Stopped the process that runs schedules." in err
    assert "Stopped the local Ray cluster." in err
    assert "Stopped the local Prefect server." in err
