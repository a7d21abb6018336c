"""Turns the parameters of a run into content hashes, and into what is recorded of them."""

from __future__ import annotations

import os
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.cache import BoundValue
from flowlearner.definition import Definition
from flowlearner.engine.binding import bind_given, bind_literal, is_named
from flowlearner.engine.node import check_artifact_columns
from flowlearner.inputs import InputResolver
from flowlearner.interface import Param
from flowlearner.params import ARTIFACT_PREFIX, BoundParams
from flowlearner.records import Artifact
from flowlearner.secrecy import HIDDEN, conceal

MAX_PARAM_ITEMS = 1000


def bind_values(
    definition: Definition, params: BoundParams, resolver: InputResolver, store: ArtifactStore
) -> tuple[dict[str, BoundValue], list[Artifact], dict[str, Any]]:
    """Hash and store the parameters.

    Returns:
        bound values, the artifacts behind them, and the parameters as they are recorded.

    Raises:
        UserError: a file does not read, or a table lacks a column that the workflow declares.
    """
    values: dict[str, BoundValue] = {}
    artifacts: list[Artifact] = []
    recorded = describe_params(definition, params)
    for name, value in params.values.items():
        param = definition.interface.by_name[name]
        if name in params.secrets:
            values[name] = bind_literal(value, param)
            continue
        if not is_stored_alone(param, value):
            values[name], stored = bind_given(value, param, resolver)
            artifacts += stored
            if stored:
                recorded[name] = describe_items(values[name], value)
            continue
        artifact = resolver.resolve(param, value)
        check_artifact_columns(artifact, param, store)
        artifacts.append(artifact)
        values[name] = BoundValue(artifact.hash, artifact)
        recorded[name] = _describe_stored(artifact, value)
    return values, artifacts, recorded


def describe_items(bound: BoundValue, given: Any) -> Any:
    """Return a list or dict of files as it is recorded: each by its content, as a parameter of its own is."""
    if bound.artifact is not None:
        return _describe_stored(bound.artifact, given)
    if bound.make is None:
        return as_json(given)
    if isinstance(given, dict):
        return {str(k): describe_items(b, v) for b, (k, v) in zip(bound.items, given.items(), strict=True)}
    return [describe_items(b, v) for b, v in zip(bound.items, given, strict=True)]


def _describe_stored(artifact: Artifact, given: Any) -> dict[str, Any]:
    return {"type": artifact.type, "hash": artifact.hash, "source": _source_of(given)}


def describe_params(definition: Definition, params: BoundParams) -> dict[str, Any]:
    """Return the parameters as they are recorded, before their files and tables are read."""
    declared = definition.interface.by_name
    recorded: dict[str, Any] = {name: as_json(v) for name, v in params.static.items()}
    for name, value in params.values.items():
        if name in params.secrets:
            shown = conceal(value, declared[name].type)
            recorded[name] = as_json(shown) if is_plain(shown) else HIDDEN
        else:
            recorded[name] = as_json(value) if is_plain(value) else _source_of(value)
    return recorded


def is_stored_alone(param: Param, value: Any) -> bool:
    """Tell whether a parameter's value is an artifact of its own, named by its hash where it is recorded."""
    return not is_plain(value) or is_named(param, value)


def is_plain(value: Any) -> bool:
    """Tell whether a value is recorded as it is, in JSON."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return len(value) <= MAX_PARAM_ITEMS and all(is_plain(v) for v in value)
    if isinstance(value, dict):
        return len(value) <= MAX_PARAM_ITEMS and all(
            isinstance(k, str) and is_plain(v) for k, v in value.items()
        )
    return value is None or isinstance(value, (bool, int, float, str, date, Enum, os.PathLike))


def as_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((as_json(v) for v in value), key=repr)
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.isoformat() if isinstance(value, date) else str(getattr(value, "name", value))


def _source_of(value: Any) -> str | None:
    if not isinstance(value, (str, os.PathLike)):
        return None
    text = os.fspath(value)
    remote = "://" in text or text.startswith(ARTIFACT_PREFIX)
    return text if remote else str(Path(text).absolute())
