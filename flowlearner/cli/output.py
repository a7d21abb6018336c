"""Where output goes: one JSON document or text on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from flowlearner.cli.text import clean

PIPE_WIDTH = 1000
_BLANKS = re.compile(r" +$", re.MULTILINE)


class OutputLost(Exception):
    """Standard output cannot be written: its reader has gone, or the disk is full.

    Attributes:
        reader_is_gone: somebody who had seen enough, such as `head`, closed the pipe.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.reader_is_gone = error.errno == errno.EPIPE


@dataclass
class _Sink:
    """The standard output that is kept for the document while `reserved_stdout` is active."""

    target: TextIO | None = None


_sink = _Sink()


def prepare_streams() -> None:
    """Make both streams fit for anything: there are always some, and they escape what they cannot say."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def drop(stream: TextIO) -> None:
    """Lead a stream that cannot be written to nowhere, so that nothing complains about it at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def reserved_stdout() -> Iterator[None]:
    """Keep standard output for `emit`; what anybody else prints goes to standard error.

    That holds for prints of operators and modules, for C code and for child processes, which inherit the
    file descriptor.
    """
    before = sys.stdout
    with contextlib.ExitStack() as stack:
        if _is_descriptor(before, 1) and _is_descriptor(sys.stderr, 2):
            before.flush()
            copy = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, copy)
            stack.callback(os.dup2, copy, 1)
            _sink.target = stack.enter_context(open(os.dup(copy), "w", encoding="utf-8"))
        else:
            _sink.target = before
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = before
            _sink.target = None


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


def emit(document: Any) -> None:
    """Print one JSON document."""
    # Half of a surrogate pair cannot be written as UTF-8; escaped it can.
    target = _sink.target or sys.stdout
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        text.encode(target.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, ensure_ascii=True, indent=2, allow_nan=False)
    try:
        target.write(text + "\n")
        target.flush()
    except OSError as error:
        drop(target)
        raise OutputLost(error) from error


def get_out() -> Console:
    """Return the console of standard output; where it is no terminal, lines are not folded.

    Its methods raise OutputLost where it cannot be written.
    """
    return _make_console(sys.stdout, is_vital=True)


def get_err() -> Console:
    """Return the console of standard error; what cannot be written there is lost without a word."""
    return _make_console(sys.stderr, is_vital=False)


def _make_console(stream: TextIO, is_vital: bool) -> Console:
    guarded = cast(TextIO, _Guarded(stream, is_vital))
    console = Console(file=guarded, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


class _Guarded:
    """A stream as consoles use it: whole lines come in one piece.

    Args:
        is_vital: whether what cannot be written is an error. A run goes on without its display.
    """

    def __init__(self, stream: TextIO, is_vital: bool) -> None:
        self._stream = stream
        self._is_vital = is_vital
        self._is_terminal = stream.isatty()

    def write(self, text: str) -> int:
        # Tables fill their last column with blanks, which is nothing but length in a file.
        with self._guarded():
            self._stream.write(text if self._is_terminal else _BLANKS.sub("", text))
        return len(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            drop(self._stream)
            if self._is_vital:
                raise OutputLost(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(message: str) -> None:
    """Print a message of the platform to standard error."""
    get_err().print(Text(clean(message)))


def complain(message: str, word: str = "Error") -> None:
    """Print what went wrong to standard error."""
    console = get_err()
    style = "bold red" if word == "Error" else "bold yellow"
    text = Text.assemble((f"{word}: ", style), clean(message))
    # Words are kept whole on a terminal; a log keeps the lines whole.
    console.print(text, soft_wrap=not console.is_terminal)
