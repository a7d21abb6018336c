"""What a form asks for that launches a workflow: its fields, made from the interface that the catalog keeps.

Nothing of the user's code is loaded: types are read from their texts. What only the code can say, such as
which members an enumeration has, is checked when the run is made.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from flowlearner.errors import ParameterError
from flowlearner.interface import Param
from flowlearner.params import ARTIFACT_PREFIX, conform_given, parse_param
from flowlearner.secrecy import HIDDEN, holds_secret
from flowlearner.spec import TABLE_TYPES, Mismatch, TypeSpec, make_spec
from flowlearner.sweep.domains import parse_domain, strip_name
from flowlearner.types import Choice, File, LogRange, Metric, Model, Range, Secret, Seed

_NAMES: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "date": date,
    "datetime": datetime,
    "time": time,
    "Path": Path,
    "Decimal": Decimal,
    "UUID": UUID,
    "Any": Any,
    "None": None,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "File": File,
    "Metric": Metric,
    "Secret": Secret,
    "Seed": Seed,
    "Model": Model,
}
_KINDS: Mapping[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "text",
    date: "date",
    datetime: "datetime",
}
STORED = ("table", "file", "model")


class _Unknown(Exception):
    """A type that only the user's code knows."""


@dataclass(frozen=True)
class Field:
    """One parameter of a workflow, as a form asks for it.

    Attributes:
        kind: bool, int, float, text, date, datetime, choice, table, file, model, secret or seed; "json" for
            lists and the like, "other" for what only the user's code knows.
        type: as people write it.
        bounds: the declared range or list in the form in which a sweep takes it; empty where there is none.
        choices: texts of the values among which one is chosen.
        default: text of the default; None where there is none, or where it is None itself.
        kept: text of what it is if it is left out: the default, or what the run had that is cloned.
        value: text that the field begins with; None as of `default`.
        source: where the table or file came from that it begins with.
    """

    name: str
    kind: str
    type: str
    doc: str
    required: bool
    optional: bool
    bounds: str = ""
    choices: tuple[str, ...] = ()
    default: str | None = None
    kept: str | None = None
    value: str | None = None
    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _spec(self) -> TypeSpec | None:
        return _read_spec(self.type, self.kind, self.bounds)

    @property
    def is_private(self) -> bool:
        """Whether its value may be secret, so that it is kept nowhere but where it is used."""
        if self.kind in ("table", "file", "model"):
            return False
        return self._spec is None or holds_secret(self._spec)

    @property
    def range(self) -> Range | LogRange | None:
        """The declared range of numbers."""
        bounds = self._spec.bounds if self._spec is not None else None
        return bounds if isinstance(bounds, (Range, LogRange)) else None

    def check(self, text: str | None) -> str:
        """Return what is wrong with a text that is given for it, in words; empty where nothing is.

        Args:
            text: None leaves it out.
        """
        if text is None or (text == "" and self.kind != "text"):
            return "needs a value" if self.required and not self.optional else ""
        if self.kind in STORED:
            return self._check_place(text)
        if self._spec is None:
            return ""
        param = Param(self.name, self._spec)
        try:
            conform_given(param, parse_param(param, text))
        except (ParameterError, Mismatch) as error:
            return strip_name(error, param)
        return ""

    def _check_place(self, text: str) -> str:
        if text.startswith(ARTIFACT_PREFIX):
            return "" if text != ARTIFACT_PREFIX else "needs the hash of an artifact after 'artifact:'"
        if self.kind == "model":
            return f"expected artifact:HASH, found '{text}'"
        if "://" in text:
            return ""
        path = Path(text).expanduser()
        if path.is_dir():
            return f"'{text}' is a folder"
        return "" if path.exists() else f"there is no file '{path.absolute()}'"

    def check_domain(self, text: str) -> str:
        """Return what is wrong with a text that says over what it varies in a sweep; empty where nothing is.

        Example:
            field.check_domain("2..10")
        """
        if not text.strip():
            return "" if self.bounds else "needs a domain: 2..10, log(0.01,0.5) or {a,b}"
        param = Param(self.name, self._spec or make_spec(Any))
        try:
            domain = parse_domain(text, param)
        except (ValueError, TypeError, ParameterError) as error:
            return strip_name(error, param)
        if isinstance(domain, Choice):
            given = domain.values
        elif self.kind not in ("int", "float", "seed", "other"):
            return f"a range is for numbers; this is {self.type}. List values: {{a,b}}"
        else:
            given = (domain.low, domain.high)
        for value in given if self._spec is not None and self.kind not in STORED else ():
            try:
                conform_given(param, value)
            except Mismatch as error:
                return strip_name(error, param)
        return ""


def read_fields(interface: Mapping[str, Any], run: Mapping[str, Any], *, is_clone: bool) -> tuple[Field, ...]:
    """Return the fields for an interface in its JSON form.

    Args:
        run: recorded parameters of a run, with which the fields of its clone begin; of another run with the
            same code tables and files alone are the same unless they are given.
    """
    return tuple(_read_field(p, run, is_clone) for p in interface.get("params", ()))


def _read_field(param: Mapping[str, Any], run: Mapping[str, Any], is_clone: bool) -> Field:
    text, bounds = str(param["type"]), param["bounds"] or ""
    optional = text.endswith("| None") or text in ("Any", "Seed")
    default = show_text(param["default"])
    name = param["name"]
    kind = _choose_kind(text, param["kind"], bounds)
    had = run.get(name)
    # It is stored nowhere, so that it has to be given again.
    is_hidden = is_clone and HIDDEN in json.dumps(had)
    kept = show_text(had) if is_clone and name in run else default
    stored = had if isinstance(had, Mapping) and "hash" in had and kind in STORED else {}
    source = str(stored.get("source") or "")
    made = Field(
        name,
        kind,
        text,
        param["doc"] or "",
        bool(param["required"]) or is_hidden,
        optional,
        bounds,
        (),
        None if is_hidden else default,
        kept,
        show_text(stored) if stored else kept,
        # One that was given by its hash says no more.
        "" if source.startswith(ARTIFACT_PREFIX) else source,
        param["columns"] or {},
    )
    choices = _list_choices(made)
    return made if not choices else Field(**{**_shallow(made), "choices": choices, "kind": "choice"})


def _shallow(made: Field) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Field.__dataclass_fields__}


def show_text(value: Any) -> str | None:
    """Return a recorded value as the command line would be given it; None where it is None or secret."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping) and {"type", "hash", "source"} == value.keys():
        return f"{ARTIFACT_PREFIX}{value['hash']}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
    return None if HIDDEN in text else text


def _list_choices(made: Field) -> tuple[str, ...]:
    spec = made._spec
    if made.bounds.startswith("{"):
        read = Param(made.name, spec or make_spec(Any))
        try:
            return tuple(show_text(_name(v)) or "None" for v in parse_domain(made.bounds, read).values)  # type: ignore[union-attr]
        except (ValueError, ParameterError):
            return ()
    if spec is not None and getattr(spec.base, "__origin__", None) is Literal:
        return tuple(map(str, spec.base.__args__))
    return ()


def _name(value: Any) -> Any:
    return value if isinstance(value, (str, bool, int, float, list, dict)) or value is None else str(value)


def _choose_kind(text: str, mark: str | None, bounds: str) -> str:
    if mark in ("secret", "seed", "file", "model"):
        return mark
    if any(t in text for t in TABLE_TYPES) and "[" not in text:
        return "table"
    spec = _read_spec(text, mark or "", bounds)
    if spec is None:
        return "other"
    return _KINDS.get(spec.base, "text" if spec.base in (Path, Any, time, Decimal, UUID) else "json")


def _read_spec(text: str, kind: str, bounds: str) -> TypeSpec | None:
    """Return a type of which the text is known; None where only the user's code knows it."""
    try:
        hint = _read_type(ast.parse(text, mode="eval").body)
    except (_Unknown, SyntaxError, TypeError):
        return None
    if bounds and kind != "seed":
        try:
            domain: Any = parse_domain(bounds, Param("value", make_spec(hint)))
        except (ValueError, ParameterError):
            return None
        return make_spec(Annotated[hint, domain])
    return make_spec(hint)


def _read_type(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
        return node.value
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_read_type(node.left), _read_type(node.right)]  # noqa: UP007 - None is no operand of |
    if isinstance(node, ast.Subscript):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            try:
                return Literal[tuple(ast.literal_eval(i) for i in items)]
            except ValueError:
                raise _Unknown from None
        return _read_type(node.value)[tuple(map(_read_type, items))]
    raise _Unknown
