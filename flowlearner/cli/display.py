"""What a person sees of a run: its nodes while they run, and its result at the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flowlearner.cli.output import get_err
from flowlearner.cli.text import clean, clean_line, count_of, shorten_line, show_duration
from flowlearner.engine.base import NodeEvent, RunListener
from flowlearner.graph import Graph
from flowlearner.records import LogLine, NodeRun, Status

STYLES = {
    Status.PENDING: "dim",
    Status.RUNNING: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED: "bold red",
    Status.SKIPPED: "dim",
    Status.CANCELLED: "magenta",
    Status.CRASHED: "bold red",
    Status.PRUNED: "dim",
}
_SIGNS = {
    Status.PENDING: ("·", "."),
    Status.RUNNING: ("●", "*"),
    Status.COMPLETED: ("✓", "+"),
    Status.FAILED: ("✗", "x"),
    Status.SKIPPED: ("-", "-"),
    Status.CANCELLED: ("■", "#"),
    Status.CRASHED: ("✗", "x"),
    Status.PRUNED: ("-", "-"),
}
REFRESHES_A_SECOND = 8
NODES_SHOWN = 60
MESSAGE_LIMIT = 200
NAME_WIDTH = 40


@dataclass
class _Row:
    """One node on the display."""

    node: str
    operator: str
    position: int
    status: Status = Status.PENDING
    cached: bool = False
    attempt: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    message: str = ""

    def take(self, event: NodeEvent) -> None:
        self.status = event.status
        self.cached = event.cached
        self.attempt = event.attempt
        self.started_at = event.started_at or self.started_at
        self.finished_at = event.finished_at
        self.reason = event.reason
        if event.error is not None:
            self.message = f"{event.error.type}: {event.error.message}"

    @property
    def duration_s(self) -> float | None:
        if self.started_at is None or self.status is Status.PENDING:
            return None
        if self.finished_at is None:
            return (datetime.now(UTC) - self.started_at).total_seconds()
        return (self.finished_at - self.started_at).total_seconds()


class RunDisplay(RunListener):
    """Follows a run on standard error: a live table on a terminal, plain lines elsewhere.

    Attributes:
        run_id: of the run, once it has begun.
        echo_prints: what operators print is shown by the display itself, beside the node's name.
    """

    echo_prints = False

    def __init__(self, live: bool) -> None:
        self.run_id: str | None = None
        self._console = get_err()
        self._live: Live | None = None
        self._wants_live = live and self._console.is_terminal and not self._console.is_dumb_terminal
        self._lock = threading.RLock()
        self._rows: dict[str, _Row] = {}
        self._workflow = ""
        self._began = datetime.now(UTC)
        self._ended: Status | None = None

    def say(self, message: str) -> None:
        self._print(Text(clean(message), style="dim"))

    def run_started(self, run_id: str, graph: Graph) -> None:
        with self._lock:
            self.run_id = run_id
            self._workflow = graph.workflow
            self._began = datetime.now(UTC)
            self._rows = {n.name: _Row(n.name, n.operator.name, n.position) for n in graph.nodes}
        if self._wants_live:
            self._live = Live(
                self,
                console=self._console,
                refresh_per_second=REFRESHES_A_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
        else:
            nodes = count_of(len(graph.nodes), "node")
            self._print(Text(f"run {run_id} of {clean_line(graph.workflow)}: {nodes}"))

    def node_changed(self, event: NodeEvent) -> None:
        with self._lock:
            row = self._rows.setdefault(event.node, _Row(event.node, event.operator, len(self._rows)))
            row.take(event)
            line = None if self._wants_live else self._describe(row)
        if line is not None:
            self._print(line)

    def log(self, line: LogLine) -> None:
        name = clean_line(line.node or "")
        level = "" if line.level in ("PRINT", "INFO") else f"{line.level} "
        style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}.get(line.level, "")
        message = clean(line.message)
        text = Text.assemble(
            (f"{name} │ " if not self._is_ascii else f"{name} | ", "dim"), (level, style), message
        )
        self._print(text)

    def run_finished(self, run_id: str, status: Status) -> None:
        with self._lock:
            self._ended = status
        self.close()

    def close(self) -> None:
        """End the live display and leave the last state of the nodes on the terminal."""
        with self._lock:
            live, self._live = self._live, None
        if live is None:
            return
        live.stop()
        self._console.print(self._render(NODES_SHOWN, self._console.width))

    def _print(self, text: Text) -> None:
        live = self._live
        console = live.console if live is not None else self._console
        # A log keeps its lines whole; a terminal folds them between words.
        console.print(text, soft_wrap=not console.is_terminal)

    @property
    def _is_ascii(self) -> bool:
        return self._console.options.ascii_only

    def _describe(self, row: _Row) -> Text | None:
        """Return the line for a log: a node began or ended."""
        if row.status is Status.PENDING:
            return None
        text = f"{clean_line(row.node)}: {row.status.value.lower()}"
        if row.status is Status.RUNNING:
            attempt = f", attempt {row.attempt}" if row.attempt > 1 else ""
            reason = f" ({clean_line(row.reason)})" if row.reason and not attempt else ""
            return Text(f"{clean_line(row.node)}: running{attempt}{reason}")
        if row.cached:
            return Text(f"{clean_line(row.node)}: cached")
        if row.duration_s is not None and row.status is not Status.SKIPPED:
            text += f" in {show_duration(row.duration_s)}"
        if row.message:
            text += f": {shorten_line(row.message, MESSAGE_LIMIT)}"
        return Text(text)

    # The live table

    def __rich_console__(self, console: Console, options: Any) -> Any:
        yield self._render(max(3, console.height - 4), console.width)

    def _render(self, limit: int, width: int) -> RenderableType:
        with self._lock:
            rows = sorted(self._rows.values(), key=lambda r: r.position)
            chosen = choose_rows(rows, limit)
            table = self._make_table(chosen, width)
            parts: list[RenderableType] = [self._make_title(), table]
            if len(chosen) < len(rows):
                parts.append(Text(f"  … {len(rows) - len(chosen)} more", style="dim"))
            if self._ended is None:
                parts.append(self._make_counts(rows))
            return Group(*parts)

    def _make_title(self) -> Text:
        return Text.assemble(
            (clean_line(self._workflow), "bold"), ("  run ", "dim"), (self.run_id or "", "cyan")
        )

    def _make_table(self, rows: Sequence[_Row], width: int) -> Table:
        # Expanded, so that the last column takes what the others leave instead of taking from them.
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=min(NAME_WIDTH, width // 2))
        table.add_column(no_wrap=True, justify="right", min_width=8)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in rows:
            table.add_row(
                self._make_sign(row),
                Text(clean_line(row.node), style="" if row.status is not Status.PENDING else "dim"),
                self._make_time(row),
                self._make_note(row),
            )
        return table

    def _make_sign(self, row: _Row) -> RenderableType:
        if row.status is Status.RUNNING and not self._is_ascii:
            return _spinner
        return sign_of(row.status, self._is_ascii)

    def _make_time(self, row: _Row) -> Text:
        if row.cached:
            return Text("cached", style="cyan")
        if row.status in (Status.PENDING, Status.SKIPPED):
            return Text("")
        return Text(show_duration(row.duration_s), style="yellow" if row.status is Status.RUNNING else "dim")

    def _make_note(self, row: _Row) -> Text:
        notes = []
        if row.attempt > 1:
            notes.append(f"attempt {row.attempt}")
        if row.status in (Status.SKIPPED, Status.CANCELLED):
            notes.append(row.status.value.lower())
        if row.status is Status.FAILED and row.message:
            notes.append(clean_line(row.message))
        elif row.status is Status.RUNNING and row.reason and row.attempt == 1:
            notes.append(clean_line(row.reason))
        return Text(", ".join(notes), style="red" if row.status is Status.FAILED else "dim")

    def _make_counts(self, rows: Sequence[_Row]) -> Text:
        done = sum(r.status.is_final for r in rows)
        parts = [f"{done} of {count_of(len(rows), 'node')}"]
        for count, word in (
            (sum(r.cached for r in rows), "cached"),
            (sum(r.status is Status.RUNNING for r in rows), "running"),
            (sum(r.status is Status.FAILED for r in rows), "failed"),
        ):
            if count:
                parts.append(f"{count} {word}")
        parts.append(show_duration((datetime.now(UTC) - self._began).total_seconds()))
        return Text("  " + ", ".join(parts), style="dim")


_spinner = Spinner("dots", style="yellow")


def sign_of(status: Status, ascii_only: bool = False) -> Text:
    """Return the one character that stands for a status."""
    return Text(_SIGNS[status][1 if ascii_only else 0], style=STYLES[status])


def choose_rows(rows: Sequence[_Row], limit: int) -> list[_Row]:
    """Return the rows that matter most where not all fit, in their order.

    Failed and running nodes come first, then the latest that ended, then the next that wait.
    """
    if len(rows) <= limit:
        return list(rows)

    def rank(row: _Row) -> tuple[int, float]:
        if row.status in (Status.FAILED, Status.CRASHED):
            return 0, row.position
        if row.status is Status.RUNNING:
            return 1, row.position
        if row.finished_at is not None:
            return 2, -row.finished_at.timestamp()
        return 3, row.position

    chosen = {r.node for r in sorted(rows, key=rank)[:limit]}
    return [r for r in rows if r.node in chosen]


def show_node_time(node: NodeRun) -> Text:
    """Return how long a node took, or that it was cached."""
    if node.cached:
        return Text("cached", style="cyan")
    if node.started_at is None or node.finished_at is None or node.status is Status.SKIPPED:
        return Text("")
    return Text(show_duration((node.finished_at - node.started_at).total_seconds()))
