"""Plain values as trees of JSON, and back. What JSON has no word for is an object with the key "$"."""

from __future__ import annotations

import base64
import dataclasses
import sys
import types
import typing
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID
from zoneinfo import ZoneInfo

from flowlearner.artifacts.base import Encoded, list_members
from flowlearner.errors import ArtifactError, InputError, UnstableValueError
from flowlearner.spec import is_namedtuple

TAG = "$"
MAX_DEPTH = 200
EncodePart = Callable[[Any, Any], Encoded]
DecodePart = Callable[[int, Any], Any]

_PATHS = {c.__name__: c for c in (PosixPath, WindowsPath, PurePath, PurePosixPath, PureWindowsPath)}
_TEXTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda v: base64.b64encode(v).decode()),
    bytearray: ("bytearray", lambda v: base64.b64encode(v).decode()),
    date: ("date", date.isoformat),
    timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    complex: ("complex", lambda v: [v.real.hex(), v.imag.hex()]),
    range: ("range", lambda v: [v.start, v.stop, v.step]),
}
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "int": lambda v: int(v, 16),
    "bytes": base64.b64decode,
    "bytearray": lambda v: bytearray(base64.b64decode(v)),
    "date": date.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "decimal": Decimal,
    "uuid": UUID,
    "complex": lambda v: complex(*(float.fromhex(x) for x in v)),
    "range": lambda v: range(*v),
}
_ATOMS = (int, float, str, bool, type(None), *_TEXTS, datetime, time)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_MAX_INT_BITS = 1024


def is_plain_class(cls: type) -> bool:
    """Tell whether values of a class are stored as a tree."""
    return (
        cls in _ATOMS
        or cls in _CONTAINERS
        or issubclass(cls, (Enum, PurePath))
        or is_namedtuple(cls)
        or dataclasses.is_dataclass(cls)
        or _is_pydantic(cls)
        or _is_library_scalar(cls)
    )


def _is_library_scalar(cls: type) -> bool:
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and issubclass(cls, numpy.generic):
        return not issubclass(cls, (numpy.object_, numpy.void))
    return pandas is not None and cls in (
        pandas.Timestamp,
        pandas.Timedelta,
        type(pandas.NA),
        type(pandas.NaT),
    )


def _is_pydantic(cls: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def list_field_hints(declared: Any) -> list[Any] | None:
    """Return the types inside of a declared type that trees hold, or None where they don't hold it."""
    if declared in (Any, None) or get_origin(declared) is Literal:
        return []
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        return list(get_args(declared))
    cls = _CONCRETE.get(origin or declared, origin or declared)
    if not isinstance(cls, type) or not is_plain_class(cls):
        return None
    if origin is not None:
        return [a for a in get_args(declared) if a is not Ellipsis]
    fields = _field_hints(cls)
    return list(fields.values())


# A value declared by what can be done with it is one of these when it is stored.
_CONCRETE: dict[Any, type] = {Sequence: list, Mapping: dict}


_KINDS: dict[str, Callable[[Any], bool]] = {
    "namedtuple": is_namedtuple,
    "dataclass": dataclasses.is_dataclass,
    "pydantic": _is_pydantic,
}


@lru_cache(maxsize=1024)
def _field_hints(cls: Any) -> dict[str, Any]:
    """Return the declared types of a class's fields; Any where an annotation does not resolve."""
    if is_namedtuple(cls):
        names = list(cls._fields)
    elif dataclasses.is_dataclass(cls):
        names = [f.name for f in dataclasses.fields(cls)]
    elif _is_pydantic(cls):
        names = list(cls.model_fields)
    else:
        return {}
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - a name of the class's own scope that is not there any more
        hints = {}
    return {name: hints.get(name, Any) for name in names}


class TreeWriter:
    """Takes one value apart.

    Attributes:
        parts: what has a codec of its own, in order.
        modules: where each class is from, by its name: beside the tree, since a class that moved is the same.
    """

    def __init__(self, encode_part: EncodePart) -> None:
        self.parts: list[Encoded] = []
        self.modules: dict[str, str] = {}
        self._encode_part = encode_part
        self._depth = 0

    def write(self, value: Any, where: str, declared: Any = Any) -> Any:
        """Return JSON values.

        Raises:
            InputError: a part has no codec; the message names its place.
        """
        cls = type(value)
        if cls is str or cls is bool or value is None:
            return value
        if cls is int:
            return value if value.bit_length() <= _MAX_INT_BITS else {TAG: "int", "v": hex(value)}
        if cls is float:
            return value if value - value == 0.0 else {TAG: "float", "v": str(value)}
        found = _TEXTS.get(cls)
        if found is not None:
            return {TAG: found[0], "v": found[1](value)}
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InputError(f"{where[:200]}: nested more than {MAX_DEPTH} deep, or it contains itself")
        try:
            return self._write_object(value, cls, where, declared)
        finally:
            self._depth -= 1

    def _write_object(self, value: Any, cls: Any, where: str, declared: Any) -> Any:
        if cls is list:
            item = _item_hint(declared, list)
            return [self.write(v, f"{where}[{i}]", item) for i, v in enumerate(value)]
        if cls is dict or cls is OrderedDict:
            return self._write_dict(value, cls, where, _item_hint(declared, dict))
        if cls is tuple:
            hints = _tuple_hints(declared, len(value))
            items = zip(value, hints, strict=True)
            return {TAG: "tuple", "v": [self.write(v, f"{where}[{i}]", h) for i, (v, h) in enumerate(items)]}
        if cls is set or cls is frozenset:
            return {TAG: cls.__name__, "v": [self.write(v, f"{where}{{...}}") for v in value]}
        if cls is datetime or cls is time:
            return _write_time(value, where)
        if isinstance(value, Enum):
            return {TAG: "enum", "class": self._name(cls), "v": value.name}
        if isinstance(value, PurePath):
            return {TAG: "path", "class": cls.__name__, "v": str(value)}
        if is_namedtuple(cls):
            return self._write_fields("namedtuple", cls, value._asdict(), where)
        if dataclasses.is_dataclass(cls):
            names = [f.name for f in dataclasses.fields(cls)]
            return self._write_fields("dataclass", type(value), {n: getattr(value, n) for n in names}, where)
        if _is_pydantic(cls):
            written = self._write_fields(
                "pydantic", cls, {n: getattr(value, n) for n in cls.model_fields}, where
            )
            written["set"] = sorted(value.model_fields_set)
            if value.model_extra:
                written["extra"] = self._write_dict(value.model_extra, dict, where, Any)
            return written
        if _is_library_scalar(cls):
            return _write_library_scalar(value, cls)
        try:
            part = self._encode_part(value, declared)
        except (InputError, UnstableValueError) as error:
            raise type(error)(f"{where}: {error}") from None
        self.parts.append(part)
        return {TAG: "part", "n": len(self.parts) - 1}

    def _write_dict(self, value: Mapping[Any, Any], cls: type, where: str, item: Any) -> Any:
        if cls is dict and TAG not in value and all(type(k) is str for k in value):
            return {k: self.write(v, f"{where}[{k!r}]", item) for k, v in value.items()}
        items = [
            [self.write(k, f"{where} key"), self.write(v, f"{where}[{k!r:.40}]", item)]
            for k, v in value.items()
        ]
        return {TAG: "dict" if cls is dict else "ordered", "v": items}

    def _write_fields(self, kind: str, cls: type, fields: Mapping[str, Any], where: str) -> dict[str, Any]:
        hints = _field_hints(cls)
        written = {n: self.write(v, f"{where}.{n}", hints.get(n, Any)) for n, v in fields.items()}
        return {TAG: kind, "class": self._name(cls), "v": written}

    def _name(self, cls: type) -> str:
        self.modules[cls.__qualname__] = cls.__module__
        return cls.__qualname__


def _write_time(value: Any, where: str) -> dict[str, Any]:
    zone = value.tzinfo
    written = {TAG: type(value).__name__, "v": value.replace(tzinfo=None).isoformat()}
    if value.fold:
        written["fold"] = value.fold
    if zone is None:
        return written
    if isinstance(zone, ZoneInfo) and zone.key:
        return {**written, "zone": zone.key}
    offset = zone.utcoffset(None)
    if offset is None:
        raise InputError(
            f"{where}: a time whose zone {zone!r} has no name; use datetime.timezone or zoneinfo"
        )
    return {**written, "offset": offset.total_seconds()}


def _read_time(cls: Any, tree: Mapping[str, Any]) -> Any:
    value = cls.fromisoformat(tree["v"])
    zone: Any = None
    if "zone" in tree:
        zone = ZoneInfo(tree["zone"])
    elif "offset" in tree:
        zone = timezone(timedelta(seconds=tree["offset"]))
    return value.replace(tzinfo=zone, fold=tree.get("fold", 0))


def _write_library_scalar(value: Any, cls: type) -> dict[str, Any]:
    import numpy as np

    if isinstance(value, np.generic):
        if cls is np.str_:
            return {TAG: "numpy-str", "v": str(value)}
        return {TAG: "numpy", "dtype": value.dtype.str, "v": base64.b64encode(value.tobytes()).decode()}
    import pandas as pd

    if value is pd.NaT:
        return {TAG: "nat"}
    if value is pd.NA:
        return {TAG: "na"}
    if cls is pd.Timedelta:
        return {
            TAG: "pandas-timedelta",
            "v": value.value,
            "unit": value.unit,
            "n": int(value.asm8.view("i8")),
        }
    return {
        TAG: "timestamp",
        "n": int(value.asm8.view("i8")),
        "unit": value.unit,
        "zone": None if value.tz is None else str(value.tz),
    }


class TreeReader:
    """Rebuilds one value. Classes come from the declared type, else from modules that are loaded already.

    No constructor of a class that is not declared is called: its fields are set as they were.
    """

    def __init__(self, decode_part: DecodePart, modules: Mapping[str, str]) -> None:
        self._decode_part = decode_part
        self._modules = modules

    def read(self, tree: Any, declared: Any) -> Any:
        """Return the value.

        Raises:
            ArtifactError: the tree is not one that TreeWriter gives.
        """
        try:
            return self._read(tree, declared)
        except (
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
            InvalidOperation,
            RecursionError,
        ) as error:
            if isinstance(error, InputError):
                raise
            raise ArtifactError(f"the stored value makes no sense: {type(error).__name__}: {error}") from None

    def _read(self, tree: Any, declared: Any) -> Any:
        cls = type(tree)
        if cls is list:
            item = _item_hint(declared, list)
            return [self._read(v, item) for v in tree]
        if cls is not dict:
            return tree
        kind = tree.get(TAG)
        if kind is None:
            item = _item_hint(declared, dict)
            return {k: self._read(v, item) for k, v in tree.items()}
        if kind in _PARSERS:
            return _PARSERS[kind](tree["v"])
        return self._read_object(kind, tree, declared)

    def _read_object(self, kind: str, tree: Mapping[str, Any], declared: Any) -> Any:
        if kind == "part":
            return self._decode_part(tree["n"], declared)
        if kind == "tuple":
            hints = _tuple_hints(declared, len(tree["v"]))
            return tuple(self._read(v, h) for v, h in zip(tree["v"], hints, strict=True))
        if kind in ("set", "frozenset"):
            cls = set if kind == "set" else frozenset
            item = _item_hint(declared, cls)
            return cls(self._read(v, item) for v in tree["v"])
        if kind in ("dict", "ordered"):
            item = _item_hint(declared, dict)
            pairs = ((self._read(k, Any), self._read(v, item)) for k, v in tree["v"])
            return dict(pairs) if kind == "dict" else OrderedDict(pairs)
        if kind in ("datetime", "time"):
            return _read_time(datetime if kind == "datetime" else time, tree)
        if kind == "path":
            return _PATHS[tree["class"]](tree["v"])
        if kind in ("namedtuple", "dataclass", "pydantic"):
            return self._read_fields(kind, tree, declared)
        if kind == "enum":
            cls = self._find_class(tree["class"], declared, lambda c: issubclass(c, Enum))
            if cls is None:
                raise ArtifactError(f"a value of the enumeration {tree['class']}, which is not loaded here")
            return cls[tree["v"]]
        return _read_library_scalar(kind, tree)

    def _read_fields(self, kind: str, tree: Mapping[str, Any], declared: Any) -> Any:
        cls = self._find_class(tree["class"], declared, _KINDS[kind])
        hints = {} if cls is None else _field_hints(cls)
        fields = {n: self._read(v, hints.get(n, Any)) for n, v in tree["v"].items()}
        short = tree["class"].rpartition(".")[2]
        if cls is not None and kind != "pydantic" and list(hints) != list(fields):
            raise InputError(
                f"{short} had the fields {', '.join(fields)}, now it has {', '.join(hints)}. Run it again"
            )
        if kind == "namedtuple":
            cls = cls or namedtuple(short, list(fields))
            return tuple.__new__(cls, fields.values())
        if cls is None:
            # A class that is not loaded here: its fields are still worth having.
            return fields
        if kind == "pydantic":
            extra = tree.get("extra") or {}
            values = {**fields, **{n: self._read(v, Any) for n, v in extra.items()}}
            return cls.model_construct(_fields_set=set(tree["set"]), **values)
        made = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made

    def _find_class(self, name: str, declared: Any, test: Callable[[Any], bool]) -> Any:
        """Return the declared class, or the loaded one of this name."""
        short = name.rpartition(".")[2]
        candidates = [get_origin(h) or h for h in list_members(declared)]
        fitting = [c for c in candidates if isinstance(c, type) and test(c)]
        for cls in fitting:
            if cls.__name__ == short:
                return cls
        found: Any = sys.modules.get(self._modules.get(name, ""))
        for part in name.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) and test(found) else None


def _item_hint(declared: Any, cls: type) -> Any:
    """Return what a container's items are declared as; for a dict, its values."""
    if declared is Any:
        return Any
    for member in list_members(declared):
        origin, args = get_origin(member), get_args(member)
        if args and _CONCRETE.get(origin, origin) is cls:
            return args[-1]
    return Any


def _tuple_hints(declared: Any, count: int) -> Sequence[Any]:
    for member in list_members(declared):
        args = get_args(member)
        if get_origin(member) is tuple and args:
            if args[-1] is Ellipsis:
                return [args[0]] * count
            if len(args) == count:
                return args
    return [Any] * count


def _read_library_scalar(kind: str, tree: Mapping[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "numpy-str":
        return np.str_(tree["v"])
    if kind == "numpy":
        return np.frombuffer(base64.b64decode(tree["v"]), np.dtype(tree["dtype"]))[0]
    if kind == "nat":
        return pd.NaT
    if kind == "na":
        return pd.NA
    if kind == "pandas-timedelta":
        return pd.Timedelta(np.timedelta64(tree["n"], tree["unit"]))
    if kind == "timestamp":
        found = pd.Timestamp(np.datetime64(tree["n"], tree["unit"]))
        return found if tree["zone"] is None else found.tz_localize("UTC").tz_convert(tree["zone"])
    raise ArtifactError(f"the stored value holds '{kind}', which this version does not know")
