"""The local Prefect server: who starts it, who finds it, what stops it; real servers in temporary homes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flowlearner.config import Settings, get_settings
from flowlearner.engine.endpoint import ask
from flowlearner.engine.local_server import _is_free
from flowlearner.engine.server import ensure_server, get_server, stop_server
from flowlearner.errors import ServerError, StorageError
from flowlearner.lease import get_boot_id
from tests.engine.processes import is_running, wait_until

STATE = {
    "pid": os.getpid(),
    "host": socket.gethostname(),
    "boot_id": get_boot_id(),
    "port": 4200,
    "home": "/nowhere",
    "spawned_at": 0.0,
    "pid_started": None,
}

STARTER = """
from flowlearner.config import get_settings
from flowlearner.engine.server import ensure_server
import sys
print(ensure_server(get_settings(), lambda line: print(line, file=sys.stderr)))
"""


@pytest.fixture(autouse=True)
def _no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a profile that names a server."""
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "none.toml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings(migrated: Path, own_home: Path) -> Iterator[Settings]:
    """Settings of a home whose server has run before: the first start of all takes five seconds more."""
    folder = own_home / "prefect"
    folder.mkdir()
    (folder / "prefect.db").write_bytes(migrated.read_bytes())
    made = get_settings()
    yield made
    stop_server(made)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str], list[str]]]:
    """A home in which three processes asked for the server at the same moment: home, answers and messages."""
    home = tmp_path_factory.mktemp("together")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "FLOWLEARNER_"))}
    env = {**kept, "FLOWLEARNER_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "none.toml")}
    command = [sys.executable, "-c", STARTER]
    # Each is a job of its own in the terminal, as a shell makes it.
    jobs = [
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        for _ in range(3)
    ]
    texts = [job.communicate(timeout=100) for job in jobs]
    for job in jobs:
        # Ctrl-C in the terminal where it was started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGINT)
    try:
        yield home, [out.strip() for out, _ in texts], [err.strip() for _, err in texts]
    finally:
        stop_server(Settings(home=home))


@pytest.fixture(scope="module")
def migrated(started: tuple[Path, list[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("database") / "prefect.db"
    database = sqlite3.connect(started[0] / "prefect" / "prefect.db")
    database.execute("VACUUM INTO ?", (str(copy),))
    database.close()
    return copy


def list_children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture
def other_program() -> Iterator[HTTPServer]:
    """A web server that is not Prefect's."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
class TestStartedTogether:
    def test_three_processes_that_ask_at_the_same_moment_get_one_server(
        self, started: tuple[Path, list[str], list[str]]
    ) -> None:
        _, answers, messages = started
        assert len(set(answers)) == 1, messages
        assert answers[0].endswith("/api")

    def test_one_process_says_in_one_line_that_it_starts_the_server_and_the_others_that_they_wait(
        self, started: tuple[Path, list[str], list[str]]
    ) -> None:
        _, _, messages = started
        lines = [line for m in messages for line in m.splitlines()]
        waiting = [line for line in lines if line.startswith("Waiting for the local Prefect server")]
        (starting,) = (line for line in lines if line not in waiting)
        assert starting.startswith("Starting a local Prefect server (first use")
        assert "flowlearner down" in starting

    def test_the_server_outlives_its_starter_and_ctrl_c_in_its_terminal(
        self, started: tuple[Path, list[str], list[str]]
    ) -> None:
        home, answers, _ = started
        info = get_server(Settings(home=home))
        assert (info.state, info.url) == ("running", answers[0])
        assert info.started_at is not None
        assert info.version is not None
        assert info.pid is not None
        assert os.getsid(info.pid) != os.getsid(0)

    def test_a_later_process_finds_the_server_at_once_and_says_nothing(
        self, started: tuple[Path, list[str], list[str]]
    ) -> None:
        home, answers, _ = started
        said: list[str] = []
        begin = time.monotonic()
        assert ensure_server(Settings(home=home), said.append) == answers[0]
        assert time.monotonic() - begin < 1
        assert said == []

    def test_its_own_address_in_prefect_api_url_does_not_make_it_somebody_elses(
        self, started: tuple[Path, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, answers, _ = started
        monkeypatch.setenv("PREFECT_API_URL", answers[0])
        assert get_server(Settings(home=home)).state == "running"

    def test_its_database_is_in_the_home_its_telemetry_is_off_and_states_are_written_one_by_one(
        self, started: tuple[Path, list[str], list[str]]
    ) -> None:
        home, answers, _ = started
        told = json.loads(ask(f"{answers[0]}/admin/settings", 10).body)
        assert told["home"] == str(home / "prefect")
        assert told["server"]["analytics_enabled"] is False
        # In batches Prefect 3.8.8 writes them faster, and takes a whole processor while it has none to write.
        assert told["server"]["services"]["task_run_recorder"]["batch_size"] == 1
        assert (home / "prefect" / "prefect.db").exists()


@pytest.mark.slow
def test_down_stops_the_server_with_its_children_and_only_once(settings: Settings) -> None:
    url = ensure_server(settings)
    pid = get_server(settings).pid
    assert pid is not None
    family = {pid, *list_children(pid)}
    assert stop_server(settings) is True
    wait_until(lambda: not any(is_running(p) for p in family), 30)
    assert get_server(settings).state == "stopped"
    assert ask(f"{url}/health", 2).status == 0
    assert stop_server(settings) is False


@pytest.mark.slow
def test_a_killed_server_is_replaced_on_another_port_where_a_program_has_taken_its_own(
    settings: Settings,
) -> None:
    url = ensure_server(settings)
    pid = get_server(settings).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), 30)
    assert get_server(settings).state == "stopped"
    port = int(url.removesuffix("/api").rpartition(":")[2])
    # Its threads, and with them its port, may outlast the process's main thread for a moment.
    wait_until(lambda: _is_free(port), 30)
    with socket.create_server(("127.0.0.1", port)):
        again = ensure_server(settings)
    assert again != url
    assert get_server(settings).url == again


@pytest.mark.slow
def test_a_state_file_of_a_pid_that_is_now_another_process_is_not_believed(settings: Settings) -> None:
    first = ensure_server(settings)
    state_path = settings.home_path / "prefect" / "server.json"
    state = json.loads(state_path.read_text())
    stop_server(settings)
    # This very process has got the number.
    state_path.write_text(json.dumps({**state, "pid": os.getpid()}))
    assert get_server(settings).state == "stopped"
    assert stop_server(settings) is False
    assert ensure_server(settings) == first, "the port is kept, so that bookmarks stay true"
    assert get_server(settings).pid != os.getpid()


@pytest.mark.slow
def test_a_server_that_dies_at_its_start_is_an_error_with_the_end_of_its_log(own_home: Path) -> None:
    folder = own_home / "prefect"
    folder.mkdir()
    (folder / "prefect.db").write_text("this is no database " * 100)
    with pytest.raises(ServerError, match="file is not a database") as raised:
        ensure_server(get_settings())
    assert str(folder / "server.log") in str(raised.value)
    assert get_server(get_settings()).state == "stopped"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"pid": 1',
        "[]",
        "7",
        '{"pid": 1}',
        json.dumps({**STATE, "pid": "1"}),
        json.dumps({**STATE, "pid": None}),
        json.dumps({**STATE, "pid": 10**30}),
        json.dumps({**STATE, "pid": True}),
        json.dumps({**STATE, "port": "4200"}),
        json.dumps({**STATE, "home": 3}),
        json.dumps({**STATE, "host": None}),
        json.dumps({**STATE, "spawned_at": "now"}),
        json.dumps({**STATE, "spawned_at": float("inf")}),
        json.dumps({**STATE, "pid_started": "then"}),
        json.dumps({**STATE, "surplus": 1}),
    ],
)
def test_a_state_file_that_makes_no_sense_means_that_no_server_runs(text: str, own_home: Path) -> None:
    (own_home / "prefect").mkdir()
    (own_home / "prefect" / "server.json").write_text(text)
    assert get_server(get_settings()).state == "stopped"
    assert stop_server(get_settings()) is False


@pytest.mark.parametrize("name", ["", "prefect"])
def test_a_home_that_cannot_be_written_is_a_storage_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    if name:
        home.mkdir()
    (home / name).write_text("a file where a folder is needed")
    monkeypatch.setenv("FLOWLEARNER_HOME", str(home))
    with pytest.raises(StorageError, match="set FLOWLEARNER_HOME to another folder"):
        ensure_server(get_settings())


@pytest.mark.slow
def test_a_configured_server_is_used_and_never_stopped(
    started: tuple[Path, list[str], list[str]], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = started[1][0]
    monkeypatch.setenv("PREFECT_API_URL", url)
    said: list[str] = []
    assert ensure_server(get_settings(), said.append) == url
    assert said == []
    info = get_server(get_settings())
    assert (info.state, info.pid) == ("external", None)
    assert stop_server(get_settings()) is False
    assert ask(f"{url}/health", 5).status == 200
    assert not (own_home / "prefect").exists()


def test_a_configured_server_that_does_not_answer_is_an_error_and_none_is_started(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/api")
        with pytest.raises(ServerError, match=r"from PREFECT_API_URL\) does not answer: .*refused"):
            ensure_server(get_settings())
        assert get_server(get_settings()).state == "unhealthy"
    assert not (own_home / "prefect").exists()


def test_a_configured_address_of_another_program_is_told_apart(
    other_program: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{other_program.server_port}")
    with pytest.raises(ServerError, match="usually ends in /api"):
        ensure_server(get_settings())


def test_a_server_of_prefects_profile_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "profiles.toml"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
        profiles.write_text(f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "{url}"\n')
        monkeypatch.setenv("PREFECT_PROFILES_PATH", str(profiles))
        with pytest.raises(ServerError, match="Prefect's profile 'team'"):
            ensure_server(get_settings())
