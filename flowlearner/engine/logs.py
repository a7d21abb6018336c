"""What operators log, print, warn and report while a node runs."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from operator import index
from typing import Any, TextIO

from flowlearner.records import LogLine, MetricPoint, clean
from flowlearner.secrecy import HIDDEN

MAX_LINES = 10_000
MAX_CHARS = 20_000
FORWARDED = "flowlearner_forwarded"


def hide_secrets(text: str, secrets: Sequence[str]) -> str:
    """Replace every secret in a text by ***."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def make_recordable(text: str, secrets: Sequence[str]) -> str:
    """Return a text without secrets that every database takes, and Prefect."""
    return clean(hide_secrets(text, secrets))


class NodeContext:
    """Collects the logs and metrics of one call.

    Args:
        sink: sees each line at once.
        secrets: texts that are replaced by *** in every line.
        echo: whether what is printed also goes where it would go outside of a run.
        point_sink: sees each reported metric at once.

    Attributes:
        ended: set when the call is over.
    """

    def __init__(
        self,
        run_id: str,
        node: str,
        sink: Callable[[LogLine], None],
        secrets: Sequence[str] = (),
        echo: bool = True,
        point_sink: Callable[[MetricPoint], None] | None = None,
    ) -> None:
        self.run_id = run_id
        self.node = node
        self.lines: list[LogLine] = []
        self.metrics: list[MetricPoint] = []
        self.secrets = tuple(s for s in secrets if s)
        self.echo = echo
        self.ended = False
        self._sink = sink
        self._point_sink = point_sink
        # What stdout and stderr have printed since the last end of a line.
        self._partial: dict[str, str] = {}
        self._lock = threading.Lock()

    def add_line(self, level: str, message: str) -> None:
        text = make_recordable(message, self.secrets)[:MAX_CHARS]
        line = LogLine(datetime.now(UTC), level, text, self.node)
        with self._lock:
            if len(self.lines) > MAX_LINES:
                return
            if len(self.lines) == MAX_LINES:
                line = LogLine(
                    line.at, "WARNING", f"more than {MAX_LINES} lines; the rest is dropped", self.node
                )
            self.lines.append(line)
        with outside_node():
            self._sink(line)

    def add_point(self, point: MetricPoint) -> None:
        point = replace(point, name=make_recordable(point.name, self.secrets))
        self.metrics.append(point)
        if self._point_sink is not None:
            self._point_sink(point)

    def write(self, text: str, stream: str = "stdout") -> None:
        """Take printed text; whole lines are recorded, of a line that was overprinted the last state."""
        with self._lock:
            *whole, rest = (self._partial.get(stream, "") + text).split("\n")
            self._partial[stream] = rest if rest.endswith("\r") else _last_state(rest)
        for message in whole:
            self.add_line("PRINT", _last_state(message))

    def flush(self) -> None:
        """Record what was printed without an end of line."""
        with self._lock:
            rest, self._partial = self._partial, {}
        for text in rest.values():
            if text:
                self.add_line("PRINT", _last_state(text))


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


current_node: ContextVar[NodeContext | None] = ContextVar("flowlearner_node", default=None)


def find_node() -> NodeContext | None:
    """Return the node that runs here; a thread that outlives its node is no node's any more."""
    context = current_node.get()
    return None if context is None or context.ended else context


@contextmanager
def outside_node() -> Iterator[None]:
    """What is logged or printed within is not the node's."""
    token = current_node.set(None)
    try:
        yield
    finally:
        current_node.reset(token)


def report(*, step: int | None = None, **values: float) -> None:
    """Report metrics from inside an operator; with `step` they become a curve.

    Reported metrics are part of the node's result: a hit replays them. Outside a run it does nothing.

    Args:
        step: position on the curve, such as the boosting round; a whole number of at most 63 bits.
        values: metrics by name.

    Raises:
        TypeError: a value is not a number, or the step not a whole one.
        ValueError: the step is too large.

    Example:
        flowlearner.report(step=3, auc=0.71)
    """
    context = find_node()
    if step is not None:
        # Those of numpy too, which the catalog would not take as they are.
        if not hasattr(step, "__index__"):
            raise TypeError(f"report(step=...): expected a whole number, found {type(step).__name__}")
        step = index(step)
        if abs(step) >= 1 << 63:
            raise ValueError(f"report(step=...): expected a number of at most 63 bits, found {step}")
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"report({name}=...): expected a number, found {type(value).__name__}")
        if context is not None:
            context.add_point(MetricPoint(name, float(value), step, datetime.now(UTC)))


class _Handler(logging.Handler):
    """Gives records of a running node to it, and stands in for logging's last resort for all others."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, FORWARDED, False):
            return
        context = find_node()
        if context is not None:
            try:
                context.add_line(record.levelname, self.format(record))
            except Exception:  # noqa: BLE001 - as every handler: a bad format string is shown, not raised
                self.handleError(record)
        # Once a handler is there logging's last resort falls silent; a run must not hide warnings.
        alone = logging.getLogger().handlers == [self] and logging.lastResort is not None
        if alone and record.levelno >= logging.WARNING and (context is None or context.echo):
            with outside_node():
                logging.lastResort.handle(record)  # type: ignore[union-attr]


class _Tee(io.TextIOBase):
    """An output stream that also gives a running node its printed lines."""

    def __init__(self, target: TextIO, stream: str) -> None:
        self.target = target
        self._stream = stream

    def write(self, text: str) -> int:
        context = find_node()
        if context is not None:
            context.write(text, self._stream)
            if not context.echo:
                return len(text)
        return self.target.write(text)

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


class _Capture:
    """Routes logging, warnings and prints of this process to the nodes that make them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._root_level = logging.WARNING
        self._show_warning: Any = None
        self._start_thread: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            root = logging.getLogger()
            root.addHandler(node_handler)
            self._root_level = root.level
            if root.level == logging.WARNING:
                root.setLevel(logging.INFO)
            self._show_warning, warnings.showwarning = warnings.showwarning, self._take_warning
            sys.stdout, sys.stderr = _Tee(sys.stdout, "stdout"), _Tee(sys.stderr, "stderr")
            self._start_thread = threading.Thread.start
            threading.Thread.start = _make_start(self._start_thread)  # type: ignore[method-assign,assignment]

    def __exit__(self, *ignored: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            root = logging.getLogger()
            root.removeHandler(node_handler)
            root.setLevel(self._root_level)
            if warnings.showwarning == self._take_warning:
                warnings.showwarning = self._show_warning
            if isinstance(sys.stdout, _Tee):
                sys.stdout = sys.stdout.target
            if isinstance(sys.stderr, _Tee):
                sys.stderr = sys.stderr.target
            threading.Thread.start = self._start_thread  # type: ignore[method-assign]

    def _take_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        context = find_node()
        if context is not None:
            context.add_line("WARNING", f"{category.__name__}: {message} ({filename}:{lineno})")
        if context is None or context.echo:
            with outside_node():
                self._show_warning(message, category, filename, lineno, file, line)


def _make_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Return a `Thread.start` with which threads that a node starts are the node's too."""

    def start_in_node(thread: threading.Thread) -> None:
        context = find_node()
        if context is not None:
            run = thread.run

            def run_in_node() -> None:
                current_node.set(context)
                run()

            thread.run = run_in_node  # type: ignore[method-assign]
        start(thread)

    return start_in_node


node_handler = _Handler(logging.INFO)
node_handler.setFormatter(logging.Formatter("%(message)s"))
_capture = _Capture()


def captured() -> _Capture:
    """Route logging, warnings and prints of nodes to their contexts while a run is active."""
    return _capture
