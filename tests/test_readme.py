"""What the README shows works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_first_workflow_and_what_is_done_with_it_works(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    workflow, *uses = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    table = re.findall(r"^printf .*$", text, re.MULTILINE)[0]
    subprocess.run(["/bin/sh", "-c", table], cwd=tmp_path, check=True)
    (tmp_path / "tips.py").write_text(workflow.replace("@workflow\n", '@workflow(executor="local")\n'))
    (tmp_path / "uses.py").write_text("".join(uses))
    found = subprocess.run(
        [sys.executable, "uses.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    run, best = found.stdout.splitlines()[:2]
    assert run.split()[0] == best.split()[0]
    assert best.split()[1] == "5.0"
