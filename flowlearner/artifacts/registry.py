"""Owns which codec is for which type. Codecs of heavy packages load once their package is there."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from flowlearner.artifacts.base import Codec
from flowlearner.errors import ArtifactError, DefinitionError, InputError, suggest
from flowlearner.spec import make_spec, type_text


@dataclass(frozen=True)
class _Part:
    """A module with a tuple CODECS. No type of a package is declared before the package is loaded."""

    module: str
    names: tuple[str, ...]
    packages: tuple[str, ...]


_PARTS = (
    _Part(
        "flowlearner.artifacts.files",
        ("file/1", "pickle/1", "bytes/1", "snapshot/1", "diff/1"),
        ("builtins",),
    ),
    _Part("flowlearner.artifacts.tables", ("table/1", "series/1"), ("pandas", "pyarrow")),
    _Part("flowlearner.artifacts.arrays", ("array/1",), ("numpy",)),
    _Part("flowlearner.artifacts.models", ("model/1",), ("sklearn", "xgboost")),
    _Part("flowlearner.artifacts.figures", ("figure/1",), ("altair", "matplotlib")),
    # Last: it stores what the others do not, and asks them about the parts of containers.
    _Part("flowlearner.artifacts.structures", ("json/1",), ("builtins",)),
)
_SCALARS = frozenset((int, float, str, bool, type(None)))

_lock = threading.RLock()
_own: list[Codec] = []
_loaded: dict[str, tuple[Codec, ...]] = {}
_found: dict[Any, Codec | None] = {}


def register_codec(codec: Codec) -> Codec:
    """Add a codec. It comes before the built-in ones, and before those that were registered earlier.

    A codec of the same name is replaced.

    Raises:
        DefinitionError: its name is not like "thing/1", or belongs to a built-in codec.
    """
    name = str(getattr(codec, "name", ""))
    given: Any = codec
    if not isinstance(given, Codec) or not name.partition("/")[2].isdigit():
        raise DefinitionError(
            "register_codec takes an object of a subclass of Codec, with a name like 'thing/1'; "
            f"found {codec!r}"
        )
    if any(name in part.names for part in _PARTS):
        raise DefinitionError(f"codec '{name}' is built in; give yours another name")
    with _lock:
        _own[:] = [codec, *(c for c in _own if c.name != name)]
        _found.clear()
    return codec


def list_own_codecs() -> list[Codec]:
    """Return the codecs that were registered here, in the order in which they were."""
    return _own[::-1]


def get_codec(name: str) -> Codec:
    """Return the codec that reads what was stored under its name, such as "table/1".

    Raises:
        ArtifactError: there is none.
    """
    for codec in _own:
        if codec.name == name:
            return codec
    for part in _PARTS:
        if name in part.names:
            return next(c for c in _load(part) if c.name == name)
    known = [c.name for c in _own] + [n for part in _PARTS for n in part.names]
    raise ArtifactError(
        f"no codec '{name}' is known here.{suggest(name, known)} Import the module that registers it, "
        "or upgrade flowlearner"
    )


def find_codec(hint: Any) -> Codec | None:
    """Return the codec of a declared type, or None. For `Any` and `Model` the value decides later."""
    try:
        return _found[hint]
    except (KeyError, TypeError):
        pass
    codec = _find(hint)
    try:
        # A forward reference may resolve later, so only what was found is kept.
        if codec is not None:
            _found[hint] = codec
    except TypeError:
        pass
    return codec


def _find(hint: Any) -> Codec | None:
    spec = make_spec(hint)
    by_mark = _find_by_mark(spec.marks)
    if by_mark is not None:
        return by_mark
    if spec.kind == "model" or spec.base in (Any, object):
        return get_codec("json/1")
    if get_origin(spec.base) in (Union, types.UnionType):
        members = [find_codec(m) for m in get_args(spec.base)]
        return None if None in members else members[0]
    return next((c for c in _iter_codecs() if c.handles(spec.base)), None)


def _find_by_mark(marks: tuple[Any, ...]) -> Codec | None:
    return next((c for m in marks for c in _iter_codecs() if c.handles_mark(m)), None)


def choose_codec(hint: Any, value: Any) -> Codec:
    """Return the codec for a value of a declared type; where the type leaves it open, the value decides.

    Raises:
        InputError: no codec stores the value.
    """
    cls = type(value)
    if hint is cls and cls in _SCALARS and not _own:
        return get_codec("json/1")
    spec = make_spec(hint)
    by_mark = _find_by_mark(spec.marks)
    if by_mark is not None and (value is not None or not spec.optional):
        return by_mark
    left_open = (
        value is None
        or spec.kind == "model"
        or spec.base in (Any, object)
        or get_origin(spec.base) in (Union, types.UnionType)
    )
    declared = None if left_open else find_codec(hint)
    if declared is not None:
        return declared
    for codec in _iter_codecs():
        if codec.handles_value(value):
            return codec
    raise InputError(
        f"no codec stores a value of type {type_text(cls)}. Give a table, an array, a model, a figure or "
        "plain values, register a codec (flowlearner.register_codec), or opt in to pickle by "
        "Annotated[..., Pickled()]"
    )


def _iter_codecs() -> Iterator[Codec]:
    yield from _own
    for part in _PARTS:
        if any(package in sys.modules for package in part.packages):
            yield from _load(part)


def _load(part: _Part) -> tuple[Codec, ...]:
    try:
        return _loaded[part.module]
    except KeyError:
        codecs: tuple[Codec, ...] = importlib.import_module(part.module).CODECS
        _loaded[part.module] = codecs
        return codecs
