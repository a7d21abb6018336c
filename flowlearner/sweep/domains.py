"""The text form of what a parameter varies over: `2..10`, `0.1..0.9:0.2`, `log(0.01,0.5)`, `{a,b}`.

`str` of a domain writes it, `parse_domain` reads it. A condition stands behind it: `0..0.5 when booster=dart`
or `{1,2} when booster=dart|gblinear and eta=0.1`. A text may stand in quotes, which are doubled inside of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from flowlearner.errors import ParameterError
from flowlearner.interface import Param
from flowlearner.params import parse_param
from flowlearner.types import Choice, LogRange, Range

Domain = Range | LogRange | Choice
Read = Callable[[Param, str], Any]
FORMS = "expected 2..10, 2..10:2, 0.1..0.9, log(0.01,0.5) or {a,b,c}"
# A point is no end of a number: 0...5 goes from 0 to .5.
_NUMBER = r"[-+]?(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})(?:\s*:\s*(?P<step>{_NUMBER}))?")
_LOG = re.compile(rf"log\(\s*(?P<low>{_NUMBER})\s*,\s*(?P<high>{_NUMBER})\s*\)")
_WHEN, _AND = re.compile(r"\s+when\s+"), re.compile(r"\s+and\s+")
_COMMA, _BAR = re.compile(","), re.compile(r"\|")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def parse_domain(text: str, param: Param, read: Read = parse_param) -> Domain:
    """Read a domain with its condition.

    Args:
        param: says as what the values of a list are read.
        read: turns one of them into a value.

    Returns:
        the domain; the values of its condition are texts, for other parameters say what they mean.

    Raises:
        ValueError: the text is no domain; the message says where it stops to be one, or lists what does not
            fit of its values.
    """
    body, *conditions = split_outside(text.strip(), _WHEN)
    if len(conditions) > 1:
        raise ValueError(f"'{text}' has 'when' twice; join conditions by 'and'")
    return _parse_body(body.strip(), param, read, _parse_conditions(*conditions))


def _parse_body(text: str, param: Param, read: Read, when: dict[str, list[str]]) -> Domain:
    if match := _RANGE.fullmatch(text):
        step = match["step"]
        numbers = _number(match["low"]), _number(match["high"])
        return Range(*numbers, _number(step) if step else None, when=when)
    if match := _LOG.fullmatch(text):
        return LogRange(_number(match["low"]), _number(match["high"]), when=when)
    if text.startswith("{") and text.endswith("}"):
        return Choice(_read_items(text, param, read), when=when)
    raise ValueError(f"'{text}' is no domain{_find_place(text)}; {FORMS}")


def _find_place(text: str) -> str:
    """Say where a text stops to look like the domain that it begins as."""
    if text.startswith("{"):
        return ": the closing } is missing"
    if text.startswith("log"):
        return ": log takes two numbers, such as log(0.01,0.5)"
    match = re.match(_NUMBER, text)
    if match and ".." not in text:
        return f": '..' is expected after '{match.group()}'"
    return ": a list stands in braces" if "," in text else ""


def _number(text: str) -> float:
    plain = text.replace("_", "")
    return int(plain) if re.fullmatch(r"[-+]?\d+", plain) else float(plain)


def _read_items(text: str, param: Param, read: Read) -> list[Any]:
    values, problems = [], []
    items = split_outside(text[1:-1], _COMMA)
    if items == [""]:
        raise ValueError("{} has no value in it")
    if not all(items):
        raise ValueError(f"{text} has an empty place between two commas; quote an empty text: ''")
    for item in items:
        try:
            values.append(_read_item(item, param, read))
        except ParameterError as error:
            problems.append(strip_name(error, param))
    if problems:
        raise ValueError("; ".join(problems))
    return values


def _read_item(item: str, param: Param, read: Read) -> Any:
    text = unquote(item)
    base = param.type.base
    if text is not item and (base is Any or str in (base, *get_args(base))):
        return text
    if item == "None" and param.type.optional:
        return None
    return read(param, text)


def strip_name(error: Exception, param: Param) -> str:
    """Return what is wrong with a value without the parameter, which whoever lists the mistakes names."""
    return str(error).removeprefix(f"parameter '{param.name}': ")


def unquote(item: str) -> str:
    """Return what stands in quotes; an item without them as it is."""
    quote = item[:1]
    if len(item) > 1 and quote in ("'", '"') and item.endswith(quote):
        return item[1:-1].replace(2 * quote, quote)
    return item


def split_outside(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split a text where a separator stands outside of quotes and brackets; the pieces are stripped.

    Raises:
        ValueError: a quote or a bracket is not closed.
    """
    pieces: list[str] = []
    open_at: list[int] = []
    position = start = 0
    before = ""  # the last sign that is no space, since the last separator
    while position < len(text):
        sign, top = text[position], text[open_at[-1]] if open_at else ""
        if not open_at and (match := separator.match(text, position)):
            pieces.append(text[start:position])
            position = start = match.end()
            before = ""
            continue
        if top in ("'", '"'):
            is_escape = sign == "\\" and top == '"' and len(open_at) > 1  # as JSON writes lists
            if is_escape or text[position : position + 2] == 2 * top:
                position += 1
            elif sign == top:
                open_at.pop()
        # An apostrophe inside of a word is no quote.
        elif (sign in "'\"" and before in ("", *"{[(,:=|")) or sign in _CLOSING:
            open_at.append(position)
        elif top and sign == _CLOSING[top]:
            open_at.pop()
        if not sign.isspace():
            before = sign
        position += 1
    if open_at:
        what = text[open_at[-1]]
        raise ValueError(f"'{text}': the {what} at character {open_at[-1] + 1} is not closed")
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces]


def _parse_conditions(text: str = "") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in split_outside(text, _AND) if text else []:
        name, equals, values = (side.strip() for side in part.partition("="))
        if not name or not equals or not values:
            raise ValueError(f"'when {part}': expected NAME=VALUE, for example when booster=dart")
        if name in found:
            raise ValueError(f"'when {text}' names '{name}' twice; join its values by |: {name}=a|b")
        found[name] = [unquote(value) for value in split_outside(values, _BAR)]
    return found
