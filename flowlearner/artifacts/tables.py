"""Codecs of tables and series: uncompressed Arrow IPC files, which are mapped rather than read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from flowlearner.artifacts.base import Codec, Encoded, Source, list_members
from flowlearner.artifacts.preview import describe_table
from flowlearner.canonical import digest_parts
from flowlearner.canonical_table import frame_to_arrow, table_digest
from flowlearner.errors import ArtifactError, InputError
from flowlearner.spec import qualified_name, type_text

FRAME, TABLE, SERIES = "pandas.DataFrame", "pyarrow.Table", "pandas.Series"


class TableCodec(Codec):
    """pandas DataFrames and Arrow tables: one content, given as the type that the consumer declares."""

    name = "table/1"

    def handles(self, declared: Any) -> bool:
        return isinstance(declared, type) and qualified_name(declared) in (FRAME, TABLE)

    def encode(self, value: Any, declared: Any) -> Encoded:
        type_name = qualified_name(type(value))
        if type_name == FRAME:
            table = frame_to_arrow(value)
        elif type_name == TABLE:
            table = value
        else:
            raise InputError(f"expected a {FRAME} or {TABLE}, found {type_text(type(value))}")
        return _encode(self.name, table, type_name)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        members = [qualified_name(m) for m in list_members(declared)]
        wanted = (
            type_name
            if type_name in members
            else next((m for m in members if m in (FRAME, TABLE)), type_name)
        )
        with _explained():
            if wanted == TABLE:
                return _read(_map_shared(source))
            memory = _map_private(source)
            return _to_frame(_read(pa.py_buffer(memory)), memory)


class SeriesCodec(Codec):
    """A pandas Series: a table of one column."""

    name = "series/1"

    def handles(self, declared: Any) -> bool:
        return isinstance(declared, type) and qualified_name(declared) == SERIES

    def encode(self, value: Any, declared: Any) -> Encoded:
        if qualified_name(type(value)) != SERIES:
            raise InputError(f"expected a {SERIES}, found {type_text(type(value))}")
        # The name of a series may be anything that hashes, or missing; a column's may not.
        if value.name is not None and not isinstance(value.name, str):
            raise InputError(f"the name of a series must be text to be stored, found {value.name!r}")
        named = value.name is not None
        table = frame_to_arrow(value.to_frame(name=value.name if named else "value"))
        metadata = {**(table.schema.metadata or {}), b"flowlearner": b"named" if named else b"unnamed"}
        return _encode(self.name, table.replace_schema_metadata(metadata), SERIES)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        with _explained():
            memory = _map_private(source)
            table = _read(pa.py_buffer(memory))
            series = _to_frame(table, memory).iloc[:, 0]
            named = (table.schema.metadata or {}).get(b"flowlearner") == b"named"
            return series if named else series.rename(None)


def _encode(codec: str, table: pa.Table, type_name: str) -> Encoded:
    mark = (table.schema.metadata or {}).get(b"flowlearner", b"")

    def write(sink: BinaryIO) -> None:
        with pa.ipc.new_file(sink, table.schema) as writer:
            if table.num_rows:
                # A file holds one dictionary for each column; Parquet gives one for each row group.
                writer.write_table(table.unify_dictionaries())
            else:
                # Without a batch, the categories of a column without rows would be lost.
                columns = [c.chunk(0) if c.num_chunks else pa.array([], c.type) for c in table.columns]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))

    return Encoded(
        hash=digest_parts(codec, table_digest(table), mark),
        codec=codec,
        type=type_name,
        write=write,
        size_hint=table.nbytes,
        preview=lambda: describe_table(table),
    )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ArtifactError(f"the bytes are not an Arrow table: {reason}") from None


def _map_shared(source: Source) -> Any:
    return pa.memory_map(source.path) if source.path is not None else pa.py_buffer(source.read())


def _map_private(source: Source) -> Any:
    """Return memory that may be written to and never reaches the file: a changed page is copied first."""
    if source.path is None:
        return bytearray(source.read())
    with open(source.path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _read(memory: Any) -> pa.Table:
    table = pa.ipc.open_file(memory).read_all()
    table.validate()
    return table


def _to_frame(table: pa.Table, memory: Any) -> Any:
    """Return a DataFrame whose columns lie in `memory` as far as possible, and may all be changed.

    pandas marks what it takes from Arrow without a copy as read-only: a change in place would fail.
    """
    import numpy as np
    import pandas as pd

    frame = table.to_pandas(split_blocks=True)
    start = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    size = len(memory)
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        if not isinstance(column.dtype, np.dtype):
            # What Arrow holds is replaced rather than changed; other extension arrays are changed in place.
            if not hasattr(column.array, "_pa_array"):
                frame.isetitem(i, column.copy())
            continue
        values = column.to_numpy(copy=False)
        offset = values.__array_interface__["data"][0] - start
        if column.dtype.kind != "O" and values.size and values.flags.c_contiguous and offset in range(size):
            own = np.frombuffer(memory, values.dtype, values.size, offset)
            frame.isetitem(i, pd.Series(own, index=frame.index, copy=False))
    return frame


CODECS = (TableCodec(), SeriesCodec())
