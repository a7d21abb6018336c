"""Asks a Prefect server as any other program would."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.engine.processes import wait_until


class Api:
    """The server's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def find_flow_run(self, run_id: str) -> dict[str, Any]:
        found = self.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": [run_id]}}})
        assert len(found) == 1
        flow_run: dict[str, Any] = found[0]
        return flow_run

    def wait_for_tasks(self, run_id: str, count: int) -> dict[str, dict[str, Any]]:
        """Return the task runs by name once they have final states: the server takes them in as events."""
        flow_run = self.find_flow_run(run_id)

        def read() -> dict[str, dict[str, Any]]:
            body = {"flow_runs": {"id": {"any_": [flow_run["id"]]}}, "limit": 200, "offset": 0}
            return {t["name"]: t for t in self.ask("/task_runs/filter", body)}

        final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
        wait_until(lambda: sum(t["state_type"] in final for t in read().values()) == count)
        return read()
