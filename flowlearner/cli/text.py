"""Values, times and sizes as people read them; text from users made harmless for a terminal."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

# Control characters move the cursor or change colours; these turn the direction of text.
_DIRECTION = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")
SHORT_ID = 8
SHORT_HASH = 12
PROGRAM = "flowlearner"


def show_command(arguments: str) -> str:
    """Return a command of this program as the user's shell finds it: by its path where PATH does not."""
    called = sys.argv[0]
    found = shutil.which(PROGRAM)
    if os.path.basename(called) != PROGRAM or (found and os.path.realpath(found) == os.path.realpath(called)):
        return f"{PROGRAM} {arguments}"
    return f"{shlex.quote(called)} {arguments}"


def clean(text: object) -> str:
    """Return text without control characters; line ends and tabs stay."""
    found = str(text)
    if found.isascii() and found.isprintable():
        return found
    return "".join(c for c in found.replace("\r\n", "\n") if c in "\n\t" or _is_harmless(c))


def clean_line(text: object) -> str:
    """Return text as one line without control characters."""
    return " ".join(clean(text).split())


def _is_harmless(character: str) -> bool:
    # Cc: control; Cs: half of a pair, which no terminal can be sent.
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in _DIRECTION


def shorten_line(text: object, limit: int) -> str:
    """Return text as one line of at most `limit` characters."""
    line = clean_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def show_number(value: float) -> str:
    """Return a number with four significant digits, whole numbers whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return clean_line(value)
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}" if abs(value) >= 10_000 else f"{value:.1f}"
    if 1e-4 <= abs(value) < 1e6:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    return f"{value:.3e}"


def align_numbers(texts: Sequence[str]) -> list[str]:
    """Return numbers of one length with their decimal points below each other."""
    heads = [text.partition(".")[0] for text in texts]
    width = max(map(len, heads), default=0)
    shifted = [" " * (width - len(head)) + text for head, text in zip(heads, texts, strict=True)]
    length = max(map(len, shifted), default=0)
    return [text.ljust(length) for text in shifted]


def show_value(value: Any, limit: int = 60) -> str:
    """Return a parameter's or output's value in one line."""
    if isinstance(value, dict) and value.get("hash"):
        source = value.get("source")
        return clean_line(source) if source else f"{clean_line(value.get('type'))} {str(value['hash'])[:12]}"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return clean_line(value) if isinstance(value, int) else show_exact(value)
    return shorten_line(value, limit) if value != "" else "''"


def show_exact(value: float) -> str:
    """Return a float so that it can be given again: 0.1, 1e-05."""
    return repr(value)


def show_duration(seconds: float | None) -> str:
    """Return a time span: "3 ms", "0.84 s", "12.3 s", "2 min 05 s", "1 h 04 min"."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def show_age(at: datetime | None) -> str:
    """Return how long ago something was: "just now", "5 min ago", "3 h ago", then the date."""
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 24 * 3600:
        return f"{int(seconds // 3600)} h ago"
    return at.astimezone().strftime("%Y-%m-%d")


def show_time(at: datetime | None) -> str:
    """Return a time in the user's own zone."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def show_size(count: float) -> str:
    """Return a number of bytes: "12 B", "3.4 KiB", "1.2 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def count_of(count: int, noun: str, plural: str | None = None) -> str:
    """Return "1 node", "3 nodes"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
