"""The text form of what a parameter varies over: `2..10`, `0.1..0.9:0.2`, `log(0.01,0.5)`, `{a,b}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flowlearner.interface import Param
from flowlearner.params import parse_param
from flowlearner.types import Choice, LogRange, Range

Domain = Range | LogRange | Choice
FORMS = "expected 2..10, 2..10:2, 0.1..0.9, log(0.01,0.5) or {a,b,c}"
_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})(?:\s*:\s*(?P<step>{_NUMBER}))?")
_LOG = re.compile(rf"log\(\s*(?P<low>{_NUMBER})\s*,\s*(?P<high>{_NUMBER})\s*\)")
_WHEN = re.compile(r"\s+when\s+")
_AND = re.compile(r"\s+and\s+")


def parse_domain(text: str, param: Param) -> tuple[Domain, Mapping[str, Any]]:
    """Read a domain, and the condition behind it: `0..0.5 when booster=dart`.

    Args:
        param: says as what the values of a list are read.

    Returns:
        the domain, and the values by name of other parameters at which it is active, as texts.

    Raises:
        ValueError: the text is no domain; the message says at which character.
    """
    body, condition = [*_WHEN.split(text, maxsplit=1), ""][:2]
    return _parse_body(body.strip(), param), dict(_parse_condition(condition.strip()))


def _parse_body(text: str, param: Param) -> Domain:
    if match := _RANGE.fullmatch(text):
        step = match["step"]
        return Range(_number(match["low"]), _number(match["high"]), _number(step) if step else None)
    if match := _LOG.fullmatch(text):
        return LogRange(_number(match["low"]), _number(match["high"]))
    if text.startswith("{") and text.endswith("}"):
        return Choice([parse_param(param, item) for item in split_items(text[1:-1])])
    raise ValueError(f"'{text}' is no domain{_find_place(text)}; {FORMS}")


def _find_place(text: str) -> str:
    """Say where a text stops to look like the domain that it begins as."""
    if text.startswith("{"):
        return ": the closing } is missing"
    if text.startswith("log("):
        return ": log takes two numbers, such as log(0.01,0.5)"
    match = re.match(_NUMBER, text)
    if match and ".." not in text:
        return f": '..' is expected after '{match.group()}'"
    return ""


def _number(text: str) -> float:
    plain = text.replace("_", "")
    return int(plain) if re.fullmatch(r"[-+]?\d+", plain) else float(plain)


def split_items(text: str) -> list[str]:
    """Split a list at its commas; quotes and brackets keep together what is inside them."""
    items: list[str] = []
    depth, quote, current = 0, "", ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        if sign == "," and not quote and depth == 0:
            items.append(current)
            current = ""
        else:
            current += sign
    items.append(current)
    stripped = [item.strip() for item in items]
    if not any(stripped):
        raise ValueError("{} has no value in it")
    if not all(stripped):
        raise ValueError(f"{{{text}}} has an empty place between two commas; quote an empty text: ''")
    return [s[1:-1] if len(s) > 1 and s[0] == s[-1] and s[0] in "'\"" else s for s in stripped]


def _parse_condition(text: str) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for part in _AND.split(text) if text else []:
        name, equals, values = part.partition("=")
        if not equals or not values:
            raise ValueError(f"'when {part}': expected NAME=VALUE, for example when booster=dart")
        found.append((name.strip(), tuple(v.strip() for v in values.split("|"))))
    return found
