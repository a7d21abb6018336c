"""The space that a sweep searches: which parameters vary, over which values, under which conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flowlearner.definition import Definition
from flowlearner.errors import ParameterError, shorten, suggest
from flowlearner.interface import MISSING, Param
from flowlearner.params import conform_given, parse_param, read_param
from flowlearner.spec import Mismatch, make_spec
from flowlearner.sweep.domains import Domain, Read, parse_domain
from flowlearner.types import Choice, LogRange, Range

Point = dict[str, Any]
# A grid is counted point by point where conditions make it irregular.
MAX_COUNTED = 1_000_000


@dataclass(frozen=True)
class Dimension:
    """One parameter that varies.

    Attributes:
        is_int: values of a range are whole numbers, as the parameter's type says.
        when: names of other dimensions with the values at which this one is active.
    """

    name: str
    domain: Domain
    is_int: bool = False
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def count(self) -> int | None:
        """How many values there are; None for an interval of real numbers."""
        domain = self.domain
        if isinstance(domain, Choice):
            return len(domain.values)
        if isinstance(domain, Range) and (self.is_int or domain.step is not None):
            # A share of a step is lost to rounding: 0.1..0.9:0.1 has nine points.
            return math.floor((domain.high - domain.low) / (domain.step or 1) + 1e-9) + 1
        return int(domain.high) - int(domain.low) + 1 if self.is_int else None

    def value_at(self, index: int) -> Any:
        """Return one of a finite number of values, in order from the lowest."""
        if isinstance(self.domain, Choice):
            return self.domain.values[index]
        step = getattr(self.domain, "step", None) or 1
        value = self.domain.low + index * step
        return int(value) if self.is_int else float(f"{value:.12g}")

    def value_of(self, share: float) -> Any:
        """Return the value at a share from 0 (included) to 1 (excluded) of the domain."""
        domain = self.domain
        if isinstance(domain, LogRange):
            # Half a step beyond both ends gives the first and the last whole number their full share.
            margin = 0.5 if self.is_int else 0.0
            low, high = math.log(domain.low - margin), math.log(domain.high + margin)
            value = math.exp(low + share * (high - low))
            bounded = min(max(round(value) if self.is_int else value, domain.low), domain.high)
            return int(bounded) if self.is_int else float(bounded)
        if self.count is not None:
            return self.value_at(min(int(share * self.count), self.count - 1))
        assert isinstance(domain, Range), "only a range has no count"
        return float(domain.low + share * (domain.high - domain.low))

    def is_active(self, point: Mapping[str, Any]) -> bool:
        """Tell whether its condition holds at the values of the dimensions before it."""
        return all(name in point and _is_one_of(point[name], values) for name, values in self.when)


def _is_one_of(value: Any, values: Sequence[Any]) -> bool:
    return any(type(v) is type(value) and v == value for v in values)


@dataclass(frozen=True)
class Space:
    """Dimensions in such an order that conditions refer to earlier ones."""

    dimensions: tuple[Dimension, ...]

    def count_points(self) -> int | None:
        """How many different points there are; None where a range is continuous or they are too many."""
        counts = [d.count for d in self.dimensions]
        if any(c is None for c in counts):
            return None
        if not any(d.when for d in self.dimensions):
            return math.prod(c or 0 for c in counts)
        counted = sum(1 for _ in itertools.islice(self.iter_points(), MAX_COUNTED + 1))
        return counted if counted <= MAX_COUNTED else None

    def iter_points(self) -> Iterator[Point]:
        """Yield every point of a finite space; the last dimension varies fastest."""
        yield from self._iter_from(0, {})

    def _iter_from(self, position: int, point: Point) -> Iterator[Point]:
        if position == len(self.dimensions):
            yield point
            return
        dimension = self.dimensions[position]
        if not dimension.is_active(point):
            yield from self._iter_from(position + 1, point)
            return
        for index in range(dimension.count or 0):
            yield from self._iter_from(position + 1, {**point, dimension.name: dimension.value_at(index)})

    def point_of(self, shares: Sequence[float]) -> Point:
        """Return the point at one share in [0, 1) for each dimension; inactive ones are left out."""
        point: Point = {}
        for dimension, share in zip(self.dimensions, shares, strict=True):
            if dimension.is_active(point):
                point[dimension.name] = dimension.value_of(share)
        return point

    def describe(self) -> dict[str, str]:
        """Return each domain as the command line and spec files write it."""
        return {d.name: describe_domain(d) for d in self.dimensions}


def describe_domain(dimension: Dimension) -> str:
    conditions = " and ".join(f"{name}={'|'.join(map(_name, values))}" for name, values in dimension.when)
    return str(dimension.domain) + (f" when {conditions}" if conditions else "")


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def make_space(definition: Definition, given: Any, fixed: Mapping[str, Any]) -> Space:
    """Check what a person gives as a space against a workflow's parameters.

    Args:
        given: domains by parameter name, each a Range, LogRange, Choice, a list of values or the text form of
            one (`2..10`), or None for the range that the workflow declares; names alone stand for their
            declared ranges; None takes every parameter that declares one and is not fixed.
        fixed: parameters that do not vary.

    Raises:
        ParameterError: listing every mistake at once.
    """
    params = definition.interface.by_name
    read = partial(read_param, definition)
    problems: list[str] = []
    dimensions: list[Dimension] = []
    for name, domain in _name_domains(definition, given, fixed).items():
        param = params.get(name)
        if param is None:
            problems.append(f"no parameter '{name}'; it takes {shorten(params)}.{suggest(name, params)}")
            continue
        if name in fixed:
            problems.append(f"'{name}' is both fixed and in the space; leave one out")
            continue
        try:
            dimensions.append(make_dimension(param, domain, read))
        except (ValueError, TypeError) as error:
            said = str(error).removeprefix(f"parameter '{name}': ")
            problems.append(f"'{name}': {said}")
    dimensions = [_read_conditions(d, params, read) for d in dimensions]
    known = {d.name: d for d in dimensions}
    for dimension in dimensions:
        problems += _check_conditions(dimension, known, params[dimension.name])
    ordered = _order(dimensions)
    if not problems and len(ordered) < len(dimensions):
        stuck = [d.name for d in dimensions if d not in ordered]
        problems.append(f"the conditions of {shorten(stuck)} depend on each other in a circle")
    if not problems and not dimensions:
        problems.append(
            "it is empty: nothing varies. Name a parameter with a domain, for example max_depth=2..10, or "
            "annotate parameters of the workflow with Range, LogRange or Choice"
        )
    if problems:
        raise ParameterError(f"workflow '{definition.name}', space: " + "; ".join(problems))
    return Space(tuple(ordered))


def _name_domains(definition: Definition, given: Any, fixed: Mapping[str, Any]) -> dict[str, Any]:
    if given is None:
        return {p.name: None for p in definition.interface.params if p.type.bounds and p.name not in fixed}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ParameterError(
            f"workflow '{definition.name}', space: expected domains by name, such as "
            f'{{"max_depth": Range(2, 10)}}, found {given!r}'
        )
    return dict.fromkeys(given)


def make_dimension(param: Param, given: Any, read: Read = parse_param) -> Dimension:
    """Check one domain against its parameter.

    Args:
        read: turns the text of a value into the value.

    Raises:
        ValueError, TypeError: the domain does not fit the parameter's type or its own bounds.
    """
    domain, when = given, getattr(given, "when", None) or {}
    if isinstance(given, str):
        domain, when = parse_domain(given, param, read)
    elif domain is None:
        if param.type.bounds is None:
            raise ValueError(f"the workflow declares no range for it ({param.type}); give one, such as 2..10")
        domain = param.type.bounds
    elif isinstance(domain, (list, tuple, set, frozenset)):
        domain = Choice(sorted(domain, key=repr) if isinstance(domain, (set, frozenset)) else domain)
    if not isinstance(domain, (Range, LogRange, Choice)):
        raise TypeError(f"expected a Range, LogRange, Choice or a list of values, found {given!r}")
    if isinstance(domain, Choice):
        values = [_conform(param, v) for v in domain.values]
        distinct = [v for i, v in enumerate(values) if not _is_one_of(v, values[:i])]
        if len(distinct) < len(values):
            raise ValueError(f"{domain} has a value twice")
        domain, is_int = Choice(distinct), False
    else:
        is_int = _check_range(param, domain)
    conditions = tuple(
        (name, tuple(v) if isinstance(v, (list, tuple, set)) else (v,)) for name, v in when.items()
    )
    return Dimension(param.name, domain, is_int, conditions)


def _conform(param: Param, value: Any) -> Any:
    try:
        return conform_given(param, value)
    except Mismatch as error:
        raise ValueError(str(error).removeprefix(f"parameter '{param.name}': ")) from None


def _check_range(param: Param, domain: Range | LogRange) -> bool:
    """Return whether a range gives whole numbers."""
    base = make_spec(param.type.base).base
    if base not in (int, float) or param.takes_operator:
        raise ValueError(f"a range of numbers does not fit {param.type}; give a list of values")
    is_int = base is int
    ends = (domain.low, domain.high, getattr(domain, "step", None) or 1)
    if is_int and any(end != int(end) for end in ends):
        raise ValueError(f"{domain} has ends or steps that are no whole numbers, but it is int")
    for end in ends[:2]:
        _conform(param, int(end) if is_int else float(end))
    return is_int


def _read_conditions(dimension: Dimension, params: Mapping[str, Param], read: Read) -> Dimension:
    """Return a dimension whose conditions hold values of the named parameters' types rather than texts."""
    return replace(
        dimension,
        when=tuple(
            (name, tuple(_read_text(params[name], v, read) for v in values) if name in params else values)
            for name, values in dimension.when
        ),
    )


def _read_text(param: Param, value: Any, read: Read) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read(param, value)
    except ParameterError:
        return value


def _check_conditions(dimension: Dimension, known: Mapping[str, Dimension], param: Param) -> list[str]:
    problems = []
    for name, values in dimension.when:
        where = f"'{dimension.name}': its condition '{name}'"
        if name not in known:
            problems.append(f"{where} is not in the space.{suggest(name, known)}")
            continue
        domain = known[name].domain
        if not isinstance(domain, Choice):
            problems.append(f"{where} must be a list of values, found {domain}")
            continue
        strange = [v for v in values if not _is_one_of(v, domain.values)]
        if strange:
            problems.append(f"{where} is one of {domain}, never {shorten(map(repr, strange))}")
    if dimension.when and param.default is MISSING:
        problems.append(f"'{dimension.name}' varies under a condition, so it needs a default in the workflow")
    return problems


def _order(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Return dimensions with conditions behind what they depend on; those in a circle are left out."""
    ordered: list[Dimension] = []
    left = list(dimensions)
    while True:
        names = {d.name for d in ordered}
        ready = [d for d in left if all(name in names for name, _ in d.when)]
        if not ready:
            return ordered
        ordered += ready
        left = [d for d in left if d not in ready]
