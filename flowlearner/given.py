"""What is given for an input or an output: futures in it, what speaks against it, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from flowlearner.errors import shorten
from flowlearner.futures import Future, Outputs, UnknownFuture
from flowlearner.graph import Binding, Literal, NodeRef, RunSeed
from flowlearner.interface import MISSING, Interface, Param
from flowlearner.spec import (
    Mismatch,
    TypeSpec,
    conform,
    explain_columns,
    explain_mismatch,
    is_namedtuple,
    qualified_name,
    type_text,
)


def is_workflow(value: Any) -> bool:
    return hasattr(value, "__flowlearner_workflow__")


def error_text(error: BaseException) -> str:
    """Return the text of an exception, without turning a future into text."""
    return ", ".join(map(repr, error.args)) if holds_future(error.args) else str(error)


def bind_default(param: Param) -> Binding:
    if param.takes_run_seed:
        return RunSeed()
    if param.default is MISSING:
        return Literal(None)
    try:
        return Literal(conform(param.default, param.type))
    except Mismatch:
        return Literal(param.default)  # a table by its path


def name_values(interface: Interface, returned: Any) -> dict[str, Any] | str:
    """Return what a workflow returned by output name, or what is wrong with it."""
    cls = interface.output_class
    if cls is not None:
        if isinstance(returned, UnknownFuture):
            return dict.fromkeys(cls._fields, returned)
        if is_namedtuple(type(returned)):
            return dict(zip(returned._fields, returned, strict=True))
        if isinstance(returned, dict):
            return dict(returned)
        if isinstance(returned, tuple) and len(returned) == len(cls._fields):
            return dict(zip(cls._fields, returned, strict=True))
        fields = shorten(cls._fields)
        cure = f"Return {cls.__name__}({', '.join(f'{f}=...' for f in cls._fields)})."
        return f"declares {cls.__name__}({fields}) but returns {describe(returned)}. {cure}"
    if not interface.outputs:
        if returned is None:
            return {}
        return f"declares no output but returns {describe(returned)}. Declare its type after '->'."
    output = interface.outputs[0]
    if returned is None and not output.type.optional and not output.type.is_any:
        return f"declares {output.type} but returns nothing. Return a value, or declare None."
    return {output.name: returned}


def describe(value: Any) -> str:
    if isinstance(value, Future):
        return f"{value._label} ({value._type})"
    if isinstance(value, Outputs):
        return f"all outputs of {value._label}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type_text(type(value))


def explain_future(value: Future, spec: TypeSpec) -> Iterator[tuple[str, str]]:
    """Yield kind and text of what speaks against giving a future where `spec` is declared."""
    produced = value._type
    if produced.is_any and not spec.is_any and isinstance(value._binding, NodeRef):
        yield (
            "any",
            f"expects {spec} but gets Any from {value._label}. Declare what the operator returns: Any is "
            "for what users give and get, not between operators.",
        )
        return
    reason = explain_mismatch(produced, spec, value._label)
    if reason:
        yield "type", reason
        return
    reason = explain_columns(produced, spec, value._label)
    if reason:
        yield "columns", reason


def refine(declared: TypeSpec, value: Any) -> TypeSpec:
    """Return a nested workflow's parameter type, with what its argument declares in addition."""
    if not isinstance(value, Future):
        return declared
    if declared.is_any:
        return value._type
    columns = value._type.columns
    if declared.is_table and declared.columns is None and columns is not None:
        return replace(declared, marks=(*declared.marks, columns))
    return declared


def holds_future(value: Any) -> bool:
    if isinstance(value, Future):
        return True
    if isinstance(value, dict):
        return any(holds_future(v) for v in value.values())
    return isinstance(value, (list, tuple, set, frozenset)) and any(holds_future(v) for v in value)


_FUTURE_TEXT = re.compile(r"<future (.*?): ")


def find_hidden_future(value: Any, depth: int = 10) -> str | None:
    """Return the name of a future in a text, an object or a table that was made of it, or None.

    Args:
        value: what is given.
        depth: how many objects inside of each other are looked into.
    """
    if isinstance(value, Future):
        return value._label
    if isinstance(value, str):
        found = _FUTURE_TEXT.search(value)
        return found[1] if found else None
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    elif is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, f.name, None) for f in fields(value))
    elif hasattr(type(value), "get_params") or hasattr(type(value), "model_fields"):
        parts = getattr(value, "__dict__", {}).values()  # an estimator, or a model of pydantic
    elif qualified_name(type(value)) == "pandas.DataFrame":
        parts = (v for column, kind in value.dtypes.items() if kind == object for v in value[column])  # noqa: E721
    inner = (find_hidden_future(part, depth - 1) for part in parts) if depth else ()
    return next((name for name in inner if name), None)
