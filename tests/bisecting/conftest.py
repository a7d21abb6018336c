"""Owns what tests of bisecting share: a project whose score depends on its code, parameters and files."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.facade import Workflow
from flowlearner.loading import load_workflow

HELPER = "def scale(n: float) -> float:\n    return 2 * n\n"
FLOW = """
    from pathlib import Path
    from typing import NamedTuple

    from flowlearner import File, Metric, Seed, operator, workflow
    from helper import scale

    class Got(NamedTuple):
        score: Metric

    @operator
    def load(numbers: File) -> float:
        return float(Path(numbers).read_text())

    @operator
    def double(n: float) -> float:
        return scale(n)

    @operator
    def shift(n: float, by: float, seed: Seed = None) -> float:
        return n + by + seed / 1000

    @operator
    def judge(n: float, weight: float, label: str) -> Metric:
        return n * weight

    @workflow(executor="local")
    def flow(numbers: File, by: float = 1.0, weight: float = 1.0, label: str = "a") -> Got:
        return Got(judge(shift(double(load(numbers)), by), weight, label))
"""

Edit = Callable[[str, str, str], None]


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
    (folder / "numbers.txt").write_text("10")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    forget(folder)


def forget(folder: Path) -> None:
    """Drop the modules of a folder, so that they are imported as they are now."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def edit(project: Path) -> Edit:
    """Replaces a text in a file of the project."""

    def change(file: str, before: str, after: str) -> None:
        source = (project / file).read_text()
        assert before in source
        (project / file).write_text(source.replace(before, after))

    return change


@pytest.fixture
def load(project: Path) -> Callable[[], Workflow[..., object]]:
    """Loads the workflow as its files are now."""

    def reload() -> Workflow[..., object]:
        forget(project)
        found = load_workflow("flow.py:flow")
        assert isinstance(found, Workflow)
        return found

    return reload
