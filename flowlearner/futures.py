"""Futures: what operator calls and workflow parameters are while a workflow compiles."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from types import FrameType
from typing import Any, Protocol, get_origin

from flowlearner.errors import UsageError, find_nearest, shorten, suggest
from flowlearner.graph import Binding, Literal, NodeRef, ParamRef
from flowlearner.spec import TypeSpec, is_namedtuple, make_spec

ANY = make_spec(Any)
NO_VALUE = "there is no value while the workflow compiles"
FOREIGN = (
    "a future of another compilation, which has no value. Keep no futures outside of the workflow's body; "
    "call the operator again where its output is needed."
)
# A loop makes train, train_2, train_3, ...: to the reader of a mistake they are one.
NUMBER = re.compile(r"_\d+\b")


class Journal(Protocol):
    """Where futures note that they were misused."""

    @property
    def is_active(self) -> bool:
        """Tell whether this compilation still goes on."""

    def problem(
        self, message: str, *, kind: str, node: str | None = None, location: str | None = None
    ) -> None: ...

    def is_first(self, what: str, location: str | None = None) -> bool:
        """Tell whether `what` happens for the first time at a line, or at this one of the user's code."""

    def find_library(self) -> str | None:
        """Return the name of the library whose code uses a future, or None where the user's own does."""


class Future:
    """What an operator call, or a workflow parameter, is while the workflow compiles.

    It can be given to operators, put into lists, and returned. Using it as a value is a mistake,
    because there is no value yet.
    """

    __flowlearner_future__ = True
    __slots__ = ("_binding", "_journal", "_label", "_type")

    def __init__(self, journal: Journal, binding: Binding, spec: TypeSpec, label: str) -> None:
        self._journal = journal
        self._binding = binding
        self._type = spec
        self._label = label

    def __repr__(self) -> str:
        return f"<future {self._label}: {self._type}>"

    def __hash__(self) -> int:
        self.note_misuse("used as a key or put into a set instead of a list")
        return id(self)

    def note_misuse(self, action: str, location: str | None = None) -> Future:
        """Note a mistake; return what it would have given.

        Args:
            action: what is done with the future.
            location: "file:line"; None for the line that is running.
        """
        what = f"is {action}, but it is a future: {NO_VALUE}. {self._cure()}"
        self._note(what, "future-as-value", location)
        return UnknownFuture(self._journal, Literal(None), ANY, self._label)

    def _note(self, what: str, kind: str, location: str | None = None) -> None:
        """Note a mistake, once on each line: what is done with the future after it there follows from it."""
        if not self._journal.is_active:
            raise UsageError(f"{self._label} is {FOREIGN}")
        if self._journal.is_first(self._name, location):
            library = None if location else self._journal.find_library()
            if library:
                used = f"is used as a value by '{library}'"
                what, kind = f"{used}, but it is a future: {NO_VALUE}. {self._cure()}", "future-as-value"
            self._report(f"{self._label} {what}", kind, location)

    @property
    def _name(self) -> str:
        return NUMBER.sub("", self._label)

    def _report(self, message: str, kind: str, location: str | None) -> None:
        node = self._binding.node if isinstance(self._binding, NodeRef) else None
        self._journal.problem(message, kind=kind, node=node, location=location)

    def _cure(self) -> str:
        is_plain = not self._type.is_table and self._type.kind in (None, "metric", "seed")
        if isinstance(self._binding, ParamRef) and is_plain:
            return (
                f"Annotate the parameter as Static[{self._type}] to have its value here, "
                "or move this into an operator."
            )
        parts = ""
        if isinstance(self._binding, NodeRef) and _has_parts(self._type.base):
            parts = " To have its parts here, let the operator return a NamedTuple: each field is an output."
        return f"Move this into an operator, which receives the value.{parts}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if self._type.is_any:
            return self.note_misuse(f"read for its attribute '{name}'")
        cure = (
            self._cure() if _has_parts(self._type.base) else "Read attributes of a value inside an operator."
        )
        self._note(f"has no output '{name}': it is a single {self._type}. {cure}", "unknown-attribute")
        return UnknownFuture(self._journal, Literal(None), ANY, self._label)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Future.__slots__:
            object.__setattr__(self, name, value)
        else:
            self.note_misuse(f"changed at its attribute '{name}'")

    def _is_first_condition(self) -> bool:
        """True at its first time on this line, so that a loop on it ends with the second."""
        return self._journal.is_first(f"{self._name} as a condition")

    def __bool__(self) -> bool:
        self.note_misuse("used as a condition")
        return self._is_first_condition()

    def __iter__(self) -> Iterator[Any]:
        item = self.note_misuse("iterated over or unpacked")
        return iter([item] * _count_targets(sys._getframe(1)))

    def __len__(self) -> int:
        self.note_misuse("asked for its length")
        return 0

    def __contains__(self, item: object) -> bool:
        self.note_misuse("searched with 'in'")
        return self._is_first_condition()

    def __getitem__(self, key: Any) -> Any:
        return self.note_misuse(f"indexed with [{repr(key) if isinstance(key, (str, int)) else '...'}]")

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self.note_misuse("called")

    def __format__(self, spec: str) -> str:
        self.note_misuse("put into text")
        return f"<{self._label}>"

    def __str__(self) -> str:
        self.note_misuse("turned into text")
        return f"<{self._label}>"

    def __int__(self) -> int:
        self.note_misuse("turned into an int")
        return 0

    def __float__(self) -> float:
        self.note_misuse("turned into a float")
        return 0.0

    def __index__(self) -> int:
        self.note_misuse("used as an index or a count")
        return -1  # 0 would be an open file to `open`

    def __fspath__(self) -> str:
        self.note_misuse("used as a path")
        return ""

    def __eq__(self, other: object) -> Any:
        return self.note_misuse("compared")

    def __ne__(self, other: object) -> Any:
        return self.note_misuse("compared")

    def __copy__(self) -> Future:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Future:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.note_misuse("pickled")
        return object, ()


class UnknownFuture(Future):
    """What a mistake gives: it fits everywhere and reports nothing, so that each mistake is listed once."""

    __slots__ = ()

    def _report(self, message: str, kind: str, location: str | None) -> None:
        del message, kind, location


def _forbid(action: str) -> Callable[..., Any]:
    def method(self: Future, *_: Any) -> Any:
        return self.note_misuse(action)

    return method


_ARITHMETIC = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift"
for _name in ("lt", "le", "gt", "ge"):
    setattr(Future, f"__{_name}__", _forbid("compared"))
for _name in _ARITHMETIC.split():
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
    setattr(Future, f"__r{_name}__", _forbid("used in arithmetic"))
for _name in ("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil"):
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
for _name in ("setitem", "delitem", "delattr"):
    setattr(Future, f"__{_name}__", _forbid("changed in place"))
for _name in ("enter", "exit"):
    setattr(Future, f"__{_name}__", _forbid("used in a 'with' statement"))


_UNPACKINGS = ("UNPACK_SEQUENCE", "UNPACK_EX")


def _count_targets(frame: FrameType, otherwise: int = 1, unpackings: tuple[str, ...] = _UNPACKINGS) -> int:
    """Return into how many names the frame's current instruction unpacks; `otherwise` where it does not."""
    code = frame.f_code.co_code
    return code[frame.f_lasti + 1] if dis.opname[code[frame.f_lasti]] in unpackings else otherwise


def _has_parts(base: Any) -> bool:
    """Tell whether values of a type are made of parts that a NamedTuple could hold as outputs."""
    cls = get_origin(base) or base
    return (
        isinstance(cls, type)
        and not is_namedtuple(cls)
        and (issubclass(cls, (tuple, dict)) or is_dataclass(cls) or hasattr(cls, "model_fields"))
    )


class Outputs:
    """Mixin of the NamedTuple of futures that a call with several outputs gives."""

    __flowlearner_future__ = True
    _journal: Journal
    _label: str
    _fields: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        nearest = suggest(name, self._fields) or " Choose one of them."
        return self._report(f"has no output '{name}'; it gives {shorten(self._fields)}.{nearest}")

    def __getitem__(self, key: Any) -> Any:
        values = _values(self)
        if isinstance(key, slice) or (isinstance(key, int) and -len(values) <= key < len(values)):
            return values[key]
        shown = repr(key) if isinstance(key, (str, int)) else "..."
        meant = find_nearest(str(key), self._fields) or self._fields[0]
        gives = f"it gives {shorten(self._fields)}"
        return self._report(f"has no output [{shown}]; {gives}. Read one by its name, such as .{meant}.")

    def __iter__(self) -> Iterator[Any]:
        values: tuple[Future, ...] = _values(self)
        count = _count_targets(sys._getframe(1), len(values), ("UNPACK_SEQUENCE",))
        if count != len(values):
            unknown = self._report(
                f"gives {len(values)} outputs ({shorten(self._fields)}) but is unpacked into {count} names. "
                "Give each output a name."
            )
            values = (*values, *[unknown] * count)[:count]
        return iter(values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def _replace(self, **changes: Any) -> Any:
        return declared_class(self)(**{**dict(zip(self._fields, _values(self), strict=True)), **changes})

    def _report(self, what: str) -> Future:
        if not self._journal.is_active:
            raise UsageError(f"{self._label} is {FOREIGN}")
        self._journal.problem(f"{self._label} {what}", kind="unknown-output", node=self._label.strip("'"))
        return UnknownFuture(self._journal, Literal(None), ANY, self._label)


def _values(outputs: Any) -> tuple[Any, ...]:
    return tuple(tuple.__iter__(outputs))


def declared_class(outputs: Any) -> Any:
    """Return the NamedTuple class as declared, not the one that holds futures."""
    return next(c for c in type(outputs).__mro__ if issubclass(c, tuple) and not issubclass(c, Outputs))


def make_outputs(cls: Any, futures: dict[str, Future], journal: Journal, label: str) -> Any:
    """Return a NamedTuple of class `cls` that holds futures."""
    packed = _outputs_class(cls)(**futures)
    packed._journal, packed._label = journal, label
    return packed


@cache
def _outputs_class(cls: Any) -> Any:
    return type(cls.__name__, (Outputs, cls), {})
