"""The parameters of an earlier run, as its record has them, as values that can be given once more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from flowlearner.catalog import Catalog
from flowlearner.definition import Definition
from flowlearner.errors import NotFoundError, ParameterError, UsageError, shorten
from flowlearner.interface import Param
from flowlearner.operation import Operator
from flowlearner.params import ARTIFACT_PREFIX, conform_given, find_operator, parse_param, read_param
from flowlearner.records import RunRecord
from flowlearner.secrecy import HIDDEN, holds_secret
from flowlearner.spec import Mismatch, TypeSpec, is_namedtuple, is_union, list_item_specs, make_spec


def read_params(
    run: RunRecord,
    definition: Definition,
    given: Mapping[str, Any],
    catalog: Catalog,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return the parameters of a run, with what is given in the place of its own.

    Args:
        given: values by name; a parameter that the workflow does not have is left to the check of all.
        seed: of the new run, where it is another than that of then; parameters that had the latter follow.

    Raises:
        UsageError: a secret is not given, or a recorded value does not fit the workflow any more.
    """
    values: dict[str, Any] = dict(given)
    missing: list[str] = []
    problems: list[str] = []
    for name, recorded in run.params.items():
        param = definition.interface.by_name.get(name)
        if name in given or param is None:
            continue
        if seed not in (None, run.run_seed) and param.takes_run_seed and recorded == run.run_seed:
            continue
        if holds_secret(param.type) and _holds_hidden(recorded):
            missing.append(name)
            continue
        try:
            values[name] = read_recorded(param, recorded, definition, run, catalog)
        except (ParameterError, Mismatch) as error:
            problems.append(str(error))
    if missing:
        cure = " ".join(f"-p {name}=..." for name in missing)
        raise UsageError(
            f"run {run.id}: its Secret parameters are stored nowhere; give {shorten(missing)} again: {cure}"
        )
    if problems:
        raise UsageError(
            f"run {run.id}: its parameters do not fit workflow '{definition.name}' any more: "
            + "; ".join(problems)
        )
    return values


def list_dropped(run: RunRecord, definition: Definition) -> list[str]:
    """Return the parameters of a run that today's workflow does not have."""
    return [name for name in run.params if name not in definition.interface.by_name]


def read_texts(definition: Definition, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of parameters that are given as texts; what is no text stays as it is.

    Raises:
        ParameterError: a name is unknown, or a text is not of the parameter's type; all mistakes are listed.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in texts.items():
        param = definition.interface.by_name.get(name) or definition.interface.by_name.get(
            name.replace("-", "_")
        )
        if param is None:
            problems.append(definition.interface.explain_unknown(name))
            continue
        try:
            values[param.name] = read_param(definition, param, text) if isinstance(text, str) else text
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError(f"workflow '{definition.name}': " + "; ".join(problems))
    return values


def read_recorded(
    param: Param, recorded: Any, definition: Definition, run: RunRecord, catalog: Catalog
) -> Any:
    """Return one recorded parameter as its declared type: a table or file by the content that it had.

    Raises:
        ParameterError, Mismatch: it does not fit.
    """
    if param.takes_operator:
        return _find_operator(param, recorded, definition, run, catalog)
    return _read(param.name, param.type, recorded)


def _read(name: str, spec: TypeSpec, recorded: Any) -> Any:
    if isinstance(recorded, Mapping) and {"type", "hash", "source"} == recorded.keys():
        return f"{ARTIFACT_PREFIX}{recorded['hash']}"
    param = Param(name, spec)
    read = _read_items(name, spec, recorded)
    try:
        conform_given(param, read)
    except Mismatch:
        if isinstance(read, str):
            return parse_param(param, read)
        if isinstance(read, (list, dict)):
            return parse_param(param, json.dumps(read))
        raise
    return read


def _read_items(name: str, spec: TypeSpec, recorded: Any) -> Any:
    """Return a recorded list or dict with its items, and itself, as they are declared."""
    members = [make_spec(m).base for m in get_args(spec.base)] if is_union(spec.base) else [spec.base]
    if isinstance(recorded, list):
        for base in members:
            make = get_origin(base) or base
            if make not in (list, tuple, set, frozenset) and not is_namedtuple(make):
                continue
            specs = list_item_specs(base, list if make in (set, frozenset) else make, len(recorded))
            items = [
                _read(f"{name}[{i}]", s, v) for i, (s, v) in enumerate(zip(specs, recorded, strict=False))
            ]
            return make(*items) if is_namedtuple(make) else make(items)
    if isinstance(recorded, Mapping):
        for base in members:
            if (get_origin(base) or base) is dict:
                specs = list_item_specs(base, dict, len(recorded))
                return {
                    k: _read(f"{name}[{k!r}]", s, v)
                    for s, (k, v) in zip(specs, recorded.items(), strict=False)
                }
    return recorded


def _holds_hidden(recorded: Any) -> bool:
    if isinstance(recorded, Mapping):
        return any(_holds_hidden(v) for v in recorded.values())
    if isinstance(recorded, list):
        return any(_holds_hidden(v) for v in recorded)
    return isinstance(recorded, str) and HIDDEN in recorded


def _find_operator(
    param: Param, recorded: Any, definition: Definition, run: RunRecord, catalog: Catalog
) -> Any:
    """Return the operator of a recorded name: one that the workflow knows, or where the run had it from."""
    if recorded is None:
        return None
    try:
        return find_operator(definition, param, str(recorded))
    except ParameterError:
        for full in list_places(str(recorded), run, catalog):
            try:
                return find_operator(definition, param, full)
            except ParameterError:
                continue
        raise


def list_places(name: str, run: RunRecord, catalog: Catalog) -> list[str]:
    """Return under which full names an operator may be imported that a run called by this name."""
    used = {n.fingerprint for n in run.nodes if n.operator == name}
    try:
        versions = catalog.get_operator(name).versions
    except NotFoundError:
        return []
    first = sorted(versions, key=lambda v: v.fingerprint not in used)
    return list(dict.fromkeys(f"{v.module}.{name}" for v in first))


def find_named_operator(
    name: str, definition: Definition, run: RunRecord, catalog: Catalog
) -> Operator[Any, Any]:
    """Return the operator that a name means for a workflow, or that a run called by this name.

    Raises:
        ParameterError: there is none.
    """
    found = _find_operator(Param("replace", make_spec(Any)), name, definition, run, catalog)
    assert isinstance(found, Operator), "a name that means no operator raises"
    return found
