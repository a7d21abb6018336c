"""What Ctrl-C does to a run or a sweep."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any


class Interruption:
    """Each Ctrl-C (or SIGTERM) takes one more step towards the end; where none is left, it interrupts.

    Attributes:
        steps: of what goes on, the gentlest first; none before it has begun.
        count: how many signals came.
    """

    def __init__(self) -> None:
        self.steps: tuple[Callable[[], object], ...] = ()
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
        if self.count > len(self.steps):
            raise KeyboardInterrupt
        self.steps[self.count - 1]()
