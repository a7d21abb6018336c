"""The typed interface of a function: parameters and outputs, read once from its signature."""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, get_origin
from uuid import UUID

from flowlearner.errors import DefinitionError, shorten, suggest
from flowlearner.secrecy import holds_secret
from flowlearner.spec import (
    Mismatch,
    TypeSpec,
    conform,
    explain_hint,
    is_namedtuple,
    make_spec,
    type_text,
)
from flowlearner.types import Choice, Columns, LogRange, Range

RESULT = "result"


class _Missing:
    def __repr__(self) -> str:
        return "<required>"

    def __reduce__(self) -> str:
        # There is one of it in each process: it is compared by identity.
        return "MISSING"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Param:
    """One parameter. `default` is `MISSING` where a value must be given."""

    name: str
    type: TypeSpec
    default: Any = MISSING
    doc: str = ""
    keyword_only: bool = False

    @property
    def required(self) -> bool:
        return self.default is MISSING and self.type.kind != "seed"

    @property
    def takes_run_seed(self) -> bool:
        """Where it is left out, it receives the seed of the run."""
        return self.type.kind == "seed" and (self.default is MISSING or self.default is None)

    @property
    def takes_operator(self) -> bool:
        base = get_origin(self.type.base) or self.type.base
        return bool(getattr(base, "__flowlearner_operator__", False))

    @property
    def is_static(self) -> bool:
        return self.type.is_static or self.takes_operator


@dataclass(frozen=True)
class Output:
    name: str
    type: TypeSpec


@dataclass(frozen=True)
class Interface:
    """Parameters and outputs of an operator or a workflow.

    Attributes:
        output_class: the NamedTuple that is returned, or None for a single value.
    """

    params: tuple[Param, ...]
    outputs: tuple[Output, ...]
    output_class: Any = None
    doc: str = ""
    by_name: Mapping[str, Param] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {p.name: p for p in self.params})

    def explain_unknown(self, name: str) -> str:
        """Return what is wrong with a name that no parameter has, with the nearest that one has."""
        near = suggest(name, self.by_name)
        return f"no parameter '{name}'; it takes {shorten(self.by_name)}" + (near and f".{near}")

    def to_json(self) -> dict[str, Any]:
        return {
            "params": [
                {
                    "name": p.name,
                    "type": str(p.type),
                    "kind": p.type.kind,
                    "required": p.required,
                    "default": _default_json(p),
                    "bounds": str(p.type.bounds) if p.type.bounds else None,
                    "columns": _columns_json(p.type.columns),
                    "static": p.is_static,
                    "doc": p.doc,
                }
                for p in self.params
            ],
            "outputs": [
                {
                    "name": o.name,
                    "type": str(o.type),
                    "kind": o.type.kind,
                    "columns": _columns_json(o.type.columns),
                }
                for o in self.outputs
            ],
        }


def default_text(value: Any) -> Any:
    """Return a value as JSON for people: what JSON lacks by its name or its type, alike everywhere."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple, range)):
        return [default_text(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((default_text(v) for v in value), key=repr)
    if isinstance(value, dict):
        return {str(default_text(k)): default_text(v) for k, v in value.items()}
    if isinstance(value, (os.PathLike, date, time, Decimal, UUID)):
        return str(value)
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else type_text(type(value))


def _default_json(param: Param) -> Any:
    if param.default is MISSING or holds_secret(param.type):
        return None
    return default_text(param.default)


def _columns_json(columns: Columns | None) -> dict[str, str] | None:
    return {name: type_text(t) for name, t in columns.types} if columns else None


def check_function(fn: Any, what: str) -> None:
    """Refuse what cannot be an operator or a workflow.

    Raises:
        DefinitionError: saying what `fn` is and what to write instead.
    """
    if not inspect.isfunction(fn):
        found = f"the class '{fn.__name__}'" if inspect.isclass(fn) else repr(fn)
        raise DefinitionError(f"@{what} takes a plain function, found {found}. Decorate a function instead.")
    first = next(iter(fn.__code__.co_varnames[: fn.__code__.co_argcount]), "")
    is_method = first in ("self", "cls") and first not in fn.__annotations__
    reason = ""
    if fn.__name__ == "<lambda>":
        reason = "a lambda has no name and no types. Write it with 'def'."
    elif inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        reason = "it is async. Write it with 'def'; what must be awaited can be run inside by asyncio.run."
    elif inspect.isgeneratorfunction(fn):
        reason = "it is a generator, which gives no value that can be stored. Return a list."
    elif is_method:
        reason = "it is a method. Move it out of its class and give it what it needs by parameters."
    if reason:
        raise DefinitionError(f"{_place(fn, what)}: {reason}")


def _place(fn: Callable[..., Any], what: str) -> str:
    return f"{what} '{fn.__name__}' ({fn.__code__.co_filename}:{fn.__code__.co_firstlineno})"


def make_interface(fn: Callable[..., Any], what: str, localns: Mapping[str, Any] | None = None) -> Interface:
    """Read the interface of `fn` from its signature, type hints and docstring.

    Args:
        fn: a plain function.
        what: "operator" or "workflow", for messages.
        localns: names of the scope where `fn` is defined, for annotations that are text.

    Raises:
        DefinitionError: listing each parameter that has no type, no name of its own or a default that does
            not fit, and a return without a type; or a type does not resolve.
    """
    check_function(fn, what)
    where = _place(fn, what)
    try:
        hints = typing.get_type_hints(fn, localns=dict(localns or {}), include_extras=True)
        signature = inspect.signature(fn)
        outputs, output_class = _make_outputs(fn, hints.get("return"), localns)
    except Exception as error:  # whatever the text of an annotation raises
        raise DefinitionError(
            f"{where}: a type annotation does not resolve: {error}. Import the name where the function is "
            "defined, outside of 'if TYPE_CHECKING'."
        ) from error
    docs = read_arg_docs(fn.__doc__ or "")
    problems: list[str] = []
    params: list[Param] = []
    for name, p in signature.parameters.items():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            stars = "*" if p.kind is p.VAR_POSITIONAL else "**"
            problems.append(f"'{stars}{name}' has no names and types of its own; name each parameter")
            continue
        if p.kind is p.POSITIONAL_ONLY:
            problems.append(f"parameter '{name}' cannot be given by name; remove the '/'")
        if name not in hints:
            problems.append(f"parameter '{name}' has no type; annotate it, for example '{name}: int'")
            continue
        wrong = [f"parameter '{name}': {reason}" for reason in explain_hint(hints[name])]
        if wrong:
            problems += wrong
            continue
        spec = make_spec(hints[name])
        if p.default is None and not spec.optional and spec.kind != "seed" and not spec.is_any:
            spec = replace(spec, optional=True)
        default = MISSING if p.default is p.empty else p.default
        param = Param(name, spec, default, docs.get(name, ""), p.kind is p.KEYWORD_ONLY)
        if spec.is_static and holds_secret(spec):
            problems.append(
                f"parameter '{name}' is Static and so a part of the graph, which no Secret can be"
            )
        problems += _explain_default(param)
        params.append(param)
    if "return" not in hints:
        problems.append(
            "the return has no type; annotate it with '->' (a NamedTuple for several outputs, None for none)"
        )
    for output in outputs:
        problems += [f"output '{output.name}': {reason}" for reason in explain_hint(output.type.hint)]
        if output.type.kind == "seed" or output.type.is_static or holds_secret(output.type):
            word = "Static" if output.type.is_static else output.type
            problems.append(f"output '{output.name}' is a {word}, which only a parameter can be")
    if problems:
        raise DefinitionError(f"{where}: " + "; ".join(problems))
    return Interface(tuple(params), outputs, output_class, inspect.cleandoc(fn.__doc__ or ""))


def conform_operator(value: Any, param: Param, where: str) -> Any:
    """Return an operator, or None where it may be left out, given for a parameter which takes one.

    Raises:
        Mismatch: it is no operator, or none of those that the parameter's Choice names.
    """
    if value is None and param.type.optional:
        return None
    if not getattr(value, "__flowlearner_operator__", False):
        raise Mismatch(f"{where}: expected an operator, found {type_text(type(value))}")
    choice = param.type.bounds
    # By name: a cell of a notebook that is run again makes another operator of the same name.
    if isinstance(choice, Choice) and value.name not in [getattr(v, "name", v) for v in choice.values]:
        raise Mismatch(f"{where}: expected one of {choice}, found the operator '{value.name}'")
    return value


def _explain_default(param: Param) -> list[str]:
    """Return why a default is not what its own annotation allows, as a list of at most one reason."""
    default, spec = param.default, param.type
    if default is MISSING or (default is None and (spec.optional or spec.kind == "seed")):
        return []
    if isinstance(default, (Range, LogRange, Choice)):
        return [
            f"default of parameter '{param.name}': {default!r} is no value; write "
            f"{param.name}: Annotated[{spec}, {default!r}]"
        ]
    if spec.is_table and isinstance(default, (str, os.PathLike)):
        return []
    where = f"default of parameter '{param.name}'"
    try:
        if param.takes_operator:
            conform_operator(default, param, where)
        else:
            conform(default, spec, where)
    except Mismatch as error:
        return [str(error)]
    return []


def _make_outputs(
    fn: Callable[..., Any], hint: Any, localns: Mapping[str, Any] | None
) -> tuple[tuple[Output, ...], Any]:
    if hint is None or hint is type(None):
        return (), None
    if is_namedtuple(hint):
        module = sys.modules.get(hint.__module__)
        globalns = vars(module) if module else fn.__globals__
        hints = typing.get_type_hints(hint, globalns, dict(localns or {}), include_extras=True)
        return tuple(Output(n, make_spec(hints.get(n, Any))) for n in hint._fields), hint
    return (Output(RESULT, make_spec(hint)),), None


_ARG_LINE = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def read_arg_docs(doc: str) -> dict[str, str]:
    """Return the text of each parameter in the Google style `Args:` section of a docstring."""
    docs: dict[str, str] = {}
    lines = inspect.cleandoc(doc).splitlines()
    current, inside = "", False
    for line in lines:
        if re.match(r"^(Args|Arguments|Parameters):\s*$", line):
            inside = True
        elif inside and line.strip() and not line.startswith(" "):
            inside = False
        elif inside and (match := _ARG_LINE.match(line.strip())) and len(line) - len(line.lstrip()) <= 4:
            current = match[1]
            docs[current] = match[2].strip()
        elif inside and current and line.strip():
            docs[current] = f"{docs[current]} {line.strip()}".strip()
    return docs
