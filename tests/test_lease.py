"""Liveness: a process is known by host, boot, pid and the moment it started, never by its pid alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flowlearner import lease
from flowlearner.lease import (
    find_process_age_s,
    find_process_start,
    get_boot_id,
    get_process_owner,
    is_alive,
    is_process,
)
from flowlearner.records import Owner

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def own(process: subprocess.Popen[bytes]) -> Owner:
    """Return what the process would have recorded of itself."""
    started = find_process_start(process.pid)
    assert started is not None
    return Owner(socket.gethostname(), process.pid, started, get_boot_id())


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ended(pid: int) -> None:
    """Wait for the end of a child without collecting it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_this_process_lives() -> None:
    assert is_alive(get_process_owner()) is True


def test_another_process_of_this_machine_lives_until_it_is_killed(child: subprocess.Popen[bytes]) -> None:
    owner = own(child)
    assert is_alive(owner) is True
    child.kill()
    child.wait()
    assert is_alive(owner) is False


def test_a_process_that_ended_is_dead_before_its_parent_collects_it(child: subprocess.Popen[bytes]) -> None:
    owner = own(child)
    child.kill()
    wait_until_ended(child.pid)
    assert is_alive(owner) is False


@on_linux
def test_a_process_that_was_stopped_lives(child: subprocess.Popen[bytes]) -> None:
    owner = own(child)
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    assert is_alive(owner) is True


def test_a_pid_that_another_process_has_now_is_no_sign_of_life() -> None:
    ours = get_process_owner()
    assert is_alive(replace(ours, pid_started=ours.pid_started - 60)) is False


def test_a_process_that_started_a_tick_later_under_the_same_pid_is_another_one() -> None:
    ours = get_process_owner()
    tick = 1 / os.sysconf("SC_CLK_TCK") if lease._has_proc() else 3.0
    assert is_process(ours.pid, ours.pid_started - tick) is False


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**31, 2**70])
def test_a_pid_that_no_process_can_have_is_dead(pid: int) -> None:
    assert is_alive(replace(get_process_owner(), pid=pid)) is False


def test_the_number_of_a_group_is_no_process() -> None:
    assert is_alive(replace(get_process_owner(), pid=-os.getpid())) is False


def test_nothing_is_known_of_a_process_on_another_host() -> None:
    assert is_alive(replace(get_process_owner(), host="elsewhere")) is None


@on_linux
def test_a_process_of_an_earlier_boot_is_dead() -> None:
    machine, _, namespace = get_boot_id().split("/")
    assert is_alive(replace(get_process_owner(), boot_id=f"{machine}/earlier/{namespace}")) is False


@on_linux
def test_nothing_is_known_of_another_machine_with_the_same_name() -> None:
    _, boot, namespace = get_boot_id().split("/")
    assert is_alive(replace(get_process_owner(), boot_id=f"other/{boot}/{namespace}")) is None


@on_linux
def test_nothing_is_known_of_another_container_whose_pids_mean_something_else() -> None:
    machine, boot, _ = get_boot_id().split("/")
    assert is_alive(replace(get_process_owner(), boot_id=f"{machine}/{boot}/4026530000")) is None


@pytest.mark.parametrize("text", ["", "boot", "a/b/c/d"])
def test_a_boot_in_a_form_that_is_not_ours_says_nothing(text: str) -> None:
    assert is_alive(replace(get_process_owner(), boot_id=text)) is not True


def test_all_processes_of_a_boot_agree_about_it() -> None:
    code = "from flowlearner.lease import get_boot_id; print(get_boot_id())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == get_boot_id()


def test_what_a_process_says_of_itself_is_what_others_see() -> None:
    code = (
        "import dataclasses, json, sys; from flowlearner.lease import get_process_owner; "
        "print(json.dumps(dataclasses.asdict(get_process_owner())), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = Owner(**json.loads(process.stdout.readline()))
        assert said == own(process)
        assert is_alive(said) is True
    assert is_alive(said) is False


@on_linux
def test_a_command_may_have_any_name(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    odd = tmp_path / "a ) Z (b"
    shutil.copy(sleep, odd)
    # GNU's multi-call binaries look at the name that they are called by.
    process = subprocess.Popen(["sleep", "600"], executable=odd)
    try:
        assert is_alive(own(process)) is True
    finally:
        process.kill()
        process.wait()


def test_the_age_of_a_process_counts_from_its_start(child: subprocess.Popen[bytes]) -> None:
    before = time.monotonic()
    age = find_process_age_s(child.pid)
    assert age is not None
    assert -3 <= age <= 60 + time.monotonic() - before


def test_a_process_that_is_gone_has_neither_start_nor_age(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert find_process_start(child.pid) is None
    assert find_process_age_s(child.pid) is None


@pytest.mark.skipif(shutil.which("ps") is None, reason="asks ps")
class TestWithoutProc:
    """What other systems do, by `ps`."""

    @pytest.fixture(autouse=True)
    def no_proc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "PROC", tmp_path)

    def test_a_process_lives_until_it_is_killed(self, child: subprocess.Popen[bytes]) -> None:
        owner = own(child)
        assert is_alive(owner) is True
        child.kill()
        wait_until_ended(child.pid)
        assert is_alive(owner) is False
        child.wait()
        assert is_alive(owner) is False

    def test_a_pid_that_another_process_has_now_is_no_sign_of_life(self) -> None:
        ours = get_process_owner()
        assert is_alive(replace(ours, pid_started=ours.pid_started - 60)) is False

    def test_nothing_is_known_where_even_ps_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = get_process_owner()
        monkeypatch.setenv("PATH", "")
        assert is_alive(ours) is None
        assert is_alive(replace(ours, pid=2**22 + 1)) is False
