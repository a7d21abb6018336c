"""Which Prefect API is configured: the same answer as Prefect's own settings give, without its import."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import Settings

from flowlearner.engine.endpoint import ask, find_configured_url, find_port, is_cloud, is_loopback, tell

PROFILES = """
active = "one"
[profiles.one]
PREFECT_API_URL = "http://one.example/api"
[profiles.two]
PREFECT_API_URL = "http://two.example/api"
[profiles.none]
"""
DOTENV = {".env": 'PREFECT_API_URL="http://dotenv.example/api"\n'}
TOML = {"prefect.toml": '[api]\nurl = "http://toml.example/api"\n'}
PYPROJECT = {"pyproject.toml": '[tool.prefect.api]\nurl = "http://pyproject.example/api"\n'}
MOVED = {"prefect.toml": 'profiles_path = "moved.toml"\n', "moved.toml": PROFILES.replace("one.", "moved.")}

CASES: dict[str, tuple[dict[str, str], dict[str, str], str | None]] = {
    "nothing": ({}, {}, None),
    "environment": ({"PREFECT_API_URL": "http://env.example/api"}, DOTENV | TOML, "http://env.example/api"),
    "dotenv before prefect.toml": ({}, DOTENV | TOML, "http://dotenv.example/api"),
    "prefect.toml before pyproject": ({}, TOML | PYPROJECT, "http://toml.example/api"),
    "pyproject before the profile": (
        {},
        PYPROJECT | {"home/profiles.toml": PROFILES},
        "http://pyproject.example/api",
    ),
    "the active profile": ({}, {"home/profiles.toml": PROFILES}, "http://one.example/api"),
    "PREFECT_PROFILE": (
        {"PREFECT_PROFILE": "two"},
        {"home/profiles.toml": PROFILES},
        "http://two.example/api",
    ),
    "a profile that names no server": ({"PREFECT_PROFILE": "none"}, {"home/profiles.toml": PROFILES}, None),
    "a profile that is not there": ({"PREFECT_PROFILE": "gone"}, {"home/profiles.toml": PROFILES}, None),
    "profiles elsewhere": ({}, MOVED, "http://moved.example/api"),
    "PREFECT_PROFILES_PATH": (
        {"PREFECT_PROFILES_PATH": "other.toml"},
        {"other.toml": PROFILES.replace("one.", "other.")},
        "http://other.example/api",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_configured_address_is_the_one_that_prefect_finds(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, files, expected = CASES[case]
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    found = find_configured_url()
    assert (found.url if found else None) == expected
    assert Settings().api.url == expected


def test_the_message_says_where_an_address_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "profiles.toml").write_text(PROFILES)
    found = find_configured_url()
    assert found is not None
    assert found.source == f"Prefect's profile 'one' in {tmp_path / 'profiles.toml'}"


def test_a_slash_at_the_end_of_an_address_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://x.example/api/")
    found = find_configured_url()
    assert found is not None
    assert found.url == "http://x.example/api"


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://h/api", 80), ("https://h/api", 443), ("http://h:4200/api", 4200), ("http://h:x/api", None)],
)
def test_an_address_without_a_port_has_the_usual_one(url: str, port: int | None) -> None:
    assert find_port(url) == port


def test_addresses_of_this_machine_and_of_the_cloud_are_known() -> None:
    assert is_loopback("http://localhost:4200/api")
    assert is_loopback("http://[::1]:4200/api")
    assert not is_loopback("http://server.example/api")
    assert is_cloud("https://api.prefect.cloud/api/accounts/1")
    assert not is_cloud("https://notprefect.cloud/api")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/api", "http://[bad/api", "no address", "http://h.invalid/"]
)
def test_an_address_that_cannot_be_asked_gives_a_reason_and_no_exception(url: str) -> None:
    answer = ask(url, 2.0)
    assert answer.status == 0
    assert answer.reason


@pytest.mark.slow
def test_looking_for_the_server_does_not_import_prefect() -> None:
    code = "import sys, flowlearner.engine.server; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _Recorder(BaseHTTPRequestHandler):
    """Answers what it is sent with the credentials that came with it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write((self.headers["Authorization"] or "").encode())

    def log_message(self, *ignored: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def recorder() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"PREFECT_API_KEY": "pnu_1"},
        {"PREFECT_API_AUTH_STRING": "user:word"},
        {"PREFECT_API_KEY": "pnu_1", "PREFECT_API_AUTH_STRING": "user:word"},
    ],
)
@pytest.mark.parametrize("in_profile", [False, True])
def test_the_configured_server_gets_the_credentials_that_prefect_sends_and_no_other_one_does(
    recorder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    credentials: dict[str, str],
    in_profile: bool,
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    settings = {"PREFECT_API_URL": recorder, **credentials}
    if in_profile:
        lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
        (tmp_path / "profiles.toml").write_text(f'active = "one"\n[profiles.one]\n{lines}')
    else:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
    api = Settings().api
    with SyncPrefectClient(
        recorder,
        api_key=api.key and api.key.get_secret_value(),
        auth_string=api.auth_string and api.auth_string.get_secret_value(),
    ) as client:
        expected = client._client.headers.get("Authorization", "")
    assert bool(expected) == bool(credentials)
    assert tell(f"{recorder}/flow_runs/filter", {}, 5.0).body.decode() == expected
    assert tell(f"{recorder}evil/flow_runs/filter", {}, 5.0).body == b""
    elsewhere = recorder.replace("127.0.0.1", "localhost")
    assert tell(f"{elsewhere}/flow_runs/filter", {}, 5.0).body == b""
