"""Futures: what operator calls and workflow parameters are while a workflow compiles."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from typing import Any, Protocol

from flowlearner.errors import shorten, suggest
from flowlearner.graph import Binding, Literal, NodeRef, ParamRef
from flowlearner.spec import TypeSpec, make_spec

ANY = make_spec(Any)
# A loop makes train, train_2, train_3, ...: to the reader of a mistake they are one.
_NUMBER = re.compile(r"_\d+\b")


class Journal(Protocol):
    """Where futures note that they were misused."""

    def problem(self, message: str, *, kind: str, node: str | None = None) -> None: ...

    def is_first(self, what: str) -> bool:
        """Tell whether `what` happens for the first time at this line of the user's code."""


class Future:
    """What an operator call, or a workflow parameter, is while the workflow compiles.

    It can be given to operators, put into lists, and returned. Using it as a value is a mistake,
    because there is no value yet.
    """

    __slots__ = ("_binding", "_journal", "_label", "_type")

    def __init__(self, journal: Journal, binding: Binding, spec: TypeSpec, label: str) -> None:
        self._journal = journal
        self._binding = binding
        self._type = spec
        self._label = label

    def __repr__(self) -> str:
        return f"<future {self._label}: {self._type}>"

    def __hash__(self) -> int:
        return id(self)

    def _misuse(self, action: str) -> bool:
        """Note a mistake. True at its first time on this line, so that a loop on it ends with the second."""
        is_first = self._journal.is_first(f"{_NUMBER.sub('', self._label)} is {action}")
        if is_first:
            self._report(
                f"{self._label} is {action}, but it is a future: there is no value while the workflow "
                f"compiles. {self._cure()}",
                "future-as-value",
            )
        return is_first

    def _report(self, message: str, kind: str) -> None:
        node = self._binding.node if isinstance(self._binding, NodeRef) else None
        self._journal.problem(message, kind=kind, node=node)

    def _unknown(self, label: str) -> Future:
        return UnknownFuture(self._journal, Literal(None), ANY, label)

    def _cure(self) -> str:
        if isinstance(self._binding, ParamRef):
            return (
                f"Annotate the parameter as Static[{self._type}] to have its value here, "
                "or move this into an operator."
            )
        return "Move this into an operator, which receives the value."

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if self._type.is_any:
            self._misuse(f"read for its attribute '{name}'")
        else:
            self._report(
                f"{self._label} has no output '{name}': it is a single {self._type}. "
                "Read attributes of a value inside an operator.",
                "unknown-attribute",
            )
        return self._unknown(f"{self._label}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Future.__slots__:
            object.__setattr__(self, name, value)
        else:
            self._misuse(f"changed at its attribute '{name}'")

    def __bool__(self) -> bool:
        return self._misuse("used as a condition")

    def __iter__(self) -> Iterator[Any]:
        self._misuse("iterated over or unpacked")
        return iter([self._unknown(f"an item of {self._label}")] * _count_targets(sys._getframe(1)))

    def __len__(self) -> int:
        self._misuse("asked for its length")
        return 0

    def __contains__(self, item: object) -> bool:
        return self._misuse("searched with 'in'")

    def __getitem__(self, key: Any) -> Any:
        shown = repr(key) if isinstance(key, (str, int)) else "..."
        self._misuse(f"indexed with [{shown}]")
        return self._unknown(f"{self._label}[{shown}]")

    def __call__(self, *_: Any, **__: Any) -> Any:
        self._misuse("called")
        return self._unknown(f"{self._label}()")

    def __format__(self, spec: str) -> str:
        self._misuse("put into text")
        return repr(self)

    def __str__(self) -> str:
        self._misuse("turned into text")
        return repr(self)

    def __int__(self) -> int:
        self._misuse("turned into an int")
        return 0

    def __float__(self) -> float:
        self._misuse("turned into a float")
        return 0.0

    def __index__(self) -> int:
        self._misuse("used as an index")
        return 0

    def __eq__(self, other: object) -> bool:
        return self._misuse("compared")

    def __ne__(self, other: object) -> bool:
        return self._misuse("compared")


class UnknownFuture(Future):
    """What a mistake gives: it fits everywhere and reports nothing, so that each mistake is listed once."""

    __slots__ = ()

    def _report(self, message: str, kind: str) -> None:
        del message, kind


def _forbid(action: str) -> Callable[..., Any]:
    def method(self: Future, *_: Any) -> Any:
        self._misuse(action)
        return self._unknown(f"({self._label})")

    return method


def _forbid_comparison(self: Future, other: object) -> bool:  # noqa: ARG001
    return self._misuse("compared")


_ARITHMETIC = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift"
for _name in ("lt", "le", "gt", "ge"):
    setattr(Future, f"__{_name}__", _forbid_comparison)
for _name in _ARITHMETIC.split():
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
    setattr(Future, f"__r{_name}__", _forbid("used in arithmetic"))
for _name in ("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil"):
    setattr(Future, f"__{_name}__", _forbid("used in arithmetic"))
for _name in ("setitem", "delitem", "delattr"):
    setattr(Future, f"__{_name}__", _forbid("changed in place"))
for _name in ("enter", "exit"):
    setattr(Future, f"__{_name}__", _forbid("used in a 'with' statement"))


def _count_targets(frame: FrameType) -> int:
    """Return into how many names the frame's current instruction unpacks; 1 where it is a loop or a call."""
    code = frame.f_code.co_code
    is_unpacking = dis.opname[code[frame.f_lasti]] in ("UNPACK_SEQUENCE", "UNPACK_EX")
    return code[frame.f_lasti + 1] if is_unpacking else 1


class Outputs:
    """Mixin of the NamedTuple of futures that a call with several outputs gives."""

    _journal: Journal
    _label: str
    _fields: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._journal.problem(
            f"{self._label} has no output '{name}'; it gives {shorten(self._fields)}."
            f"{suggest(name, self._fields) or ' Choose one of them.'}",
            kind="unknown-output",
            node=self._label.strip("'"),
        )
        return UnknownFuture(self._journal, Literal(None), ANY, f"{self._label}.{name}")


def make_outputs(cls: Any, futures: dict[str, Future], journal: Journal, label: str) -> Any:
    """Return a NamedTuple of class `cls` that holds futures."""
    packed = _outputs_class(cls)(**futures)
    packed._journal, packed._label = journal, label
    return packed


@cache
def _outputs_class(cls: Any) -> Any:
    return type(cls.__name__, (cls, Outputs), {})
