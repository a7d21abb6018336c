"""What Ctrl-C does to a sweep."""

from __future__ import annotations

import signal
import threading
from typing import Any

from flowlearner.sweep.driver import Driver


class Interruption:
    """Ctrl-C (or SIGTERM) once lets the trials in flight end, twice stops them, a third time interrupts.

    Attributes:
        count: how many signals came.
    """

    def __init__(self) -> None:
        self.driver: Driver | None = None
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Only the main thread may set handlers; elsewhere whoever owns it decides.
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._handle) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *ignored: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        del number, frame
        self.count += 1
        if self.driver is None or self.count > 2:
            raise KeyboardInterrupt
        if self.count == 1:
            self.driver.drain()
        else:
            self.driver.stop()
