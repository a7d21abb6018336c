"""Where output goes: one JSON document or text on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from flowlearner.cli.text import clean

PIPE_WIDTH = 1000
_BLANKS = re.compile(r" +$", re.MULTILINE)


@dataclass
class _Sink:
    """The standard output that is kept for the document while `reserved_stdout` is active."""

    target: TextIO | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


_sink = _Sink()


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
    target.write(text + "\n")
    target.flush()


def get_out() -> Console:
    """Return the console of standard output; where it is no terminal, lines are not folded."""
    return _make_console(sys.stdout)


def get_err() -> Console:
    """Return the console of standard error."""
    return _make_console(sys.stderr)


def _make_console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        # Tables fill their last column with blanks, which is nothing but length in a file.
        console.file = cast(TextIO, _Trimmed(stream))
        console.width = PIPE_WIDTH
    return console


class _Trimmed:
    """A stream that drops blanks at the ends of lines; whole lines must come in one piece."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(_BLANKS.sub("", text))
        return len(text)

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
