"""Tells cheaply whether anything changed that a fingerprint was made from."""

from __future__ import annotations

import copyreg
import datetime
import decimal
import marshal
import os
import types
from collections.abc import Mapping
from typing import Any

from flowlearner.canonical import digest, is_library_class
from flowlearner.errors import UnstableValueError

MISSING: Any = object()
ATOMS = frozenset(
    (
        *(bool, int, float, complex, str, bytes, type(None), type(...), range, decimal.Decimal),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
    )
)


class Witness:
    """Names with the objects that they stood for, and the state of those that can change in place.

    The objects are held, so that an identity is never taken by another one.
    """

    def __init__(self) -> None:
        self.items: list[tuple[Mapping[str, Any], str, Any]] = []
        self.cells: list[tuple[types.CellType, Any]] = []
        self.functions: list[tuple[types.FunctionType, types.CodeType, Any, Mapping[str, Any]]] = []
        self.environment: dict[str, str | None] = {}
        self.marks: list[tuple[Any, Any]] = []
        self.values: list[tuple[Mapping[str, Any], tuple[Any, ...]]] = []

    def add_function(self, fn: types.FunctionType) -> None:
        self.functions.append((fn, fn.__code__, fn.__defaults__, dict(fn.__kwdefaults__ or {})))

    def add_value(self, value: Any) -> None:
        mark = _mark(value)
        if mark is not value:
            self.marks.append((value, mark))

    def add_values_of(self, namespace: Mapping[str, Any]) -> None:
        self.values.append((namespace, tuple(namespace.values())))

    def is_unchanged(self) -> bool:
        for namespace, name, value in self.items:
            if namespace.get(name, MISSING) is not value:
                return False
        for fn, code, defaults, kwdefaults in self.functions:
            if (
                fn.__code__ is not code
                or fn.__defaults__ is not defaults
                or not _are_same(fn.__kwdefaults__ or {}, kwdefaults)
            ):
                return False
        try:
            if any(cell.cell_contents is not value for cell, value in self.cells):
                return False
        except ValueError:
            return False
        for namespace, values in self.values:
            if len(namespace) != len(values):
                return False
            for now, before in zip(namespace.values(), values, strict=True):
                if now is not before:
                    return False
        if any(os.environ.get(name) != value for name, value in self.environment.items()):
            return False
        return all(_mark(value) == mark for value, mark in self.marks)


def _are_same(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return now.keys() == before.keys() and all(now[name] is value for name, value in before.items())


def list_parts(value: Any) -> list[tuple[str, Any]] | None:
    """Return what an object is made of: its attributes, and what it holds as a dict, list or number itself.

    An object of a class with its own rules for copying is taken apart by them. None where there is no state
    that could be listed, as of a lock, and where the rules only name the object, as of a logger.
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(name, getattr(value, name)) for name in value._fields]
    cls = type(value)
    if cls is types.MethodType:
        return [("self", value.__self__), ("function", value.__func__)]
    parts = sorted(_read_state(value).items())
    rules = ("__reduce_ex__", "__reduce__")
    has_rules = any(getattr(cls, rule) is not getattr(object, rule) for rule in rules)
    copied = _reduce(value) if has_rules else None
    content = next((base for base in _BASES if isinstance(value, base)), None)
    if content is not None:
        # What it is made with beside its content, such as the function that a defaultdict calls.
        made = [("made with", copied[1])] if copied and copied[0] is cls else []
        return [*parts, *made, ("content", content(value))]
    if not has_rules:
        # Python refuses to take apart what holds more than attributes, such as a lock or an open file.
        return parts if _reduce(value) is not None else None
    # A function as the first part finds or makes the object by its name.
    if copied is None or not (isinstance(copied[0], type) or copied[0] is copyreg.__newobj__):  # type: ignore[attr-defined]
        return None
    rest = [list(part) if i > 2 and part is not None else part for i, part in enumerate(copied)]
    return [*parts, *((str(i), part) for i, part in enumerate(rest[1:5]))]


def _read_state(value: Any) -> dict[str, Any]:
    state = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(slots)
        state.update({n: getattr(value, n) for n in names if hasattr(value, n)})
    # What `functools.update_wrapper` copies tells the module and the docstring.
    return {n: v for n, v in state.items() if n not in _COPIED}


def _reduce(value: Any) -> tuple[Any, ...] | None:
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - whatever a class raises whose objects cannot be copied
        return None
    return reduced if isinstance(reduced, tuple) else None


def _mark(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """Return something that is equal as long as a value is; the value itself where its identity says all."""
    cls = type(value)
    if cls in ATOMS or cls.__module__ == "typing" or isinstance(value, (type, *_CODE)):
        return value
    if id(value) in inside or len(inside) > _MAX_DEPTH:
        return value
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        pass
    inside = (*inside, id(value))
    if cls in (list, tuple, set, frozenset):
        return [cls, *((type(v), _mark(v, inside)) for v in value)]
    if cls is dict:
        return [(k, type(v), _mark(v, inside)) for k, v in value.items()]
    if hasattr(cls, "__flowlearner_operator__") or hasattr(cls, "__flowlearner_workflow__"):
        return value
    parts = None if is_library_class(cls) else list_parts(value)
    if parts is not None:
        return [(n, type(v), _mark(v, inside)) for n, v in parts]
    try:
        return digest(value)
    except UnstableValueError:
        return value


_CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.GenericAlias)
_BASES = (dict, list, tuple, set, frozenset, str, bytes, bool, int, float, complex)
_COPIED = frozenset(
    ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__dict__", "__weakref__")
)
_MAX_DEPTH = 100
