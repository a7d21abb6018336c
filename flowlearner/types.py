"""Words that annotate parameters and outputs: ranges, column contracts and value markers.

Each marker is `typing.Annotated` metadata, so a type checker sees the ordinary type beneath it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Annotated, Any, Never, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """A closed interval of numbers; `step` makes it a grid of points from `low`.

    Example:
        >>> Range(1, 12).contains(12)
        True
    """

    low: float
    high: float
    step: float | None = None

    def __post_init__(self) -> None:
        _check_bounds("Range", self.low, self.high)
        if self.step is not None and not self.step > 0:
            raise ValueError(f"Range({self.low}, {self.high}): step must be above 0, found {self.step}")

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def __repr__(self) -> str:
        return f"Range({self.low}, {self.high}" + (f", {self.step})" if self.step is not None else ")")

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (f":{self.step}" if self.step is not None else "")


@dataclass(frozen=True)
class LogRange:
    """A closed interval of positive numbers, searched on a logarithmic scale.

    Example:
        >>> str(LogRange(0.01, 0.5))
        'log(0.01,0.5)'
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds("LogRange", self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"LogRange({self.low}, {self.high}): low must be above 0")

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def __repr__(self) -> str:
        return f"LogRange({self.low}, {self.high})"

    def __str__(self) -> str:
        return f"log({self.low},{self.high})"


@dataclass(frozen=True, init=False)
class Choice:
    """One of a fixed list of values.

    Example:
        >>> Choice(["gbtree", "dart"]).contains("dart")
        True
    """

    values: tuple[Any, ...]

    def __init__(self, values: Any = (), *more: Never) -> None:
        if more or isinstance(values, str) or not hasattr(values, "__iter__"):
            found = ", ".join(map(repr, (values, *more)))
            raise TypeError(f"Choice takes a list of values: write Choice([{found}])")
        object.__setattr__(self, "values", tuple(values))
        if not self.values:
            raise ValueError("Choice([]): at least one value is needed")

    def contains(self, value: Any) -> bool:
        return any(type(v) is type(value) and v == value for v in self.values) or value in self.values

    def __repr__(self) -> str:
        return f"Choice({list(self.values)!r})"

    def __str__(self) -> str:
        return "{" + ",".join(str(getattr(v, "name", v)) for v in self.values) + "}"


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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _check_bounds(word: str, low: Any, high: Any) -> None:
    for name, bound in (("low", low), ("high", high)):
        if not _is_number(bound) or math.isinf(bound):
            raise ValueError(f"{word}({low}, {high}): {name} must be a finite number, found {bound!r}")
    if low > high:
        raise ValueError(f"{word}({low}, {high}): low is above high")
