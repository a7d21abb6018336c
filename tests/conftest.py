"""Owns what every test may rely on: a home of its own, and nothing taken from the caller's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test, and every process that it starts, an empty FLOWLEARNER_HOME."""
    for name in list(os.environ):
        if name.startswith(("FLOWLEARNER_", "PREFECT_")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FLOWLEARNER_HOME", str(home))
    # Without these Prefect logs that its telemetry cannot be sent.
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    return home
