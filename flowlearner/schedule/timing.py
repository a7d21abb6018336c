"""When a schedule fires: a cron text or an interval, checked field by field, and its time zone."""

from __future__ import annotations

import os
import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flowlearner.errors import UsageError, shorten, suggest

DEFAULT_ZONE = "UTC"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
LAST_DAY = "l"
MIN_EVERY_S = 1.0
MAX_EVERY_S = 10 * 366 * 24 * 3600.0


@dataclass(frozen=True)
class Timing:
    """When a schedule fires: by `cron` or every so many seconds, of which one is None.

    Attributes:
        timezone: in which `cron` is read.
        since: when an interval was first counted from.
    """

    cron: str | None = None
    every_s: float | None = None
    timezone: str = DEFAULT_ZONE
    since: datetime | None = None


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        allowed = f"{self.low}-{self.high}"
        if self.names:
            allowed += f" or {self.names[0]}-{self.names[-1]}"
        return allowed + (" or L for the last day" if self.words else "")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31, words=(LAST_DAY,)),
    _Field("month", 1, 12, MONTHS, 1),
    _Field("day of week", 0, 7, DAYS),
)
_ITEM = re.compile(r"(?P<low>\*|[a-z0-9]+)(?:-(?P<high>[a-z0-9]+))?(?:/(?P<step>[a-z0-9]*))?")


def make_timing(cron: str | None, every_s: float | None, timezone: str | None) -> Timing:
    """Check when a schedule shall fire.

    Args:
        cron: five fields: minute, hour, day of month, month, day of week; or a word such as @daily.
        every_s: seconds from one firing to the next.
        timezone: in which `cron` is read; this machine's if left out.

    Raises:
        UsageError: neither or both are given, or one is not what it takes.
    """
    if (cron is None) == (every_s is None):
        raise UsageError("say when: --cron '0 2 * * *' or --every SECONDS, one of the two")
    if every_s is not None:
        # A comparison with NaN is never true.
        if not MIN_EVERY_S <= every_s <= MAX_EVERY_S:
            raise UsageError(
                f"--every: expected from {MIN_EVERY_S:g} to {MAX_EVERY_S:.0f} seconds, found {every_s:g}"
            )
    else:
        check_cron(cron or "")
    zone = find_local_timezone() if timezone is None else timezone
    check_timezone(zone)
    if cron is None:
        return Timing(None, every_s, zone, datetime.now(UTC))
    return Timing(" ".join(cron.split()), None, zone)


def check_cron(text: str) -> None:
    """Refuse a broken cron text.

    Raises:
        UsageError: naming every field that is wrong, what was found, and what is allowed.
    """
    parts = text.lower().split()
    if len(parts) == 1 and parts[0].startswith("@"):
        if parts[0] not in ALIASES:
            raise UsageError(
                f"--cron '{text}': no such word; there are {shorten(ALIASES)}.{suggest(parts[0], ALIASES)}"
            )
        return
    if len(parts) != len(_FIELDS):
        names = ", ".join(f.name for f in _FIELDS)
        raise UsageError(
            f"--cron '{text}': expected 5 fields ({names}), such as '0 2 * * *' for 2:00 every day; "
            f"found {len(parts)}"
        )
    problems = []
    for field, part in zip(_FIELDS, parts, strict=True):
        reason = next((r for r in (_explain(field, item) for item in part.split(",")) if r), "")
        if reason:
            problems.append(f"{field.name}: {reason}")
    if problems:
        raise UsageError(f"--cron '{text}': {'; '.join(problems)}")


def _explain(field: _Field, item: str) -> str:
    """Return what is wrong with one item of a field, or an empty string."""
    if item in field.words:
        return ""
    examples = f"such as {field.low + 1}, */2 or {field.low + 1}-{field.low + 3}"
    match = _ITEM.fullmatch(item)
    if match is None:
        return f"found '{item}', expected numbers from {field.allowed}, {examples}"
    low, high, step = match["low"], match["high"], match["step"]
    if step is not None and not (step.isdecimal() and 1 <= int(step) <= field.high):
        return f"found '{item}', but after / comes a step from 1 to {field.high}"
    if low == "*":
        return f"found '{item}', but * already means all" if high else ""
    values = [_read(field, word) for word in (low, high) if word is not None]
    for word, value in zip((low, high), values, strict=False):
        if value is None:
            near = suggest(word or "", field.names)
            return f"found '{word}', allowed is {field.allowed}{'.' + near if near else ''}"
    if len(values) == 2 and (values[0] or 0) > (values[1] or 0):
        return (
            f"found '{item}', which goes backwards; write {low}-{field.high},{field.low}-{high}"
            if values[0] != 7
            else f"found '{item}', which goes backwards; Sunday is 0 at the beginning of a range"
        )
    return ""


def _read(field: _Field, word: str) -> int | None:
    if word in field.names:
        return field.names.index(word) + field.first
    if not word.isdecimal() or not word.isascii():
        return None
    return int(word) if field.low <= int(word) <= field.high else None


def check_timezone(name: str) -> None:
    """Refuse an unknown time zone.

    Raises:
        UsageError: there is none of this name; the message names the nearest.
    """
    known = zoneinfo.available_timezones()
    if name in known:
        return
    by_fold = {zone.casefold(): zone for zone in known}
    near = by_fold.get(name.casefold().replace(" ", "_"))
    if near is None:
        # "Paris" and "Europe/Pari" both mean Europe/Paris.
        cities = {zone.rpartition("/")[2].casefold(): zone for zone in sorted(known)}
        near = cities.get(name.rpartition("/")[2].casefold().replace(" ", "_"))
    hint = f" Did you mean '{near}'?" if near else suggest(name, known)
    raise UsageError(f"--timezone: no time zone '{name}'; expected a name such as Europe/Paris or UTC.{hint}")


def find_local_timezone() -> str:
    """Return the name of this machine's time zone, UTC where it has none."""
    known = zoneinfo.available_timezones()
    link = os.path.realpath(Path("/etc/localtime"))
    for found in (os.environ.get("TZ", "").lstrip(":"), link.partition("zoneinfo/")[2]):
        if found in known:
            return found
    return DEFAULT_ZONE
