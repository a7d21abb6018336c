"""What a person is told of a node is in the catalog by then, whatever becomes of the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.records import Status
from tests.engine.processes import wait_until

pytestmark = pytest.mark.slow

FLOW = """
    import resource, time
    from pathlib import Path
    from flowlearner import operator, workflow

    @operator
    def quick(n: int) -> int:
        return n + 1

    @operator
    def work(n: int) -> int:
        time.sleep(0.1)
        return n + 1

    @operator
    def hold(folder: str, n: int) -> int:
        Path(folder, "ready").touch()
        # One call in C: no other thread of this process goes on meanwhile.
        return sum(range(10**12)) + n

    @operator
    def fill(n: int) -> int:
        # From here on the catalog's log cannot grow: what a full disk does, for this process alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        time.sleep(0.1)
        return n + 1

    @operator
    def fill_and_fail(n: int) -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        raise OSError("no space")

    @workflow
    def filling(n: int = 1) -> int:
        return quick(fill(work(n)))

    @workflow
    def failing(n: int = 1) -> int:
        return quick(fill_and_fail(work(n)))

    @workflow
    def flow(folder: str, n: int = 1) -> int:
        return hold(folder, work(quick(n)))
"""


def make_command(folder: Path, workflow: str, *options: str) -> list[str]:
    path = folder / "flow.py"
    path.write_text(textwrap.dedent(FLOW))
    return [sys.executable, "-m", "flowlearner.cli.main", "run", f"{path}:{workflow}", *options]


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = make_command(folder, "flow", "-p", f"folder={folder}", *options)
    with (folder / "told").open("w") as told, subprocess.Popen(command, stderr=told, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("executor", ["local", "prefect"])
def test_a_node_that_took_time_outlives_a_kill_while_the_next_holds_the_interpreter(
    executor: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if executor == "prefect":
        monkeypatch.setenv("PREFECT_API_URL", request.getfixturevalue("server"))
    with started(tmp_path, "--executor", executor) as process:
        wait_until((tmp_path / "ready").exists)
        # Whoever would write later has had the time for it.
        time.sleep(0.5)
        process.kill()
    assert "work: completed" in (tmp_path / "told").read_text()
    (run,) = Client().list_runs()
    assert run.status is Status.CRASHED
    ended = [n.name for n in run.refresh().nodes if n.status is Status.COMPLETED]
    assert ended == ["quick", "work"]


@pytest.mark.parametrize(
    ("workflow", "lost"), [("filling", "fill\n"), ("failing", "fill_and_fail (OSError: no space)\n")]
)
def test_of_a_run_that_a_full_disk_ended_nothing_is_told_that_is_not_recorded(
    workflow: str, lost: str, tmp_path: Path
) -> None:
    command = make_command(tmp_path, workflow, "--executor", "local")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    words = (": completed", ": failed", ": cancelled", ": skipped")
    ended = [line for line in done.stderr.splitlines() if any(word in line for word in words)]
    assert [line.partition(" in ")[0] for line in ended] == ["work: completed"]
    assert f"Not recorded, so that it runs again: {lost}" in done.stderr
    assert "Running" not in done.stdout
    assert "Broke off: its end could not be recorded; 1 finished node is kept" in done.stdout
    (run,) = Client().list_runs()
    assert run.status is Status.CRASHED
    assert [n.name for n in run.refresh().nodes if n.status is Status.COMPLETED] == ["work"]
