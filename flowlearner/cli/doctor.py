"""The command that checks an installation and says how to mend it: doctor."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import BinaryIO

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rich.text import Text

from flowlearner import __version__
from flowlearner.artifacts import Encoded
from flowlearner.capture import read_commit
from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.show import make_table
from flowlearner.cli.text import clean, count_of, show_size
from flowlearner.client import Client
from flowlearner.config import Settings, get_settings
from flowlearner.engine.server import get_server
from flowlearner.errors import FlowLearnerError, PlatformError

LOW_SPACE_BYTES = 1 << 30
STYLES = {"ok": "green", "warning": "yellow", "broken": "red"}


@dataclass(frozen=True)
class Finding:
    """What one check found; `state` is "ok", "warning" or "broken"."""

    name: str
    state: str
    message: str


def _check_packages(_: Settings) -> Finding:
    """Compare what is installed with what is asked for: pip warns of a mismatch, then goes on."""
    try:
        wanted = distribution("flowlearner").requires or []
    except PackageNotFoundError:
        return Finding(
            "packages",
            "warning",
            "flowlearner is not installed, only imported: pip install . in its checkout",
        )
    wrong = []
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = distribution(canonicalize_name(requirement.name)).version
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is installed, but {requirement.specifier} is needed")
    if wrong:
        cure = "Mend it: pip install --upgrade --force-reinstall flowlearner"
        return Finding("packages", "broken", f"{'; '.join(wrong)}. {cure}")
    return Finding(
        "packages", "ok", f"flowlearner {__version__}, all requirements at versions that work together"
    )


def _check_python(_: Settings) -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _check_home(settings: Settings) -> Finding:
    home = settings.home_path
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-"):
            free = shutil.disk_usage(home).free
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(
            "home", "broken", f"{home} cannot be written: {reason}. Set FLOWLEARNER_HOME to another folder"
        )
    if free < LOW_SPACE_BYTES:
        cure = "`flowlearner catalog gc` shows what can go"
        return Finding("home", "warning", f"{home} has only {show_size(free)} left; {cure}")
    return Finding("home", "ok", f"{home}, {show_size(free)} free")


def _check_catalog(settings: Settings) -> Finding:
    with Client(settings) as client:
        problems = client.check_catalog()
        runs = client.count_runs(include_trials=True)
    if problems:
        rest = f" and {len(problems) - 1} more" if problems[1:] else ""
        return Finding("catalog", "broken", f"{problems[0]}{rest}. See all: flowlearner catalog check")
    return Finding("catalog", "ok", f"{_hide_password(settings.catalog_url)}, {count_of(runs, 'run')}")


def _hide_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{login.partition(':')[0]}{at}{place}" if at else url


def _check_artifacts(settings: Settings) -> Finding:
    with Client(settings) as client:
        sizes = [size for _, size, _ in client.store.list_paths()]
        probe = Encoded(secrets.token_hex(32), "probe/1", "bytes", _write_probe, file_suffix=".probe")
        client.store.delete(client.store.put(probe))
    where = _hide_password(settings.artifacts_url)
    return Finding("artifacts", "ok", f"{where}, {count_of(len(sizes), 'file')}, {show_size(sum(sizes))}")


def _write_probe(sink: BinaryIO) -> None:
    sink.write(b"Written by flowlearner doctor, and removed at once.")


def _check_prefect(settings: Settings) -> Finding:
    found = get_server(settings)
    if found.state == "unhealthy":
        cure = "`flowlearner down` ends a local one; PREFECT_API_URL names one of your own"
        return Finding("prefect", "broken", f"the server at {found.url} does not answer. {cure}")
    if found.state == "stopped":
        return Finding("prefect", "ok", "no server runs; the first run starts one")
    return Finding("prefect", "ok", f"{found.state} at {found.url}, version {found.version or 'unknown'}")


def _check_git(_: Settings) -> Finding:
    if shutil.which("git", path=os.environ.get("PATH")) is None:
        return Finding("git", "warning", "git is not installed, so runs are recorded without their commit")
    here = read_commit(Path.cwd())
    if here.commit is None:
        return Finding(
            "git", "ok", "this folder has no commit; runs are recorded with their source all the same"
        )
    return Finding(
        "git", "ok", f"runs of workflows in this folder are recorded with commit {here.commit[:12]}"
    )


CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "python": _check_python,
    "packages": _check_packages,
    "home": _check_home,
    "catalog": _check_catalog,
    "artifacts": _check_artifacts,
    "prefect": _check_prefect,
    "git": _check_git,
}


def _run_check(name: str, settings: Settings) -> Finding:
    try:
        return CHECKS[name](settings)
    except FlowLearnerError as error:
        return Finding(name, "broken", str(error))


def _doctor(json: AsJson = False) -> None:
    settings = get_settings()
    findings = [_run_check(name, settings) for name in CHECKS]
    broken = [f for f in findings if f.state == "broken"]
    if json:
        emit(
            {
                "ok": not broken,
                "checks": [{"name": f.name, "state": f.state, "message": f.message} for f in findings],
            }
        )
    else:
        _print(findings, len(broken))
    if broken:
        raise typer.Exit(PlatformError.exit_status)


def _print(findings: list[Finding], broken: int) -> None:
    console = get_out()
    table = make_table(console, "Check", "State", "Found")
    for finding in findings:
        table.add_row(
            finding.name, Text(finding.state, style=STYLES[finding.state]), Text(clean(finding.message))
        )
    console.print(table)
    console.print(Text(f"{count_of(broken, 'check')} failed." if broken else "All is well.", style="bold"))


doctor = make_command("doctor", "Check this installation and say how to mend it.", _doctor)
