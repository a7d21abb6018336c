"""Owns what tests of the command line share: calling it in this process, and small workflows in files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowlearner.cli.main import main

TIPS = '''
from typing import Annotated, NamedTuple

import pandas as pd
from flowlearner import Columns, Metric, Range, operator, workflow


class Judged(NamedTuple):
    mean: Metric
    rows: pd.DataFrame


@operator
def clean(rows: Annotated[pd.DataFrame, Columns(tip=float)], smallest: float) -> pd.DataFrame:
    print("cleaning")
    return rows[rows["tip"] >= smallest]


@operator
def judge(rows: pd.DataFrame) -> Judged:
    return Judged(float(rows["tip"].mean()), rows)


@workflow
def tips(rows: pd.DataFrame, smallest: Annotated[float, Range(0, 100)] = 1.0, note: str = "") -> Judged:
    """Average the tips.

    Args:
        rows: one row a guest.
        smallest: smaller tips are left out.
    """
    return judge(clean(rows, smallest))
'''


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document that is all of the standard output."""
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process."""

    def call(*args: str) -> Answer:
        capsys.readouterr()
        try:
            status = main([str(a) for a in args])
        except SystemExit as ended:
            status = int(ended.code or 0)
        found = capsys.readouterr()
        return Answer(status, found.out, found.err)

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with tips.py and tips.csv, the current one; its modules are forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tips.py").write_text(TIPS)
    (folder / "tips.csv").write_text("tip,bill\n1.5,10\n0.5,8\n3.5,20\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def run_tips(cli: Cli, project: Path) -> Callable[..., dict[str, Any]]:
    """Run the workflow on the local executor and return its JSON."""

    def run(*args: str) -> dict[str, Any]:
        answer = cli("run", "tips.py:tips", "-p", "rows=tips.csv", "--executor", "local", "--json", *args)
        assert answer.status == 0, answer.err
        document: dict[str, Any] = answer.document
        return document

    return run
