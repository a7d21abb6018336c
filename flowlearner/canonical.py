"""Canonical encoding of values: equal values have equal bytes, in every process, and different ones differ.

Every pre-image starts with its kind, and the whole with the format number. There is no pickle, no `repr` and
no fallback: a value without a stable encoding is refused with its place. What Python holds equal but code can
tell apart (1, 1.0 and True; 0.0 and -0.0; Decimal("1") and Decimal("1.0")) stays apart. The order of a dict
or set does not count, nor do the bits of a NaN. A user's class counts by its name without the module, so that
a moved file keeps its keys, and by its code: what an object does with an equal state its methods say.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import os
import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import blake3

from flowlearner.errors import UnstableValueError

FORMAT = 1
# Below this, threads cost more than they give.
THREADED_BYTES = 1 << 19
_LOADED_BY = os.getpid()
Sink = Callable[[bytes], None]
# Who hashes the code of a user's class, loaded when an object of one is met.
_CLASS_CODE = ("flowlearner.fingerprint", "find_class_digest")
_is_by_name: ContextVar[bool] = ContextVar("flowlearner_classes_by_name", default=False)
Encoder = Callable[[Any], Any]

_encoders: dict[str, Encoder] = {}
# Who encodes the types of a package, loaded when a value of it is met: importing Arrow takes longer than most
# commands. The functions return False for a value that they do not know.
_LIBRARIES = {
    "numpy": ("flowlearner.canonical_library", "encode_numpy"),
    "pandas": ("flowlearner.canonical_table", "encode_tabular"),
    "pyarrow": ("flowlearner.canonical_table", "encode_tabular"),
    "scipy": ("flowlearner.canonical_library", "encode_scipy"),
    "sklearn": ("flowlearner.canonical_library", "encode_sklearn"),
    "xgboost": ("flowlearner.canonical_library", "encode_xgboost"),
}
_MISSING: Any = object()


def register_encoder(type_name: str, encoder: Encoder) -> None:
    """Register how a type is encoded: by a function to a value that has an encoding.

    Args:
        type_name: "module.QualName"; subclasses are encoded the same way.
        encoder: returns plain values that tell equal objects from different ones.
    """
    _encoders[type_name] = encoder


@contextlib.contextmanager
def classes_by_name() -> Iterator[None]:
    """Let users' classes count by their names alone, where their code is followed otherwise."""
    token = _is_by_name.set(True)
    try:
        yield
    finally:
        _is_by_name.reset(token)


def digest(value: Any) -> str:
    """Return the blake3 of a value's canonical encoding, 64 hex digits.

    Raises:
        UnstableValueError: a part of the value has no stable encoding; the message names the part.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    hasher = blake3.blake3()

    def sink(data: bytes) -> None:
        hasher.update(data)

    _write_root(value, sink)
    return hasher.hexdigest()


def encode(value: Any) -> bytes:
    """Return the canonical pre-image itself; `digest` is its hash."""
    parts: list[bytes] = []
    _write_root(value, parts.append)
    return b"".join(parts)


def digest_parts(kind: str, *parts: str | bytes) -> str:
    """Return the blake3 of a kind and some parts, each preceded by its length."""
    hasher = blake3.blake3()
    for part in (kind, *parts):
        data = part.encode() if isinstance(part, str) else part
        hasher.update(struct.pack("<Q", len(data)))
        hasher.update(data)
    return hasher.hexdigest()


def count_threads() -> int:
    """Return how many threads blake3 may use: those that it made before a fork, a forked child waits for."""
    return blake3.blake3.AUTO if os.getpid() == _LOADED_BY else 1


def digest_buffers(buffers: Iterable[Any], size_bytes: int) -> bytes:
    """Return the blake3 of buffers one after another, by several threads where it is worth it."""
    hasher = blake3.blake3(max_threads=count_threads() if size_bytes >= THREADED_BYTES else 1)
    for buffer in buffers:
        hasher.update(buffer)
    return hasher.digest()


def class_name(cls: type) -> str:
    """Return a class's name, without the module where it is a user's."""
    if cls.__module__.partition(".")[0] in (*_LIBRARIES, "builtins", "collections", "datetime"):
        return f"{cls.__module__}.{cls.__qualname__}"
    return cls.__qualname__.rpartition("<locals>.")[2]


def is_library_class(cls: type) -> bool:
    """Tell whether objects of a class are encoded as a library's: a table, an array, an estimator."""
    return any(base.__module__.partition(".")[0] in _LIBRARIES for base in cls.__mro__)


class Writer:
    """Writes the pre-image of one value: kinds, then parts that are preceded by their lengths.

    Attributes:
        classes: receives those of objects that are met.
        where: the place of the value, for messages.
    """

    def __init__(
        self, sink: Sink, classes: set[type], where: str = "value", parents: tuple[int, ...] = ()
    ) -> None:
        self._sink = sink
        self.classes = classes
        self.where = where
        self._parents = parents

    def put(self, kind: str, *parts: bytes | str) -> None:
        self._sink(_make(kind, *parts))

    def put_value(self, value: Any, place: str = "") -> None:
        """Write a value that is a part of this one.

        Args:
            place: what leads to it, such as ".name" or "[0]".
        """
        simple = _encode_simple(value)
        if simple is not None:
            self._sink(simple)
            return
        where = self.where + place
        if id(value) in self._parents:
            raise UnstableValueError(f"{where}: the value contains itself, so it has no stable encoding")
        _write(value, Writer(self._sink, self.classes, where, (*self._parents, id(value))))

    def put_fields(self, kind: str, cls: type, fields: Iterable[tuple[str, Any]]) -> None:
        """Write an object by its class and its fields, in their order."""
        items = list(fields)
        self.put(kind, class_name(cls), _size(len(items)))
        for name, item in items:
            if item is _MISSING:
                raise UnstableValueError(f"{self.where}.{name}: the field has no value")
            self.put("field", name)
            self.put_value(item, f".{name}")

    def put_unordered(self, kind: str, items: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        """Write items, each of one or more values with its place, in an order of their own."""
        encoded = sorted(b"".join(self._nest(v, place) for v in values) for place, values in items)
        self.put(kind, _size(len(encoded)))
        for item in encoded:
            self.put("item", item)

    def _nest(self, value: Any, place: str) -> bytes:
        simple = _encode_simple(value)
        if simple is not None:
            return simple
        hasher = blake3.blake3()

        def sink(data: bytes) -> None:
            hasher.update(data)

        Writer(sink, self.classes, self.where, self._parents).put_value(value, place)
        return _make("digest", hasher.digest())


def _write_root(value: Any, sink: Sink) -> None:
    sink(b"flowlearner-value/%d\n" % FORMAT)
    classes: set[type] = set()
    try:
        Writer(sink, classes).put_value(value)
    except RecursionError:
        raise UnstableValueError("value: it is nested too deeply to be encoded") from None
    if classes and not _is_by_name.get():
        module, name = _CLASS_CODE
        find_digest = getattr(importlib.import_module(module), name)
        for text in sorted(filter(None, map(find_digest, classes))):
            sink(_make("class-code", text))


def _make(kind: str, *parts: bytes | str) -> bytes:
    out = [kind.encode(), b"\x00"]
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        out += (_size(len(data)), data)
    return b"".join(out)


def _size(number: int) -> bytes:
    return struct.pack("<Q", number)


def _write(value: Any, out: Writer) -> None:
    cls = type(value)
    if cls.__module__ != "builtins":
        out.classes.add(cls)
    for base in cls.__mro__ if _encoders else ():
        encoder = _encoders.get(f"{base.__module__}.{base.__qualname__}")
        if encoder is not None:
            out.put("registered", class_name(base))
            out.put_value(encoder(value))
            return
    if _write_container(value, out):
        return
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        out.put_fields("namedtuple", cls, zip(cls._fields, value, strict=True))
    elif isinstance(value, Enum):
        # What a member stands for is for code to use, unless it cannot be written down.
        out.put("enum", class_name(cls), str(value.name))
        out.put_value(_MEMBER_ONLY if _has_no_encoding(value.value) else value.value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        out.put_fields(
            "dataclass", cls, ((f.name, getattr(value, f.name, _MISSING)) for f in dataclasses.fields(value))
        )
    elif hasattr(cls, "__pydantic_fields__") and not isinstance(value, type):
        extra = sorted((value.__pydantic_extra__ or {}).items())
        fields = [(name, getattr(value, name, _MISSING)) for name in cls.__pydantic_fields__]
        out.put_fields("pydantic", cls, [*fields, *extra])
    elif not _write_library(value, out):
        raise UnstableValueError(
            f"{out.where}: an object of type {cls.__module__}.{cls.__qualname__} has no stable encoding. "
            "Give a plain value, a dataclass, a table, an array or an estimator."
        )


_MEMBER_ONLY = "flowlearner: by name alone"


def _has_no_encoding(value: Any) -> bool:
    try:
        digest(value)
    except UnstableValueError:
        return True
    return False


def _write_container(value: Any, out: Writer) -> bool:
    """Write a container of Python's own; return False for any other value."""
    cls = type(value)
    if cls in (list, tuple, deque):
        out.put(cls.__name__, _size(len(value)))
        for i, item in enumerate(value):
            out.put_value(item, f"[{i}]")
    elif cls in (dict, Counter):
        out.put_unordered(cls.__name__, _iter_dict(value))
    elif cls is OrderedDict:
        out.put("OrderedDict", _size(len(value)))
        for place, pair in _iter_dict(value):
            for part in pair:
                out.put_value(part, place)
    elif cls is defaultdict:
        factory = value.default_factory
        if factory is not None and getattr(factory, "__module__", "") != "builtins":
            raise UnstableValueError(
                f"{out.where}: what a defaultdict calls for a new key has no stable encoding"
            )
        out.put("defaultdict")
        out.put_value(getattr(factory, "__qualname__", None))
        out.put_unordered("dict", _iter_dict(value))
    elif cls is slice:
        out.put("slice")
        for part in (value.start, value.stop, value.step):
            out.put_value(part)
    elif cls in (set, frozenset):
        out.put_unordered(cls.__name__, (("{...}", (item,)) for item in value))
    else:
        return False
    return True


def _iter_dict(value: dict[Any, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key, item in value.items():
        yield (f"[{key!r}]" if isinstance(key, (str, int)) else "[...]"), (key, item)


def _write_library(value: Any, out: Writer) -> bool:
    """Write a value of a package that is known here; return False for any other.

    A class of the user's that is derived from one of theirs is written as theirs, under its own name.
    """
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        # Classes and functions: parts of the state of estimators.
        bases = [str(getattr(value, "__module__", ""))]
        if bases[0] == "builtins" and isinstance(value, type):
            out.put("class", f"builtins.{value.__qualname__}")
            return True
    else:
        bases = [base.__module__ for base in type(value).__mro__]
    tops = [top for base in bases if (top := base.partition(".")[0]) in _LIBRARIES]
    for top in dict.fromkeys(tops):
        module, name = _LIBRARIES[top]
        if getattr(importlib.import_module(module), name)(value, out):
            return True
    return False


def _encode_simple(value: Any) -> bytes | None:
    """Return the encoding of a scalar, or None where the value is not one."""
    kind = _SIMPLE.get(type(value))
    if kind is not None:
        return kind(value)
    if isinstance(value, PurePath):
        return _make("path", value.as_posix())
    return None


def encode_float(value: float) -> bytes:
    """Return eight bytes; all NaNs are one."""
    return b"nan\x00\x00\x00\x00\x00" if math.isnan(value) else struct.pack("<d", value)


def _encode_int(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    return _make("int", value.to_bytes(size, "little", signed=True))


def _encode_time(value: datetime | time) -> bytes:
    if value.tzinfo is None:
        return _make(type(value).__name__, value.isoformat())
    return _make(type(value).__name__, value.isoformat(), str(value.tzinfo), str(value.fold))


def _encode_decimal(value: Decimal) -> bytes:
    # Not its text, which depends on the context of the thread.
    sign, digits, exponent = value.as_tuple()
    return _make("decimal", str(sign), "".join(map(str, digits)), str(exponent))


_SIMPLE: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"none\x00",
    bool: lambda v: b"true\x00" if v else b"false\x00",
    int: _encode_int,
    float: lambda v: b"float\x00" + encode_float(v),
    complex: lambda v: b"complex\x00" + encode_float(v.real) + encode_float(v.imag),
    str: lambda v: _make("str", v),
    bytes: lambda v: _make("bytes", v),
    bytearray: lambda v: _make("bytearray", bytes(v)),
    datetime: _encode_time,
    date: lambda v: _make("date", v.isoformat()),
    time: _encode_time,
    timedelta: lambda v: b"timedelta\x00" + struct.pack("<qqq", v.days, v.seconds, v.microseconds),
    Decimal: _encode_decimal,
    Fraction: lambda v: _make("fraction", str(v.numerator), str(v.denominator)),
    UUID: lambda v: _make("uuid", v.bytes),
    range: lambda v: _make("range", str(v.start), str(v.stop), str(v.step)),
    re.Pattern: lambda v: _make("pattern", type(v.pattern).__name__, v.pattern, str(v.flags)),
    type(...): lambda _: b"ellipsis\x00",
}
