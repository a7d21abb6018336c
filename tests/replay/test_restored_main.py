"""A script that is restored from its snapshot has the code, and so the keys, that it had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowlearner import Client

SCRIPT = """
from __future__ import annotations
import math
try:
    import statistics as stats
except ImportError:
    stats = None
from flowlearner import operator, workflow

@operator
def root(n: int) -> float:
    return math.sqrt(n) + stats.mean([n, n])

@workflow(executor="local")
def flow(n: int = 4) -> float:
    return root(n)

if __name__ == "__main__":
    flow.run()
"""


@pytest.mark.slow
def test_what_calls_functions_of_imported_modules_hits(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path)
    with Client() as client:
        first = client.list_runs()[0].refresh()
        again = client.rerun(first.id)
        assert [n.fingerprint for n in again.refresh().nodes] == [n.fingerprint for n in first.nodes]
        assert [n.cached for n in again.nodes] == [True]
