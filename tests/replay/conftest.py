"""Owns what tests of running again share: a small project in files, and calling its workflows."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.facade import Workflow
from flowlearner.loading import load_workflow

HELPER = "def scale(n: int) -> int:\n    return 2 * n\n"
FLOW = """
    from typing import NamedTuple

    import pandas as pd
    from flowlearner import Metric, Secret, Seed, operator, workflow
    from helper import scale

    class Got(NamedTuple):
        total: int
        score: Metric

    @operator
    def double(n: int) -> int:
        return scale(n)

    @operator
    def triple(n: int) -> int:
        return 3 * n

    @operator
    def longer(n: int, text: str) -> str:
        return text * n

    @operator(cache=False)
    def add_seed(n: int, seed: Seed = None) -> int:
        return n + seed

    @operator
    def judge(n: int, is_broken: bool) -> Metric:
        if is_broken:
            raise ValueError("broken")
        return n / 10

    @workflow(executor="local", experiment="tries", tags={"team": "ops"})
    def flow(n: int = 3, is_broken: bool = False) -> Got:
        total = add_seed(double(n))
        return Got(total, judge(total, is_broken))
"""


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, the current one; its modules are forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    (folder / "helper.py").write_text(HELPER)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def flow(project: Path) -> Workflow[..., object]:
    found = load_workflow("flow.py:flow")
    assert isinstance(found, Workflow)
    return found
