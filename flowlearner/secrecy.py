"""What in a value is secret, as its declared type says; recorded, shown and hashed it is concealed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from flowlearner.errors import InputError
from flowlearner.spec import (
    TypeSpec,
    fits,
    holds_kind,
    is_namedtuple,
    is_union,
    list_field_specs,
    list_item_specs,
    make_spec,
)

HIDDEN = "***"


def holds_secret(spec: TypeSpec) -> bool:
    """Tell whether a declared type is a Secret, or has one in its containers, members or fields."""
    return holds_kind(spec, "secret")


def conceal(value: Any, spec: TypeSpec, found: list[str] | None = None) -> Any:
    """Return a value in which each secret is `***`; all else is as it was.

    Args:
        value: a value of the declared type.
        found: receives the texts that are secret.
    """
    texts: list[str] = [] if found is None else found
    if value is None or not holds_secret(spec):
        return value
    if spec.kind == "secret":
        texts.append(str(value))
        return HIDDEN
    base = spec.base
    if is_union(base):
        fitting = [s for s in map(make_spec, get_args(base)) if fits(value, s)]
        chosen = next((s for s in fitting if holds_secret(s)), None)
        return value if chosen is None else conceal(value, chosen, texts)
    cls = type(value)
    if isinstance(value, dict):
        key, item = (make_spec(a) for a in get_args(base))
        return {
            f"{HIDDEN}{i}" if conceal(k, key, texts) != k else k: conceal(v, item, texts)
            for i, (k, v) in enumerate(value.items())
        }
    if fields := list_field_specs(cls):
        hidden = {n: conceal(getattr(value, n), s, texts) for n, s in fields.items() if hasattr(value, n)}
        return value._replace(**hidden) if is_namedtuple(cls) else _replace_fields(value, hidden)
    if isinstance(value, (list, tuple)):
        specs = list_item_specs(base, cls, len(value))
        return cls(conceal(v, s, texts) for v, s in zip(value, specs, strict=True))
    if isinstance(value, (set, frozenset)):
        item = make_spec(get_args(base)[0])
        return cls(conceal(v, item, texts) for v in value)
    return HIDDEN


def _replace_fields(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return a copy with other fields, which no validation of the class sees."""
    clone = copy.copy(value)
    for name, item in fields.items():
        object.__setattr__(clone, name, item)
    return clone


class WatchedWrite:
    """Writes a value, and stops where the bytes have the text of a secret.

    Args:
        write: writes the value to a file.
        texts: the secrets.
    """

    def __init__(self, write: Callable[[Any], None], texts: Sequence[str]) -> None:
        self._write = write
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._pattern = re.compile(b"|".join(map(re.escape, encoded)))
        self._overlap = max(map(len, encoded)) - 1

    def __call__(self, sink: Any) -> None:
        self._write(_WatchedSink(sink, self._pattern, self._overlap))


class _WatchedSink:
    """A file that looks at what is written to it."""

    def __init__(self, sink: Any, pattern: re.Pattern[bytes], overlap: int) -> None:
        self._sink = sink
        self._pattern = pattern
        self._overlap = overlap
        # A secret may begin in one piece and end in the next.
        self._rest = b""

    def write(self, data: Any) -> Any:
        view = memoryview(data).cast("B")
        seam = self._rest + bytes(view[: self._overlap])
        if self._pattern.search(seam) or self._pattern.search(view):
            raise InputError("it holds the text of a Secret, which would be stored. Return it without")
        self._rest = (self._rest + bytes(view[-self._overlap :]))[-self._overlap :]
        return self._sink.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)
