"""Our side of the whole process: five nodes, one after the other."""

from __future__ import annotations

from flowlearner import operator, workflow


@operator
def add_one(number: int) -> int:
    """A node."""
    return number + 1


@workflow
def five(number: int) -> int:
    """Five nodes in a row."""
    for _ in range(5):
        number = add_one(number)
    return number
