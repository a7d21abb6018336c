"""The hash of an operator's code and of all that it reaches in the user's code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowlearner.canonical import digest_parts
from flowlearner.fingerprint.origin import is_user_module

__all__ = ["Fingerprint", "compute_fingerprint", "is_user_module"]


@dataclass(frozen=True)
class Fingerprint:
    """The hash of code."""

    digest: str
    source: str
    problems: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)


def compute_fingerprint(
    fn: Callable[..., Any], version: str | None = None, uses: Sequence[Any] = ()
) -> Fingerprint:
    """Return the hash of a function's code (first version: the function alone)."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(fn)))
        tree = ast.dump(ast.parse(source))
    except (OSError, SyntaxError):
        return Fingerprint(digest_parts("fingerprint/0", fn.__name__, version or ""), "", ("no source",))
    return Fingerprint(digest_parts("fingerprint/0", tree, version or ""), source)
