"""Owns what tests of lineage share: a client, and a user's project that they edit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from tests.edited_project import Project, opened_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with opened_project(tmp_path / "project", monkeypatch) as found:
        yield found


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as opened:
        yield opened
