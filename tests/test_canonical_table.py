"""The canonical hash of tables: content alone counts, in whatever pieces, layout or file it lies."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import resource
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlearner.canonical_table import frame_to_arrow, table_digest
from flowlearner.errors import InputError, UnstableValueError
from tests.canonical_values import make_frame

GOLDEN = Path(__file__).parent / "golden" / "digests.json"
DAY = dt.date(2013, 1, 1)
NOW = dt.datetime(2013, 1, 1, 5)
DEEP = pa.list_(pa.struct([pa.field("a", pa.list_(pa.string())), pa.field("b", pa.float64())]))

# One column of each type, with a null in the middle.
COLUMNS: dict[str, pa.Array] = {
    "bool": pa.array([True, None, False]),
    "int8": pa.array([1, None, 3], pa.int8()),
    "uint64": pa.array([1, None, 2**64 - 1], pa.uint64()),
    "half": pa.array(np.array([1, 2, 3], "f2"), mask=np.array([False, True, False])),
    "float": pa.array([1.0, None, -0.0], pa.float32()),
    "double": pa.array([1.0, None, float("nan")]),
    "string": pa.array(["a", None, "ccc"]),
    "large string": pa.array(["b", None, "ccc"], pa.large_string()),
    "string view": pa.array(["c", None, "a long text of more than twelve"], pa.string_view()),
    "binary": pa.array([b"a", None, b""]),
    "fixed binary": pa.array([b"aa", None, b"bb"], pa.binary(2)),
    "date": pa.array([DAY, None, DAY]),
    "time": pa.array([NOW.time(), None, NOW.time()]),
    "timestamp": pa.array([NOW, None, NOW], pa.timestamp("ms")),
    "timestamp with zone": pa.array([NOW, None, NOW], pa.timestamp("us", "America/New_York")),
    "duration": pa.array([dt.timedelta(1), None, dt.timedelta(2)]),
    "interval": pa.array([(1, 2, 3), None, (4, 5, 6)], pa.month_day_nano_interval()),
    "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")]),
    "small decimal": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("2.5")], pa.decimal32(5, 1)),
    "list": pa.array([[1], None, [2, 3]]),
    "large list": pa.array([[1.0], None, []], pa.large_list(pa.float64())),
    "fixed list": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
    "list view": pa.array([[b"1"], None, [b"2", b"3"]], pa.list_view(pa.binary())),
    "list of nulls": pa.array([[None], None, [None, None]], pa.list_(pa.int64())),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "map": pa.array([[("a", 1)], None, [("b", 2), ("c", 3)]], pa.map_(pa.string(), pa.int64())),
    "deep": pa.array([[{"a": ["x", None], "b": 1.0}], None, [None, {"a": None, "b": 2.0}]], DEEP),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(["a", None, "b"])),
    "null": pa.nulls(3),
    "uuid": pa.array([uuid.UUID(int=i).bytes for i in (1, 2, 3)], pa.uuid()),
}
SETTLED = [name for name in COLUMNS if name not in ("runs", "list view")]


def hash_column(*chunks: pa.Array, kind: pa.DataType | None = None) -> str:
    return table_digest(pa.table({"a": pa.chunked_array(chunks, type=kind)}))


def hash_frame(frame: pd.DataFrame) -> str:
    return table_digest(frame_to_arrow(frame))


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_and_slices_do_not_count(name: str) -> None:
    column = COLUMNS[name]
    whole = hash_column(column)
    twice = pa.concat_arrays([column, column])
    assert hash_column(twice.slice(3, 3)) == whole
    assert hash_column(column.slice(0, 1), column.slice(1, 0), column.slice(1, 2)) == whole
    assert hash_column(column.slice(0, 0), column) == whole
    assert hash_column(column.slice(1)) != whole
    assert hash_column(column.slice(1)) == hash_column(twice.slice(4, 2))


def test_one_column_of_each_type_has_a_hash_of_its_own() -> None:
    assert len({hash_column(column) for column in COLUMNS.values()}) == len(COLUMNS)


def test_an_empty_column_of_each_type_has_a_hash() -> None:
    # A dictionary's categories are content, and without a chunk there are none.
    columns = [column for name, column in COLUMNS.items() if name != "dictionary"]
    empty = [hash_column(kind=column.type) for column in columns]
    assert empty == [hash_column(column.slice(0, 0)) for column in columns]
    assert hash_column(kind=COLUMNS["dictionary"].type) not in empty


@pytest.mark.parametrize("name", COLUMNS)
def test_another_value_or_null_counts(name: str) -> None:
    column = COLUMNS[name]
    orders = ([0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 0, 2], [1, 1, 1])
    made = [pa.concat_arrays([column.slice(i, 1) for i in order]) for order in orders]
    assert len({hash_column(m) for m in made}) == len({str(m.to_pylist()) for m in made})


@pytest.mark.parametrize("name", SETTLED)
def test_a_column_survives_a_file(name: str) -> None:
    table = pa.table({"a": COLUMNS[name]})
    sink = io.BytesIO()
    pyarrow.feather.write_feather(table, sink, compression="uncompressed")
    assert table_digest(pyarrow.feather.read_table(io.BytesIO(sink.getvalue()))) == table_digest(table)


@pytest.mark.parametrize("row_group_size", [1, 2, 100])
def test_a_table_survives_parquet_with_any_row_groups(row_group_size: int) -> None:
    table = frame_to_arrow(make_frame())
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, row_group_size=row_group_size, compression="zstd")
    assert table_digest(pyarrow.parquet.read_table(io.BytesIO(sink.getvalue()))) == table_digest(table)


@given(st.lists(st.none() | st.floats() | st.just(float("nan")), max_size=8), st.integers(0, 8))
def test_floats_agree_in_any_chunks(items: list[float | None], cut: int) -> None:
    column = pa.array(items, pa.float64())
    assert hash_column(column.slice(0, cut), column.slice(cut)) == hash_column(column)


@given(st.lists(st.none() | st.text(max_size=4), max_size=8), st.integers(0, 8))
def test_texts_agree_in_any_chunks_and_widths(items: list[str | None], cut: int) -> None:
    narrow, wide, view = (pa.array(items, k) for k in (pa.string(), pa.large_string(), pa.string_view()))
    assert hash_column(narrow.slice(0, cut), narrow.slice(cut)) == hash_column(wide) == hash_column(view)


@given(st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3), max_size=6))
def test_lists_agree_exactly_where_they_are_equal(items: list[Any]) -> None:
    kind = pa.list_(pa.int64())
    other = [list(reversed(i)) if i else i for i in items]
    same = hash_column(pa.array(items, kind)) == hash_column(pa.array(other, kind))
    assert same == (items == other)


def test_the_name_of_a_lists_items_does_not_count() -> None:
    item, element = (pa.list_(pa.field(n, pa.string())) for n in ("item", "element"))
    assert hash_column(pa.array([["a"]], item)) == hash_column(pa.array([["a"]], element))


def test_what_lies_under_nulls_does_not_count() -> None:
    valid = pa.array([True, False]).buffers()[1]
    floats = [
        pa.Array.from_buffers(pa.float64(), 2, [valid, pa.py_buffer(np.array([1.0, x]))])
        for x in (2.0, np.nan)
    ]
    texts = [
        pa.Array.from_buffers(
            pa.string(), 2, [valid, pa.py_buffer(np.array([0, 1, n], "i4")), pa.py_buffer(b"abc")]
        )
        for n in (1, 2, 3)
    ]
    child = pa.array([1, 2])
    structs = [
        pa.StructArray.from_arrays([c], ["a"], mask=pa.array([False, True]))
        for c in (child, pa.array([1, 3]))
    ]
    for same in (floats, texts, structs):
        assert len({hash_column(a) for a in same}) == 1


def test_the_bits_of_a_nan_do_not_count_and_the_sign_of_zero_does() -> None:
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000001], "u8").view("f8")
    assert hash_column(pa.array(nans[:1])) == hash_column(pa.array(nans[1:]))
    assert hash_column(pa.array([0.0])) != hash_column(pa.array([-0.0]))
    assert hash_column(pa.array([np.nan])) != hash_column(pa.array([None], pa.float64()))


def test_lists_and_their_items_stay_apart() -> None:
    kind = pa.list_(pa.int64())
    rows: list[Any] = [[[1], [2]], [[1, 2], []], [[], [1, 2]], [[1, 2], None], [None, [1, 2]], [[None], [1]]]
    assert len({hash_column(pa.array(r, kind)) for r in rows}) == len(rows)


def test_names_types_and_order_of_columns_count() -> None:
    one, two = pa.array([1]), pa.array([2])
    tables = [
        pa.table({"a": one, "b": two}),
        pa.table({"b": two, "a": one}),
        pa.table({"b": one, "a": two}),
        pa.table({"ab": one, "": two}),
        pa.table({"a": one.cast(pa.int32()), "b": two}),
        pa.table({"a": one}),
        pa.table({}),
    ]
    assert len({table_digest(table) for table in tables}) == len(tables)


def test_categories_count_in_their_order_and_the_width_of_codes_does_not() -> None:
    kinds = [
        pd.CategoricalDtype(c, ordered=o)
        for c in (["a", "b"], ["b", "a"], ["a", "b", "c"])
        for o in (False, True)
    ]
    frames = [pd.DataFrame({"a": pd.Categorical(["a", "b"], dtype=k)}) for k in kinds]
    assert len({hash_frame(f) for f in frames}) == len(frames)
    narrow = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["a", "b"])
    assert hash_column(narrow) == hash_column(
        pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), ["a", "b"])
    )


def test_zones_and_units_of_times_count() -> None:
    kinds = [pa.timestamp(u, z) for u in ("s", "us") for z in (None, "UTC", "Europe/Berlin")]
    assert len({hash_column(pa.array([NOW], k)) for k in kinds}) == len(kinds)


# pandas


def test_an_index_counts_unless_it_is_the_default_one() -> None:
    plain = pd.DataFrame({"a": [1, 2, 3]})
    frames = [
        plain,
        plain.set_axis([3, 4, 5]),
        plain.set_axis(pd.RangeIndex(1, 4)),
        plain.rename_axis("n"),
        plain.set_axis(["x", "y", "z"]),
    ]
    assert len({hash_frame(f) for f in frames}) == len(frames)
    assert hash_frame(plain.set_axis(pd.RangeIndex(3))) == table_digest(pa.table({"a": [1, 2, 3]}))


def test_a_slice_of_a_table_that_was_a_frame_agrees_with_the_frame_of_its_rows() -> None:
    table = frame_to_arrow(pd.DataFrame({"a": [1, 2, 3]}))
    assert table_digest(table.slice(0, 2)) == hash_frame(pd.DataFrame({"a": [1, 2]}))


def test_dtypes_and_names_that_only_pandas_has_count() -> None:
    values = [1, 2]
    frames = [
        pd.DataFrame({"a": pd.array(values, "int64")}),
        pd.DataFrame({"a": pd.array(values, "Int64")}),
        pd.DataFrame({1: values}),
        pd.DataFrame({"1": values}),
        pd.DataFrame({"a": values}).rename_axis("n", axis=1),
    ]
    assert len({hash_frame(f) for f in frames}) == len(frames)


def test_a_frame_agrees_after_it_went_through_arrow() -> None:
    frame = make_frame()
    assert hash_frame(frame_to_arrow(frame).to_pandas()) == hash_frame(frame)


def test_repeated_names_and_mixed_columns_are_refused() -> None:
    with pytest.raises(InputError, match="more than one column named a"):
        frame_to_arrow(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(InputError, match="Give each column one type"):
        frame_to_arrow(pd.DataFrame({"a": [1, "x"]}))


def test_a_union_is_refused() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(UnstableValueError, match="cast it"):
        hash_column(union)


@pytest.mark.parametrize("name", COLUMNS)
def test_digests_of_columns_are_what_they_were(name: str) -> None:
    assert hash_column(COLUMNS[name]) == json.loads(GOLDEN.read_text())["columns"][name]


@pytest.mark.slow
def test_hashing_copies_no_table() -> None:
    script = f"""
import resource, sys
import numpy as np, pyarrow as pa
from flowlearner.canonical_table import table_digest
rows = 1_000_000
table = pa.table({{f"c{{i}}": np.random.default_rng(i).random(rows) for i in range(20)}})
table_digest(table.slice(0, 10))
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage({resource.RUSAGE_SELF}).ru_maxrss * unit
table_digest(table)
print((resource.getrusage({resource.RUSAGE_SELF}).ru_maxrss * unit - before) / table.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.15


def test_dtypes_that_treat_missing_texts_differently_are_apart() -> None:
    plain = pd.DataFrame({"a": pd.Series(["x", None], dtype="str")})
    assert hash_frame(plain) != hash_frame(plain.astype("string"))
    assert hash_frame(plain) == hash_frame(plain.astype(object))


def test_attributes_of_a_frame_count() -> None:
    plain, marked = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})
    marked.attrs["unit"] = "m"
    assert hash_frame(plain) != hash_frame(marked)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pd.DataFrame({1: [1], "b": [2]}), "names of several types: int, str"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "Sparse pandas data"),
        (
            pd.DataFrame({"a": pd.Series([{"x": 1}], dtype=pd.ArrowDtype(pa.struct([("x", pa.int64())])))}),
            "does not read dtype struct",
        ),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_column(frame: pd.DataFrame, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        frame_to_arrow(frame)
