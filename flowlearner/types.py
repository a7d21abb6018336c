"""Words that annotate parameters and outputs: ranges, column contracts and value markers.

Each marker is `typing.Annotated` metadata, so a type checker sees the ordinary type beneath it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Never, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """A closed interval of numbers; `step` makes it a grid of points from `low`.

    Args:
        when: in the space of a sweep, the values of other parameters at which this one varies, by name: one
            value or a list of them. At other values it has the workflow's default.

    Example:
        >>> Range(1, 12).contains(12)
        True
        >>> str(Range(0, 0.5, when={"booster": "dart"}))
        '0..0.5 when booster=dart'
    """

    low: float
    high: float
    step: float | None = None
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        _check_bounds("Range", self.low, self.high)
        if self.step is not None and not (_is_number(self.step) and 0 < self.step <= sys.float_info.max):
            raise ValueError(f"Range({self.low}, {self.high}): step must be above 0, found {self.step!r}")
        object.__setattr__(self, "when", _read_when("Range", self.when))

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def __repr__(self) -> str:
        step = f", {self.step}" if self.step is not None else ""
        return f"Range({self.low}, {self.high}{step}{_when_repr(self.when)})"

    def __str__(self) -> str:
        step = f":{self.step}" if self.step is not None else ""
        return f"{self.low}..{self.high}{step}{when_text(self.when)}"


@dataclass(frozen=True)
class LogRange:
    """A closed interval of positive numbers, searched on a logarithmic scale.

    Args:
        when: as of a Range.

    Example:
        >>> str(LogRange(0.01, 0.5))
        'log(0.01,0.5)'
    """

    low: float
    high: float
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        _check_bounds("LogRange", self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"LogRange({self.low}, {self.high}): low must be above 0")
        object.__setattr__(self, "when", _read_when("LogRange", self.when))

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def __repr__(self) -> str:
        return f"LogRange({self.low}, {self.high}{_when_repr(self.when)})"

    def __str__(self) -> str:
        return f"log({self.low},{self.high}){when_text(self.when)}"


@dataclass(frozen=True, init=False)
class Choice:
    """One of a fixed list of values.

    Args:
        when: as of a Range.

    Example:
        >>> Choice(["gbtree", "dart"]).contains("dart")
        True
    """

    values: tuple[Any, ...]
    when: Mapping[str, Any] = field(hash=False)

    def __init__(self, values: Any = (), *more: Never, when: Mapping[str, Any] | None = None) -> None:
        if more or isinstance(values, str) or not hasattr(values, "__iter__"):
            found = ", ".join(map(repr, (values, *more)))
            raise TypeError(f"Choice takes a list of values: write Choice([{found}])")
        object.__setattr__(self, "values", tuple(values))
        if not self.values:
            raise ValueError("Choice([]): at least one value is needed")
        object.__setattr__(self, "when", _read_when("Choice", when))

    def contains(self, value: Any) -> bool:
        return any(type(v) is type(value) and v == value for v in self.values) or value in self.values

    def __repr__(self) -> str:
        return f"Choice({list(self.values)!r}{_when_repr(self.when)})"

    def __str__(self) -> str:
        return "{" + ",".join(map(item_text, self.values)) + "}" + when_text(self.when)


# What has a meaning of its own in the text form of a domain, or reads as another value than a text.
_SPECIAL = re.compile(r"""[,'"()\[\]{}|=\n]|^\s|\s$|\s(?:when|and)\s|^$""")
_LITERAL = re.compile(
    r"(?i)none|null|true|false|[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf\w*)"
)


def item_text(value: Any) -> str:
    """Return a value as it stands in the list of a domain's text form; a text is quoted where it must be.

    Example:
        >>> [item_text(v) for v in ("dart", "a,b", "1", 1, None)]
        ['dart', "'a,b'", "'1'", '1', 'None']
    """
    if isinstance(value, Enum) or getattr(value, "__flowlearner_operator__", False):
        return str(value.name)
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return json.dumps(items, default=str, ensure_ascii=False)
    text = str(value)
    if isinstance(value, (str, os.PathLike)):
        is_text = not _SPECIAL.search(text) and not _LITERAL.fullmatch(text)
        return text if is_text else "'" + text.replace("'", "''") + "'"
    return f"<{type(value).__name__}>" if "\n" in text else text


def when_text(when: Mapping[str, Any]) -> str:
    """Return conditions as they stand behind a domain, with a space before them."""
    parts = [f"{name}={'|'.join(map(item_text, values))}" for name, values in when.items()]
    return f" when {' and '.join(parts)}" if parts else ""


def _when_repr(when: Mapping[str, Any]) -> str:
    given = {name: values[0] if len(values) == 1 else list(values) for name, values in when.items()}
    return f", when={given!r}" if given else ""


def _read_when(word: str, when: Any) -> dict[str, tuple[Any, ...]]:
    """Return conditions with a tuple of values for each name."""
    if when is None:
        return {}
    if not isinstance(when, Mapping) or not all(isinstance(name, str) for name in when):
        raise TypeError(f'{word}: when takes values by name, such as {{"booster": "dart"}}, found {when!r}')
    read = {
        name: tuple(sorted(v, key=repr) if isinstance(v, (set, frozenset)) else v)
        if isinstance(v, (list, tuple, set, frozenset))
        else (v,)
        for name, v in when.items()
    }
    if empty := [name for name, values in read.items() if not values]:
        raise ValueError(f"{word}: when={{'{empty[0]}': []}} never holds; give at least one value")
    return read


_BUILTINS: dict[str, type] = {t.__name__: t for t in (float, int, bool, str, bytes)}
_COLUMN_TYPES = ("float", "int", "bool", "str", "bytes", "datetime", "date", "Timestamp")


@dataclass(frozen=True, init=False)
class Columns:
    """The columns of a table and their types: `float`, `int`, `bool`, `str`, `datetime`, `date` or `Any`.

    On an output the list is closed: these columns and no others. On an input it names
    what the operator reads; further columns are welcome.

    Example:
        >>> Columns(dep_delay=float, carrier=str).names
        ('dep_delay', 'carrier')
    """

    types: tuple[tuple[str, Any], ...]

    def __init__(self, *names: str, **types: Any) -> None:
        twice = [name for name in (*names, *types) if (*names, *types).count(name) > 1]
        if twice:
            raise ValueError(f"Columns: '{twice[0]}' is named twice")
        for name in names:
            if not isinstance(name, str):
                raise TypeError(
                    f"Columns: expected the name of a column, found {name!r}; write Columns(age=float), or "
                    'Columns("age", "city") for columns of any type'
                )
        for name, kind in types.items():
            types[name] = _BUILTINS.get(kind, kind) if isinstance(kind, str) else kind
            if kind is not Any and getattr(kind, "__name__", kind) not in _COLUMN_TYPES:
                known = ", ".join((*_COLUMN_TYPES, "Any"))
                raise TypeError(f"Columns: column '{name}' is of type {kind!r}; expected one of {known}")
        columns = dict.fromkeys(names, Any) | types
        object.__setattr__(self, "types", tuple(columns.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.types)


@dataclass(frozen=True)
class Pickled:
    """Opts one type into pickle; its values are marked unsafe wherever they are shown.

    Example:
        >>> Annotated[complex, Pickled()]
        typing.Annotated[complex, Pickled()]
    """


@dataclass(frozen=True)
class Mark:
    """What a value means beyond its Python type: `metric`, `model`, `file`, `seed`, `secret`, `static`."""

    kind: str


METRIC = Mark("metric")
MODEL = Mark("model")
FILE = Mark("file")
SEED = Mark("seed")
SECRET = Mark("secret")
STATIC = Mark("static")

Metric = Annotated[float, METRIC]
Model = Annotated[Any, MODEL]
File = Annotated[str | os.PathLike[str], FILE]
Seed = Annotated[int | None, SEED]
Secret = Annotated[str, SECRET]
Static = Annotated[T, STATIC]


def _is_number(value: Any) -> bool:
    # Only NaN is unlike itself; math.isnan does not take every int.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _check_bounds(word: str, low: Any, high: Any) -> None:
    for name, bound in (("low", low), ("high", high)):
        if not _is_number(bound) or abs(bound) > sys.float_info.max:
            raise ValueError(f"{word}({low}, {high}): {name} must be a finite number, found {bound!r}")
    if low > high:
        raise ValueError(f"{word}({low}, {high}): low is above high")
    if high - low > sys.float_info.max:
        raise ValueError(f"{word}({low}, {high}): it is wider than any number")
