"""A sweep as a process of its own: its streams, its signals, and what it shows on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client
from tests.cli.test_process import REPOSITORY, call, start, wait_for

SLOW = """
import time
from pathlib import Path
from typing import Annotated

from flowlearner import Metric, Operator, Range, operator, workflow

print("while it is imported")


@operator
def load(n: int) -> int:
    print("from an operator")
    return n


@operator
def judge(n: int, x: float, wait_s: float) -> Metric:
    Path(f"begun-{x:.2f}").touch()
    Path("begun").touch()
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline and not Path("go").exists():
        time.sleep(0.02)
    if x > 0.9:
        raise ValueError("too much")
    return n + x


@workflow
def slow(x: Annotated[float, Range(0, 1)] = 0.5, n: int = 3, wait_s: float = 0.0) -> Metric:
    return judge(load(n), x, wait_s)
"""
WORDS = ["sweep", "slow.py:slow", "--executor", "local", "--space", "x=0..1:0.05", "--search", "grid"]
WAITING = [*WORDS, "--parallel", "2", "--wait_s", "30"]


@pytest.fixture
def slow(project: Path) -> Path:
    (project / "slow.py").write_text(SLOW)
    return project


@pytest.mark.slow
def test_with_json_nothing_but_the_document_reaches_standard_output(slow: Path) -> None:
    status, out, err = call(slow, *WORDS, "--json")
    assert status == 0, err
    assert json.loads(out)["counts"] == {"COMPLETED": 19, "FAILED": 2}
    assert "while it is imported" in err


@pytest.mark.slow
def test_the_result_goes_to_standard_output_and_the_course_to_standard_error(slow: Path) -> None:
    status, out, err = call(slow, *WORDS)
    assert status == 0
    assert "Completed" in out
    assert "sweep " not in out.splitlines()[0]
    assert re.search(
        r"^sweep [0-9a-f]{16} of slow: 21 trials, grid for the highest result$", err, re.MULTILINE
    )
    assert "\x1b" not in out + err
    assert out == "\n".join(line.rstrip() for line in out.splitlines()) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_the_trials_in_flight_end(slow: Path, wanted: signal.Signals) -> None:
    with start(slow, *WAITING) as process:
        wait_for(slow / "begun-0.05")
        process.send_signal(wanted)
        time.sleep(1)
        assert process.poll() is None
        (slow / "go").touch()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Stopping: trials in flight end, no more begin. Ctrl-C again stops these too." in err
    sweep = Client().list_sweeps()[0]
    assert (sweep.status, dict(sweep.counts)) == ("CANCELLED", {"COMPLETED": 2})
    assert "2 of 21 trials (2 completed, 19 not begun)" in out
    assert f"flowlearner sweeps resume {sweep.id[:8]}" in out
    status, out, err = call(slow, "sweeps", "resume", sweep.id[:8], "--json")
    assert status == 0, err
    assert sorted(t["number"] for t in json.loads(out)["trials"]) == list(range(21))


@pytest.mark.slow
def test_the_second_interrupt_stops_them(slow: Path) -> None:
    with start(slow, *WAITING, "--json") as process:
        wait_for(slow / "begun-0.05")
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        (slow / "go").touch()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Stopping the trials in flight." in err
    document = json.loads(out)
    assert (document["status"], document["counts"]) == ("CANCELLED", {"CANCELLED": 2})


@pytest.mark.slow
def test_a_sweep_is_stopped_from_another_process(slow: Path) -> None:
    with start(slow, *WAITING) as process:
        wait_for(slow / "begun-0.05")
        sweep = Client().list_sweeps()[0]
        running = call(slow, "sweeps", "show", sweep.id)[1]
        assert f"Stop it: flowlearner sweeps stop {sweep.id[:8]}" in running
        assert "2 of 21 trials (2 running)" in running
        assert " so far" in running
        status, out, err = call(slow, "sweeps", "stop", sweep.id[:8])
        assert status == 0, err
        assert f"Sweep {sweep.id[:8]} was asked to stop" in out
        (slow / "go").touch()
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert sweep.refresh().status == "CANCELLED"


@pytest.mark.slow
def test_a_sweep_whose_process_was_killed_reads_crashed_and_is_resumed(slow: Path) -> None:
    with start(slow, *WAITING) as process:
        wait_for(slow / "begun-0.05")
        sweep = Client().list_sweeps()[0]
        # A driver writes at least every half second.
        time.sleep(1)
        process.kill()
        process.communicate(timeout=30)
    shown = call(slow, "sweeps", "show", sweep.id)[1]
    assert "CRASHED" in shown
    assert "2 of 21 trials (2 crashed, 19 not begun)" in shown
    assert f"flowlearner sweeps resume {sweep.id[:8]}" in shown
    assert "0/21" not in call(slow, "sweeps", "list")[1]
    (slow / "go").touch()
    status, out, err = call(slow, "sweeps", "resume", sweep.id)
    assert status == 0, err
    assert "21 trials (19 completed, 2 failed)" in out


def watch(folder: Path, width: int, *args: str, until: str = "", act: Any = None) -> tuple[int, str]:
    """Run a command on a terminal of some width and return what it wrote there.

    Args:
        until: once this was written, `act` is called with the process.
    """
    main, inner = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": str(width),
        "LINES": "40",
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "flowlearner.cli.main", *args],
        cwd=folder, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    written = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([main], [], [], 0.1)
        try:
            chunk = os.read(main, 65536) if ready else None
        except OSError:
            break
        if chunk == b"":
            break
        written += chunk or b""
        if act is not None and until.encode() in written:
            act, then = None, act
            then(process)
    os.close(main)
    return process.wait(timeout=30), written.decode()


def plain(text: str) -> str:
    """Return what was written without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_how_far_it_has_come(slow: Path, width: int) -> None:
    status, written = watch(slow, width, *WORDS, "--parallel", "1", "--wait_s", "0.2")
    assert status == 0
    text = plain(written)
    for part in (
        "of 21 trials",
        "1 running",
        "best result = 3.",
        ": x=0.",
        "s left",
        "operator calls: ",
        "saved by sharing",
    ):
        assert part in text
    assert "trial 19 failed: node 'judge' failed: ValueError: too much" in text
    assert "Completed" in text
    assert (
        max(map(len, text.splitlines())) <= width + len("flowlearner run slow.py:slow --executor local") * 2
    )


@pytest.mark.slow
def test_a_terminal_says_what_an_interrupt_does(slow: Path) -> None:
    def interrupt(process: subprocess.Popen[bytes]) -> None:
        wait_for(slow / "begun-0.05")
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        (slow / "go").touch()

    status, written = watch(slow, 80, *WAITING, until="running", act=interrupt)
    assert status == 130
    assert "Ctrl-C stops it in good order." in plain(written)
    assert "Stopping: trials in flight end, no more begin." in plain(written)
