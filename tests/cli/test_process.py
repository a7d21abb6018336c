"""The command line as a process of its own: its streams, its signals, its pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client

COMMAND = [sys.executable, "-m", "flowlearner.cli.main"]
RUN_TIPS = ["run", "tips.py:tips", "--rows", "tips.csv", "--executor", "local"]
REPOSITORY = Path(__file__).resolve().parents[2]

NOISY = """
import os
import subprocess
import sys

from flowlearner import operator, workflow

print("while it is imported")


@operator
def shout(a: int) -> int:
    print("from Python")
    os.write(1, b"past Python\\n")
    subprocess.run(["/bin/echo", "from a child"], check=True)
    print("to standard error", file=sys.stderr)
    return a


@workflow
def noisy(a: int = 1) -> int:
    return shout(a)
"""

WAITING = """
import time
from pathlib import Path

from flowlearner import operator, workflow


@operator
def wait(a: int) -> int:
    Path("begun").touch()
    time.sleep(600)
    return a


@operator
def after(a: int) -> int:
    return a


@workflow
def waiting(a: int = 1) -> int:
    return after(wait(a))
"""


def start(folder: Path, *args: str, **options: Any) -> subprocess.Popen[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    path = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [*COMMAND, *args], cwd=folder, text=True, start_new_session=True, env=path, **options
    )


def call(folder: Path, *args: str, **options: Any) -> tuple[int, str, str]:
    with start(folder, *args, **options) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.slow
def test_with_json_nothing_but_the_document_reaches_standard_output(project: Path) -> None:
    (project / "noisy.py").write_text(NOISY)
    status, out, err = call(project, "run", "noisy.py:noisy", "--executor", "local", "--json")
    assert status == 0, err
    assert json.loads(out)["status"] == "COMPLETED"
    for text in ("while it is imported", "from Python", "past Python", "from a child", "to standard error"):
        assert text in err


@pytest.mark.slow
def test_the_result_goes_to_standard_output_and_the_course_to_standard_error(project: Path) -> None:
    status, out, err = call(project, *RUN_TIPS)
    assert status == 0
    assert "Completed" in out
    assert "running" not in out
    assert "clean: completed" in err
    assert "See it again" not in err
    assert out == "\n".join(line.rstrip() for line in out.splitlines()) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_as_cancelled(project: Path, wanted: signal.Signals) -> None:
    (project / "waiting.py").write_text(WAITING)
    with start(project, "run", "waiting.py:waiting", "--executor", "local", "--json") as process:
        wait_for(project / "begun")
        process.send_signal(wanted)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    document = json.loads(out)
    assert [n["status"] for n in document["nodes"]] == ["CANCELLED", "CANCELLED"]
    run = Client().list_runs()[0]
    assert (run.id, run.status) == (document["id"], "CANCELLED")


@pytest.mark.slow
def test_a_run_is_cancelled_from_another_process(project: Path) -> None:
    (project / "waiting.py").write_text(WAITING)
    with start(project, "run", "waiting.py:waiting", "--executor", "local") as process:
        wait_for(project / "begun")
        run = Client().list_runs()[0]
        status, out, err = call(project, "runs", "cancel", run.id[:8])
        assert (status, out) == (0, f"Run {run.id[:8]} is CANCELLED.\n"), err
        process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["runs", "list"], ["runs", "list", "--json"], ["--help"], ["runs"]])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(project: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, _, err = call(project, *arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (status, err) == (141, "")


@pytest.mark.slow
def test_a_run_goes_on_when_nobody_reads_its_display_any_more(project: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, out, _ = call(project, *RUN_TIPS, stderr=writing)
    finally:
        os.close(writing)
    assert status == 0
    assert "Completed" in out
    assert Client().list_runs()[0].status == "COMPLETED"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_what_is_printed_before_any_command_cannot_be_written_either(
    project: Path, arguments: list[str]
) -> None:
    with open("/dev/full", "w") as full:
        status, _, err = call(project, *arguments, stdout=full)
    assert (status, err) == (3, "Error: the output cannot be written: No space left on device\n")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("as_json", [False, True])
def test_output_that_cannot_be_written_is_said_and_the_run_is_kept(project: Path, as_json: bool) -> None:
    with open("/dev/full", "w") as full:
        status, _, err = call(project, *RUN_TIPS, *(["--json"] if as_json else []), stdout=full)
    assert status == 3
    assert "the output cannot be written: No space left on device" in err
    assert "Traceback" not in err
    assert Client().list_runs()[0].status == "COMPLETED"


@pytest.mark.slow
def test_signs_that_the_encoding_lacks_are_replaced(project: Path) -> None:
    shell = f"PYTHONIOENCODING=ascii exec {sys.executable} -m flowlearner.cli.main {' '.join(RUN_TIPS)}"
    found = subprocess.run(
        ["/bin/sh", "-c", shell],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "+ Completed" in found.stdout


def list_loaded(arguments: list[str], watched: set[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that names, on standard error, which of these modules it has loaded."""
    code = (
        f"import sys; from flowlearner.cli.main import main; main({arguments!r}); "
        f"print(*sorted({watched!r} & set(sys.modules)), file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_help_loads_neither_prefect_nor_pandas(project: Path) -> None:
    found = list_loaded(["--help"], {"prefect", "pandas", "sqlalchemy", "pyarrow"})
    assert (found.returncode, found.stderr) == (0, "\n")
    assert "flowlearner demo" in found.stdout


@pytest.mark.slow
def test_looking_at_runs_loads_neither_prefect_nor_pandas(project: Path) -> None:
    found = list_loaded(["runs", "list"], {"prefect", "pandas"})
    assert (found.returncode, found.stderr) == (0, "\n")


TALKING = """
import time
from pathlib import Path

from flowlearner import operator, workflow


@operator
def talk(a: int) -> int:
    print("first")
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    print("last")
    return a


@workflow
def talking(a: int = 1) -> int:
    return talk(a)
"""


@pytest.mark.slow
def test_logs_are_followed_until_the_run_ends(project: Path) -> None:
    (project / "talking.py").write_text(TALKING)
    with start(project, "run", "talking.py:talking", "--executor", "local") as running:
        wait_for(project / "begun")
        run = Client().list_runs()[0]
        with start(project, "runs", "logs", run.id, "--follow") as following:
            assert following.stdout is not None
            assert following.stdout.readline().endswith("talk: first\n")
            (project / "go").touch()
            out, err = following.communicate(timeout=30)
        running.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")
    assert [line.rpartition("talk: ")[2] for line in out.splitlines()] == ["last"]


LINGERING = """
import os
import sys
import threading
import time

from flowlearner.cli.main import main


def linger(word, write=os.write, sleep=time.sleep):
    write(1, word)
    sleep(2)


class Slow:
    def __del__(self, linger=linger):
        linger(b"freeing\\n")


kept = Slow()
threading._register_atexit(linger, b"draining\\n")
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "status"), [("draining\n", 130), ("freeing\n", 0)])
def test_an_interrupt_after_the_last_line_of_a_command_says_nothing(moment: str, status: int) -> None:
    # What Prefect's client has not sent yet is sent when all else has ended.
    command = [sys.executable, "-c", LINGERING, "--version"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, **options) as process:
        assert process.stdout is not None
        while process.stdout.readline() != moment:
            assert process.poll() is None, "the moment never came"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (status, "")
