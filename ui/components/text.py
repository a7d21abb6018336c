"""Texts of users on a page: they are shown as they are, and never become markup."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from textwrap import dedent
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

LONGEST = 300
ID_CHARS = 8
# Every character that Markdown, or what Streamlit adds to it, may take for more than itself.
_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")


def plain(text: object, longest: int = LONGEST) -> str:
    """Return a text for places that read Markdown, so that it is shown as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", cut(" ".join(str(text).split()), longest))


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def split_doc(doc: str) -> tuple[str, str]:
    """Return what a docstring says in general, and its example as code; arguments stand in a table."""
    summary = re.split(r"^(?:Args|Returns|Raises|Example):$", doc, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.search(r"^Example:$\n((?:[ \t]+.*\n?|\n)+)", doc, flags=re.MULTILINE)
    return summary.strip(), dedent(found[1]).strip() if found else ""


def short_id(run_id: str) -> str:
    """Return as much of an id as people read."""
    return run_id[:ID_CHARS]


def show_number(value: float | None) -> str:
    """Return a number with six significant digits; the exact one is in downloads."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.6g}"


def show_value(value: Any) -> str:
    """Return a parameter or the like as text; a file or table by where it came from, else by its hash."""
    if isinstance(value, dict) and {"type", "hash"} <= set(value):
        return str(value.get("source") or f"{value['type']} {str(value['hash'])[:ID_CHARS]}")
    if isinstance(value, float):
        return show_number(value)
    return "" if value is None else str(value)


def show_duration(seconds: float | None) -> str:
    """Return seconds in the unit that suits them."""
    if seconds is None:
        return "—"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def show_size(size_bytes: int) -> str:
    """Return a size in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def get_zone() -> ZoneInfo:
    """Return the time zone of the viewer's browser; UTC where it does not say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def show_time(at: datetime | None) -> str:
    """Return a time in the viewer's zone."""
    return "—" if at is None else at.astimezone(get_zone()).strftime("%Y-%m-%d %H:%M:%S")


def show_ago(at: datetime | None) -> str:
    """Return how long ago something was."""
    if at is None:
        return "—"
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
