"""What a runner does at its start about runs that nobody saw end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flowlearner.config import get_settings
from flowlearner.schedule.runner import RunnerFiles, marked_running
from flowlearner.schedule.worker import end_orphans


class _Server:
    """A Prefect server that knows some open flow runs, and refuses to end one of them."""

    def __init__(self, *names: str) -> None:
        self.open = list(names)

    def read_flow_runs(self, *, offset: int, limit: int, **_: Any) -> list[Any]:
        return [SimpleNamespace(id=name) for name in self.open[offset : offset + limit]]

    def set_flow_run_state(self, name: str, state: Any, force: bool) -> None:
        if name == "stuck":
            raise RuntimeError("500 Internal Server Error")
        assert (state.is_crashed(), force) == (True, True)
        self.open.remove(name)


def test_a_run_whose_process_ended_has_crashed_and_one_that_cannot_be_ended_stops_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = get_settings()
    server = _Server("dead", "stuck", "alive", "dead too")
    with marked_running(settings, "alive"):
        end_orphans(server, RunnerFiles(settings), "flowlearner")
    assert server.open == ["stuck", "alive"]
    assert "Flow run stuck stays as it is: RuntimeError: 500" in capsys.readouterr().out
