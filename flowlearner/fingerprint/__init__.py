"""The hash of an operator's code and of all that it reaches in the user's code.

What enters: the syntax of the function and of every function, class and module of the user that it reaches
at any depth, also through closures and imports inside functions; the values of the globals, defaults and
closures that it reads, and of the variables of the environment that it names; type hints; the version of
each package of which it uses something; `version=` and what `uses=` names. A value with no stable encoding,
such as a logger, enters as its assignment is written. Of a file that was edited while what it said before
goes on running, the text as it was loaded counts.

What does not: comments, layout, docstrings, the `@operator(...)` line with its resources, names of modules
and files, also where code asks for them (`__name__`, a global path made of `__file__`), builtins and Python's
own modules. Names of local variables do enter.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from flowlearner.canonical import classes_by_name, digest_parts
from flowlearner.fingerprint.follow import Follower
from flowlearner.fingerprint.names import Place, is_user_class
from flowlearner.fingerprint.origin import is_user_module
from flowlearner.fingerprint.source import note_modules, read_loaded
from flowlearner.fingerprint.witness import Witness

__all__ = [
    "Fingerprint",
    "compute_fingerprint",
    "find_class_digest",
    "is_user_module",
    "note_modules",
    "read_loaded",
]
KIND = "fingerprint/1"
CLASS_KIND = "class/1"


@dataclass(frozen=True)
class Fingerprint:
    """The hash of code.

    Attributes:
        digest: blake3, hex.
        source: text of the function as written, decorators included; empty where there is none.
        problems: what could not be followed, in words with the cure; such code is not cached.
        parts: by name, the own hash of each function, class and value that is reached; a package's version.
    """

    digest: str
    source: str
    problems: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    version: str | None
    uses: tuple[Any, ...]
    witness: Witness
    fingerprint: Fingerprint


_known: weakref.WeakKeyDictionary[Callable[..., Any], list[_Known]] = weakref.WeakKeyDictionary()


def compute_fingerprint(
    fn: Callable[..., Any], version: str | None = None, uses: Sequence[Any] = ()
) -> Fingerprint:
    """Return the hash of a function's code and of all that it reaches in the user's code.

    Asked again it looks whether any name that was followed stands for another object, or a value was changed
    in place, and answers from memory where none was. Safe in threads.

    Args:
        fn: the function.
        version: text that enters the hash in addition; it settles what cannot be followed.
        uses: functions or values that the code reaches in ways that cannot be followed.
    """
    kept = _known.get(fn, ())
    with classes_by_name():
        for known in kept:
            if known.version == version and _are_same(known.uses, uses):
                if known.witness.is_unchanged():
                    return known.fingerprint
                break
        fingerprint, witness = _compute(fn, version, uses)
    others = [k for k in kept if k.version != version or not _are_same(k.uses, uses)]
    _known[fn] = [_Known(version, tuple(uses), witness, fingerprint), *others[:3]]
    return fingerprint


_classes: weakref.WeakKeyDictionary[type, tuple[Witness, str | None]] = weakref.WeakKeyDictionary()


def find_class_digest(cls: type) -> str | None:
    """Return the hash of the code of a user's class and of all that it reaches; None for any other class.

    None too for a class without source, such as one that was made by a call: its state is all that it is.
    """
    if not is_user_class(cls):
        return None
    with classes_by_name():
        known = _classes.get(cls)
        if known is not None and known[0].is_unchanged():
            return known[1]
        follower = Follower()
        module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        place = Place(module, str(module.get("__file__") or ""), f"class '{cls.__name__}'")
        code: str | None = None
        if follower.encode_whole(cls, place)[0] is not None:
            follower.finish()
            code = digest_parts(CLASS_KIND, *_list_texts(follower))
        _classes[cls] = (follower.witness, code)
    return code


def _list_texts(follower: Follower) -> list[str]:
    return [part for unit in follower.units for part in (unit.own, str(len(unit.refs)), *unit.refs)]


def _are_same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def _compute(fn: Callable[..., Any], version: str | None, uses: Sequence[Any]) -> tuple[Fingerprint, Witness]:
    follower = Follower()
    code = fn.__code__
    place = Place(getattr(fn, "__globals__", {}), code.co_filename, f"'{fn.__name__}'")
    root = (
        follower.follow_function(fn) if isinstance(fn, FunctionType) else follower.follow_value(fn, "", place)
    )
    named = [follower.follow_value(value, f"uses[{i}]", place) for i, value in enumerate(uses)]
    follower.finish()
    text = "" if version is None else f"version:{version}"
    fingerprint = Fingerprint(
        digest=digest_parts(KIND, text, root, str(len(named)), *named, *_list_texts(follower)),
        source=follower.source or "",
        problems=() if version is not None else tuple(follower.problems),
        parts=dict(sorted(follower.parts.items())),
    )
    return fingerprint, follower.witness
