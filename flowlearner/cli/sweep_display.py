"""What a person sees of a sweep while it runs: a live view on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flowlearner.cli.output import get_err
from flowlearner.cli.text import clean, clean_line, count_of, shorten_line, show_duration, show_number
from flowlearner.records import ErrorInfo, Status
from flowlearner.sweep.listener import Best, SweepListener, Tally

REFRESHES_A_SECOND = 4
PLAIN_EVERY_S = 5.0
FAILURES_SHOWN = 3
MESSAGE_LIMIT = 200
BAR_WIDTH = 30
# An estimate from less than this says little.
ESTIMATE_AFTER_S = 1.0
ORDER = (Status.COMPLETED, Status.RUNNING, Status.PRUNED, Status.FAILED, Status.CANCELLED)
DRAINING = "Stopping: trials in flight end, no more begin. Ctrl-C again stops these too."
STOPPING = "Stopping the trials in flight."


@dataclass(frozen=True)
class Heading:
    """What is known of a sweep before it begins.

    Attributes:
        search: how it searches, in words.
        executed_before: operator calls that ran before it was resumed.
    """

    workflow: str
    metrics: tuple[str, ...]
    search: str
    executed_before: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come, at one moment."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    executed: int = 0
    saved: int = 0
    best: Best | None = None

    @property
    def ended(self) -> int:
        return sum(n for status, n in self.counts.items() if status.is_final)


_NOTHING = Progress()


def describe_counts(counts: Mapping[Status, int]) -> str:
    """Return trials by status in words: "10 completed, 4 running, 1 failed"."""
    return ", ".join(f"{counts[s]:,} {s.value.lower()}" for s in (*ORDER, Status.CRASHED) if counts.get(s))


def describe_point(point: Mapping[str, Any]) -> str:
    """Return a point in one line, its numbers short."""
    return ", ".join(f"{clean_line(n)}={show_setting(v)}" for n, v in point.items())


def show_setting(value: Any) -> str:
    """Return a parameter's value for a table or a line; of a number, four digits."""
    if isinstance(value, float):
        return show_number(value)
    return shorten_line(getattr(value, "name", value), 40)


class SweepDisplay(SweepListener):
    """Follows a sweep on standard error.

    Attributes:
        sweep_id: of the sweep, once it has begun.
        took_s: how long this process has worked on it, once it has ended.
    """

    def __init__(self, live: bool) -> None:
        self.sweep_id: str | None = None
        self.took_s: float | None = None
        self._console = get_err()
        self._live: Live | None = None
        self._wants_live = live and self._console.is_terminal and not self._console.is_dumb_terminal
        self._heading = Heading("", (), "")
        self._total: int | None = None
        self._progress = _NOTHING
        self._ended_before, self._counted_since = 0, 0.0
        self._began = self._printed = monotonic()
        self._last_line = ""
        self._failures = 0
        self._interrupts = self._interrupts_told = 0

    def announce(self, heading: Heading) -> None:
        """Take what is known before the sweep begins."""
        self._heading = heading

    def say(self, message: str) -> None:
        self._print(Text(clean(message), style="dim"))

    def sweep_started(self, sweep_id: str, trials: int | None) -> None:
        self.sweep_id = sweep_id
        self._total = trials
        self._began = self._printed = monotonic()
        self._watch_signals()
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
            how_many = count_of(trials, "trial") if trials is not None else "trials"
            name = clean_line(self._heading.workflow)
            self._print(Text(f"sweep {sweep_id} of {name}: {how_many}, {self._heading.search}"))

    def _watch_signals(self) -> None:
        """Count the signals that the sweep answers, so that the view can say what they do."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            answer = signal.getsignal(number)
            if callable(answer):
                signal.signal(number, partial(self._count_signal, answer))

    def _count_signal(self, answer: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        # Nothing is printed from here: the signal may have come while something else was being printed.
        self._interrupts += 1
        answer(number, frame)

    def progressed(self, tally: Tally) -> None:
        is_first = self._progress is _NOTHING
        self._progress = Progress(dict(tally.counts), tally.executed.total(), tally.saved.total(), tally.best)
        if is_first:
            self._ended_before = self._progress.ended
            self._counted_since = monotonic()
        if self._wants_live:
            return
        if self._interrupts > self._interrupts_told:
            self._interrupts_told = self._interrupts
            self._print(Text(self._describe_interrupt()))
        now = monotonic()
        if now - self._printed >= PLAIN_EVERY_S:
            line = self._describe()
            if line != self._last_line:
                self._print(Text(line))
                self._last_line, self._printed = line, now

    def trial_failed(self, number: int, error: ErrorInfo | None) -> None:
        self._failures += 1
        if self._failures <= FAILURES_SHOWN:
            reason = shorten_line(error.message, MESSAGE_LIMIT) if error else "no reason is known"
            self._print(Text(f"trial {number} failed: {reason}", style="red"))
        elif self._failures == FAILURES_SHOWN + 1:
            self._print(Text("more trials fail; they are counted", style="red"))

    def sweep_finished(self, sweep_id: str, status: Status) -> None:
        del sweep_id, status
        self.took_s = monotonic() - self._began
        self.close()

    def close(self) -> None:
        """End the live view; nothing of it stays on the terminal."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _print(self, text: Text) -> None:
        live = self._live
        console = live.console if live is not None else self._console
        console.print(text, soft_wrap=not console.is_terminal)

    # In words

    def _describe(self) -> str:
        """Return the line for a log."""
        progress = self._progress
        parts = [f"{self._describe_ended()} trials ended ({describe_counts(progress.counts)})"]
        if progress.best is not None:
            parts.append(self._describe_best(progress.best))
        if progress.saved:
            parts.append(f"{count_of(progress.saved, 'operator call')} saved")
        left = self._estimate_left_s()
        if left is not None:
            parts.append(f"about {_show_seconds(left)} left")
        return "; ".join(parts)

    def _describe_ended(self) -> str:
        ended = f"{self._progress.ended:,}"
        return ended if self._total is None else f"{ended} of {self._total:,}"

    def _describe_best(self, best: Best) -> str:
        name = clean_line(self._heading.metrics[0]) if self._heading.metrics else "value"
        return f"best {name} = {show_number(best.value)}, trial {best.number}: {describe_point(best.point)}"

    def _describe_interrupt(self) -> str:
        return DRAINING if self._interrupts == 1 else STOPPING

    def _estimate_left_s(self) -> float | None:
        # A sweep that is resumed begins with trials that have ended.
        ended = self._progress.ended - self._ended_before
        elapsed = monotonic() - self._counted_since
        if self._total is None or ended < 1 or elapsed < ESTIMATE_AFTER_S or self._interrupts:
            return None
        return (self._total - self._progress.ended) * elapsed / ended

    # The live view

    def __rich_console__(self, console: Console, options: Any) -> Any:
        del options
        yield self._render(console)

    def _render(self, console: Console) -> RenderableType:
        progress, heading = self._progress, self._heading
        parts: list[RenderableType] = [
            Text.assemble(
                (clean_line(heading.workflow), "bold"), ("  sweep ", "dim"), (self.sweep_id or "", "cyan")
            ),
            self._make_bar(console),
            Text(f"  {describe_counts(progress.counts) or 'the first trials begin'}"),
        ]
        if progress.best is not None:
            parts.append(Text(f"  {self._describe_best(progress.best)}", style="green"))
        if progress.executed or progress.saved:
            calls = f"{progress.executed - heading.executed_before:,} run"
            calls += f", {progress.saved:,} saved by sharing and the cache" if progress.saved else ""
            parts.append(Text(f"  operator calls: {calls}", style="dim"))
        if self._interrupts:
            parts.append(Text(f"  {self._describe_interrupt()}", style="bold yellow"))
        else:
            parts.append(Text("  Ctrl-C stops it in good order.", style="dim"))
        return Group(*parts)

    def _make_bar(self, console: Console) -> RenderableType:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        cells: list[RenderableType] = [Text("")]
        if self._total:
            bar = ProgressBar(self._total, self._progress.ended, width=min(BAR_WIDTH, console.width // 3))
            cells.append(bar)
        elapsed = _show_seconds(monotonic() - self._began)
        left = self._estimate_left_s()
        times = f"{elapsed}, about {_show_seconds(left)} left" if left is not None else elapsed
        cells += [Text(f"{self._describe_ended()} trials"), Text(times, style="dim")]
        table.add_row(*cells)
        return table


def _show_seconds(seconds: float) -> str:
    """Return a time span in whole seconds, as far as an estimate is worth."""
    return f"{seconds:.0f} s" if seconds < 59.5 else show_duration(seconds)
