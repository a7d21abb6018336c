"""The peer of our store: the same steps by hand, as one who knows Arrow would write them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from blake3 import blake3
from pairs import time_once
from pyarrow import feather
from sides.million import make_rounds, make_table


def hash_file(path: Path) -> str:
    """Return the blake3 of a file, with as many threads as serve."""
    return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())


def round_trip(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write under a temporary name, sync, hash, rename; then verify and load."""
    path = folder / "table.arrow"
    temporary = path.with_suffix(".tmp")
    # In one batch: a column of several cannot be handed to pandas without a copy.
    rows = pa.Table.from_pandas(table)
    feather.write_feather(rows, temporary, compression="uncompressed", chunksize=max(len(table), 1))
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    checksum = hash_file(temporary)
    temporary.rename(path)
    sync_folder(folder)
    assert hash_file(path) == checksum
    with pa.memory_map(str(path)) as source:
        # Column by column, so that what can stay in the mapped file is not copied.
        loaded: pd.DataFrame = pa.ipc.open_file(source).read_all().to_pandas(split_blocks=True)
    return loaded


def sync_folder(path: Path) -> None:
    """Make the name of a new file in a folder lasting."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make(what: str) -> Callable[[], float]:
    """Rounds of the round trip, see `million.make_rounds`, or of what pandas has for a preview."""
    if what != "preview":
        return make_rounds(round_trip, what)
    table = make_table()
    return lambda: time_once(lambda: (table.head(10), table.describe(include="all")))
