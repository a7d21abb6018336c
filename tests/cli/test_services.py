"""up, status and down on real local services."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.test_process import call, start


@pytest.mark.slow
def test_up_starts_the_services_that_status_lists_and_down_stops(project: Path) -> None:
    try:
        status, out, err = call(project, "up", "--json")
        assert status == 0, err
        services = json.loads(out)
        assert [(s["name"], s["state"]) for s in services] == [
            ("prefect", "running"),
            ("schedules", "running"),
        ]
        for service in services:
            assert service["url"].startswith("http://127.0.0.1:")
            os.kill(service["pid"], 0)
        assert json.loads(call(project, "status", "--json")[1]) == services
        assert json.loads(call(project, "up", "--json")[1]) == services
    finally:
        stopped = call(project, "down", "--json")
    assert (stopped[0], json.loads(stopped[1])) == (0, {"stopped": ["schedules", "prefect"]})
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
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            call(project, "down")
    assert process.returncode == 0
    assert "running" in out
    assert "Stopped the process that runs schedules." in err
    assert "Stopped the local Prefect server." in err
