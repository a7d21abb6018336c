"""What names in code stand for, and whose objects are: the small questions that following code asks."""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import os
import runpy
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowlearner.fingerprint.origin import classify_module, is_user_file
from flowlearner.fingerprint.source import Tree
from flowlearner.fingerprint.syntax import Chain, Imported
from flowlearner.fingerprint.witness import MISSING

IMPORTING = (builtins.__import__, importlib.import_module)
# What a module knows of where it comes from. The names of modules and files are no part of code.
OWN_NAMES = frozenset(
    ("__name__", "__file__", "__package__", "__path__", "__spec__", "__loader__", "__cached__")
)
# What reads the environment of the process.
ENVIRONMENT = (os.environ, os.getenv)
_DYNAMIC: tuple[Any, ...] = (
    *IMPORTING, builtins.exec, builtins.eval, builtins.globals,
    importlib.util.spec_from_file_location, runpy.run_path, runpy.run_module, sys.modules,
    os.path.expandvars, *filter(None, [getattr(os, "environb", None)]),
)  # fmt: skip
_DYNAMIC_IDS = frozenset(map(id, _DYNAMIC))


@dataclass(frozen=True)
class Place:
    """Where names are looked up: a module's namespace, and around it a function's closure.

    Attributes:
        where: for people, such as "'clean' (helpers.py:12)".
        hints: classes by name that annotations hold, for functions inside functions.
    """

    namespace: dict[str, Any]
    file: str
    where: str
    tree: Tree | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)


def is_user_code(fn: types.FunctionType) -> bool:
    """Tell whether a function was written by the user, whatever a decorator says of its module."""
    file = fn.__code__.co_filename
    if file.startswith("<") and fn.__module__ != "__main__":
        return is_user_file(file) and classify_module(fn.__globals__.get("__name__", "")) in (
            "user",
            "absent",
        )
    return is_user_file(file)


def is_dynamic(value: Any) -> bool:
    return id(value) in _DYNAMIC_IDS


def is_user_class(cls: type) -> bool:
    # A module may be gone from sys.modules, and its classes still be used.
    return cls.__module__ == "__main__" or classify_module(str(cls.__module__)) in ("user", "absent")


def list_functions(value: Any) -> list[types.FunctionType]:
    """Return the functions in a method, static method or property of a class."""
    found = [value]
    if isinstance(value, (staticmethod, classmethod)):
        found = [value.__func__]
    elif isinstance(value, property):
        found = [value.fget, value.fset, value.fdel]
    elif isinstance(value, functools.cached_property):
        found = [value.func]
    return [fn for fn in found if isinstance(fn, types.FunctionType)]


def is_written_in(cls: type, fn: types.FunctionType) -> bool:
    return fn.__code__.co_qualname.startswith(f"{cls.__qualname__}.") and is_user_code(fn) and not is_made(fn)


def is_made(fn: types.FunctionType) -> bool:
    """Tell whether a function was made from a text that nobody wrote, such as a dataclass's `__init__`."""
    return fn.__code__.co_filename == "<string>"


def is_set_on(cls: type, value: Any) -> bool:
    """Tell whether a value that a class has may have been given to it after it was written."""
    if isinstance(value, type):
        return is_user_class(value) and not value.__qualname__.startswith(f"{cls.__qualname__}.")
    if isinstance(value, (functools.partial, functools.partialmethod)):
        return True
    # A member of an enum is as its class is written.
    return type(value) is not cls and is_user_class(type(value))


def full_name(module: str, level: int, namespace: Mapping[str, Any]) -> str:
    if not level:
        return module
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{module}" if module else base


def peek(chain: Chain, place: Place, imports: Iterable[Imported] = ()) -> Any:
    """Return what a dotted name stands for, through any loaded module."""
    values = peek_along(chain, place, imports)
    return values[-1] if len(values) == len(chain) else MISSING


def peek_along(chain: Chain, place: Place, imports: Iterable[Imported] = ()) -> list[Any]:
    """Return what a dotted name and its beginnings stand for, as far as modules lead."""
    value: Any = MISSING
    item = next((i for i in imports if i.name == chain[0]), None)
    if item is not None:
        value = sys.modules.get(
            item.name if item.is_top else full_name(item.module, item.level, place.namespace)
        )
        value = getattr(value, item.attribute, MISSING) if item.attribute else value
    elif chain[0] in place.cells:
        value = place.cells[chain[0]].cell_contents if has_contents(place.cells[chain[0]]) else MISSING
    else:
        value = place.namespace.get(chain[0], getattr(builtins, chain[0], MISSING))
    values = [value]
    for name in chain[1:]:
        if not isinstance(value, types.ModuleType):
            break
        value = getattr(value, name, MISSING)
        values.append(value)
    return values


def is_platform(head: Chain | None, place: Place) -> bool:
    """Tell whether a decorator is `operator` or `workflow`, which say nothing of what the function does."""
    if head is None:
        return False
    value = peek(head, place)
    while isinstance(value, functools.partial):
        value = value.func
    if value is MISSING:
        return head[-1] in ("operator", "workflow")
    return str(getattr(value, "__module__", "")).partition(".")[0] == "flowlearner"


def has_contents(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def iter_classes(annotations: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for hint in annotations.values():
        pending = [hint]
        while pending:
            item = pending.pop()
            if isinstance(item, type) and typing.get_origin(item) is None:
                yield item.__name__, item
            pending.extend(typing.get_args(item))
