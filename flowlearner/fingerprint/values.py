"""What stands for a value in a fingerprint: its hash, or the unit of the code that it is or holds."""

from __future__ import annotations

import contextlib
import functools
import os
import types
import typing
from abc import ABC, abstractmethod
from enum import Enum
from typing import Any

from flowlearner.canonical import digest, digest_parts, is_library_class
from flowlearner.errors import UnstableValueError
from flowlearner.fingerprint.names import Place, has_contents, is_user_class, is_user_code, list_functions
from flowlearner.fingerprint.origin import classify_module, find_package_version
from flowlearner.fingerprint.witness import ATOMS, Witness, list_parts

_FOREIGN_TYPES = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip


# An object that leads to more foreign ones than that is a connection to a whole library and no value.
_MAX_FOREIGN = 1000


class Unstable(Exception):
    """A value has no stable encoding."""


class ValueEncoder(ABC):
    """Encodes values; how code is followed is for the subclass.

    Attributes:
        parts: by name, the own hash of what was reached; a package's version.
        witness: tells whether anything that was looked at has changed.
    """

    def __init__(self) -> None:
        self.witness = Witness()
        self.parts: dict[str, str] = {}
        self._open: set[int] = set()
        self._unstable: list[str] = []
        self._foreign = 0

    @abstractmethod
    def follow_function(self, fn: types.FunctionType) -> str:
        """Add a function, unless it is known, and return its number."""

    @abstractmethod
    def follow_class(self, cls: type, place: Place) -> str:
        """Add a class of the user, unless it is known, and return its number."""

    @abstractmethod
    def follow_module(self, module: types.ModuleType) -> str:
        """Add a module as a whole, for code that takes it as a value, and return its number."""

    def name_foreign(self, module: str, name: str, kind: str) -> str:
        """Return the name of what is not the user's, with the version of its package."""
        top = module.partition(".")[0]
        if kind != "package":
            return f"{kind} {name or top}" if kind == "flowlearner" else f"{kind} {module}.{name}"
        version = find_package_version(top)
        self.parts[top] = version
        return f"package {module}.{name} {version}"

    def encode_whole(self, value: Any, place: Place) -> tuple[str | None, str | None]:
        """Return what stands for a value, code in it followed, and why it does not tell all of it.

        Returns:
            None in place of the first where nothing can be told, in place of the second where all is.
        """
        self._unstable, self._foreign = [], 0
        try:
            target = self.encode(value, place)
        except Unstable as error:
            return None, str(error)
        except RecursionError:
            return None, "it is nested too deeply"
        return target, self._unstable[0] if self._unstable else None

    def encode_part(self, value: Any, place: Place) -> str:
        """Return what stands for a part of a value; one without a stable encoding counts by its type."""
        try:
            return self.encode(value, place)
        except Unstable as error:
            self._unstable.append(str(error))
            return digest_parts("unstable", type(value).__qualname__)

    def encode(self, value: Any, place: Place) -> str:
        """Return what stands for a value.

        Raises:
            Unstable: it has no stable encoding.
        """
        cls = type(value)
        if cls in ATOMS:
            return digest(value)
        if cls is types.FunctionType or isinstance(value, (type, types.ModuleType)):
            return self._encode_code(value, place)
        if value is os.environ:
            # Which of it counts, the code that reads it says.
            return self.name_foreign("os", "environ", "python")
        if getattr(cls, "__flowlearner_operator__", False):
            uses = [self.encode(u, place) for u in value.uses]
            return digest_parts("operator", self.encode(value.fn, place), repr(value.version), *uses)
        if getattr(cls, "__flowlearner_workflow__", False):
            return self.encode(value.fn, place)
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            return self._encode_object(value, place)
        finally:
            self._open.discard(id(value))

    def _encode_code(self, value: Any, place: Place) -> str:
        if isinstance(value, types.FunctionType):
            if is_user_code(value):
                return self.follow_function(value)
            inner = getattr(value, "__wrapped__", None)
            name = self.name_foreign_object(value.__globals__.get("__name__", ""), value)
            if inner is None:
                return name
            # A foreign decorator: what it wraps is the user's, and so may be what it was given.
            given = [c.cell_contents for c in value.__closure__ or () if has_contents(c)]
            codes = [self.encode(v, place) for v in given if type(v) is types.FunctionType]
            registry = getattr(value, "registry", None)
            if isinstance(registry, types.MappingProxyType):
                # Of functools.singledispatch: what is called depends on the type of an argument.
                self.witness.add_values_of(registry)
                codes.append(self._encode_container(dict(registry), place))
            return digest_parts("wrapper", name, self.encode(inner, place), *codes)
        if isinstance(value, types.ModuleType):
            kind = classify_module(value)
            return (
                self.follow_module(value) if kind == "user" else self.name_foreign(value.__name__, "", kind)
            )
        if typing.get_origin(value) not in (None, value):
            return self._encode_alias(value, place)
        if is_user_class(value):
            return self.follow_class(value, place)
        if value.__module__ == "types" and not hasattr(types, value.__qualname__):
            raise Unstable(f"class {value.__qualname__} was made when the module was loaded")
        return self.name_foreign_object(str(value.__module__), value)

    def name_foreign_object(self, module: str | None, value: Any) -> str:
        """Return the name of a foreign class or function of a module; without one it is a builtin."""
        home = module or "builtins"
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__qualname__)
        return self.name_foreign(home, str(name), classify_module(home))

    def _encode_object(self, value: Any, place: Place) -> str:
        cls = type(value)
        if isinstance(value, types.MethodType):
            return digest_parts(
                "method", self.encode(value.__func__, place), self.encode_part(value.__self__, place)
            )
        if isinstance(value, functools.partial):
            keywords = [
                part for k, v in sorted(value.keywords.items()) for part in (k, self.encode_part(v, place))
            ]
            args = [self.encode_part(v, place) for v in value.args]
            return digest_parts("partial", self.encode(value.func, place), str(len(args)), *args, *keywords)
        if isinstance(value, (staticmethod, classmethod, property, functools.cached_property)):
            codes = [self.encode(fn, place) for fn in list_functions(value)]
            return digest_parts(cls.__name__, *(codes or [""]))
        if isinstance(value, _FOREIGN_TYPES):
            return self._encode_builtin(value, place)
        wrapped = getattr(value, "__wrapped__", None) or getattr(value, "py_func", None)
        if isinstance(wrapped, types.FunctionType) and not is_user_class(cls):
            return digest_parts(
                "wrapped", self.name_foreign_object(cls.__module__, cls), self.encode(wrapped, place)
            )
        if cls in (list, tuple, dict, set, frozenset):
            return self._encode_container(value, place)
        if typing.get_origin(value) is not None:
            return self._encode_alias(value, place)
        if isinstance(value, (typing.TypeVar, typing.ParamSpec)):
            types_of = (value.__bound__, *getattr(value, "__constraints__", ()))
            return digest_parts("type variable", value.__name__, *(self.encode(t, place) for t in types_of))
        if isinstance(value, typing.NewType):
            return digest_parts("new type", value.__name__, self.encode(value.__supertype__, place))
        if cls.__module__ == "typing" and " at 0x" not in repr(value):
            return digest_parts("typing", repr(value))
        if is_user_class(cls):
            return self._encode_instance(value, place)
        return self._encode_foreign(value, place)

    def _encode_builtin(self, value: Any, place: Place) -> str:
        owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
        name = getattr(value, "__qualname__", value.__name__)
        if isinstance(owner, (types.ModuleType, type)) or owner is None:
            return self.name_foreign_object(
                getattr(value, "__module__", None) or getattr(owner, "__module__", None), value
            )
        return digest_parts("method", name, self.encode(owner, place))

    def _encode_container(self, value: Any, place: Place) -> str:
        kind = type(value).__name__
        if type(value) in (list, tuple):
            return digest_parts(kind, *(self.encode_part(item, place) for item in value))
        # Not in the order of the container, which is no part of it; what is no code has an order of its own.
        if type(value) is dict:
            keys = sorted(value, key=_order)
            return digest_parts(
                kind, *(self.encode_part(part, place) for k in keys for part in (k, value[k]))
            )
        return digest_parts(kind, *(self.encode_part(item, place) for item in sorted(value, key=_order)))

    def _encode_alias(self, value: Any, place: Place) -> str:
        origin, args = typing.get_origin(value), typing.get_args(value)
        items = [self.encode(list(a) if isinstance(a, list) else a, place) for a in args]
        name = origin if isinstance(origin, type) else repr(origin)
        return digest_parts("alias", self.encode(name, place), *items)

    def _encode_instance(self, value: Any, place: Place) -> str:
        """Encode an object of the user's class: the class, which is followed, and its state."""
        cls = self.encode(type(value), place)
        if isinstance(value, Enum):
            return digest_parts("member", cls, value.name)
        if is_library_class(type(value)):
            with contextlib.suppress(UnstableValueError):
                return digest_parts("instance", cls, digest(value))
        parts = list_parts(value)
        if parts is None:
            raise Unstable(f"an object of type {type(value).__qualname__} has no stable encoding")
        return digest_parts("instance", cls, *self._encode_parts(parts, place))

    def _encode_parts(self, parts: list[tuple[str, Any]], place: Place) -> list[str]:
        return [text for name, part in parts for text in (name, self.encode_part(part, place))]

    def _encode_foreign(self, value: Any, place: Place) -> str:
        cls = type(value)
        try:
            own = digest(value)
        except UnstableValueError as error:
            return self._encode_state(value, place, str(error))
        if classify_module(cls.__module__) != "package":
            return own
        inside = []
        if hasattr(value, "get_params"):
            # An estimator may hold the user's transformers and functions.
            for _, part in sorted(value.get_params(deep=True).items()):
                if isinstance(part, types.FunctionType) or is_user_class(type(part)):
                    inside.append(
                        self.encode(part if isinstance(part, types.FunctionType) else type(part), place)
                    )
        return digest_parts("foreign", own, self.name_foreign_object(cls.__module__, cls), *inside)

    def _encode_state(self, value: Any, place: Place, reason: str) -> str:
        """Encode a foreign object that holds plain values; one that holds a lock or a file does not."""
        cls, known = type(value), len(self._unstable)
        parts = list_parts(value)
        self._foreign += 1
        if parts is None or self._foreign > _MAX_FOREIGN:
            raise Unstable(reason)
        texts = self._encode_parts(parts, place)
        if len(self._unstable) > known:
            del self._unstable[known:]
            raise Unstable(reason)
        return digest_parts("object", self.name_foreign_object(cls.__module__, cls), *texts)


def _order(item: Any) -> tuple[str, str, int]:
    """Return what sorts keys and members that have no order: their type, and hash, or name and line."""
    try:
        return type(item).__name__, digest(item), 0
    except UnstableValueError:
        line = item.__code__.co_firstlineno if isinstance(item, types.FunctionType) else 0
        return type(item).__name__, str(getattr(item, "__qualname__", "")), line
