"""The local Prefect server when things go wrong: killed starters, processes that hang, addresses that lie."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flowlearner.cli.main import main
from flowlearner.config import get_settings
from flowlearner.engine import local_server
from flowlearner.engine.endpoint import find_configured_url
from flowlearner.engine.local_server import LocalServer, ServerState
from flowlearner.engine.server import ensure_server, get_server, stop_server
from flowlearner.errors import ServerError, StorageError
from flowlearner.lease import find_process_start, get_boot_id, is_process
from tests.engine.processes import wait_until

pytestmark = pytest.mark.slow

STARTER = """
from flowlearner.config import get_settings
from flowlearner.engine.server import ensure_server
ensure_server(get_settings())
"""
# It does not end when it is asked to, and neither does its child; the child's pid shows that both are ready.
HANGING = "trap '' TERM; sleep 600 & echo $!; wait; wait"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work where no file and no profile names a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def hanging(own_home: Path) -> Iterator[tuple[ServerState, int]]:
    """A process that the state file names as the server and that never answers, and its child's pid."""
    with (
        socket.socket() as silent,
        subprocess.Popen(
            ["/bin/sh", "-c", HANGING], stdout=subprocess.PIPE, start_new_session=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            silent.bind(("127.0.0.1", 0))
            local = LocalServer(get_settings())
            local.folder.mkdir()
            state = ServerState(
                pid=process.pid,
                host=socket.gethostname(),
                boot_id=get_boot_id(),
                port=silent.getsockname()[1],
                home=str(local.folder),
                spawned_at=time.time(),
                pid_started=find_process_start(process.pid),
            )
            local.write_state(state)
            yield state, child
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a program that answers every request with a page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<p>hello</p>\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{other.server_port}/api"
        finally:
            other.shutdown()
            thread.join()


def test_a_server_whose_starter_was_killed_is_known_and_can_be_stopped(own_home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], cwd=Path(__file__).parents[2]) as starter:
        try:
            wait_until((own_home / "prefect/server.json").exists, 30)
        finally:
            starter.kill()
    try:
        left = get_server(get_settings())
        assert left.pid is not None
        started = find_process_start(left.pid)
        assert started is not None
    finally:
        assert stop_server(get_settings()) is True
    assert not is_process(left.pid, started)


def test_a_server_that_hangs_is_unhealthy_and_not_started_twice(
    hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "ANSWER_LIMIT_S", 0.1)
    assert get_server(get_settings()).state == "unhealthy"
    with pytest.raises(ServerError, match=f"pid {hanging[0].pid}.* Stop it with `flowlearner down`"):
        ensure_server(get_settings())
    assert hanging[0].lives


@pytest.mark.parametrize(
    ("limit_s", "state"),
    [pytest.param(60.0, "starting", id="in its time"), pytest.param(-1.0, "unhealthy", id="too late")],
)
def test_a_server_that_has_never_answered_is_starting_until_its_time_is_over(
    hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch, limit_s: float, state: str
) -> None:
    monkeypatch.setattr(local_server, "START_LIMIT_S", limit_s)
    LocalServer(get_settings()).write_state(replace(hanging[0], pid_started=None))
    found = get_server(get_settings())
    assert (found.state, found.pid) == (state, hanging[0].pid)


def test_a_server_that_does_not_end_when_asked_is_killed_with_its_children(
    hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "STOP_LIMIT_S", 0.2)
    state, child = hanging
    assert stop_server(get_settings()) is True
    assert not state.lives
    wait_until(lambda: find_process_start(child) is None, 30)


def test_a_server_is_stopped_though_a_starter_hangs(
    hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_server, "STOP_LIMIT_S", 0.2)
    with LocalServer(get_settings()).locked(1.0):
        assert stop_server(get_settings()) is True
    assert not hanging[0].lives


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"pid_started": 1.0}, id="the pid is of another process"),
        pytest.param({"pid_started": None, "spawned_at": 1.0}, id="never confirmed, and too young"),
        pytest.param({"host": "elsewhere"}, id="another host shares the home"),
        pytest.param({"boot_id": "earlier"}, id="an earlier boot"),
    ],
)
def test_a_process_that_is_not_the_noted_one_is_neither_shown_nor_stopped(
    change: dict[str, float | str | None], hanging: tuple[ServerState, int]
) -> None:
    state, _ = hanging
    LocalServer(get_settings()).write_state(replace(state, **change))  # type: ignore[arg-type]
    found = get_server(get_settings())
    assert (found.state, found.pid) == ("stopped", None)
    assert stop_server(get_settings()) is False
    assert state.lives


def test_a_program_that_answers_every_path_is_not_taken_for_prefect(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", page)
    with pytest.raises(ServerError, match=r"not a Prefect API \(200 for /health"):
        ensure_server(get_settings())
    assert get_server(get_settings()).state == "unhealthy"


def test_the_own_port_that_a_program_has_taken_is_named_where_it_was_asked_for(
    page: str, hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = LocalServer(get_settings())
    port = int(page.removesuffix("/api").rpartition(":")[2])
    local.write_state(replace(hanging[0], port=port, pid_started=1.0))
    monkeypatch.setenv("PREFECT_API_URL", page)
    with pytest.raises(ServerError, match=f"port {port}, which PREFECT_API_URL names, is taken"):
        ensure_server(get_settings())
    assert get_server(get_settings()).pid is None


def test_a_port_that_is_taken_meanwhile_does_not_announce_the_start_again(
    hanging: tuple[ServerState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [local_server._PortTaken()]

    def await_start(self: LocalServer, state: ServerState, begin: int) -> ServerState:
        if taken:
            raise taken.pop()
        return state

    monkeypatch.setattr(LocalServer, "_spawn", lambda self, port: (replace(hanging[0], port=port), 0))
    monkeypatch.setattr(LocalServer, "_await_start", await_start)
    said: list[str] = []
    state = LocalServer(get_settings())._start_on([4711, 4712], said.append, "both are")
    assert state.port == 4712
    assert [line.partition(" (")[0] for line in said] == [
        "Starting a local Prefect server",
        "Port 4711 is taken by now; the server will be at http://127.0.0.1:4712",
    ]


def test_a_full_disk_is_named_before_a_server_is_started_on_it(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    said: list[str] = []
    with pytest.raises(StorageError, match=r"No space left on device\. Free some space"):
        LocalServer(get_settings()).start(said.append, None)
    assert LocalServer(get_settings()).read_state() is None


def test_a_configured_server_that_does_not_answer_ends_a_command_with_status_3_and_the_cure(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        assert main(["up"]) == 3
    said = capsys.readouterr().err
    assert "Start it, correct the address, or remove that setting to use a local server." in said
    assert "Traceback" not in said
    assert not (own_home / "prefect").exists()
    assert not (own_home / "ray").exists()


def test_an_empty_address_in_the_environment_hides_that_of_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "prefect.toml").write_text('[api]\nurl = "http://there/api"\n')
    assert find_configured_url() is not None
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert find_configured_url() is None
