"""Operators in a child process: what kills them, what they leave behind, what comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client, RunFailed, operator, workflow
from flowlearner.records import Status
from tests.engine.processes import is_running

pytestmark = pytest.mark.slow


def read_pids(path: Path) -> list[int]:
    return [int(p) for p in path.read_text().split()]


OWN_CODEC = """
from flowlearner import Codec, operator, register_codec, workflow
from flowlearner.artifacts import Encoded

class Box:
    def __init__(self, n):
        self.n = n

class BoxCodec(Codec):
    name = "box/1"

    def handles(self, declared):
        return declared is Box

    def encode(self, value, declared):
        data = str(value.n).encode()
        return Encoded(data.hex(), self.name, "Box", lambda sink: sink.write(data))

    def decode(self, source, declared, type_name):
        return Box(int(source.read()))

register_codec(BoxCodec())

@operator(isolate=True)
def make(n: int) -> Box:
    return Box(n)

@operator(isolate=True)
def show(box: Box) -> str:
    return f"<{box.n}>"

@workflow(executor="local")
def flow(n: int = 7) -> str:
    return show(make(n))

if __name__ == "__main__":
    print(flow.run().outputs.result)
"""


@operator(timeout_s=0.5)
def chatter(path: str) -> int:
    Path(path).write_text(str(os.getpid()))
    while True:
        print("still here")


@operator(timeout_s=1)
def daemonize(path: str) -> int:
    import subprocess
    import time

    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return 1


@operator(isolate=True)
def leave_behind(path: str) -> int:
    import subprocess

    Path(path).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    return 1


@operator(isolate=True)
def end_at_once(code: int) -> int:
    os._exit(code)


@operator(isolate=True)
def fork_and_die(path: str) -> int:
    pid = os.fork()
    if pid == 0:
        import time

        time.sleep(600)
    Path(path).write_text(str(pid))
    os._exit(5)


@operator(isolate=True)
def call_exit(code: int) -> int:
    raise SystemExit(code)


@operator(isolate=True)
def raise_error(n: int) -> int:
    print("about to fail")
    raise ValueError(f"no {n}")


@operator(isolate=True)
def make_lock(n: int) -> Any:
    import threading

    return threading.Lock()


@operator(timeout_s=5)
def quick(n: int) -> int:
    return n + 1


def test_an_operator_that_prints_without_end_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    @workflow(executor="local")
    def flow(path: str) -> int:
        return chatter(path)

    with pytest.raises(RunFailed, match=r"took longer than timeout_s=0\.5; the process was killed"):
        flow.run(path=str(tmp_path / "pid"))
    assert not is_running(read_pids(tmp_path / "pid")[0])


def test_a_grandchild_in_a_session_of_its_own_is_killed_too(tmp_path: Path) -> None:
    @workflow(executor="local")
    def flow(path: str) -> int:
        return daemonize(path)

    with pytest.raises(RunFailed, match="longer than timeout_s=1"):
        flow.run(path=str(tmp_path / "pids"))
    assert [p for p in read_pids(tmp_path / "pids") if is_running(p)] == []


def test_what_a_child_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    @workflow(executor="local")
    def flow(path: str) -> int:
        return leave_behind(path)

    assert flow.run(path=str(tmp_path / "pid")).outputs.result == 1
    assert not is_running(read_pids(tmp_path / "pid")[0])


def test_a_child_that_ends_without_result_is_a_failure_with_its_status() -> None:
    @workflow(executor="local")
    def flow(code: int = 7) -> int:
        return end_at_once(code)

    with pytest.raises(RunFailed, match="process of node 'end_at_once' ended with exit status 7"):
        flow.run()


def test_a_child_that_is_killed_by_a_signal_without_a_name_is_a_failure() -> None:
    number = signal.SIGRTMIN + 6

    @operator(isolate=True)
    def signalled(n: int) -> int:
        os.kill(os.getpid(), n)
        return n

    @workflow(executor="local")
    def flow(n: int = number) -> int:
        return signalled(n)

    with pytest.raises(RunFailed, match=f"killed by signal {number}"):
        flow.run()


def test_user_code_that_waits_for_its_children_meets_none_of_ours() -> None:
    @operator(isolate=True)
    def wait(n: int) -> int:
        try:
            return os.wait()[0]
        except ChildProcessError:
            return n

    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return wait(n)

    assert flow.run().outputs.result == 3


def test_a_codec_of_the_users_script_is_known_to_a_child(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(OWN_CODEC)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("<7>\n", "")


def test_an_error_in_a_child_shows_the_lines_of_the_users_script(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "from flowlearner import RunFailed, operator, workflow\n\n\n"
        "@operator(isolate=True)\ndef divide(n: int) -> int:\n    return n // 0  # never\n\n\n"
        '@workflow(executor="local")\ndef flow(n: int = 1) -> int:\n    return divide(n)\n\n\n'
        "try:\n    flow.run()\nexcept RunFailed as error:\n    print(error.run.error.traceback)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert f'File "{script}", line 6, in divide\n    return n // 0  # never' in done.stdout


def test_a_fork_that_holds_the_pipe_open_does_not_hold_the_run_up(tmp_path: Path) -> None:
    @workflow(executor="local")
    def flow(path: str) -> int:
        return fork_and_die(path)

    with pytest.raises(RunFailed, match="exit status 5"):
        flow.run(path=str(tmp_path / "pid"))
    assert not is_running(read_pids(tmp_path / "pid")[0])


def test_sys_exit_in_a_child_reads_as_in_a_thread() -> None:
    @workflow(executor="local")
    def flow(code: int = 3) -> int:
        return call_exit(code)

    with pytest.raises(RunFailed, match=r"the operator called sys\.exit\(3\)"):
        flow.run()


def test_an_error_in_a_child_has_the_users_frames_and_its_prints() -> None:
    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return raise_error(n)

    with pytest.raises(RunFailed, match="ValueError: no 3") as caught:
        flow.run()
    run = caught.value.run
    error = run.nodes[0].error
    assert error is not None
    assert "in raise_error" in error.traceback
    assert f"flowlearner{os.sep}engine" not in error.traceback
    assert "about to fail" in [line.message for line in Client().logs(run.id, "raise_error")]


def test_a_value_without_codec_in_a_child_fails_its_node() -> None:
    @workflow(executor="local")
    def flow(n: int = 3) -> Any:
        return make_lock(n)

    with pytest.raises(RunFailed, match="codec"):
        flow.run()


def test_an_operator_that_cannot_travel_says_so() -> None:
    import threading

    lock = threading.Lock()

    @operator(isolate=True)
    def locked(n: int) -> int:
        with lock:
            return n

    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return locked(n)

    with pytest.raises(RunFailed, match="cannot be sent to a child process"):
        flow.run()


def test_a_node_with_a_time_limit_hits_like_any_other() -> None:
    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return quick(n)

    assert flow.run().outputs.result == 4
    assert [n.cached for n in flow.run().nodes] == [True]
    assert flow.run().status is Status.COMPLETED


def test_what_a_child_prints_is_echoed(capfd: pytest.CaptureFixture[str]) -> None:
    @operator(isolate=True, cache=False)
    def talk(n: int) -> int:
        print("hello", n)
        return n

    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return talk(n)

    flow.run()
    assert capfd.readouterr().out == "hello 3\n"


def test_a_folder_of_the_user_named_as_our_stock_is_found_in_the_child_too(tmp_path: Path) -> None:
    script = tmp_path / "mine_flow.py"
    (tmp_path / "operators").mkdir()
    (tmp_path / "operators" / "steps.py").write_text(
        "from flowlearner import operator\n\n\n"
        "@operator(isolate=True)\ndef step(n: int) -> int:\n    return n + 41\n"
    )
    script.write_text(
        "from flowlearner import workflow\nfrom operators.steps import step\n\n\n"
        '@workflow(executor="local")\ndef flow(n: int = 1) -> int:\n    return step(n)\n'
    )
    program = (
        "from flowlearner.loading import load_workflow\n"
        f"print(load_workflow({str(script)!r}).run().outputs.result)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("42\n", "")
