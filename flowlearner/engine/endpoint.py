"""Which Prefect API is configured, and whether an address answers; read without importing Prefect.

The order is Prefect's own: environment, `.env`, `prefect.toml` and `pyproject.toml` of the working folder,
then the active profile. A test holds that both agree.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dotenv

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
CLOUD_HOST = "prefect.cloud"


@dataclass(frozen=True)
class ConfiguredUrl:
    """An API address and where it was read, for messages."""

    url: str
    source: str


@dataclass(frozen=True)
class Answer:
    """What an address said; `status` is 0 where nothing came back, and `reason` says why."""

    status: int
    body: bytes = b""
    reason: str = ""


def find_configured_url() -> ConfiguredUrl | None:
    """Return the Prefect API that the environment, the working folder or the active profile names."""
    url, source = _find("url")
    return ConfiguredUrl(url.rstrip("/"), source) if url else None


def ask(url: str, timeout_s: float) -> Answer:
    """Get a page. Proxies count, but not for this machine.

    No credentials are sent and certificates are not checked: only whether something answers is asked here,
    and Prefect's own client, which checks them, may trust other authorities than this interpreter does.
    """
    trusting = [urllib.request.HTTPSHandler(context=ssl._create_unverified_context())]
    return _send(url, timeout_s, trusting if url.startswith("https:") else [])


def tell(url: str, body: Any, timeout_s: float) -> Answer:
    """Post JSON to an API; certificates are checked.

    The credentials that are configured go to the configured server alone: which one a run was made on
    somebody else may have written.
    """
    headers = {"Content-Type": "application/json"}
    configured = find_configured_url()
    if configured is not None and url.startswith(f"{configured.url}/"):
        headers |= _make_credentials()
    return _send(url, timeout_s, [], json.dumps(body).encode(), headers)


def _make_credentials() -> dict[str, str]:
    user, key = _find("auth_string")[0], _find("key")[0]
    if user:
        return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"} if key else {}


def _send(
    url: str,
    timeout_s: float,
    handlers: Sequence[urllib.request.BaseHandler],
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    direct = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    try:
        request = urllib.request.Request(url, data, dict(headers or {}))
        with urllib.request.build_opener(*direct, *handlers).open(request, timeout=timeout_s) as reply:
            return Answer(reply.status, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, reason=f"HTTP {error.code} {error.reason}")
    except TimeoutError:
        return Answer(0, reason=f"no answer within {timeout_s:g} s")
    except urllib.error.URLError as error:
        return Answer(0, reason=str(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, reason=f"{type(error).__name__}: {error}")


def is_loopback(url: str) -> bool:
    return _find_host(url) in LOOPBACK


def is_cloud(url: str) -> bool:
    host = _find_host(url)
    return host == CLOUD_HOST or host.endswith("." + CLOUD_HOST)


def find_port(url: str) -> int | None:
    """Return the port that an address names, or the usual one of its scheme."""
    try:
        parts = urlsplit(url)
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _find_host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _find(setting: str) -> tuple[str, str]:
    """Return a setting of Prefect's API, "" where it has none, and where it was read."""
    # An empty one hides those that follow, as it does in Prefect.
    return next(((v, source) for v, source in _read_sources(setting) if isinstance(v, str)), ("", ""))


def _read_sources(setting: str) -> Iterator[tuple[Any, str]]:
    """Yield what each place says of a setting, and the place's name, those that win first."""
    variable = f"PREFECT_API_{setting.upper()}"
    yield os.environ.get(variable), variable
    dotted = _read_dotenv()
    yield dotted.get(variable), f"{variable} in .env"
    yield _dig(_read_toml(Path("prefect.toml")), "api", setting), f"api.{setting} in prefect.toml"
    yield (
        _dig(_read_toml(Path("pyproject.toml")), "tool", "prefect", "api", setting),
        f"tool.prefect.api.{setting} in pyproject.toml",
    )
    path = _find_profiles_path(dotted)
    profiles = _read_toml(path)
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    if isinstance(active, str):
        value = _dig(profiles, "profiles", active, variable)
        yield value, f"Prefect's profile '{active}' in {path}"


def _read_dotenv() -> dict[str, str | None]:
    return dotenv.dotenv_values(".env") if Path(".env").is_file() else {}


def _find_profiles_path(dotted: dict[str, str | None]) -> Path:
    named = os.environ.get("PREFECT_PROFILES_PATH") or dotted.get("PREFECT_PROFILES_PATH")
    named = named or _dig(_read_toml(Path("prefect.toml")), "profiles_path")
    named = named or _dig(_read_toml(Path("pyproject.toml")), "tool", "prefect", "profiles_path")
    if isinstance(named, str) and named:
        return Path(named)
    home = os.environ.get("PREFECT_HOME")
    return (Path(home) if home else Path.home() / ".prefect") / "profiles.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Prefect itself reports a file that it cannot read.
        return {}


def _dig(table: Any, *keys: str) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table
