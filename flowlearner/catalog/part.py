"""What the parts of `Catalog` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from flowlearner.catalog.connect import Database
from flowlearner.records import Environment

T = TypeVar("T")

CHUNK = 512
"""How many values one IN list gets: a power of two, far below every database's limit of bound values."""


class Part:
    """Base of the parts.

    Attributes:
        database: connections, shared by all parts.
    """

    database: Database
    _workflows: dict[str, str]
    _environments: dict[str, Environment]


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    items = list(values)
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
