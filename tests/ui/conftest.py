"""Owns what tests of the pages share: one filled catalog, and pages that run in this process."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from flowlearner import Client
from tests.ui.filling import Filled, fill

APP = Path(__file__).parents[2] / "ui" / "app.py"
LIMIT_S = 30
Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with runs of every kind; nobody changes it."""
    home = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("FLOWLEARNER_", "PREFECT_"))]:
            patch.delenv(name)
        patch.setenv("FLOWLEARNER_HOME", str(home))
        with Client() as client:
            ids = fill(client)
    (home / "ids.json").write_text(json.dumps(asdict(ids)), encoding="utf-8")
    return home


@pytest.fixture
def runs(filled_home: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """The runs of the filled home, in which the pages look; nothing may be changed."""
    monkeypatch.setenv("FLOWLEARNER_HOME", str(filled_home))
    return read_ids(filled_home)


@pytest.fixture
def own_runs(filled_home: Path, own_home: Path) -> Filled:
    """A copy of the filled home that the test may change."""
    shutil.copytree(filled_home, own_home, dirs_exist_ok=True)
    return read_ids(own_home)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as opened:
        yield opened


@pytest.fixture
def open_page() -> Iterator[Open]:
    """Run a page as a browser would that opens an address."""

    def open_(page: str = "runs", /, **params: str | list[str]) -> AppTest:
        test = AppTest.from_file(str(APP), default_timeout=LIMIT_S)
        test.switch_page(f"views/{page}.py")
        for key, value in params.items():
            test.query_params[key] = value
        return test.run()

    logging.getLogger("streamlit").setLevel(logging.ERROR)
    yield open_
    st.cache_resource.clear()
    st.cache_data.clear()


def read_ids(home: Path) -> Filled:
    return Filled(**json.loads((home / "ids.json").read_text(encoding="utf-8")))


def read_texts(test: AppTest) -> str:
    """Return all that a page says, in one text."""
    kinds = (
        test.title, test.subheader, test.markdown, test.caption, test.text, test.code,
        test.info, test.warning, test.error,
    )  # fmt: skip
    return "\n".join(str(element.value) for kind in kinds for element in kind)
