"""What a schedule keeps of the environment in which it was added: settings, and where modules are found.

A file of each schedule's holds it, which its owner alone may read: the URL of a catalog may hold a password,
and what Prefect's server knows its pages show.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from flowlearner.config import Settings
from flowlearner.errors import StorageError

PREFIX = "FLOWLEARNER_"
# The folder in which the file lies says it already.
HOME = "FLOWLEARNER_HOME"
MODULES = "PYTHONPATH"


def keep_environment(settings: Settings, schedule: str, secrets: Mapping[str, str] | None = None) -> None:
    """Note for a schedule what this process was given.

    Args:
        settings: those that differ from the environment count too.
        secrets: what goes beside it and to no server.

    Raises:
        StorageError: the disk refuses.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name != HOME}
    given = {PREFIX + name.upper(): str(getattr(settings, name)) for name in settings.model_fields_set}
    kept |= {name: value for name, value in given.items() if name != HOME}
    folders = [os.path.abspath(each) for each in os.environ.get(MODULES, "").split(os.pathsep) if each]
    path = _find_path(settings, schedule)
    new = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"settings": kept, "modules": folders, "secrets": dict(secrets or {})}, file)
        new.replace(path)
    except OSError as error:
        raise StorageError(
            f"Schedules need to write to {path.parent}: {error.strerror}. "
            "Free some space or give access to it, or set FLOWLEARNER_HOME to another folder."
        ) from error


def restore_environment(settings: Settings, schedule: str) -> dict[str, str]:
    """Give this process, and what it starts, what was noted; without a note it stays as it is.

    Returns:
        the secrets that were noted.
    """
    try:
        noted = json.loads(_find_path(settings, schedule).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    for name in [n for n in os.environ if n.startswith(PREFIX) and n != HOME]:
        del os.environ[name]
    os.environ.update(noted["settings"])
    folders: list[str] = noted["modules"]
    # What this process runs with stays behind them.
    sys.path[:0] = folders
    known = [each for each in os.environ.get(MODULES, "").split(os.pathsep) if each]
    if folders or known:
        os.environ[MODULES] = os.pathsep.join([*folders, *(each for each in known if each not in folders)])
    # A note of an earlier version has none.
    secrets: dict[str, str] = noted.get("secrets", {})
    return secrets


def forget_environment(settings: Settings, schedule: str) -> None:
    """Remove the note of a schedule."""
    _find_path(settings, schedule).unlink(missing_ok=True)


def name_launch(run_id: str) -> str:
    """Return under which name the note of a launch is kept, which no schedule can have."""
    return f"+{run_id}"


def _find_path(settings: Settings, schedule: str) -> Path:
    return settings.home_path / "schedule" / "environment" / f"{schedule}.json"
