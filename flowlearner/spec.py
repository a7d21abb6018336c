"""What a declared type means: its markers, what may be given for it, and values as the type says."""

from __future__ import annotations

import dataclasses
import functools
import os
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import Enum
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, is_typeddict

from flowlearner.errors import shorten, suggest
from flowlearner.types import Choice, Columns, LogRange, Mark, Range


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
        return self.base in (Any, object) and self.kind is None

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
        if is_union(base):
            members = get_args(base)
            rest = tuple(m for m in members if m is not type(None))
            if len(rest) < len(members):
                optional = True
                base = rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007
                continue
        if (named := _named_type(base)) is not None:
            base = named
            continue
        return TypeSpec(hint=hint, base=base, optional=optional, marks=tuple(marks))


def _named_type(hint: Any) -> Any:
    """Return what stands behind a NewType, or behind a name made by Python 3.12's `type`; else None."""
    return (
        None if isinstance(hint, type) else getattr(hint, "__supertype__", getattr(hint, "__value__", None))
    )


def is_namedtuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


@functools.cache
def field_types(cls: Any) -> Mapping[str, TypeSpec]:
    """Return the types of a class's fields by its annotations; Any where a text does not resolve any more."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError:
        hints = {n: h for n, h in cls.__annotations__.items() if not isinstance(h, (str, ForwardRef))}
    return {name: make_spec(hints.get(name, Any)) for name in getattr(cls, "_fields", hints)}


def is_limited(spec: TypeSpec) -> bool:
    """Tell whether a declared type takes only some values of its class: a range, a choice, some columns."""
    inner = (make_spec(a) for a in get_args(spec.base) if a is not Ellipsis)
    return spec.bounds is not None or spec.columns is not None or any(is_limited(s) for s in inner)


def holds_kind(spec: TypeSpec, kind: str) -> bool:
    """Tell whether a declared type is of a kind, or has one of it in its containers, members or fields."""
    if spec.kind == kind:
        return True
    try:
        return _search(spec.base, kind)
    except TypeError:
        # Not hashable, as is an Annotated type with a list in it.
        return _holds_kind(spec, kind, ())


@functools.lru_cache(maxsize=4096)
def _search(base: Any, kind: str) -> bool:
    return _holds_kind(make_spec(base), kind, ())


def _holds_kind(spec: TypeSpec, kind: str, outer: tuple[Any, ...]) -> bool:
    if spec.kind == kind:
        return True
    if any(spec.base is base for base in outer):
        return False
    inner = [make_spec(a) for a in get_args(spec.base) if a is not Ellipsis]
    inner += list_field_specs(spec.base).values()
    return any(_holds_kind(s, kind, (*outer, spec.base)) for s in inner)


def list_field_specs(cls: Any) -> Mapping[str, TypeSpec]:
    """Return the declared types of the fields of a NamedTuple, dataclass or pydantic model; else nothing."""
    has_fields = is_namedtuple(cls) or dataclasses.is_dataclass(cls) or hasattr(cls, "__pydantic_fields__")
    return field_types(cls) if isinstance(cls, type) and has_fields else {}


def takes_container(spec: TypeSpec, container: type) -> bool:
    """Tell whether a container, whatever it holds, may be given for a declared type; no model is one."""
    return spec.kind != "model" and _is_container(spec.base, container)


def _is_container(base: Any, container: type) -> bool:
    members = get_args(base) if is_union(base) else (base,)
    return any(is_subtype(container, get_origin(m) or m) for m in members)


def list_item_specs(base: Any, make: Any, count: int) -> list[TypeSpec]:
    """Return what each item of a container is declared as.

    Args:
        base: the declared type of the container.
        make: `list`, `tuple`, `dict` or a NamedTuple class; the items of a dict are its values.
        count: the number of items.
    """
    if is_namedtuple(make):
        return list(field_types(make).values())
    if is_union(base):
        base = next((m for m in get_args(base) if _is_container(m, make)), Any)
    args = get_args(base)
    if make is tuple and args and args[-1] is not Ellipsis and len(args) == count:
        return [make_spec(a) for a in args]
    index = 1 if make is dict else 0
    return [make_spec(args[index] if len(args) > index else Any)] * count


def is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def with_article(noun: object) -> str:
    return f"{'an' if str(noun)[:1] in 'aeiouAEIOU' else 'a'} {noun}"


def explain_mismatch(produced: TypeSpec, expected: TypeSpec, source: str = "") -> str | None:
    """Return None where a value of type `produced` may be given for `expected`, else why not and the cure."""
    reason = ""
    if expected.kind == "secret" and produced.kind != "secret":
        reason = ". A secret comes from a Secret parameter of the workflow: annotate that one."
    elif produced.kind == "secret" and expected.kind != "secret":
        reason = ", and what is not Secret is recorded. Annotate the operator's parameter as Secret."
    elif expected.is_any or produced.is_any:
        return None
    # A Seed that nobody gives receives the run's, so it never is None where it arrives.
    elif produced.optional and not expected.optional and produced.kind != "seed":
        reason = f", which may be None. Handle None in an operator, or accept '{expected} | None' here."
    elif not _is_base_assignable(produced, expected):
        reason = f". Give {with_article(expected)}, or change one of the two annotations."
        if str(produced) == str(expected):
            reason = ": two types of one name. Where the class was defined again, define what uses it again."
    if not reason:
        return None
    return f"expects {expected} but gets {produced}" + (f" from {source}" if source else "") + reason


def explain_columns(produced: TypeSpec, expected: TypeSpec, source: str) -> str | None:
    """Return None where a table has the columns that `expected` names, else why not and the cure."""
    if expected.columns is None or produced.columns is None:
        return None
    given = dict(produced.columns.types)
    missing = [n for n in expected.columns.names if n not in given]
    cure = "Declare them in the Columns of the producer, or do without them here."
    if missing:
        return (
            f"expects columns {shorten(expected.columns.names)} but {source} gives {shorten(given)}. "
            f"Missing: {shorten(missing)}.{suggest(missing[0], given)} {cure}"
        )
    wrong = [
        f"{name} is {type_text(given[name])}, expected {type_text(wanted)}"
        for name, wanted in expected.columns.types
        if not _is_column_assignable(given[name], wanted)
    ]
    if wrong:
        return (
            f"expects columns of other types than {source} gives: {'; '.join(wrong)}. Change one of the two."
        )
    return None


def _is_column_assignable(given: Any, wanted: Any) -> bool:
    return Any in (given, wanted) or given == wanted or (given, wanted) == (int, float)


def _is_base_assignable(produced: TypeSpec, expected: TypeSpec) -> bool:
    if "model" in (produced.kind, expected.kind):
        other = expected if produced.kind == "model" else produced
        return other.kind == "model" or _may_be_model(other.base)
    if "file" in (produced.kind, expected.kind):
        return produced.kind == expected.kind
    if produced.is_table and expected.is_table:
        return True
    return is_subtype(produced.base, expected.base)


def _may_be_model(cls: Any) -> bool:
    """Tell whether a class may be one of models: it stands for no plain value, path or table of data."""
    if not isinstance(cls, type) or issubclass(cls, _PLAIN):
        return False
    return _DATA.isdisjoint(qualified_name(c) for c in cls.__mro__)


_PLAIN = (
    *(int, float, bool, complex, str, bytes, list, dict, tuple, set, frozenset),
    *(date, timedelta, Enum, os.PathLike),
)
_DATA = frozenset((*TABLE_TYPES, "pandas.Series", "numpy.ndarray", "numpy.generic"))


def is_subtype(a: Any, b: Any) -> bool:
    """Tell whether a value of type `a` is a value of type `b`; int counts as float, bool does not."""
    if b is Any or a is Any or a == b:
        return True
    a, b = _named_type(a) or a, _named_type(b) or b
    a_spec, b_spec = make_spec(a), make_spec(b)
    if a_spec.marks or b_spec.marks:
        return explain_mismatch(a_spec, b_spec) is None and explain_columns(a_spec, b_spec, "") is None
    if is_union(a):
        return all(is_subtype(m, b) for m in get_args(a))
    if is_union(b):
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
    if not issubclass(a_class, b_class) or (a_class is bool and b_class is int):
        return False
    a_args, b_args = get_args(a), get_args(b)
    if not a_args or not b_args:
        return True
    if a_class is tuple and (b_class is not tuple or b_args[-1] is Ellipsis):
        return all(x is Ellipsis or is_subtype(x, b_args[0]) for x in a_args)
    if a_class is tuple and a_args[-1] is Ellipsis:
        return False
    return len(a_args) == len(b_args) and all(is_subtype(x, y) for x, y in zip(a_args, b_args, strict=True))


def explain_hint(hint: Any) -> Iterator[str]:
    """Yield what is wrong with an annotation: it is no type, or its markers do not belong to its type."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _explain_marks(make_spec(hint))
        yield from explain_hint(get_args(hint)[0])
    elif isinstance(hint, _WORDS) or hint in _WORDS:
        text = f"{hint.__name__}(...)" if isinstance(hint, type) else repr(hint)
        yield f"{text} is no type; write Annotated[TYPE, {text}]"
    elif isinstance(hint, (list, tuple)):
        inner = ", ".join(type_text(h) for h in hint)
        yield f"{type(hint)(hint)!r} is no type; write {type(hint).__name__}[{inner}]"
    elif isinstance(hint, TypeVar):
        yield f"'{hint.__name__}' stands for any type; write the type itself"
    elif is_typeddict(hint):
        yield f"values cannot be checked against the TypedDict {type_text(hint)}; use a NamedTuple"
    elif getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False):
        yield f"values cannot be checked against the protocol {type_text(hint)}; make it @runtime_checkable"
    elif is_namedtuple(origin):
        yield f"{type_text(hint)} fills in a generic NamedTuple; write a NamedTuple without type parameters"
    elif is_union(hint) or (isinstance(origin, type) and issubclass(origin, Collection)):
        for inner in get_args(hint):
            yield from explain_hint(inner)
    elif (named := _named_type(hint)) is not None:
        yield from explain_hint(named)
    elif isinstance(hint, (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, str, int, float)):
        cure = "; write Any" if hint is any else "; write Callable" if hint is callable else ""
        yield f"{getattr(hint, '__name__', repr(hint))} is no type{cure}"


_WORDS = (Range, LogRange, Choice, Columns)


def _explain_marks(spec: TypeSpec) -> Iterator[str]:
    for word in (m for m in spec.marks if m in _WORDS):
        yield f"{word.__name__} in Annotated needs its values: write {word.__name__}(...)"
    bounds = [m for m in spec.marks if isinstance(m, (Range, LogRange, Choice))]
    if len(bounds) > 1:
        yield f"{' and '.join(map(repr, bounds))} are two limits of one value; give one"
    if spec.columns is not None and not (spec.is_table or spec.is_any):
        yield f"Columns describes a table, but the type is {spec}"
    members = get_args(spec.base) if is_union(spec.base) else (spec.base,)
    for limit in bounds:
        if isinstance(limit, Choice):
            yield from _explain_choice(limit, spec)
        elif not any(make_spec(m).base in (int, float, Any) for m in members):
            yield f"{type(limit).__name__} limits int or float, but the type is {spec}"


def _explain_choice(choice: Choice, spec: TypeSpec) -> Iterator[str]:
    for value in choice.values:
        if not hasattr(value, "__flowlearner_operator__"):
            try:
                conform(value, replace(spec, marks=()), "a value of Choice")
            except Mismatch as error:
                yield str(error)


class Mismatch(Exception):
    """A value does not fit its declared type; the text says where, expected and found."""


def conform(value: Any, spec: TypeSpec, where: str = "value") -> Any:
    """Return `value` as its declared type: int widens to float, numpy scalars become Python's.

    Raises:
        Mismatch: the value is of another type, or outside the declared range or choice.
    """
    if value is None:
        if spec.optional or (spec.base in (Any, type(None)) and spec.kind != "model"):
            return None
        raise Mismatch(f"{where}: expected {spec}, found None")
    if spec.is_any or (spec.kind == "model" and _may_be_model(type(value))):
        return value
    if spec.kind == "model":
        raise _explain_found(value, spec, where)
    value = _conform_base(value, spec.base, where, str(spec))
    bounds = spec.bounds
    if bounds is not None and not bounds.contains(value):
        if isinstance(bounds, Choice):
            near = suggest(str(value), map(str, bounds.values))
            raise Mismatch(f"{where}: expected one of {bounds}, found {value!r}" + (near and f".{near}"))
        raise Mismatch(f"{where}: expected a value in {bounds}, found {value!r}")
    return value


def fits(value: Any, spec: TypeSpec) -> bool:
    """Tell whether a value is of a declared type."""
    try:
        conform(value, spec)
    except Mismatch:
        return False
    return True


def _conform_base(value: Any, base: Any, where: str, text: str) -> Any:
    if base is Any:
        return value
    origin, args = get_origin(base), get_args(base)
    found = _explain_found(value, text, where)
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


def _explain_found(value: Any, expected: object, where: str) -> Mismatch:
    shown = f"{type_text(type(value))} {_brief(value)}".rstrip()
    return Mismatch(f"{where}: expected {expected}, found {shown}")


def _brief(value: Any, limit: int = 60) -> str:
    if not isinstance(value, (str, int, float, bool, bytes, Enum)):
        return ""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
