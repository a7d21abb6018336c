"""What is shown of a table without loading it: schema, first rows, and statistics of each column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

HEAD_ROWS = 20
MAX_COLUMNS = 200
MAX_CHARS = 100
# Statistics that need all values at once (quantiles, distinct values) look at so many rows, evenly spread.
SAMPLE_ROWS = 50_000
MAX_DISTINCT = 1000
BINS = 20
TOP_VALUES = 10
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def describe_table(table: pa.Table) -> dict[str, Any]:
    """Return the preview of a table: JSON values only."""
    shown = table.slice(0, HEAD_ROWS)
    sample = _sample(table)
    columns = [
        _describe_column(field, table.column(i), sample.column(i))
        for i, field in enumerate(table.schema)
        if i < MAX_COLUMNS
    ]
    return {
        "kind": "table",
        "rows": table.num_rows,
        "sample_rows": sample.num_rows,
        "columns": columns,
        "column_count": table.num_columns,
        "head": [
            [to_json(v) for v in row]
            for row in zip(*(shown.column(i).to_pylist() for i in range(len(columns))), strict=True)
        ],
    }


def to_json(value: Any) -> Any:
    """Return a cell as a JSON value: NaN and infinities as text, long texts cut."""
    if value is None or isinstance(value, (bool, int)):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def _describe_column(field: pa.Field, column: pa.ChunkedArray, sample: pa.ChunkedArray) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": field.name,
        "type": str(_plain_type(field.type)),
        "nulls": column.null_count,
    }
    kind = field.type
    if t.is_dictionary(kind):
        kind = kind.value_type
        sample = sample.cast(kind)
        column = column if t.is_string(kind) or t.is_large_string(kind) else column.cast(kind)
    try:
        if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
            found |= _describe_numbers(column, sample)
        elif t.is_temporal(kind):
            found |= {k: to_json(v) for k, v in pc.min_max(column).as_py().items()}
        if not t.is_floating(kind):
            found |= _describe_values(sample)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        # A type for which Arrow has no such function: name, type and nulls are all there is to show.
        pass
    return found


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if t.is_large_string(kind) else kind


def _sample(table: pa.Table) -> pa.Table:
    """Return at most SAMPLE_ROWS rows, evenly spread."""
    step = -(-table.num_rows // SAMPLE_ROWS)
    return table if step <= 1 else table.take(pa.array(np.arange(0, table.num_rows, step)))


def _describe_numbers(column: pa.ChunkedArray, sample: pa.ChunkedArray) -> dict[str, Any]:
    values = sample.drop_null().cast(pa.float64(), safe=False).to_numpy()
    finite = values[np.isfinite(values)]
    found: dict[str, Any] = {}
    if len(column) > column.null_count:
        extremes = pc.min_max(column).as_py()
        found |= {k: to_json(_plain_number(v)) for k, v in extremes.items()}
        found |= {"mean": to_json(_plain_number(pc.mean(column).as_py()))}
        spread = pc.stddev(column.cast(pa.float64(), safe=False), ddof=1).as_py()
        found["std"] = to_json(spread)
    if len(finite):
        marks = np.quantile(finite, QUANTILES)
        found["quantiles"] = {str(q): to_json(float(m)) for q, m in zip(QUANTILES, marks, strict=True)}
        low, high = float(finite.min()), float(finite.max())
        if math.isfinite(high - low):
            counts, edges = np.histogram(finite, bins=BINS)
            found["histogram"] = {"counts": counts.tolist(), "edges": [float(e) for e in edges]}
    return found


def _plain_number(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float)) else float(value)


def _describe_values(sample: pa.ChunkedArray) -> dict[str, Any]:
    """Return how many distinct values there are (None above the cap), and the commonest."""
    counts = pc.value_counts(sample)
    distinct = len(counts)
    if distinct > MAX_DISTINCT:
        return {"distinct": None}
    ordered = sorted(counts.to_pylist(), key=lambda c: -c["counts"])[:TOP_VALUES]
    top = [[to_json(c["values"]), c["counts"]] for c in ordered if c["values"] is not None]
    return {"distinct": distinct - any(c["values"] is None for c in ordered), "top": top}
