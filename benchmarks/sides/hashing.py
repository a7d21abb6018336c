"""Both sides of hashing a table of 1,000,000 x 20: its content hash, and blake3 on the same bytes."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from blake3 import blake3
from pairs import time_once
from sides.million import make_table

from flowlearner.canonical_table import frame_to_arrow, table_digest


def hash_bytes(table: pa.Table) -> str:
    """Hash all that a table holds, buffer by buffer, with as many threads as serve."""
    hasher = blake3(max_threads=blake3.AUTO)
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in filter(None, chunk.buffers()):
                hasher.update(buffer)
    return str(hasher.hexdigest())


def make(side: str) -> Callable[[], float]:
    """Rounds of hashing ("content" or "bytes")."""
    table = frame_to_arrow(make_table())
    compute = table_digest if side == "content" else hash_bytes
    expected = compute(table)

    def measure() -> float:
        found: list[str] = []
        seconds = time_once(lambda: found.append(compute(table)))
        assert found == [expected]
        return seconds

    return measure
