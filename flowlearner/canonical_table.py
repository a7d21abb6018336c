"""The canonical hash of a table: equal for equal content, however it is chunked, sliced or stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import blake3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from flowlearner.errors import InputError, UnstableValueError

KIND = b"flowlearner-table/1\n"
THREADED_BYTES = 1 << 20
# What pandas makes of an Arrow type without further word; only other dtypes are part of the content.
_PLAIN_DTYPES = {
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bool", "object", "str", "string", "category", "datetime64[ns]", "datetime64[us]", "datetime64[ms]",
    "datetime64[s]", "timedelta64[ns]", "timedelta64[us]", "timedelta64[ms]", "timedelta64[s]",
}  # fmt: skip


def frame_to_arrow(frame: Any) -> pa.Table:
    """Return a pandas DataFrame as an Arrow table.

    Raises:
        InputError: a column's name repeats, or a column mixes types that no table stores.
    """
    columns = list(frame.columns)
    repeated = sorted({str(c) for c in columns if columns.count(c) > 1}) if len(set(columns)) < len(columns) else []
    if repeated:
        raise InputError(f"the table has more than one column named {', '.join(repeated)}; rename them")
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        reason = "; ".join(str(a) for a in error.args)
        raise InputError(f"the table cannot be stored: {reason}. Give each column one type.") from None


def table_digest(table: pa.Table) -> str:
    """Return the blake3 of a table's content: column names, types, values, and a non-default pandas index.

    Independent of chunking, slicing, `string` or `large_string`, and of what lies under nulls.
    """
    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    hasher.update(KIND)
    hasher.update(struct.pack("<QQ", table.num_rows, table.num_columns))
    extra = json.dumps(_pandas_extra(table), sort_keys=True).encode()
    hasher.update(struct.pack("<Q", len(extra)) + extra)
    for field, column in zip(table.schema, table.columns, strict=True):
        name = field.name.encode()
        hasher.update(struct.pack("<Q", len(name)) + name)
        _update_column(hasher, column)
    return hasher.hexdigest()


def _pandas_extra(table: pa.Table) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(b"pandas")
    if not raw:
        return {}
    meta = json.loads(raw)
    extra: dict[str, Any] = {}
    index = [_index_text(i) for i in meta.get("index_columns", [])]
    default = [f"range:None:0:{table.num_rows}:1"]
    if index and index != default:
        extra["index"] = index
    dtypes = {
        c["field_name"]: c["numpy_type"]
        for c in meta.get("columns", [])
        if c.get("numpy_type") not in _PLAIN_DTYPES and c.get("pandas_type") != "datetimetz"
    }
    if dtypes:
        extra["dtypes"] = dtypes
    names = [(c.get("name"), c.get("pandas_type")) for c in meta.get("column_indexes", [])]
    if any(name is not None or kind not in ("unicode", "string", "empty") for name, kind in names):
        extra["names"] = names
    renamed = {c["field_name"]: c["name"] for c in meta.get("columns", []) if c.get("name") != c.get("field_name")}
    if renamed:
        extra["renamed"] = renamed
    return extra


def _index_text(item: Any) -> str:
    if isinstance(item, dict):
        return f"range:{item['name']}:{item['start']}:{item['stop']}:{item['step']}"
    return f"column:{item}"


def _update_column(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    kind = column.type
    if t.is_dictionary(kind):
        _update_dictionary(hasher, column)
        return
    hasher.update(str(_canonical_type(kind)).encode() + b"\x00")
    if column.null_count:
        hasher.update(b"nulls\x00")
        _update_bits(hasher, pc.is_valid(column))
    if t.is_string(kind) or t.is_binary(kind) or t.is_large_string(kind) or t.is_large_binary(kind):
        _update_text(hasher, column)
    elif t.is_boolean(kind):
        _update_bits(hasher, column.fill_null(False) if column.null_count else column)
    elif t.is_null(kind):
        return
    elif t.is_primitive(kind) or t.is_decimal(kind) or t.is_fixed_size_binary(kind):
        _update_fixed(hasher, column)
    elif t.is_list(kind) or t.is_large_list(kind):
        lengths = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64())
        _update_fixed(hasher, lengths)
        _update_column(hasher, pa.chunked_array([pc.list_flatten(column)]) if column.num_chunks < 2 else pc.list_flatten(column))
    elif t.is_struct(kind):
        for i, field in enumerate(kind):
            hasher.update(field.name.encode() + b"\x00")
            _update_column(hasher, pc.struct_field(column, [i]))
    else:
        raise UnstableValueError(f"a column of Arrow type {kind} has no stable encoding; cast it")


def _canonical_type(kind: pa.DataType) -> pa.DataType:
    if t.is_string(kind):
        return pa.large_string()
    return pa.large_binary() if t.is_binary(kind) else kind


def _update_dictionary(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    column = column.unify_dictionaries()
    hasher.update(b"dictionary:" + (b"ordered" if column.type.ordered else b"unordered") + b"\x00")
    if column.num_chunks:
        categories = pa.chunked_array([column.chunk(0).dictionary])
    else:
        categories = pa.chunked_array([], type=column.type.value_type)
    hasher.update(struct.pack("<Q", len(categories)))
    _update_column(hasher, categories)
    codes = [chunk.indices.cast(pa.int32()) for chunk in column.chunks]
    _update_column(hasher, pa.chunked_array(codes, type=pa.int32()))


def _chunks(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    return (chunk for chunk in column.chunks if len(chunk))


def _update_fixed(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    width = column.type.bit_width // 8
    for chunk in _chunks(column):
        if chunk.null_count:
            chunk = _zero_nulls(chunk)
        data = chunk.buffers()[1]
        start = chunk.offset * width
        hasher.update(memoryview(data)[start : start + len(chunk) * width])


def _zero_nulls(chunk: pa.Array) -> pa.Array:
    kind = chunk.type
    if t.is_decimal(kind) or t.is_fixed_size_binary(kind):
        zero: Any = b"\x00" * (kind.bit_width // 8) if t.is_fixed_size_binary(kind) and not t.is_decimal(kind) else 0
        return pc.fill_null(chunk, pa.scalar(zero, kind))
    storage = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
    return pc.fill_null(chunk.view(storage), 0)


def _update_bits(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    for chunk in _chunks(column):
        data = pc.cast(chunk, pa.uint8())
        hasher.update(memoryview(data.buffers()[1])[data.offset : data.offset + len(data)])


def _update_text(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    lengths = pc.fill_null(pc.binary_length(column), 0).cast(pa.int64())
    _update_fixed(hasher, lengths)
    for chunk in _chunks(column):
        if chunk.null_count:
            chunk = pc.fill_null(chunk, pa.scalar("" if "string" in str(chunk.type) else b"", chunk.type))
        wide = t.is_large_string(chunk.type) or t.is_large_binary(chunk.type)
        offsets = memoryview(chunk.buffers()[1]).cast("q" if wide else "i")
        begin, end = offsets[chunk.offset], offsets[chunk.offset + len(chunk)]
        data = chunk.buffers()[2]
        if data is not None and end > begin:
            hasher.update(memoryview(data)[begin:end])
