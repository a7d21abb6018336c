"""How a space and its points are kept in the catalog, and how they are read back."""

from __future__ import annotations

import importlib
import io
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from flowlearner.artifacts import Source, choose_codec, get_codec
from flowlearner.definition import Definition
from flowlearner.engine.given import as_json
from flowlearner.errors import ParameterError, UsageError
from flowlearner.interface import Param
from flowlearner.operation import Operator
from flowlearner.params import ARTIFACT_PREFIX, parse_param
from flowlearner.restoring import MAIN
from flowlearner.sweep.space import Dimension, Point, Space, is_same
from flowlearner.types import Choice, LogRange, Range

FindStored = Callable[[Dimension, Any], Any]


def write_space(space: Space, definition: Definition, find_stored: FindStored) -> list[dict[str, Any]]:
    """Return a space as JSON that `read_space` gives back.

    Args:
        find_stored: says how a value of a dimension is recorded that is an artifact of its own, else None.
    """
    by_name, params = {d.name: d for d in space.dimensions}, definition.interface.by_name

    def write(name: str, value: Any) -> Any:
        return find_stored(by_name[name], value) or _write_value(params[name], value)

    return [_write_dimension(d, write) for d in space.dimensions]


def _write_dimension(dimension: Dimension, write: Callable[[str, Any], Any]) -> dict[str, Any]:
    domain = dimension.domain
    body: dict[str, Any] = {"name": dimension.name, "is_int": dimension.is_int}
    if isinstance(domain, Choice):
        body["values"] = [write(dimension.name, v) for v in domain.values]
    else:
        body |= {"low": domain.low, "high": domain.high, "log": isinstance(domain, LogRange)}
        body["step"] = getattr(domain, "step", None)
    if dimension.when:
        body["when"] = {name: [write(name, v) for v in values] for name, values in dimension.when}
    return body


def _write_value(param: Param, value: Any) -> Any:
    if isinstance(value, Operator):
        return {"operator": f"{value.fn.__module__}:{value.fn.__qualname__}"}
    if isinstance(value, os.PathLike):
        return {"text": str(Path(value).absolute())}
    if type(value) in (list, tuple) and all(map(_is_verbatim, value)):
        items = [_write_value(param, v) for v in value]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        # Classes in it would be lost in JSON.
        encoded, sink = choose_codec(param.type.hint, value).encode(value, param.type.hint), io.BytesIO()
        encoded.write(sink)
        return {"codec": encoded.codec, "type": encoded.type, "data": b64encode(sink.getvalue()).decode()}
    return value if _is_verbatim(value) else {"text": as_json(value)}


def _is_verbatim(value: Any) -> bool:
    """Tell whether JSON gives a value back as it is, or as the path that it names."""
    if type(value) in (list, tuple):
        return all(map(_is_verbatim, value))
    is_plain = isinstance(value, (bool, int, float, str, os.PathLike)) and not isinstance(value, Enum)
    return value is None or is_plain


def read_space(stored: Sequence[Mapping[str, Any]], definition: Definition) -> Space:
    """Return a stored space, its values as the workflow's types.

    Raises:
        UsageError: the workflow has changed and a value does not fit it any more.
    """
    params = definition.interface.by_name
    dimensions = []
    for body in stored:
        name = body["name"]
        if name not in params:
            raise UsageError(f"workflow '{definition.name}' has no parameter '{name}' any more")
        if "values" in body:
            domain: Any = Choice([_read_value(params[name], v) for v in body["values"]])
        elif body["log"]:
            domain = LogRange(body["low"], body["high"])
        else:
            domain = Range(body["low"], body["high"], body["step"])
        when = tuple(
            (other, tuple(_read_value(params[other], v) for v in values))
            for other, values in body.get("when", {}).items()
        )
        dimensions.append(Dimension(name, domain, body["is_int"], when))
    return Space(tuple(dimensions))


def _read_value(param: Param, stored: Any) -> Any:
    if isinstance(stored, list):
        return [_read_value(param, v) for v in stored]
    if not isinstance(stored, Mapping):
        return stored
    if "operator" in stored:
        return _find_operator(stored["operator"])
    if "hash" in stored:
        return f"{ARTIFACT_PREFIX}{stored['hash']}"
    if "codec" in stored:
        source = Source(b64decode(stored["data"]))
        return get_codec(stored["codec"]).decode(source, param.type.hint, stored["type"])
    if "tuple" in stored:
        return tuple(_read_value(param, v) for v in stored["tuple"])
    try:
        return parse_param(param, stored["text"])
    except ParameterError as error:
        raise UsageError(str(error)) from None


def _find_operator(place: str) -> Any:
    module, _, qualname = place.partition(":")
    try:
        found: Any = importlib.import_module(MAIN if module == "__main__" else module)
    except ImportError:
        found = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Operator):
        raise UsageError(f"operator '{place}' of the sweep's space is not there any more")
    return found


def read_point(recorded: Mapping[str, Any], space: Space, definition: Definition) -> Point:
    """Return a trial's point from its run's recorded parameters.

    Raises:
        UsageError: a recorded value is not in the space.
    """
    point: Point = {}
    for dimension in space.dimensions:
        if dimension.name not in recorded or not dimension.is_active(point):
            continue
        value = recorded[dimension.name]
        if isinstance(dimension.domain, Choice):
            value = _find_choice(dimension, value, definition)
        point[dimension.name] = value
    return point


def _find_choice(dimension: Dimension, recorded: Any, definition: Definition) -> Any:
    assert isinstance(dimension.domain, Choice), "the caller looks"
    for value in dimension.domain.values:
        if _is_recorded(value, recorded):
            return value
    raise UsageError(
        f"workflow '{definition.name}', parameter '{dimension.name}': the recorded value {recorded!r} is not "
        "in the sweep's space"
    )


def _is_recorded(value: Any, recorded: Any) -> bool:
    """Tell whether a value of a space is what a run has recorded: files by content or path."""
    if isinstance(recorded, Mapping) and "hash" in recorded and isinstance(value, (str, os.PathLike)):
        names = (f"{ARTIFACT_PREFIX}{recorded['hash']}", recorded["source"])
        return os.fspath(value) in names or str(Path(value).absolute()) in names
    if isinstance(recorded, list) and isinstance(value, (list, tuple)):
        return len(recorded) == len(value) and all(map(_is_recorded, value, recorded))
    return is_same(as_json(value), recorded)
