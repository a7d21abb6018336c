"""Workflow parameters: from what a person gives to checked values, before anything runs."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from flowlearner.definition import Definition
from flowlearner.errors import ParameterError, shorten, suggest
from flowlearner.graph import Graph, ParamRef
from flowlearner.interface import MISSING, Param, conform_operator
from flowlearner.operation import Operator
from flowlearner.secrecy import HIDDEN, holds_secret
from flowlearner.spec import TABLE_TYPES, Mismatch, conform, qualified_name, type_text
from flowlearner.types import Choice

ARTIFACT_PREFIX = "artifact:"


@dataclass(frozen=True)
class BoundParams:
    """Checked parameters of one run.

    Attributes:
        static: plain values for the compiler.
        values: every other parameter; a table or file may still be a path, URL or "artifact:HASH".
        secrets: names of those that are secret or hold a secret, which is never recorded.
    """

    static: Mapping[str, Any]
    values: Mapping[str, Any]
    secrets: frozenset[str]


def bind_params(definition: Definition, given: Mapping[str, Any], seed: int) -> BoundParams:
    """Check names, types, ranges and completeness of a run's parameters.

    Args:
        given: values by name.
        seed: the run's seed, which an unbound Seed parameter receives.

    Raises:
        ParameterError: listing every mistake at once.
    """
    params = definition.interface.by_name
    problems: list[str] = []
    for name in given:
        if name not in params:
            problems.append(definition.interface.explain_unknown(name))
    static: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, param in params.items():
        target = static if param.is_static else values
        if name not in given or (given[name] is None and param.type.kind == "seed"):
            if param.takes_run_seed:
                target[name] = seed
            elif param.default is MISSING:
                problems.append(f"parameter '{name}' ({param.type}) needs a value")
            else:
                target[name] = _conform_default(param)
            continue
        try:
            target[name] = conform_given(param, given[name])
        except Mismatch as error:
            problems.append(str(error))
    if problems:
        raise ParameterError(f"workflow '{definition.name}': " + "; ".join(problems))
    secrets = frozenset(n for n, p in params.items() if holds_secret(p.type))
    return BoundParams(static, values, secrets)


def check_limits(graph: Graph, values: Mapping[str, Any]) -> None:
    """Check what nested workflows ask of the parameters that are handed on to them as they are.

    Raises:
        ParameterError: listing every value outside of a range or choice.
    """
    problems: list[str] = []
    for limit in graph.limits:
        if not isinstance(limit.binding, ParamRef):
            continue
        name = limit.binding.name
        try:
            conform_given(Param(name, limit.type), values[name])
        except Mismatch as error:
            problems.append(f"{error}; '{limit.where}', which receives it, takes no other")
    if problems:
        raise ParameterError(f"workflow '{graph.workflow}': " + "; ".join(problems))


def _conform_default(param: Param) -> Any:
    try:
        return conform_given(param, param.default)
    except Mismatch:
        return param.default


def conform_given(param: Param, value: Any) -> Any:
    """Return a given value as its declared type; a table or file may be named by text."""
    where = f"parameter '{param.name}'"
    if param.takes_operator:
        return conform_operator(value, param, where)
    spec = param.type
    is_named = isinstance(value, (str, os.PathLike))
    if is_named and (spec.is_table or (str(value).startswith(ARTIFACT_PREFIX) and not _takes_text(param))):
        return os.fspath(value)
    if is_named and spec.kind == "model":
        raise Mismatch(f"{where}: expected a fitted model or 'artifact:HASH', found {str(value)!r}")
    if spec.is_table and qualified_name(type(value)) in TABLE_TYPES:
        return value  # the consumer gets the type that it declares
    try:
        return conform(value, spec, where)
    except Mismatch:
        if not holds_secret(spec):
            raise
    # Without the value, which the message would show.
    raise Mismatch(f"{where}: expected {spec}, found {type_text(type(value))} that does not fit")


def _takes_text(param: Param) -> bool:
    return param.type.kind == "secret" or (param.type.base is str and param.type.kind is None)


def parse_param(param: Param, text: str) -> Any:
    """Turn command line text into a parameter's value.

    Raises:
        ParameterError: the text is not a value of the declared type.
    """
    spec = param.type
    base = spec.base
    if spec.optional and text.lower() in ("none", "null") and base is not str:
        return None
    is_artifact = text.startswith(ARTIFACT_PREFIX) and not _takes_text(param)
    if spec.is_table or spec.kind in ("file", "model", "secret") or is_artifact:
        return text
    if isinstance(spec.bounds, Choice):
        for value in spec.bounds.values:
            if text in (str(value), getattr(value, "name", None)):
                return value
    try:
        return _parse(base, text)
    except (ValueError, SyntaxError, KeyError) as error:
        hint = f" ({JSON_EXPECTED})" if isinstance(error, json.JSONDecodeError) else ""
        wanted: object = spec
        if isinstance(spec.bounds, Choice):
            wanted = f"one of {spec.bounds}"
        elif isinstance(base, type) and issubclass(base, Enum):
            wanted = f"one of {shorten(base.__members__)}"
        if holds_secret(spec):
            text, hint = HIDDEN, ""
        raise ParameterError(f"parameter '{param.name}': expected {wanted}, found '{text}'{hint}") from None


def read_param(definition: Definition, param: Param, text: str) -> Any:
    """Turn text into the value of a workflow's parameter; an operator is meant by its name.

    Raises:
        ParameterError: the text is not a value of the declared type, or names no operator.
    """
    return find_operator(definition, param, text) if param.takes_operator else parse_param(param, text)


def find_operator(definition: Definition, param: Param, text: str) -> Operator[Any, Any]:
    """Return the operator that a name means for a workflow.

    That is one of the parameter's own list, one that the workflow's module knows by this name (`train`,
    `steps.train`), or one that can be imported (`operators.train.train_xgboost`), in this order.

    Raises:
        ParameterError: there is none of this name.
    """
    bounds = param.type.bounds
    listed = (
        {v.name: v for v in bounds.values if isinstance(v, Operator)} if isinstance(bounds, Choice) else {}
    )
    scope = definition.fn.__globals__
    head, *rest = text.split(".")
    found: Any = listed.get(text)
    if found is None and head in scope:
        found = _walk(scope[head], rest)
    reason = ""
    if not isinstance(found, Operator) and rest:
        found, reason = _import_operator(text)
    if isinstance(found, Operator):
        return found
    known = listed or {n: v for n, v in scope.items() if isinstance(v, Operator)}
    raise ParameterError(
        f"parameter '{param.name}': expected an operator, one of {shorten(known)}, or one by its full name "
        f"such as operators.train.train_xgboost; found '{text}'{reason}.{suggest(text, known)}"
    )


def _walk(start: Any, names: Iterable[str]) -> Any:
    for name in names:
        start = getattr(start, name, None)
    return start


def _import_operator(text: str) -> tuple[Any, str]:
    """Return what a dotted name means, None with the reason where it means no operator."""
    module, _, name = text.rpartition(".")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        return None, f" ({error})"
    except Exception as error:  # noqa: BLE001 - whatever a user's module raises while it is imported
        return None, f" ('{module}' does not import: {type(error).__name__}: {error})"
    found = getattr(loaded, name, None)
    if isinstance(found, Operator):
        return found, ""
    known = [n for n, v in vars(loaded).items() if isinstance(v, Operator)]
    what = "has no" if found is None else f"has a {type(found).__name__}"
    return None, f" ('{module}' {what} '{name}'; its operators are {shorten(known)}.{suggest(name, known)})"


JSON_EXPECTED = 'lists and dicts are given in JSON, such as ["a", "b"] or {"a": 1}'
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _parse(base: Any, text: str) -> Any:
    if get_origin(base) is Literal:
        for value in get_args(base):
            if str(value) == text:
                return value
        raise ValueError(text)
    if base is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE
    if base is int:
        return int(text.replace("_", "")) if text.strip() else int(text)
    if base is float:
        return float(text)
    if base is str:
        return text
    if base in (date, datetime):
        return base.fromisoformat(text)
    if base is Path:
        return Path(text)
    if isinstance(base, type) and issubclass(base, Enum):
        return base[text] if text in base.__members__ else base(text)
    if get_origin(base) in (Union, UnionType):
        # Text fits everything, so it comes last; 0 and 1 are numbers before they are words for bools.
        for member in sorted(get_args(base), key=lambda m: (m is str, m is bool)):
            with contextlib.suppress(ValueError, SyntaxError, KeyError):
                return _parse(member, text)
        raise ValueError(text)
    if base in (Any, object):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    return _parse_container(base, text)


def _parse_container(base: Any, text: str) -> Any:
    value = json.loads(text)
    origin = get_origin(base) or base
    if origin in (tuple, set, frozenset) and isinstance(value, list):
        return origin(value)
    return value
