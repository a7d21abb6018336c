"""What operators log, print and report while a node runs."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from flowlearner.records import LogLine, MetricPoint

MAX_LINES = 10_000
MAX_CHARS = 20_000
FORWARDED = "flowlearner_forwarded"


class NodeContext:
    """Collects the logs and metrics of one call; `sink` sees each line at once.

    Attributes:
        secrets: texts that are replaced by *** in every line.
    """

    def __init__(
        self, run_id: str, node: str, sink: Callable[[LogLine], None], secrets: tuple[str, ...] = (), echo: bool = True
    ) -> None:
        self.run_id = run_id
        self.node = node
        self.lines: list[LogLine] = []
        self.metrics: list[MetricPoint] = []
        self.secrets = tuple(s for s in secrets if s)
        self.echo = echo
        self._sink = sink
        self._partial = ""
        self._lock = threading.Lock()

    def add_line(self, level: str, message: str) -> None:
        for secret in self.secrets:
            message = message.replace(secret, "***")
        line = LogLine(datetime.now(UTC), level, message[:MAX_CHARS], self.node)
        with self._lock:
            if len(self.lines) == MAX_LINES:
                self.lines.append(LogLine(line.at, "WARNING", f"more than {MAX_LINES} lines; the rest is dropped", self.node))
            if len(self.lines) > MAX_LINES:
                return
            self.lines.append(line)
        self._sink(line)

    def write(self, text: str) -> None:
        """Take printed text; whole lines are recorded."""
        *whole, self._partial = (self._partial + text).split("\n")
        for message in whole:
            self.add_line("PRINT", message)

    def flush(self) -> None:
        if self._partial:
            self.add_line("PRINT", self._partial)
            self._partial = ""


current_node: ContextVar[NodeContext | None] = ContextVar("flowlearner_node", default=None)


def report(*, step: int | None = None, **values: float) -> None:
    """Report metrics from inside an operator; with `step` they become a curve.

    Reported metrics are part of the node's result: a hit replays them. Outside a run it does nothing.

    Args:
        step: position on the curve, such as the boosting round.
        values: metrics by name.

    Raises:
        TypeError: a value is not a number.

    Example:
        flowlearner.report(step=3, auc=0.71)
    """
    context = current_node.get()
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"report({name}=...): expected a number, found {type(value).__name__}")
        if context is not None:
            context.metrics.append(MetricPoint(name, float(value), step, datetime.now(UTC)))


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        context = current_node.get()
        if context is not None:
            if not getattr(record, FORWARDED, False):
                context.add_line(record.levelname, self.format(record))
        elif record.levelno >= logging.WARNING and logging.lastResort and len(logging.getLogger().handlers) == 1:
            logging.lastResort.handle(record)


class _Tee(io.TextIOBase):
    """Standard output that also gives a running node its printed lines."""

    def __init__(self, target: TextIO) -> None:
        self.target = target

    def write(self, text: str) -> int:
        context = current_node.get()
        if context is None:
            return self.target.write(text)
        context.write(text)
        return self.target.write(text) if context.echo else len(text)

    def flush(self) -> None:
        self.target.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.target.isatty()

    def fileno(self) -> int:
        return self.target.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.target.encoding

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


_lock = threading.Lock()
_users = 0
node_handler = _Handler(logging.INFO)
node_handler.setFormatter(logging.Formatter("%(message)s"))
_root_level = logging.WARNING


@contextmanager
def captured() -> Iterator[None]:
    """Route logging and prints of nodes to their contexts while a run is active."""
    global _users, _root_level
    root = logging.getLogger()
    with _lock:
        _users += 1
        if _users == 1:
            root.addHandler(node_handler)
            _root_level = root.level
            if root.level == logging.WARNING:
                root.setLevel(logging.INFO)
            sys.stdout = _Tee(sys.stdout)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                root.removeHandler(node_handler)
                root.setLevel(_root_level)
                if isinstance(sys.stdout, _Tee):
                    sys.stdout = sys.stdout.target
