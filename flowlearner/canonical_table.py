"""The canonical hash of a table: equal for equal content, however it is chunked, sliced or stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from flowlearner.canonical import Writer, digest_buffers
from flowlearner.canonical_library import has_nan
from flowlearner.errors import InputError, UnstableValueError

KIND = b"flowlearner-table/1\n"
_BLOCK = 1 << 18
# What pandas makes of an Arrow type without further word; only other dtypes are part of the content.
_PLAIN_DTYPES = {
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bool", "object", "str", "category", "datetime64[ns]", "datetime64[us]", "datetime64[ms]",
    "datetime64[s]", "timedelta64[ns]", "timedelta64[us]", "timedelta64[ms]", "timedelta64[s]",
}  # fmt: skip


def encode_tabular(value: Any, out: Writer) -> bool:
    """Write a table, column, index or scalar of pandas or Arrow."""
    import pandas as pd

    if isinstance(value, (pd.DataFrame, pa.Table, pa.RecordBatch)):
        table = value if isinstance(value, pa.Table) else _to_table(value)
        out.put("table", bytes.fromhex(table_digest(table)))
    elif isinstance(value, pd.Series):
        out.put("series")
        out.put_value(value.name, ".name")
        out.put("data", _digest_frame(value.to_frame(name="value")))
    elif isinstance(value, pd.Index):
        out.put("index")
        out.put_value(list(value.names), ".names")
        levels = {f"level {i}": value.get_level_values(i) for i in range(value.nlevels)}
        frame = pd.DataFrame(levels)
        out.put("data", _digest_frame(frame))
    elif isinstance(value, (pd.Categorical, pd.api.extensions.ExtensionArray)):
        out.put("array", _digest_frame(pd.DataFrame({"value": value})))
    elif isinstance(value, (pa.Array, pa.ChunkedArray)):
        out.put("arrow", bytes.fromhex(table_digest(pa.table({"value": value}))))
    elif isinstance(value, (pd.Timestamp, pd.Timedelta)):
        out.put(type(value).__name__, value.isoformat(), str(getattr(value, "tz", None)))
    elif value is pd.NA or value is pd.NaT:
        out.put("missing", "NA" if value is pd.NA else "NaT")
    else:
        return False
    return True


def _to_table(value: Any) -> pa.Table:
    return pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else frame_to_arrow(value)


def _digest_frame(frame: Any) -> bytes:
    return bytes.fromhex(table_digest(frame_to_arrow(frame)))


def frame_to_arrow(frame: Any) -> pa.Table:
    """Return a pandas DataFrame as an Arrow table.

    Raises:
        InputError: a column's name repeats, names are of several types, or a column is of a type, or mixes
            types, that no table stores.
    """
    columns = list(frame.columns)
    repeated = (
        sorted({str(c) for c in columns if columns.count(c) > 1}) if len(set(columns)) < len(columns) else []
    )
    if repeated:
        raise InputError(f"the table has more than one column named {', '.join(repeated)}; rename them")
    kinds = sorted({type(c).__name__ for c in columns})
    if len(kinds) > 1:
        raise InputError(f"the table has column names of several types: {', '.join(kinds)}; rename them")
    _check_dtypes(frame)
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        reason = "; ".join(str(a) for a in error.args)
        raise InputError(f"the table cannot be stored: {reason}. Give each column one type.") from None


def _check_dtypes(frame: Any) -> None:
    """Refuse a column whose dtype pandas does not read back from its name, such as Arrow's struct.

    Raises:
        InputError: naming the column.
    """
    import pandas as pd

    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.ArrowDtype):
            try:
                pd.api.types.pandas_dtype(str(dtype))
            except (TypeError, NotImplementedError):
                raise InputError(
                    f"the table cannot be stored: pandas does not read dtype {dtype} of '{name}' back. "
                    "Give an Arrow table, or cast the column to object"
                ) from None


def table_digest(table: pa.Table) -> str:
    """Return the blake3 of a table's content: column names, types, values, and a non-default pandas index.

    Independent of chunking, slicing, `string`, `large_string` or `string_view`, of what lies under nulls and
    of the bits of NaNs. Of a categorical column the categories count, in their order. Nothing of the size of
    the table is copied, at most a column at a time.
    """
    hasher = blake3.blake3()
    hasher.update(KIND)
    hasher.update(struct.pack("<QQ", table.num_rows, table.num_columns))
    _update_text_part(hasher, json.dumps(_pandas_extra(table), sort_keys=True))
    for field, column in zip(table.schema, table.columns, strict=True):
        _update_text_part(hasher, field.name)
        _update_column(hasher, column)
    return hasher.hexdigest()


def _update_text_part(hasher: blake3.blake3, text: str) -> None:
    data = text.encode()
    hasher.update(struct.pack("<Q", len(data)) + data)


def _pandas_extra(table: pa.Table) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(b"pandas")
    if not raw:
        return {}
    meta = json.loads(raw)
    extra: dict[str, Any] = {}
    index = [_index_text(i) for i in meta.get("index_columns", []) if _is_index(i, table.num_rows)]
    if index:
        extra["index"] = index
    dtypes = {
        c["field_name"]: c["numpy_type"]
        for c in meta.get("columns", [])
        if c.get("numpy_type") not in _PLAIN_DTYPES and c.get("pandas_type") != "datetimetz"
    }
    if dtypes:
        extra["dtypes"] = dtypes
    if meta.get("attributes"):
        extra["attributes"] = meta["attributes"]
    names = [(c.get("name"), c.get("pandas_type")) for c in meta.get("column_indexes", [])]
    if any(name is not None or kind not in ("unicode", "string", "empty") for name, kind in names):
        extra["names"] = names
    renamed = {
        c["field_name"]: c["name"] for c in meta.get("columns", []) if c.get("name") != c.get("field_name")
    }
    if renamed:
        extra["renamed"] = renamed
    return extra


def _is_index(item: Any, rows: int) -> bool:
    """Tell whether pandas would make an index of it: not the default one, nor one from before a slice."""
    if not isinstance(item, dict):
        return True
    length = len(range(item["start"], item["stop"], item["step"]))
    default = item["name"] is None and item["start"] == 0 and item["step"] == 1
    return length == rows and not default


def _index_text(item: Any) -> str:
    if isinstance(item, dict):
        return f"range:{item['name']}:{item['start']}:{item['stop']}:{item['step']}"
    return f"column:{item}"


def _update_column(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    """Add a column: its kind, its length, which values are null, and the others."""
    kind = column.type
    plain = _find_plain_type(kind)
    if plain is not None:
        column = column.cast(plain)
        kind = plain
    if t.is_run_end_encoded(kind):
        column = pa.chunked_array([pc.run_end_decode(c) for c in column.chunks], type=kind.value_type)
        _update_column(hasher, column)
        return
    if t.is_dictionary(kind):
        _update_dictionary(hasher, column)
        return
    if isinstance(kind, pa.BaseExtensionType):
        serialize = getattr(kind, "__arrow_ext_serialize__", None)
        _update_text_part(hasher, f"extension:{kind.extension_name}")
        _update_text_part(hasher, serialize().hex() if serialize else str(kind))
        _update_column(hasher, pa.chunked_array([c.storage for c in column.chunks], type=kind.storage_type))
        return
    _update_text_part(hasher, _name_type(kind))
    hasher.update(struct.pack("<Q", len(column)))
    hasher.update(b"\x01" if column.null_count else b"\x00")
    if t.is_null(kind):
        return
    if column.null_count:
        _update_bits(hasher, pc.is_valid(column))
    if t.is_boolean(kind):
        _update_bits(hasher, column.fill_null(False) if column.null_count else column)
    elif _is_text(kind):
        _update_text(hasher, column)
    elif _is_list(kind) or t.is_fixed_size_list(kind):
        _update_fixed(hasher, pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64()))
        # Of the lists that are not null.
        items = [chunk.flatten() for chunk in column.chunks]
        _update_column(hasher, pa.chunked_array(items, type=kind.value_type))
    elif t.is_struct(kind):
        for i, field in enumerate(kind):
            _update_text_part(hasher, field.name)
            # With the parent's nulls, so that what lies under them does not count.
            children = [chunk.flatten()[i] for chunk in column.chunks]
            _update_column(hasher, pa.chunked_array(children, type=field.type))
    else:
        _update_fixed(hasher, column)


def _find_plain_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a type is another layout of, or None where it is not."""
    if t.is_string_view(kind):
        return pa.large_string()
    if t.is_binary_view(kind):
        return pa.large_binary()
    if t.is_map(kind):
        return pa.list_(pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)]))
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_binary(kind) or t.is_large_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        t.is_list(kind) or t.is_large_list(kind) or t.is_list_view(kind) or t.is_large_list_view(kind)
    )


def _name_type(kind: pa.DataType) -> str:
    """Return the name of a type without its parts, which name themselves, and without the offsets' width."""
    if _is_list(kind):
        return "list"
    if t.is_fixed_size_list(kind):
        return f"list of {kind.list_size}"
    if t.is_struct(kind):
        return f"struct of {kind.num_fields}"
    if _is_text(kind):
        return "string" if t.is_string(kind) or t.is_large_string(kind) else "binary"
    if t.is_union(kind):
        raise UnstableValueError(f"a column of Arrow type {kind} has no stable encoding; cast it")
    return str(kind)


def _update_dictionary(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    column = column.unify_dictionaries()
    _update_text_part(hasher, "dictionary:ordered" if column.type.ordered else "dictionary")
    categories = [column.chunk(0).dictionary] if column.num_chunks else []
    _update_column(hasher, pa.chunked_array(categories, type=column.type.value_type))
    codes = [chunk.indices.cast(pa.int32()) for chunk in column.chunks]
    _update_column(hasher, pa.chunked_array(codes, type=pa.int32()))


def _chunks(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yield pieces of a column, small enough to stay in the processor's cache while looked at twice."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), _BLOCK):
            yield chunk.slice(start, _BLOCK)


def _update_data(hasher: blake3.blake3, pieces: Iterator[Any], size_bytes: int) -> None:
    """Add the bytes of many values by a digest of their own.

    blake3 hashes whole trees of 1 KiB pieces at a time, at twice the speed where they begin at the start.
    """
    hasher.update(digest_buffers(pieces, size_bytes))


def _update_fixed(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    width = column.type.bit_width // 8
    _update_data(hasher, _plain_pieces(column, width), len(column) * width)


def _plain_pieces(column: pa.ChunkedArray, width: int) -> Iterator[Any]:
    """Yield the bytes of values of one width: nulls are zeros, every NaN has the same bits."""
    floats = np.dtype(f"<f{width}") if t.is_floating(column.type) else None
    for chunk in _chunks(column):
        data = memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        if not chunk.null_count and floats is None:
            yield data
            continue
        values = np.frombuffer(data, floats or np.uint8)
        if floats is not None and has_nan(values):
            values = np.where(np.isnan(values), np.array(np.nan, floats), values)
        if chunk.null_count:
            valid = pc.is_valid(chunk).to_numpy(zero_copy_only=False)
            cells = values.view(np.uint8).reshape(len(chunk), width).copy()
            cells[~valid] = 0
            values = cells
        yield values.reshape(-1).view(np.uint8).data


def _update_bits(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    _update_data(hasher, _bit_pieces(column), len(column))


def _bit_pieces(column: pa.ChunkedArray) -> Iterator[Any]:
    for chunk in _chunks(column):
        data = pc.cast(chunk, pa.uint8())
        yield memoryview(data.buffers()[1])[data.offset : data.offset + len(data)]


def _update_text(hasher: blake3.blake3, column: pa.ChunkedArray) -> None:
    """Add the lengths of texts, then their bytes, which without the lengths could be cut elsewhere."""
    _update_data(hasher, _length_pieces(column), len(column) * 8)
    _update_data(hasher, _text_pieces(column), column.nbytes)


def _length_pieces(column: pa.ChunkedArray) -> Iterator[Any]:
    for chunk in _chunks(column):
        lengths = pc.fill_null(pc.binary_length(chunk), 0).cast(pa.int64())
        yield memoryview(lengths.buffers()[1])[lengths.offset * 8 : (lengths.offset + len(lengths)) * 8]


def _text_pieces(column: pa.ChunkedArray) -> Iterator[Any]:
    for chunk in _chunks(column):
        begin, end = _text_bounds(chunk)
        if chunk.null_count and end - begin != (pc.sum(pc.binary_length(chunk)).as_py() or 0):
            # Something lies under the nulls.
            chunk = pa.concat_arrays([chunk.drop_null()])
            begin, end = _text_bounds(chunk)
        data = chunk.buffers()[2]
        if data is not None and end > begin:
            yield memoryview(data)[begin:end]


def _text_bounds(chunk: pa.Array) -> tuple[int, int]:
    wide = t.is_large_string(chunk.type) or t.is_large_binary(chunk.type)
    offsets = np.frombuffer(chunk.buffers()[1], np.int64 if wide else np.int32)
    return int(offsets[chunk.offset]), int(offsets[chunk.offset + len(chunk)])
