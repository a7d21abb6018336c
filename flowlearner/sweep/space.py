"""The space that a sweep searches: which parameters vary, over which values, under which conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

from flowlearner.definition import Definition
from flowlearner.errors import InputError, ParameterError, shorten, suggest
from flowlearner.inputs import InputResolver
from flowlearner.interface import MISSING, Param
from flowlearner.params import conform_given, parse_param, read_param
from flowlearner.secrecy import holds_secret
from flowlearner.spec import Mismatch, make_spec
from flowlearner.sweep.domains import Domain, Read, parse_domain, strip_name
from flowlearner.types import Choice, LogRange, Range, item_text, when_text

Point = dict[str, Any]
CONDITIONAL = ("space", "when")
# A share of a domain is a multiple of one of these parts.
SHARES = 1 << 53
Conditions = tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True)
class Dimension:
    """One parameter that varies.

    Attributes:
        domain: what it varies over; its own `when` says nothing.
        is_int: values of a range are whole numbers, as the parameter's type says.
        when: names of other dimensions with the values at which this one is active. Where one of them is not
            active itself, neither is this one.
    """

    name: str
    domain: Domain
    is_int: bool = False
    when: Conditions = ()

    @cached_property
    def count(self) -> int | None:
        """How many values there are; None for an interval of real numbers."""
        domain = self.domain
        if isinstance(domain, Choice):
            return len(domain.values)
        if not self.is_int and self._step is None:
            return None
        return math.floor((_exact(domain.high) - self._low) / (self._step or 1)) + 1

    @cached_property
    def _low(self) -> Fraction:
        return _exact(getattr(self.domain, "low", 0))

    @cached_property
    def _step(self) -> Fraction | None:
        step = getattr(self.domain, "step", None)
        return None if step is None else _exact(step)

    def value_at(self, index: int) -> Any:
        """Return one of a finite number of values, in order from the lowest."""
        if isinstance(self.domain, Choice):
            return self.domain.values[index]
        value = self._low + index * (self._step or 1)
        return int(value) if self.is_int else float(value)

    def index_of(self, value: Any) -> int:
        """Return where among a finite number of values one of them stands.

        Raises:
            ValueError: it is none of them.
        """
        if isinstance(self.domain, Choice):
            for index, known in enumerate(self.domain.values):
                if is_same(known, value):
                    return index
            raise ValueError(f"'{self.name}': {value!r} is none of {self.domain}")
        return round((_exact(value) - self._low) / (self._step or 1))

    def value_of(self, share: float) -> Any:
        """Return the value at a share from 0 (included) to 1 (excluded) of the domain."""
        domain = self.domain
        if isinstance(domain, LogRange):
            # Half a step beyond both ends gives the first and the last whole number their full share.
            margin = 0.5 if self.is_int else 0.0
            low, high = math.log(domain.low - margin), math.log(domain.high + margin)
            value = math.exp(low + share * (high - low))
            return self._clip(round(value) if self.is_int else value)
        if self.count is not None:
            # In whole numbers, for a count may be larger than any float.
            return self.value_at(int(share * SHARES) * self.count // SHARES)
        assert isinstance(domain, Range), "only a range has no count"
        return self._clip(domain.low + share * (domain.high - domain.low))

    def _clip(self, value: float) -> float:
        """Return a value of a range without the error of rounding that would put it outside."""
        assert not isinstance(self.domain, Choice), "only a range has ends"
        inside = min(max(value, self.domain.low), self.domain.high)
        return int(inside) if self.is_int else float(inside)

    def is_active(self, point: Mapping[str, Any]) -> bool:
        """Tell whether its condition holds at the values of the dimensions before it."""
        return all(name in point and _is_one_of(point[name], values) for name, values in self.when)

    def __str__(self) -> str:
        return f"{self.domain}{when_text(dict(self.when))}"


def _exact(number: float) -> Fraction:
    """Return a number as it is written: 0.1 is a tenth, so that nine steps of it are 0.9."""
    return Fraction(str(number))


def is_same(a: Any, b: Any) -> bool:
    """Whether two values are one; 1, 1.0 and True are three. Tables are compared by identity."""
    if a is b:
        return True
    if type(a) is not type(b) or hasattr(a, "__array__") or hasattr(a, "__dataframe__"):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(is_same, a, b))
    return bool(a == b)


def _is_one_of(value: Any, values: Sequence[Any]) -> bool:
    return any(is_same(v, value) for v in values)


@dataclass(frozen=True)
class Space:
    """Dimensions in such an order that conditions refer to earlier ones.

    The points of a finite space have an order, in which the last dimension varies fastest, and are found by
    their place in it: nothing lists them.
    """

    dimensions: tuple[Dimension, ...]

    def count_points(self) -> int | None:
        """How many different points there are; None where a range is continuous."""
        if any(d.count is None for d in self.dimensions):
            return None
        return self._count_from(0, ())

    def get_point(self, index: int) -> Point:
        """Return one of the points of a finite space; inactive dimensions are left out."""
        point: Point = {}
        chosen: tuple[int, ...] = ()
        for position, dimension in enumerate(self.dimensions):
            if not self._is_active(position, chosen):
                chosen += (-1,)
                continue
            at = 0
            if position in self._rules_of_others:
                # What follows depends on this value, so that its values have shares of different sizes.
                while index >= (size := self._count_from(position + 1, (*chosen, at))):
                    index -= size
                    at += 1
                chosen += (at,)
            else:
                chosen += (0,)
                at, index = divmod(index, self._count_from(position + 1, chosen))
            point[dimension.name] = dimension.value_at(at)
        return point

    def iter_points(self) -> Iterator[Point]:
        """Yield every point of a finite space in order."""
        yield from map(self.get_point, range(self.count_points() or 0))

    @cached_property
    def _rules(self) -> list[list[tuple[int, frozenset[int]]]]:
        """Conditions of each dimension, as positions of others with the places of their values."""
        positions = {d.name: i for i, d in enumerate(self.dimensions)}
        return [
            [
                (positions[name], frozenset(map(self.dimensions[positions[name]].index_of, values)))
                for name, values in d.when
            ]
            for d in self.dimensions
        ]

    @cached_property
    def _rules_of_others(self) -> dict[int, int]:
        """Positions of dimensions that conditions name, each with the last position that does."""
        return {other: position for position, rules in enumerate(self._rules) for other, _ in rules}

    @cached_property
    def _counted(self) -> dict[tuple[int, ...], int]:
        return {}

    def _is_active(self, position: int, chosen: Sequence[int]) -> bool:
        return all(chosen[other] in allowed for other, allowed in self._rules[position])

    def _count_from(self, position: int, chosen: tuple[int, ...]) -> int:
        """Count the ways to go on from a position.

        Args:
            chosen: at each earlier position the place of its value, -1 where it is not active, 0 where no
                condition asks for it.
        """
        if position == len(self.dimensions):
            return 1
        key = (position, *(chosen[p] for p, last in self._rules_of_others.items() if p < position <= last))
        if key not in self._counted:
            count = self.dimensions[position].count or 0
            if not self._is_active(position, chosen):
                found = self._count_from(position + 1, (*chosen, -1))
            elif position in self._rules_of_others:
                found = sum(self._count_from(position + 1, (*chosen, at)) for at in range(count))
            else:
                found = count * self._count_from(position + 1, (*chosen, 0))
            self._counted[key] = found
        return self._counted[key]

    def point_of(self, shares: Sequence[float]) -> Point:
        """Return the point at one share in [0, 1) for each dimension; inactive ones are left out."""
        point: Point = {}
        for dimension, share in zip(self.dimensions, shares, strict=True):
            if dimension.is_active(point):
                point[dimension.name] = dimension.value_of(share)
        return point

    def describe(self) -> dict[str, str]:
        """Return each domain as the command line and spec files write it."""
        return {d.name: str(d) for d in self.dimensions}


def make_space(definition: Definition, given: Any, fixed: Mapping[str, Any]) -> Space:
    """Check what a person gives as a space against a workflow's parameters.

    Args:
        given: domains by parameter name, each a Range, LogRange, Choice, a list of values or the text form of
            one (`2..10`), or None for the range that the workflow declares; or one of these with a condition:
            {"space": "0..0.5", "when": {"booster": "dart"}}. Names alone stand for their declared ranges, and
            None for every parameter that declares one and is not fixed.
        fixed: parameters that do not vary.

    Raises:
        ParameterError: listing every mistake at once.
        InputError: files that the space names are not there.
    """
    params = definition.interface.by_name
    read = partial(read_param, definition)
    problems: list[str] = []
    known: dict[str, Dimension] = {}
    domains = _name_domains(definition, given, fixed)
    for name, domain in domains.items():
        param = params.get(name)
        if param is None:
            problems.append(f"no parameter '{name}'; it takes {shorten(params)}.{suggest(str(name), params)}")
        elif name in fixed:
            problems.append(f"'{name}' is both fixed and in the space; leave one out")
        else:
            try:
                known[name] = make_dimension(param, domain, read)
            except (ValueError, TypeError) as error:
                problems.append(f"'{name}': {error}")
    dimensions = []
    for dimension in known.values():
        when = []
        for name, values in dimension.when:
            problem = _explain_condition(name, known, fixed, params)
            if problem is None:
                values, problem = _read_condition(params[name], known[name].domain, values, read)
                when.append((name, values))
            if problem and (name in known or name not in domains):
                problems.append(f"'{dimension.name}': its condition '{name}' {problem}")
        if dimension.when and params[dimension.name].default is MISSING:
            problems.append(
                f"'{dimension.name}' varies under a condition, so it needs a default in the workflow for the "
                "trials in which it does not hold"
            )
        dimensions.append(replace(dimension, when=tuple(when)))
    ordered = _order(dimensions)
    if not problems and len(ordered) < len(dimensions):
        stuck = [d.name for d in dimensions if d not in ordered]
        problems.append(f"the conditions of {shorten(stuck)} depend on each other in a circle")
    if not problems and not dimensions:
        problems.append(
            "it is empty: nothing varies. Name a parameter with a domain, for example max_depth=2..10, or "
            "annotate parameters of the workflow with Range, LogRange or Choice"
        )
    where = f"workflow '{definition.name}', space: "
    if problems:
        raise ParameterError(where + "; ".join(problems))
    missing = [m for d in ordered for m in _list_missing_files(params[d.name], d.domain)]
    if missing:
        raise InputError(where + "; ".join(missing))
    return Space(tuple(ordered))


def _name_domains(definition: Definition, given: Any, fixed: Mapping[str, Any]) -> dict[str, Any]:
    if given is None:
        return {p.name: None for p in definition.interface.params if p.type.bounds and p.name not in fixed}
    if isinstance(given, Mapping):
        return dict(given)
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(name, str) for name in given)
    ):
        raise ParameterError(
            f"workflow '{definition.name}', space: expected domains by name, such as "
            f'{{"max_depth": Range(2, 10)}}, or names of parameters that declare one, found {given!r}'
        )
    return dict.fromkeys(given)


def make_dimension(param: Param, given: Any, read: Read = parse_param) -> Dimension:
    """Check one domain against its parameter.

    Args:
        read: turns the text of a value into the value.

    Raises:
        ValueError, TypeError: the domain does not fit the parameter's type or its own bounds.
    """
    if holds_secret(param.type):
        raise ValueError("a Secret is recorded nowhere, so it cannot vary; give it as a fixed parameter")
    domain, when = _split_condition(given)
    if isinstance(domain, str):
        domain = parse_domain(domain, param, read)
    elif domain is None:
        if param.type.bounds is None:
            raise ValueError(
                f"the workflow declares no range for it ({param.type}); give one, such as 2..10 or {{a,b}}"
            )
        domain = param.type.bounds
    elif isinstance(domain, (list, tuple)):
        domain = Choice(domain)
    elif isinstance(domain, (set, frozenset)):
        domain = Choice(sorted(domain, key=item_text))
    if not isinstance(domain, (Range, LogRange, Choice)):
        raise TypeError(
            f"expected a Range, LogRange, Choice or a list of values, found {domain!r}; "
            "what does not vary is given beside the space"
        )
    # Read as the condition of a domain is, whatever way it was given.
    when = {**domain.when, **Choice([None], when=when).when}
    if isinstance(domain, Choice):
        return Dimension(param.name, _conform_choice(param, domain), False, tuple(when.items()))
    plain, is_int = _conform_range(param, domain)
    return Dimension(param.name, plain, is_int, tuple(when.items()))


def _split_condition(given: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return a domain and its condition apart."""
    if not isinstance(given, Mapping):
        return given, {}
    strange = [k for k in given if k not in CONDITIONAL]
    if strange:
        near = suggest(str(strange[0]), CONDITIONAL)
        raise ValueError(f"a domain with a condition has 'space' and 'when', found '{strange[0]}'.{near}")
    when = given.get("when") or {}
    if not isinstance(when, Mapping):
        raise TypeError(f'when: expected values by name, such as {{"booster": "dart"}}, found {when!r}')
    return given.get("space"), when


def _conform(param: Param, value: Any) -> Any:
    try:
        return conform_given(param, value)
    except Mismatch as error:
        raise ValueError(strip_name(error, param)) from None


def _conform_choice(param: Param, domain: Choice) -> Choice:
    values: list[Any] = []
    problems: list[str] = []
    for given in domain.values:
        try:
            value = _conform(param, given)
        except ValueError as error:
            problems.append(str(error))
            continue
        if _is_one_of(value, values):
            problems.append(f"{item_text(value)} is in the list twice")
        values.append(value)
    if problems:
        raise ValueError("; ".join(problems))
    return Choice(values)


def _conform_range(param: Param, domain: Range | LogRange) -> tuple[Range | LogRange, bool]:
    """Return a range without its condition, and whether it gives whole numbers."""
    base = make_spec(param.type.base).base
    if base not in (int, float) or param.takes_operator:
        raise ValueError(f"a range of numbers does not fit {param.type}; give a list of values")
    plain = replace(domain, when={})
    if isinstance(param.type.bounds, Choice):
        raise ValueError(f"the workflow takes one of {param.type.bounds}; give a list of them, not {plain}")
    numbers = [plain.low, plain.high, *([plain.step] if isinstance(plain, Range) and plain.step else [])]
    if base is int:
        if any(n != int(n) for n in numbers):
            raise ValueError(f"{plain} has ends or steps that are no whole numbers, but it is int")
        numbers = [int(n) for n in numbers]
    for end in numbers[:2]:
        _conform(param, end)
    return type(plain)(*numbers), base is int


def _explain_condition(
    name: str, known: Mapping[str, Dimension], fixed: Mapping[str, Any], params: Mapping[str, Param]
) -> str | None:
    """Return why no condition can be on a parameter; None where one can."""
    if name in fixed and name in params:
        return "is a fixed parameter; leave the condition out, or the whole domain where it does not hold"
    if name in params and name not in known:
        return "is not in the space, so it does not vary; add it, or leave the condition out"
    if name not in known:
        return f"is no parameter.{suggest(name, known)}"
    domain = known[name].domain
    return None if isinstance(domain, Choice) else f"must vary over a list of values, found {domain}"


def _read_condition(
    param: Param, domain: Domain, given: Sequence[Any], read: Read
) -> tuple[tuple[Any, ...], str | None]:
    """Return the values of a list that a condition means, and what is wrong with the others."""
    assert isinstance(domain, Choice), "the caller looks"
    found, strange = [], []
    for value in given:
        meant = [v for v in domain.values if is_same(v, value)] or [
            v for v in domain.values if _means(param, value, v, read)
        ]
        found += meant[:1]
        if not meant:
            strange.append(item_text(value))
    near = suggest(strange[0], map(item_text, domain.values)) if strange else ""
    return tuple(found), f"is one of {domain}, never {shorten(strange)}.{near}" if strange else None


def _means(param: Param, given: Any, value: Any, read: Read) -> bool:
    """Tell whether a value is meant by what is given for it: a text, or an int for a float."""
    try:
        if isinstance(given, str):
            return given == item_text(value) or is_same(read(param, given), value)
        return is_same(_conform(param, given), value)
    except ValueError:
        return False


def _list_missing_files(param: Param, domain: Domain) -> list[str]:
    problems = []
    for value in domain.values if isinstance(domain, Choice) else ():
        try:
            InputResolver.check_exists(param, value)
        except InputError as error:
            problems.append(str(error).removesuffix("."))
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
        left = [d for d in left if d.name not in {r.name for r in ready}]
