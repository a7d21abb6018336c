"""The Prefect flow run beside a sweep. A thread keeps it, so that no trial waits until Prefect is loaded."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from flowlearner.records import Status

# How long the thread waits until those are ready who would be slower if it loaded Prefect at the same time.
PATIENCE_S = 5.0


@dataclass(frozen=True)
class FlowLink:
    """The Prefect flow run of a sweep.

    Attributes:
        name: of the flow run where it is an id for the sweep, too; else None.
    """

    flow_run_id: str
    api_url: str
    name: str | None = None


@dataclass(frozen=True)
class Ending:
    """How a sweep ended, as Prefect is told of it."""

    status: Status
    message: str = ""


def find_current_flow() -> FlowLink | None:
    """Return the flow run in which this is called, such as that of a schedule; the sweep is that one."""
    # Whoever runs in one has loaded Prefect.
    if "prefect" not in sys.modules:
        return None
    found: FlowLink | None = _load_flow().find_current()
    return found


def _load_flow() -> Any:
    return importlib.import_module("flowlearner.sweep.flow")


class FlowBeside:
    """The flow run of one sweep.

    Args:
        submission: the SweepSubmission.
        url: of the server's API.
        ready: is set once those are ready who would be slower if Prefect were loaded at the same time.
    """

    def __init__(self, submission: Any, url: str, ready: threading.Event) -> None:
        self._submission = submission
        self._url = url
        self._ready = ready
        self._ending: Future[Ending] = Future()
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def begin(self, sweep_id: str, began: Callable[[FlowLink], None]) -> None:
        """Let the flow run begin, soon; it is named by the sweep's id.

        Args:
            began: is told which one it is, from another thread.
        """
        self._thread = threading.Thread(target=self._keep, args=(sweep_id, began), daemon=True)
        self._thread.start()

    def _keep(self, sweep_id: str, began: Callable[[FlowLink], None]) -> None:
        self._ready.wait(PATIENCE_S)
        try:
            _load_flow().keep_flow(self._submission, self._url, sweep_id, began, self._ending)
        except Exception as error:  # noqa: BLE001 - whatever a server says; the sweep does not depend on it
            self._trouble = f"{type(error).__name__}: {error}"

    def end(self, status: Status, message: str) -> None:
        """Let the flow run end as the sweep did, and wait for it."""
        assert self._thread is not None, "it has begun"
        self._ready.set()
        self._ending.set_result(Ending(status, message))
        self._thread.join()
        if self._trouble:
            self._submission.listener.say(
                f"The Prefect server at {self._url} does not answer ({self._trouble}). "
                "The sweep is recorded; Prefect does not know its end."
            )
