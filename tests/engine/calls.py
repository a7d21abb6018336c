"""Counts calls of operators without becoming a part of their code, which enters their fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = "tests.calls"


def called(name: str) -> None:
    """Say, from within an operator, that it was called."""
    logging.getLogger(_LOGGER).info(name)


class _Collect(logging.Handler):
    def __init__(self, names: list[str]) -> None:
        super().__init__(logging.INFO)
        self._names = names

    def emit(self, record: logging.LogRecord) -> None:
        self._names.append(record.getMessage())


@contextmanager
def counted(names: list[str]) -> Iterator[list[str]]:
    """Collect the names of the operators that are called in this process."""
    logger = logging.getLogger(_LOGGER)
    handler = _Collect(names)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield names
    finally:
        logger.removeHandler(handler)
