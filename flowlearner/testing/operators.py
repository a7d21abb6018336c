"""Owns the check that an operator does what caching, storing and reproducing rely on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NoReturn

from flowlearner.artifacts import ArtifactStore, choose_codec, find_codec, get_codec
from flowlearner.cache import BoundValue
from flowlearner.engine.binding import bind_literal
from flowlearner.engine.logs import NodeContext
from flowlearner.engine.node import NodeFailure, Outcome, call_operator
from flowlearner.errors import UserError, suggest
from flowlearner.interface import MISSING, Param
from flowlearner.operation import Operator
from flowlearner.records import LogLine
from flowlearner.spec import type_text


def check_operator(operator: Operator[Any, Any], /, **inputs: Any) -> dict[str, Any]:
    """Call an operator twice as a run would, and check what the platform relies on.

    Its code can be followed for the cache key; every output has a codec, fits its declared type, and is the
    same after it was stored and loaded; and both calls give equal outputs, unless it is declared
    `cache=False` or `effects=True`.

    Args:
        operator: what is checked.
        inputs: values by parameter; the others take their defaults, an unbound Seed takes 0.

    Returns:
        the outputs of the first call by name, as a consumer would receive them.

    Raises:
        AssertionError: with everything that is wrong.
        TypeError: it is no operator.

    Example:
        >>> from flowlearner import operator
        >>> @operator
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> check_operator(double, n=4)
        {'result': 8}
    """
    if not isinstance(operator, Operator):
        raise TypeError(f"check_operator takes what @operator makes, found {operator!r}")
    with tempfile.TemporaryDirectory(prefix="flowlearner-check-") as folder:
        # Everything goes through files, as large values do.
        store = ArtifactStore(folder, 0)
        problems = _list_static_problems(operator, inputs)
        if problems:
            _fail(operator, problems)
        bound = {
            p.name: _bind(operator, p, inputs.get(p.name, p.default), store)
            for p in operator.interface.params
        }
        first, second = (_call(operator, bound, store) for _ in range(2))
        loaded = _load(operator, first, store)
        problems = [*loaded[1], *_list_differences(operator, first, second)]
        if problems:
            _fail(operator, problems)
        return loaded[0]


def _fail(operator: Operator[Any, Any], problems: list[str]) -> NoReturn:
    raise AssertionError("\n  ".join([f"operator '{operator.name}':", *problems]))


def _list_static_problems(operator: Operator[Any, Any], inputs: Mapping[str, Any]) -> list[str]:
    known = operator.interface.by_name
    problems = [f"no parameter '{n}'.{suggest(n, known)}" for n in inputs if n not in known]
    problems += [
        f"parameter '{p.name}' needs a value" for p in known.values() if p.required and p.name not in inputs
    ]
    problems += [
        f"output '{o.name}': no codec stores {type_text(o.type.hint)}"
        for o in operator.interface.outputs
        if find_codec(o.type.hint) is None
    ]
    if operator.cache and not operator.effects:
        problems += [
            f"its code cannot be followed, so it is never cached: {p}"
            for p in operator.fingerprint().problems
        ]
    return problems


def _bind(operator: Operator[Any, Any], param: Param, value: Any, store: ArtifactStore) -> BoundValue:
    try:
        return _encode(param, value, store)
    except UserError as error:
        _fail(operator, [f"parameter '{param.name}': {error}"])


def _encode(param: Param, value: Any, store: ArtifactStore) -> BoundValue:
    if param.type.kind == "seed" and value in (MISSING, None):
        value = 0
    if param.type.kind == "secret" or isinstance(value, Operator):
        return bind_literal(value, param)
    if param.type.kind == "file" and value is not None:
        artifact = store.put_file(value, limit_bytes=sys.maxsize)
    else:
        artifact = store.put(choose_codec(param.type.hint, value).encode(value, param.type.hint))
    return BoundValue(artifact.hash, artifact)


def _call(operator: Operator[Any, Any], inputs: Mapping[str, BoundValue], store: ArtifactStore) -> Outcome:
    def ignore(line: LogLine) -> None:
        del line

    try:
        return call_operator(operator, inputs, store, NodeContext("check", operator.name, ignore))
    except NodeFailure as failure:
        raise AssertionError(f"operator '{operator.name}': {failure}\n{failure.info.traceback}") from None


def _load(
    operator: Operator[Any, Any], outcome: Outcome, store: ArtifactStore
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for output, artifact in zip(operator.interface.outputs, outcome.artifacts, strict=True):
        codec = get_codec(artifact.codec)
        value = codec.decode(store.open(artifact), output.type.hint, artifact.type)
        if artifact.codec != "file/1" and codec.encode(value, output.type.hint).hash != artifact.hash:
            problems.append(f"output '{output.name}' is another value after it was stored and loaded")
        values[output.name] = value
    return values, problems


def _list_differences(operator: Operator[Any, Any], first: Outcome, second: Outcome) -> list[str]:
    if operator.effects or not operator.cache:
        return []
    return [
        f"output '{one.name}' differs between two calls with equal inputs. "
        "Take randomness from a Seed parameter, or declare the operator with cache=False"
        for one, other in zip(first.outputs, second.outputs, strict=True)
        if one.hash != other.hash
    ]
