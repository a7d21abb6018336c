"""The cluster that is kept for sweeps: started once, found again, used, stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.config import get_settings
from flowlearner.lease import is_process
from flowlearner.sweep.warm import ensure_warm, find_warm, stop_warm

pytestmark = pytest.mark.timeout(240)

FLOW = """
from typing import Annotated
from flowlearner import Metric, Range, operator, workflow

@operator
def score(x: int) -> Metric:
    return float(x)

@workflow
def search(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
    return score(x)
"""


@pytest.fixture(autouse=True)
def prefect_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)


def test_a_sweep_uses_the_cluster_that_is_kept_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "warm_flow.py").write_text(FLOW)
    settings = get_settings()
    assert find_warm(settings) is None
    said: list[str] = []
    try:
        warm = ensure_warm(settings, said.append)
        assert said == ["Starting Ray for sweeps - stop it with `flowlearner down`"]
        assert ensure_warm(settings) == warm
        code = "import warm_flow; warm_flow.search.sweep(search='grid')"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        with Client() as client:
            assert client.list_sweeps()[0].best.params == {"x": 3}
        assert find_warm(settings) == warm
    finally:
        assert stop_warm(settings)
    assert not is_process(warm.pid, warm.pid_started)
    assert find_warm(settings) is None
    assert not stop_warm(settings)
