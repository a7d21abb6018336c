"""Operators: typed functions with declared resources, the smallest reusable unit."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from flowlearner.errors import DefinitionError
from flowlearner.fingerprint import Fingerprint, compute_fingerprint
from flowlearner.interface import MISSING, Interface, Mismatch, conform, make_interface

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


class Operator(Generic[P, R]):
    """A typed function that workflows compose.

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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        tracer = active_tracer.get()
        if tracer is None:
            return self.fn(*args, **kwargs)
        result: R = tracer.call(self, args, kwargs)
        return result

    def map(self, *args: Any, **kwargs: Any) -> list[R]:
        """Call the operator once for each element of the lists among the arguments.

        An argument is mapped when it is a list, tuple or range and its parameter's type is not one;
        all mapped arguments have the same length, the others are given to every call.

        Example:
            models = train.map(rows, "late", max_depth=[2, 4, 6], eta=0.1)
        """
        tracer = active_tracer.get()
        if tracer is not None:
            return tracer.map(self, args, kwargs)
        calls = split_map(self, args, kwargs)
        return [self.fn(*a, **k) for a, k in calls]

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
        if found is self and self.fn.__module__ != "__main__":
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

    Raises:
        DefinitionError: the signature is not fully typed, a default does not fit its type, or a
            resource is not a sensible number.

    Example:
        @operator(cpus=2, retries=1)
        def train(rows: pd.DataFrame, label: str, max_depth: int = 6) -> Model: ...
    """
    localns = collect_locals(sys._getframe(1))

    def decorate(function: Callable[..., Any]) -> Operator[Any, Any]:
        if isinstance(function, Operator) or not hasattr(function, "__code__"):
            raise DefinitionError(f"@operator takes a plain function, found {function!r}")
        interface = make_interface(function, "operator", localns)
        check_defaults(interface, function, "operator")
        resources = Resources(cpus, gpus, parse_memory(memory), retries, timeout_s, isolate)
        _check_resources(function, resources)
        return Operator(
            function, interface, resources, cache=cache, effects=effects, version=version, uses=tuple(uses)
        )

    return decorate if fn is None else decorate(fn)


def collect_locals(frame: FrameType | None) -> dict[str, Any]:
    """Return the local names of the enclosing function scopes, the innermost winning."""
    names: dict[str, Any] = {}
    while frame is not None and frame.f_code.co_name != "<module>":
        for name, value in frame.f_locals.items():
            names.setdefault(name, value)
        frame = frame.f_back
    return names


def check_defaults(interface: Interface, fn: Callable[..., Any], what: str) -> None:
    """Refuse a default value that its own annotation does not allow."""
    for param in interface.params:
        if param.default is MISSING or param.takes_operator:
            continue
        if param.default is None and (param.type.kind == "seed" or param.type.optional):
            continue
        if param.type.is_table and isinstance(param.default, str):
            continue
        try:
            conform(param.default, param.type, f"default of parameter '{param.name}'")
        except Mismatch as error:
            code = fn.__code__
            where = f"{code.co_filename}:{code.co_firstlineno}"
            raise DefinitionError(f"{what} '{fn.__name__}' ({where}): {error}") from None


_MEMORY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)


def parse_memory(memory: str | int) -> int:
    """Return bytes from a number or text such as "2GiB", "500 MB" or "1g"."""
    if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 0:
        return memory
    match = _MEMORY.match(memory) if isinstance(memory, str) else None
    if match is None:
        raise DefinitionError(f'memory: expected bytes or text such as "2GiB", found {memory!r}')
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def _check_resources(fn: Callable[..., Any], resources: Resources) -> None:
    problems = []
    if resources.cpus <= 0:
        problems.append(f"cpus must be above 0, found {resources.cpus}")
    if resources.gpus < 0:
        problems.append(f"gpus must not be negative, found {resources.gpus}")
    if resources.retries < 0:
        problems.append(f"retries must not be negative, found {resources.retries}")
    if resources.timeout_s is not None and resources.timeout_s <= 0:
        problems.append(f"timeout_s must be above 0, found {resources.timeout_s}")
    if problems:
        raise DefinitionError(f"operator '{fn.__name__}': " + "; ".join(problems))


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
        raise ValueError(f"'{operator.name}.map' needs at least one argument that is a list of values")
    if len(lengths) > 1:
        raise ValueError(f"'{operator.name}.map' needs lists of equal length, found {sorted(lengths)}")
    return [
        (
            tuple(v[i] if j in mapped else v for j, v in enumerate(args)),
            {name: (v[i] if name in mapped_names else v) for name, v in kwargs.items()},
        )
        for i in range(lengths.pop())
    ]


def _is_mapped(operator: Operator[Any, Any], name: str | None, value: Any) -> bool:
    if not isinstance(value, (list, tuple, range)) or hasattr(value, "_fields"):
        return False
    param = operator.interface.by_name.get(name or "")
    base = getattr(param.type.base, "__origin__", param.type.base) if param else None
    return base not in (list, tuple, Sequence) and getattr(base, "__name__", "") != "Sequence"
