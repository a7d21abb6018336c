"""The Prefect flow run beside a sweep, and what workers load: nothing that a first trial would wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from flowlearner.records import Status
from flowlearner.sweep import beside
from flowlearner.sweep.beside import Ending, FlowBeside, FlowLink, find_current_flow


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def make(monkeypatch: pytest.MonkeyPatch, keep_flow: Any) -> tuple[FlowBeside, Listener]:
    listener = Listener()
    monkeypatch.setattr(beside, "_load_flow", lambda: SimpleNamespace(keep_flow=keep_flow))
    ready = threading.Event()
    return FlowBeside(SimpleNamespace(listener=listener), "http://127.0.0.1:9/api", ready), listener


def test_the_flow_run_is_told_how_the_sweep_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Ending] = []

    def keep_flow(submission: Any, url: str, sweep_id: str, began: Any, ending: Future[Ending]) -> None:
        began(FlowLink("1", url, sweep_id))
        told.append(ending.result())

    flow, listener = make(monkeypatch, keep_flow)
    links: list[FlowLink] = []
    flow.begin("abc", links.append)
    flow.end(Status.FAILED, "TooManyFailures")
    assert links == [FlowLink("1", "http://127.0.0.1:9/api", "abc")]
    assert told == [Ending(Status.FAILED, "TooManyFailures")]
    assert listener.said == []


def test_a_server_that_is_gone_is_said_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep_flow(*given: Any) -> None:
        raise ConnectionError("refused")

    flow, listener = make(monkeypatch, keep_flow)
    flow.begin("abc", lambda link: None)
    flow.end(Status.COMPLETED, "")
    assert [line for line in listener.said if "ConnectionError: refused" in line] == listener.said != []


def test_outside_of_a_flow_run_there_is_none() -> None:
    assert find_current_flow() is None


@pytest.mark.parametrize("module", ["flowlearner.sweep.worker", "flowlearner.engine.child"])
def test_workers_and_children_load_no_catalog_and_no_libraries(module: str) -> None:
    heavy = "('sqlalchemy', 'pydantic', 'prefect', 'pandas', 'numpy', 'pyarrow', 'ray', 'optuna')"
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
