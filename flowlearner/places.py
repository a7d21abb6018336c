"""Where in the user's code something happens: the line, and whether a library stands between."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_PACKAGE = str(Path(__file__).parent) + os.sep
_LIBRARIES = (
    "<frozen ",  # such as os, which Python carries inside
    *{sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
UNKNOWN = "?"


def location_of(fn: Callable[..., Any]) -> str:
    """Return "file:line" where a function begins."""
    code = fn.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def find_location(stop: CodeType) -> str:
    """Return "file:line" of the user's code that is running.

    The innermost line outside of installed packages; where the user's code is itself installed, its own.

    Args:
        stop: code of the frame that calls the user's code.
    """
    place = _find_place(stop)
    return f"{place[0]}:{place[1]}" if place else UNKNOWN


def find_library(stop: CodeType) -> str | None:
    """Return the name of the library whose code the user's code called and that is running, or None."""
    place = _find_place(stop)
    innermost = next(_iter_places(stop), None)
    if place is None or innermost is None or innermost[0] == place[0]:
        return None
    folder = next(f for f in sorted(_LIBRARIES, key=len, reverse=True) if innermost[0].startswith(f))
    return innermost[0].removeprefix(folder).split(os.sep)[0].removesuffix(".py").removesuffix(">")


def _find_place(stop: CodeType) -> tuple[str, int] | None:
    found = None
    for found in _iter_places(stop):
        if not found[0].startswith(_LIBRARIES):
            break
    return found


def _iter_places(stop: CodeType) -> Iterator[tuple[str, int]]:
    """Yield file and line of the running frames outside of this package, from the innermost up to `stop`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not stop:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def find_raised(error: BaseException) -> str | None:
    """Return "file:line" of the user's code that an exception passed last."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_PACKAGE)]
    own = [f for f in frames if not f.filename.startswith(_LIBRARIES) and not f.filename.endswith(".pyx")]
    own = own or frames[:1]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None
