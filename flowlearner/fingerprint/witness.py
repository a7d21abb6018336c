"""Tells cheaply whether anything changed that a fingerprint was made from."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import marshal
import types
from collections.abc import Mapping
from typing import Any

from flowlearner.canonical import digest
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
        self.functions: list[tuple[types.FunctionType, types.CodeType, Any, Any]] = []
        self.marks: list[tuple[Any, Any]] = []
        self.values: list[tuple[Mapping[str, Any], tuple[Any, ...]]] = []

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
                or fn.__kwdefaults__ is not kwdefaults
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
        return all(_mark(value) == mark for value, mark in self.marks)


def list_fields(value: Any) -> list[tuple[str, Any]] | None:
    """Return the state of an object of a user's class, or None where it has none that can be listed."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(name, getattr(value, name)) for name in value._fields]
    state = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(slots)
        state.update(
            {
                n: getattr(value, n)
                for n in names
                if n not in ("__dict__", "__weakref__") and hasattr(value, n)
            }
        )
    if dataclasses.is_dataclass(value) or state or type(value).__base__ is object:
        return sorted(state.items())
    return None


def _mark(value: Any) -> Any:
    """Return something that is equal as long as a value is; the value itself where its identity says all."""
    cls = type(value)
    if cls in ATOMS or cls.__module__ in ("typing", "types") or isinstance(value, (type, *_CODE)):
        return value
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        pass
    if cls in (list, tuple):
        return [cls, *((type(v), _mark(v)) for v in value)]
    if cls is dict:
        return [(k, type(v), _mark(v)) for k, v in value.items()]
    if hasattr(cls, "__flowlearner_operator__") or hasattr(cls, "__flowlearner_workflow__"):
        return value
    try:
        return digest(value)
    except UnstableValueError:
        fields = list_fields(value)
    return value if fields is None else [(n, type(v), _mark(v)) for n, v in fields]


_CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.GenericAlias)
