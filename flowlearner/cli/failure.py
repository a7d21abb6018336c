"""A stored traceback as people read it: the lines of their own code, before all that lies behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flowlearner.cli.text import clean
from flowlearner.records import CAUSED_BY, RAISED_WHILE, ErrorInfo

_HEAD = "Traceback (most recent call last):"
_LINKS = (
    "",
    CAUSED_BY,
    RAISED_WHILE,
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# Of the class that Python names before the message.
_MODULE = re.compile(r"^(\w+\.)+(?=\w+(:|$))")
_FRAME = re.compile(r'  File "(.+?)", line \d+')
_LIBRARY = re.compile(
    r"[/\\](site-packages|dist-packages|lib[/\\]python3[^/\\]*)[/\\]|\.(pyx|pxi)$|^<frozen "
)


@dataclass
class _Frame:
    path: str
    lines: list[str] = field(default_factory=list)

    @property
    def is_library(self) -> bool:
        return _LIBRARY.search(self.path) is not None


@dataclass
class _Block:
    """One exception of a chain: where it passed, and its own text."""

    frames: list[_Frame] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


def list_failure_lines(error: ErrorInfo) -> list[str]:
    """Return the lines to print below the message of a failure: its frames, then those of its causes.

    Frames that a call of the user's led to in libraries are counted only.
    """
    text = clean(error.traceback)
    blocks = _read_blocks(text)
    if not blocks:
        return []
    if CAUSED_BY not in text and RAISED_WHILE not in text:
        # As Python writes it, what was raised last stands last.
        blocks.reverse()
    raised, *causes = blocks
    lines = [*_show_frames(raised), *_drop_known(raised.text, clean(error.message).rstrip())]
    for cause in causes:
        own = [f for f in cause.frames if not f.is_library]
        # Libraries raise anew what they caught; that says nothing.
        if own or cause.text != raised.text:
            lines += [f"Caused by {line}" if not i else line for i, line in enumerate(cause.text)]
            lines += _show_frames(cause) if own else []
    return lines


def _read_blocks(text: str) -> list[_Block]:
    """Return the exceptions of a traceback in the order in which they stand there."""
    blocks: list[_Block] = []
    for line in text.rstrip().splitlines():
        frame = _FRAME.match(line)
        if line in _LINKS:
            continue
        if line == _HEAD:
            blocks.append(_Block())
        elif not blocks:
            blocks.append(_Block(text=[line]))
        elif frame and not blocks[-1].text:
            blocks[-1].frames.append(_Frame(frame[1], [line[2:]]))
        elif blocks[-1].frames and not blocks[-1].text and line.startswith("    "):
            blocks[-1].frames[-1].lines.append(line[2:])
        else:
            blocks[-1].text.append(line)
    return blocks


def _drop_known(text: list[str], message: str) -> list[str]:
    """Return an exception's text without its beginning that stands in the message already; notes are left."""
    plain = [_MODULE.sub("", text[0]), *text[1:]] if text else []
    for count in range(len(plain), 0, -1):
        if message.endswith("\n".join(plain[:count])):
            return plain[count:]
    return text


def _show_frames(block: _Block) -> list[str]:
    own = [i for i, frame in enumerate(block.frames) if not frame.is_library]
    end = own[-1] + 1 if own else len(block.frames)
    rest = len(block.frames) - end
    lines = [line for frame in block.frames[:end] for line in frame.lines]
    return [*lines, f"… and {rest} more in libraries"] if rest else lines
