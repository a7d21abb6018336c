"""Operators: typed functions with declared resources, the smallest reusable unit."""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from flowlearner.errors import DefinitionError, UsageError, shorten, suggest
from flowlearner.fingerprint import Fingerprint, compute_fingerprint, note_modules
from flowlearner.interface import Interface, make_interface
from flowlearner.spec import is_namedtuple, takes_container

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Resources:
    """What one call of an operator needs. Resources never enter a cache key.

    Attributes:
        cpus: processors held while it runs.
        gpus: accelerators held while it runs.
        memory_bytes: memory held while it runs; 0 means not declared.
        retries: further attempts after a failure.
        timeout_s: seconds after which the call is killed; implies a child process.
        isolate: run in a child process.
    """

    cpus: float = 1
    gpus: float = 0
    memory_bytes: int = 0
    retries: int = 0
    timeout_s: float | None = None
    isolate: bool = False

    @property
    def in_child(self) -> bool:
        return self.isolate or self.timeout_s is not None


class Tracer(Protocol):
    """What records operator calls while a workflow compiles."""

    def call(self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    def map(
        self, operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Any]: ...


active_tracer: ContextVar[Tracer | None] = ContextVar("flowlearner_tracer", default=None)

is_restoring: ContextVar[bool] = ContextVar("flowlearner_is_restoring", default=False)
"""Whether the code of an earlier run is being loaded, which may say that something be run."""

MAIN = "__main__"
RESTORED_MAIN = "flowlearner_restored_main"
"""Under this name what was the script or the notebook itself is loaded from a snapshot."""


class Operator(Generic[P, R]):
    """A typed function that workflows compose; `operator` makes it.

    Called outside a compile it is the plain function.

    Attributes:
        fn: the function.
        name: its name in graphs, keys excluded.
        interface: its parameters and outputs.
        resources: what one call needs.
        cache: False runs it in every run.
        effects: it acts on the world: never cached, skipped by reproduce.
    """

    __flowlearner_operator__ = True

    def __init__(
        self,
        fn: Callable[P, R],
        interface: Interface,
        resources: Resources,
        *,
        cache: bool,
        effects: bool,
        version: str | None,
        uses: Sequence[Any],
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.interface = interface
        self.resources = resources
        self.cache = cache and not effects
        self.effects = effects
        self.version = version
        self.uses = tuple(uses)
        note_modules(getattr(fn, "__globals__", {}))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        tracer = active_tracer.get()
        if tracer is None:
            return self._call_plainly(args, kwargs)
        result: R = tracer.call(self, args, kwargs)
        return result

    def map(self, *args: Any, **kwargs: Any) -> list[R]:
        """Call the operator once for each element of the lists among the arguments.

        An argument is mapped when it is a list, tuple or range and its parameter's type does not take
        lists; all mapped arguments have the same length, the others are given to every call.

        Example:
            >>> @operator
            ... def power(base: int, exponent: int) -> int:
            ...     return base**exponent
            >>> power.map(2, exponent=[1, 2, 3])
            [2, 4, 8]
        """
        tracer = active_tracer.get()
        if tracer is not None:
            return tracer.map(self, args, kwargs)
        calls = split_map(self, args, kwargs)
        return [self._call_plainly(a, k) for a, k in calls]

    def _call_plainly(self, args: Any, kwargs: Any) -> R:
        """Call the function; refuse futures, which a thread that a workflow's body has started may bring."""
        for value in (*args, *kwargs.values()):
            if hasattr(type(value), "__flowlearner_future__"):
                raise UsageError(
                    f"operator '{self.name}' gets {value!r} outside of the "
                    "workflow's body, or in a thread that it has started. Call operators in the body itself; "
                    "those that do not need each other run at the same time."
                )
        return self.fn(*args, **kwargs)

    def fingerprint(self) -> Fingerprint:
        """Return the hash of the code that a call reaches (see `fingerprint`)."""
        return compute_fingerprint(self.fn, version=self.version, uses=self.uses)

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def __reduce__(self) -> Any:
        module = sys.modules.get(self.fn.__module__)
        found: Any = module
        for part in self.fn.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is self and self.fn.__module__ not in (MAIN, RESTORED_MAIN):
            return (_load_operator, (self.fn.__module__, self.fn.__qualname__))
        parts = (self.fn, self.interface, self.resources, self.cache, self.effects, self.version, self.uses)
        return (_make_operator, parts)


def _load_operator(module: str, qualname: str) -> Any:
    __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _make_operator(
    fn: Any, interface: Any, resources: Any, cache: Any, effects: Any, version: Any, uses: Any
) -> Any:
    return Operator(fn, interface, resources, cache=cache, effects=effects, version=version, uses=uses)


@overload
def operator(fn: Callable[P, R], /) -> Operator[P, R]: ...


@overload
def operator(
    *,
    cpus: float = 1,
    gpus: float = 0,
    memory: str | int = 0,
    retries: int = 0,
    timeout_s: float | None = None,
    isolate: bool = False,
    cache: bool = True,
    effects: bool = False,
    version: str | None = None,
    uses: Sequence[Any] = (),
) -> Callable[[Callable[P, R]], Operator[P, R]]: ...


def operator(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    cpus: float = 1,
    gpus: float = 0,
    memory: str | int = 0,
    retries: int = 0,
    timeout_s: float | None = None,
    isolate: bool = False,
    cache: bool = True,
    effects: bool = False,
    version: str | None = None,
    uses: Sequence[Any] = (),
    **unknown: Any,
) -> Any:
    """Make a typed function an operator.

    Args:
        fn: the function, when used without parentheses.
        cpus: processors that a call holds; more than the machine has is refused at submission.
        gpus: accelerators that a call holds.
        memory: bytes, or text such as "2GiB", that a call holds.
        retries: further attempts after a failure.
        timeout_s: seconds after which the call is killed; it then runs in a child process.
        isolate: run in a child process, which has an interpreter lock of its own.
        cache: False runs the operator in every run.
        effects: the operator acts on the world; it is never cached and `reproduce` skips it.
        version: text that enters the fingerprint; change it to force new runs.
        uses: functions or values that the code reaches in ways that cannot be followed.
        unknown: refused, with the nearest option.

    Raises:
        DefinitionError: the signature is not fully typed, a default does not fit its type, or an option
            is unknown or not a sensible value.

    Example:
        >>> @operator(cpus=2, retries=1)
        ... def scale(values: list[float], factor: float = 2.0) -> list[float]:
        ...     return [v * factor for v in values]
        >>> scale([1.0, 2.0])
        [2.0, 4.0]
    """
    frame = sys._getframe(1)
    where = f"@operator ({frame.f_code.co_filename}:{frame.f_lineno})"
    refuse_unknown(where, unknown, operator)
    options = {
        "cpus": cpus,
        "gpus": gpus,
        "memory": memory,
        "retries": retries,
        "timeout_s": timeout_s,
        "isolate": isolate,
        "cache": cache,
        "effects": effects,
        "version": version,
        "uses": uses,
    }
    _check_options(where, options)
    resources = Resources(cpus, gpus, parse_memory(memory), retries, timeout_s, isolate)

    def decorate(function: Callable[..., Any]) -> Operator[Any, Any]:
        interface = make_interface(function, "operator", collect_scope(frame, function))
        return Operator(
            function, interface, resources, cache=cache, effects=effects, version=version, uses=uses
        )

    return decorate if fn is None else decorate(fn)


def collect_scope(frame: FrameType, fn: Any) -> dict[str, Any]:
    """Return the local names that annotations of a nested function may use, the innermost winning.

    Args:
        frame: where the function is decorated.
        fn: the function; its qualified name tells which callers of the frame enclose it.
    """
    names: dict[str, Any] = {}
    parts = getattr(fn, "__qualname__", "").split(".<locals>.")
    enclosing = {".<locals>.".join(parts[:i]) for i in range(1, len(parts))}
    current: FrameType | None = frame
    while current is not None and current.f_globals is frame.f_globals:
        is_module = current.f_locals is current.f_globals
        if not is_module and (current is frame or current.f_code.co_qualname in enclosing):
            names = {**current.f_locals, **names}
        current = current.f_back
    return names


_MEMORY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)


def parse_memory(memory: str | int) -> int:
    """Return bytes from a number or text such as "2GiB", "500 MB" or "1g".

    Raises:
        ValueError: it is neither.
    """
    if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 0:
        return memory
    match = _MEMORY.match(memory) if isinstance(memory, str) else None
    if match is None:
        raise ValueError(f'memory: expected bytes or text such as "2GiB", found {memory!r}')
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def _check_options(where: str, options: Mapping[str, Any]) -> None:
    """Refuse resources that are no sensible numbers, and switches that are neither True nor False."""
    problems: list[str] = []

    def check(name: str, is_right: Callable[[Any], bool], expected: str) -> None:
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_right(value):
            problems.append(f"{name}: expected {expected}, found {value!r}")

    check("cpus", lambda v: 0 < v < math.inf, "a number above 0")
    check("gpus", lambda v: 0 <= v < math.inf, "a number that is not negative")
    check("retries", lambda v: isinstance(v, int) and v >= 0, "a whole number that is not negative")
    if options["timeout_s"] is not None:
        check("timeout_s", lambda v: 0 < v < math.inf, "seconds above 0, or None")
    try:
        parse_memory(options["memory"])
    except ValueError as error:
        problems.append(str(error))
    for name in ("isolate", "cache", "effects"):
        if not isinstance(options[name], bool):
            problems.append(f"{name}: expected True or False, found {options[name]!r}")
    if not isinstance(options["version"], (str, type(None))):
        problems.append(f"version: expected text, found {options['version']!r}")
    if isinstance(options["uses"], str) or not isinstance(options["uses"], Sequence):
        problems.append(f"uses: expected a list of functions or values, found {options['uses']!r}")
    if problems:
        raise DefinitionError(f"{where}: " + "; ".join(problems))


def refuse_unknown(where: str, unknown: Mapping[str, Any], fn: Callable[..., Any]) -> None:
    """Raise DefinitionError for options that `fn` does not have, naming the nearest of those that it has."""
    if unknown:
        known = [n for n, p in inspect.signature(fn).parameters.items() if p.kind is p.KEYWORD_ONLY]
        parts = [f"no option '{name}'.{suggest(name, known)}" for name in unknown]
        raise DefinitionError(f"{where} has {' It has '.join(parts)} There are {shorten(known, len(known))}.")


def split_map(
    operator: Operator[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return the arguments of each call that `map` makes.

    Raises:
        ValueError: nothing is mapped, or the mapped arguments differ in length.
    """
    params = operator.interface.params
    named = [(params[i].name if i < len(params) else None, value) for i, value in enumerate(args)]
    mapped = {i: v for i, (name, v) in enumerate(named) if _is_mapped(operator, name, v)}
    mapped_names = {name: v for name, v in kwargs.items() if _is_mapped(operator, name, v)}
    lengths = {len(v) for v in (*mapped.values(), *mapped_names.values())}
    if not lengths:
        others = [type(v).__name__ for v in (*args, *kwargs.values()) if _is_like_list(v)]
        hint = f"; found {', '.join(others)}: write list(...) around it" if others else ""
        raise ValueError(f"'{operator.name}.map' needs at least one argument that is a list of values{hint}")
    if len(lengths) > 1:
        found = [f"{name or '?'}: {len(v)}" for i, (name, v) in enumerate(named) if i in mapped]
        found += [f"{name}: {len(v)}" for name, v in mapped_names.items()]
        raise ValueError(f"'{operator.name}.map' needs lists of equal length, found {', '.join(found)}")
    return [
        (
            tuple(v[i] if j in mapped else v for j, v in enumerate(args)),
            {name: (v[i] if name in mapped_names else v) for name, v in kwargs.items()},
        )
        for i in range(lengths.pop())
    ]


def _is_like_list(value: Any) -> bool:
    """Tell whether a value is an array, a set or an iterator, of which a list can be made."""
    return isinstance(value, (set, frozenset, Iterator)) or hasattr(type(value), "tolist")


def _is_mapped(operator: Operator[Any, Any], name: str | None, value: Any) -> bool:
    """Tell whether a value is a list of arguments: it is one, and its parameter does not take lists."""
    if not isinstance(value, (list, tuple, range)) or is_namedtuple(type(value)):
        return False
    param = operator.interface.by_name.get(name or "")
    return param is None or param.type.is_any or not takes_container(param.type, list)
