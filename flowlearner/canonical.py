"""Canonical encoding of values: equal values have equal bytes, in every process, and different ones differ.

Every pre-image starts with its kind, and the whole with the format number. There is no pickle, no
`repr` and no fallback: a value without a stable encoding is refused with its place.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import blake3

from flowlearner.errors import UnstableValueError

FORMAT = 1
THREADED_BYTES = 1 << 20
Sink = Callable[[Any], None]
Encoder = Callable[[Any], Any]

_encoders: dict[str, Encoder] = {}
_TRUSTED = ("sklearn.", "numpy.", "scipy.")


def register_encoder(type_name: str, encoder: Encoder) -> None:
    """Register how a type is encoded: by a function to a value that has an encoding.

    Args:
        type_name: "module.QualName"; subclasses are encoded the same way.
        encoder: returns plain values that tell equal objects from different ones.
    """
    _encoders[type_name] = encoder


def digest(value: Any) -> str:
    """Return the blake3 of a value's canonical encoding, 64 hex digits.

    Raises:
        UnstableValueError: a part of the value has no stable encoding; the message names the part.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    hasher = blake3.blake3()

    def sink(data: Any) -> None:
        hasher.update(data)

    _encode_root(value, sink)
    return hasher.hexdigest()


def encode(value: Any) -> bytes:
    """Return the canonical pre-image itself; `digest` is its hash."""
    parts: list[bytes] = []
    _encode_root(value, lambda data: parts.append(bytes(data)))
    return b"".join(parts)


def digest_parts(kind: str, *parts: str | bytes) -> str:
    """Return the blake3 of a kind and some parts, each preceded by its length."""
    hasher = blake3.blake3()
    for part in (kind, *parts):
        data = part.encode() if isinstance(part, str) else part
        hasher.update(struct.pack("<Q", len(data)))
        hasher.update(data)
    return hasher.hexdigest()


def _encode_root(value: Any, sink: Sink) -> None:
    sink(b"flowlearner-value/%d\n" % FORMAT)
    _encode(value, sink, "value", ())


def _head(kind: str, *sizes: int) -> bytes:
    return kind.encode() + b"\x00" + b"".join(struct.pack("<Q", s) for s in sizes)


def _bytes(kind: str, data: bytes) -> bytes:
    return _head(kind, len(data)) + data


def _encode(value: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> None:
    simple = _encode_simple(value)
    if simple is not None:
        sink(simple)
        return
    if id(value) in parents:
        raise UnstableValueError(f"{where}: the value contains itself, so it has no stable encoding")
    inner = (*parents, id(value))
    cls = type(value)
    for base in cls.__mro__:
        encoder = _encoders.get(f"{base.__module__}.{base.__qualname__}")
        if encoder is not None:
            sink(_bytes("registered", _class_name(base).encode()))
            _encode(encoder(value), sink, where, inner)
            return
    if cls is list or cls is tuple:
        sink(_head("list" if cls is list else "tuple", len(value)))
        for i, item in enumerate(value):
            _encode(item, sink, f"{where}[{i}]", inner)
    elif cls is dict:
        _encode_unordered("dict", _dict_items(value, where, inner), sink)
    elif cls is set or cls is frozenset:
        items = (_nested(item, f"{where}{{...}}", inner) for item in value)
        _encode_unordered("set" if cls is set else "frozenset", items, sink)
    elif isinstance(value, tuple) and hasattr(cls, "_fields"):
        _encode_fields("namedtuple", cls, zip(cls._fields, value, strict=True), sink, where, inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        _encode_fields("dataclass", cls, pairs, sink, where, inner)
    elif hasattr(cls, "model_fields") and cls.__module__ != "pydantic":
        pairs = ((n, getattr(value, n)) for n in cls.model_fields)
        _encode_fields("pydantic", cls, pairs, sink, where, inner)
    elif not _encode_library(value, sink, where, inner):
        raise UnstableValueError(
            f"{where}: an object of type {cls.__module__}.{cls.__qualname__} has no stable encoding. "
            "Give a plain value, a dataclass, a table, an array or an estimator."
        )


def _encode_simple(value: Any) -> bytes | None:
    """Return the encoding of a scalar, or None where the value is not one."""
    cls = type(value)
    if value is None:
        return _head("none")
    if cls is bool:
        return _head("true" if value else "false")
    if cls is int:
        return _bytes("int", str(value).encode()) if value.bit_length() < 4096 else _bytes("bigint", _int_bytes(value))
    if cls is float:
        return _head("float") + _float_bytes(value)
    if cls is str:
        return _bytes("str", value.encode("utf-8", "surrogatepass"))
    if cls is bytes or cls is bytearray:
        return _bytes(cls.__name__, bytes(value))
    if cls is complex:
        return _head("complex") + _float_bytes(value.real) + _float_bytes(value.imag)
    if isinstance(value, Enum):
        return _bytes("enum", f"{_class_name(cls)}.{value.name}".encode())
    if isinstance(value, PurePath):
        return _bytes("path", str(value).encode("utf-8", "surrogatepass"))
    if cls in (datetime, date, time):
        return _bytes(cls.__name__, _time_text(value).encode())
    if cls is timedelta:
        return _head("timedelta") + struct.pack("<qqq", value.days, value.seconds, value.microseconds)
    if cls is Decimal:
        return _bytes("decimal", str(value).encode())
    if cls is UUID:
        return _bytes("uuid", value.bytes)
    if cls is range:
        return _head("range") + struct.pack("<qqq", value.start, value.stop, value.step)
    if cls is slice:
        return None
    if value is Ellipsis:
        return _head("ellipsis")
    return None


def _int_bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)


def _float_bytes(value: float) -> bytes:
    return b"nan\x00\x00\x00\x00\x00" if math.isnan(value) else struct.pack("<d", value)


def _time_text(value: Any) -> str:
    zone = getattr(value, "tzinfo", None)
    text: str = value.isoformat()
    return text if zone is None else f"{text}|{zone}|{getattr(value, 'fold', 0)}"


def _class_name(cls: type) -> str:
    """Return a class's name without its module for user classes, so that a moved file keeps its keys."""
    top = cls.__module__.partition(".")[0]
    library = top in ("sklearn", "numpy", "scipy", "pandas", "pyarrow", "xgboost", "datetime", "builtins", "collections")
    return f"{cls.__module__}.{cls.__qualname__}" if library else cls.__qualname__.rpartition("<locals>.")[2]


def _nested(value: Any, where: str, parents: tuple[int, ...]) -> bytes:
    simple = _encode_simple(value)
    if simple is not None:
        return simple
    hasher = blake3.blake3()

    def sink(data: Any) -> None:
        hasher.update(data)

    _encode(value, sink, where, parents)
    return _bytes("digest", hasher.digest())


def _dict_items(value: dict[Any, Any], where: str, parents: tuple[int, ...]) -> Iterator[bytes]:
    for key, item in value.items():
        label = f"{where}[{key!r}]" if isinstance(key, (str, int)) else f"{where}[...]"
        yield _nested(key, f"{where} key", parents) + _nested(item, label, parents)


def _encode_unordered(kind: str, items: Iterator[bytes], sink: Sink) -> None:
    encoded = sorted(items)
    sink(_head(kind, len(encoded)))
    for item in encoded:
        sink(_bytes("item", item))


def _encode_fields(kind: str, cls: type, pairs: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> None:
    sink(_bytes(kind, _class_name(cls).encode()))
    for name, item in pairs:
        sink(_bytes("field", name.encode()))
        _encode(item, sink, f"{where}.{name}", parents)
    sink(_head("end"))


def _encode_library(value: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> bool:
    """Encode a value of numpy, pandas, Arrow, xgboost or scikit-learn; return False for any other."""
    module = type(value).__module__
    top = module.partition(".")[0]
    if top == "numpy":
        numpy = sys.modules["numpy"]
        if isinstance(value, numpy.generic):
            sink(_bytes("numpy-scalar", value.dtype.str.encode()))
            _encode_array(numpy.asarray(value), sink, where, parents)
            return True
        if isinstance(value, numpy.ndarray):
            _encode_array(value, sink, where, parents)
            return True
        if isinstance(value, numpy.dtype):
            sink(_bytes("numpy-dtype", str(value.descr if value.names else value.str).encode()))
            return True
        if isinstance(value, numpy.ufunc):
            sink(_bytes("numpy-ufunc", value.__name__.encode()))
            return True
    if top in ("pandas", "pyarrow"):
        return _encode_tabular(value, sink, where, parents)
    if any(base.__module__.startswith("xgboost") for base in type(value).__mro__):
        return _encode_xgboost(value, sink, where, parents)
    if isinstance(value, type) and f"{value.__module__}.".startswith((*_TRUSTED, "builtins.")):
        sink(_bytes("class", f"{value.__module__}.{value.__qualname__}".encode()))
        return True
    if callable(value) and f"{getattr(value, '__module__', '')}.".startswith(_TRUSTED) and hasattr(value, "__name__"):
        sink(_bytes("function", f"{value.__module__}.{value.__name__}".encode()))
        return True
    estimator = any(base.__module__.startswith("sklearn") for base in type(value).__mro__)
    if estimator or f"{module}.".startswith(_TRUSTED):
        return _encode_state(value, sink, where, parents)
    return False


def _encode_array(array: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> None:
    import numpy as np

    sink(_head("array", array.ndim, *array.shape))
    if array.dtype.names:
        # Field by field, so that the padding between fields never counts.
        for name in array.dtype.names:
            sink(_bytes("field", name.encode()))
            _encode_array(np.ascontiguousarray(array[name]), sink, where, parents)
        return
    sink(_bytes("dtype", array.dtype.newbyteorder("<").str.encode()))
    if array.dtype.kind == "O":
        for i, item in enumerate(array.ravel().tolist()):
            _encode(item, sink, f"{where}.flat[{i}]", parents)
        return
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1)
    if array.dtype.kind in "fc" and bool(np.isnan(flat).any()):
        flat = flat.copy()
        flat[np.isnan(flat)] = np.nan
    if flat.size:
        sink(memoryview(flat.view(np.uint8)))


def _encode_tabular(value: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> bool:
    import pandas as pd
    import pyarrow as pa

    from flowlearner.canonical_table import frame_to_arrow, table_digest  # noqa: PLC0415

    if isinstance(value, pd.DataFrame):
        sink(_bytes("table", bytes.fromhex(table_digest(frame_to_arrow(value)))))
    elif isinstance(value, pa.Table):
        sink(_bytes("table", bytes.fromhex(table_digest(value))))
    elif isinstance(value, pd.Series):
        frame = value.to_frame(name="value" if value.name is None else str(value.name))
        sink(_bytes("series", bytes.fromhex(table_digest(frame_to_arrow(frame)))))
    elif isinstance(value, pd.Index):
        frame = value.to_frame(index=False)
        frame.columns = [str(c) for c in frame.columns]
        sink(_bytes("index", bytes.fromhex(table_digest(frame_to_arrow(frame)))))
    elif isinstance(value, (pd.Timestamp, pd.Timedelta)):
        sink(_bytes(type(value).__name__, f"{value.isoformat()}|{getattr(value, 'tz', None)}".encode()))
    elif value is pd.NA:
        sink(_head("pandas-na"))
    elif value is pd.NaT:
        sink(_head("pandas-nat"))
    else:
        return False
    return True


def _encode_xgboost(value: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> bool:
    booster = value if hasattr(value, "save_raw") else getattr(value, "_Booster", None)
    sink(_bytes("xgboost", f"{type(value).__module__}.{type(value).__qualname__}".encode()))
    if hasattr(value, "get_params"):
        _encode(value.get_params(deep=False), sink, f"{where}.get_params()", parents)
    sink(_head("unfitted") if booster is None else _bytes("booster", bytes(booster.save_raw("ubj"))))
    return True


def _encode_state(value: Any, sink: Sink, where: str, parents: tuple[int, ...]) -> bool:
    """Encode an object of scikit-learn, numpy or scipy by its class and its state, taken apart by its own rules."""
    sink(_bytes("object", f"{type(value).__module__}.{type(value).__qualname__}".encode()))
    if hasattr(value, "get_params") and hasattr(value, "__dict__"):
        state = {k: v for k, v in vars(value).items() if k not in ("_repr_html_",)}
        _encode(state, sink, where, parents)
        return True
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError as error:
        raise UnstableValueError(f"{where}: {error}") from None
    if isinstance(reduced, str):
        sink(_bytes("global", reduced.encode()))
        return True
    for part in reduced[1:3]:
        _encode(part, sink, where, parents)
    return True
