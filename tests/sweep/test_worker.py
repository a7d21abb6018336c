"""A worker loads the user's code, and starts nothing that a script would start."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.sweep import worker
from flowlearner.sweep.worker import Code, install_code

SCRIPT = """
    from flowlearner import Metric, operator, workflow

    @operator
    def score(x: int) -> Metric:
        return x

    @workflow(executor="local")
    def flow(x: int = 1) -> Metric:
        return score(x)

    flow.run()
"""


def test_a_script_that_is_loaded_from_its_snapshot_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(worker, "_current", [])
    name = "flowlearner_restored_main"
    modules = {name: {"source": textwrap.dedent(SCRIPT), "package": False}}
    install_code(Code("c0de" * 16, name, modules, ()))
    with Client() as client:
        assert client.count_runs() == 0
