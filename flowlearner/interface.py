"""The typed interface of a function: parameters and outputs, read once from its signature."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from flowlearner.errors import DefinitionError
from flowlearner.types import Choice, Columns, LogRange, Mark, Range

RESULT = "result"


class _Missing:
    def __repr__(self) -> str:
        return "<required>"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class TypeSpec:
    """One declared type.

    Attributes:
        hint: the annotation as written.
        base: the annotation without `Annotated` and without None.
        optional: None is a member.
        marks: the `Annotated` metadata.
    """

    hint: Any
    base: Any
    optional: bool = False
    marks: tuple[Any, ...] = ()

    @property
    def kind(self) -> str | None:
        """The marker word: metric, model, file, seed or secret; None for an ordinary value."""
        kinds = [m.kind for m in self.marks if isinstance(m, Mark) and m.kind != "static"]
        return kinds[-1] if kinds else None

    @property
    def is_static(self) -> bool:
        return any(isinstance(m, Mark) and m.kind == "static" for m in self.marks)

    @property
    def columns(self) -> Columns | None:
        return next((m for m in self.marks if isinstance(m, Columns)), None)

    @property
    def bounds(self) -> Range | LogRange | Choice | None:
        return next((m for m in self.marks if isinstance(m, (Range, LogRange, Choice))), None)

    @property
    def is_any(self) -> bool:
        return self.base is Any and self.kind is None

    @property
    def is_table(self) -> bool:
        return qualified_name(self.base) in TABLE_TYPES

    def __str__(self) -> str:
        text = type_text(self.base)
        if self.kind in ("model", "metric", "file", "secret"):
            text = self.kind.capitalize()
        elif self.kind == "seed":
            return "Seed"
        return f"{text} | None" if self.optional else text


TABLE_TYPES = ("pandas.DataFrame", "pyarrow.Table")
_PUBLIC_NAMES = {
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pandas.core.series.Series": "pandas.Series",
    "pyarrow.lib.Table": "pyarrow.Table",
}


def qualified_name(cls: Any) -> str:
    """Return "module.QualName" of a class, public where pandas and pyarrow hide it."""
    name = f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', cls)}"
    return _PUBLIC_NAMES.get(name, name)


def type_text(hint: Any) -> str:
    """Return a type as people write it."""
    if hint is None or hint is type(None):
        return "None"
    if hint is Any:
        return "Any"
    origin = get_origin(hint)
    if origin is Annotated:
        return str(make_spec(hint))
    if origin is Union or origin is types.UnionType:
        return " | ".join(type_text(a) for a in get_args(hint))
    if origin is Literal:
        return "Literal[" + ", ".join(repr(a) for a in get_args(hint)) + "]"
    if origin is not None and get_args(hint):
        inner = ", ".join("..." if a is Ellipsis else type_text(a) for a in get_args(hint))
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    if isinstance(hint, type):
        return hint.__name__ if hint.__module__ in ("builtins", "__main__") else _short(hint)
    return str(hint)


def _short(cls: type) -> str:
    name = qualified_name(cls)
    return name if name in _PUBLIC_NAMES.values() else cls.__name__


def make_spec(hint: Any) -> TypeSpec:
    """Split an annotation into its type, None-ness and markers."""
    marks: list[Any] = []
    optional = False
    base = hint
    while True:
        if get_origin(base) is Annotated:
            inner, *extra = get_args(base)
            marks[:0] = extra
            base = inner
            continue
        if get_origin(base) in (Union, types.UnionType):
            members = get_args(base)
            rest = tuple(m for m in members if m is not type(None))
            if len(rest) < len(members):
                optional = True
                base = rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007
                continue
        return TypeSpec(hint=hint, base=base, optional=optional, marks=tuple(marks))


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

    def to_json(self) -> dict[str, Any]:
        return {
            "params": [
                {
                    "name": p.name,
                    "type": str(p.type),
                    "kind": p.type.kind,
                    "required": p.required,
                    "default": None if p.default is MISSING else default_text(p.default),
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
    """Return a default as JSON: scalars as they are, everything else as text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(getattr(value, "name", value))


def _columns_json(columns: Columns | None) -> dict[str, str] | None:
    return {name: type_text(t) for name, t in columns.types} if columns else None


def make_interface(fn: Callable[..., Any], what: str, localns: Mapping[str, Any] | None = None) -> Interface:
    """Read the interface of `fn` from its signature, type hints and docstring.

    Args:
        fn: a plain function.
        what: "operator" or "workflow", for messages.
        localns: names of the scope where `fn` is defined, for annotations that are text.

    Raises:
        DefinitionError: a parameter or the return has no type, a type does not resolve, or `*args`
            or `**kwargs` is used.
    """
    where = f"{what} '{fn.__name__}' ({fn.__code__.co_filename}:{fn.__code__.co_firstlineno})"
    try:
        hints = typing.get_type_hints(fn, localns=dict(localns or {}), include_extras=True)
    except Exception as error:
        raise DefinitionError(f"{where}: a type annotation does not resolve: {error}") from error
    signature = inspect.signature(fn)
    docs = read_arg_docs(fn.__doc__ or "")
    problems: list[str] = []
    params: list[Param] = []
    for name, p in signature.parameters.items():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            problems.append(f"parameter '{name}': *args and **kwargs have no types; name each parameter")
            continue
        if name not in hints:
            problems.append(f"parameter '{name}' has no type; annotate it, for example '{name}: int'")
            continue
        default = MISSING if p.default is p.empty else p.default
        spec = make_spec(hints[name])
        if default is None and not spec.optional and spec.kind is None and spec.base is not Any:
            spec = TypeSpec(spec.hint, spec.base, True, spec.marks)
        params.append(Param(name, spec, default, docs.get(name, ""), p.kind is p.KEYWORD_ONLY))
    if "return" not in hints:
        problems.append(
            "the return has no type; annotate it with '->' (a NamedTuple for several outputs, None for none)"
        )
    if problems:
        raise DefinitionError(f"{where}: " + "; ".join(problems))
    outputs, output_class = _make_outputs(hints["return"], localns)
    return Interface(tuple(params), outputs, output_class, inspect.cleandoc(fn.__doc__ or ""))


def is_namedtuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def _make_outputs(hint: Any, localns: Mapping[str, Any] | None) -> tuple[tuple[Output, ...], Any]:
    if hint is None or hint is type(None):
        return (), None
    if is_namedtuple(hint):
        module = sys.modules.get(hint.__module__)
        hints = typing.get_type_hints(
            hint, globalns=vars(module) if module else None, localns=dict(localns or {}), include_extras=True
        )
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


def explain_mismatch(produced: TypeSpec, expected: TypeSpec) -> str | None:
    """Return None where a value of type `produced` may be given for `expected`, else the reason in words."""
    if expected.is_any or produced.is_any:
        return None
    if expected.kind == "secret" and produced.kind != "secret":
        return "expects a Secret, which must come from a Secret parameter of the workflow"
    if produced.kind == "secret" and expected.kind != "secret":
        return (
            f"expects {expected} but gets a Secret, which would be recorded; annotate the parameter as Secret"
        )
    if produced.optional and not expected.optional:
        return f"expects {expected} but gets {produced}, which may be None"
    if not _is_base_assignable(produced, expected):
        return f"expects {expected} but gets {produced}"
    return _explain_columns(produced, expected)


def _is_base_assignable(produced: TypeSpec, expected: TypeSpec) -> bool:
    if "model" in (produced.kind, expected.kind):
        other = expected if produced.kind == "model" else produced
        return other.kind == "model" or _may_be_model(other)
    if "file" in (produced.kind, expected.kind):
        return produced.kind == expected.kind
    if produced.is_table and expected.is_table:
        return True
    return is_subtype(produced.base, expected.base)


def _may_be_model(spec: TypeSpec) -> bool:
    plain = (int, float, bool, str, bytes, list, dict, tuple, set, frozenset, complex)
    return isinstance(spec.base, type) and not issubclass(spec.base, plain) and not spec.is_table


def is_subtype(a: Any, b: Any) -> bool:
    """Tell whether a value of type `a` is a value of type `b`; int counts as float, bool does not."""
    if b is Any or a is Any or a == b:
        return True
    a_spec, b_spec = make_spec(a), make_spec(b)
    if a_spec.marks or b_spec.marks:
        return explain_mismatch(a_spec, b_spec) is None
    if get_origin(a) in (Union, types.UnionType):
        return all(is_subtype(m, b) for m in get_args(a))
    if get_origin(b) in (Union, types.UnionType):
        return any(is_subtype(a, m) for m in get_args(b))
    if get_origin(a) is Literal:
        if get_origin(b) is Literal:
            return set(get_args(a)) <= set(get_args(b))
        return all(is_subtype(type(v), b) for v in get_args(a))
    if get_origin(b) is Literal:
        return False
    a_class, b_class = get_origin(a) or a, get_origin(b) or b
    if not (isinstance(a_class, type) and isinstance(b_class, type)):
        return False
    if b_class is float and a_class is int:
        return True
    if not issubclass(a_class, b_class):
        return False
    a_args, b_args = get_args(a), get_args(b)
    if not a_args or not b_args:
        return True
    if a_class is tuple and (a_args[-1] is Ellipsis or b_args[-1] is Ellipsis):
        if b_args[-1] is Ellipsis:
            return all(x is Ellipsis or is_subtype(x, b_args[0]) for x in a_args)
        return False
    return len(a_args) == len(b_args) and all(is_subtype(x, y) for x, y in zip(a_args, b_args, strict=True))


_COLUMN_WIDENS = {(int, float)}


def _explain_columns(produced: TypeSpec, expected: TypeSpec) -> str | None:
    if expected.columns is None or produced.columns is None:
        return None
    given = dict(produced.columns.types)
    missing = [n for n in expected.columns.names if n not in given]
    if missing:
        names = ", ".join(expected.columns.names)
        return f"expects columns {names} but gets {', '.join(given)}. Missing: {', '.join(missing)}"
    for name, wanted in expected.columns.types:
        found = given[name]
        if (
            wanted is not Any
            and found is not Any
            and found != wanted
            and (found, wanted) not in _COLUMN_WIDENS
        ):
            return f"expects column '{name}' of type {type_text(wanted)} but gets {type_text(found)}"
    return None


class Mismatch(Exception):
    """A value does not fit its declared type; the text says where, expected and found."""


def conform(value: Any, spec: TypeSpec, where: str = "value") -> Any:
    """Return `value` as its declared type: int widens to float, numpy scalars become Python's.

    Raises:
        Mismatch: the value is of another type, or outside the declared range or choice.
    """
    if value is None:
        if spec.optional or spec.base in (Any, type(None)):
            return None
        raise Mismatch(f"{where}: expected {spec}, found None")
    if spec.kind == "model" or spec.is_any:
        return value
    value = _conform_base(value, spec.base, where, str(spec))
    bounds = spec.bounds
    if bounds is not None and not bounds.contains(value):
        word = "one of" if isinstance(bounds, Choice) else "in"
        raise Mismatch(f"{where}: expected a value {word} {bounds}, found {value!r}")
    return value


def _conform_base(value: Any, base: Any, where: str, text: str) -> Any:
    if base is Any:
        return value
    origin, args = get_origin(base), get_args(base)
    found = Mismatch(f"{where}: expected {text}, found {type_text(type(value))} {_brief(value)}")
    if origin in (Union, types.UnionType):
        exact = [m for m in args if type(value) is (get_origin(m) or m)]
        for member in (*exact, *args):
            try:
                return conform(value, make_spec(member), where)
            except Mismatch:
                continue
        raise found
    if origin is Literal:
        if any(type(v) is type(value) and v == value for v in args):
            return value
        raise Mismatch(f"{where}: expected one of {', '.join(map(repr, args))}, found {value!r}")
    cls = origin or base
    if not isinstance(cls, type):
        return value
    is_numpy = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    if cls in (int, float, bool, str) and is_numpy:
        value = value.item()
    if cls is float and type(value) is int:
        return float(value)
    if cls is int and isinstance(value, bool):
        raise found
    if not isinstance(value, cls):
        raise found
    if not args or not isinstance(value, (list, tuple, set, frozenset, dict)) or is_namedtuple(cls):
        return value
    if isinstance(value, dict):
        key, item = make_spec(args[0]), make_spec(args[1])
        return {
            conform(k, key, f"{where} key"): conform(v, item, f"{where}[{k!r}]") for k, v in value.items()
        }
    if cls is tuple and args[-1] is not Ellipsis:
        if len(args) != len(value):
            raise Mismatch(f"{where}: expected {text} of {len(args)} items, found {len(value)}")
        return tuple(
            conform(v, make_spec(a), f"{where}[{i}]")
            for i, (v, a) in enumerate(zip(value, args, strict=True))
        )
    inner = make_spec(args[0])
    return type(value)(conform(v, inner, f"{where}[{i}]") for i, v in enumerate(value))


def _brief(value: Any, limit: int = 60) -> str:
    if not isinstance(value, (str, int, float, bool, bytes, Enum)):
        return ""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
