"""The codecs of tables, series and arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flowlearner import ArtifactError, Columns, InputError
from flowlearner.artifacts import ArtifactStore, Source, choose_codec, get_codec
from flowlearner.testing.codecs import Case, CodecConformance, write_bytes


def make_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "float": [1.5, math.nan, -0.0, math.inf],
            "whole": np.arange(4, dtype=np.int64),
            "small": np.arange(4, dtype=np.int8),
            "flag": [True, False, True, True],
            "text": ["a", None, "ä\n", ""],
            "at": pd.date_range("2013-01-01", periods=4, freq="h"),
            "zoned": pd.date_range("2013-01-01", periods=4, freq="h", tz="America/New_York"),
            "lag": pd.to_timedelta([1, 2, None, 4], unit="s"),
            "kind": pd.Categorical(["x", "y", "x", None], categories=["y", "x", "z"]),
            "maybe": pd.array([1, None, 3, 4], dtype="Int64"),
            "money": [Decimal("1.10"), None, Decimal("2.20"), Decimal("3.00")],
            "day": [date(2013, 1, 1), None, date(2013, 1, 3), date(2013, 1, 4)],
            "list": [[1, 2], [], None, [3]],
        }
    )


def set_first_cells(frame: pd.DataFrame) -> None:
    """Change every column in place, as a consumer may."""
    for i, name in enumerate(frame.columns):
        if str(name) in ("money", "day", "list"):
            frame.iat[0, i] = frame.iat[3, i]
        else:
            frame.iloc[0, i] = frame.iloc[3, i]
    frame["new"] = 1


def set_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index("text")


class TestTableCodec(CodecConformance):
    codec = get_codec("table/1")

    def make_cases(self) -> Mapping[str, Case]:
        declared = pd.DataFrame
        return {
            "every kind of column": Case(make_frame, declared, set_first_cells),
            "contract": Case(
                lambda: pd.DataFrame({"x": [1.0, 2.0]}), Annotated[declared, Columns(x=float)], set_first_row
            ),
            "optional": Case(lambda: pd.DataFrame({"x": [1.0, 3.0]}), declared | None, set_first_row),
            "index": Case(lambda: make_frame().set_index("at"), declared),
            "two indexes": Case(
                lambda: make_frame()[["whole", "small", "flag"]].set_index(["whole", "flag"]), declared
            ),
            "named range": Case(
                lambda: pd.DataFrame({"x": [1, 2]}, index=pd.RangeIndex(5, 7, name="i")), declared
            ),
            "no rows": Case(lambda: make_frame().iloc[:0], declared),
            "no columns": Case(lambda: pd.DataFrame(index=range(3)), declared),
            "nothing": Case(pd.DataFrame, declared),
            "numbers as names": Case(lambda: pd.DataFrame({0: [1], 1: [2]}), declared),
            "two levels of names": Case(
                lambda: pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])),
                declared,
            ),
            "many rows": Case(
                lambda: pd.DataFrame({"x": np.arange(200_000.0), "n": np.arange(200_000)}),
                declared,
                set_first_row,
            ),
        }

    def is_equal(self, left: Any, right: Any) -> bool:
        try:
            pd.testing.assert_frame_equal(left, right, check_freq=False)
        except AssertionError:
            return False
        return True


def set_first_row(frame: pd.DataFrame) -> None:
    frame.iloc[0, 0] = 99


class TestArrowTables(CodecConformance):
    codec = get_codec("table/1")

    def make_cases(self) -> Mapping[str, Case]:
        return {
            "plain": Case(lambda: pa.table({"x": [1, 2, None], "s": ["a", None, "c"]}), pa.Table),
            "chunks": Case(lambda: pa.table({"x": pa.chunked_array([[1], [2, 4]])}), pa.Table),
            "nested": Case(
                lambda: pa.table({"x": [{"a": 1}, {"a": None}, None], "l": [[1.5], [], None]}), pa.Table
            ),
            "slice": Case(
                lambda: pa.table({"x": list(range(100)), "t": list("ab") * 50}).slice(3, 7), pa.Table
            ),
            "empty": Case(lambda: pa.table({"x": pa.array([], pa.float32())}), pa.Table),
        }

    def is_equal(self, left: Any, right: Any) -> bool:
        return bool(left.equals(right))


class TestSeriesCodec(CodecConformance):
    codec = get_codec("series/1")

    def make_cases(self) -> Mapping[str, Case]:
        return {
            "named": Case(
                lambda: pd.Series([1.0, 2.0], name="x"), pd.Series, lambda s: s.__setitem__(0, 9.0)
            ),
            "unnamed": Case(lambda: pd.Series([1.0, 2.0]), pd.Series),
            "called value": Case(lambda: pd.Series([1.0, 2.0], name="value"), pd.Series),
            "index": Case(lambda: pd.Series([1, 2], index=["a", "b"]), pd.Series),
            "text": Case(lambda: pd.Series(["a", None]), pd.Series),
        }

    def is_equal(self, left: Any, right: Any) -> bool:
        return bool(left.equals(right) and left.name == right.name)


class TestArrayCodec(CodecConformance):
    codec = get_codec("array/1")

    def make_cases(self) -> Mapping[str, Case]:
        def change(array: Any) -> None:
            array.flat[0] = 99

        return {
            "vector": Case(lambda: np.arange(5.0), np.ndarray, change),
            "generic": Case(lambda: np.arange(6.0), np.ndarray[Any, np.dtype[np.float64]], change),
            "matrix": Case(lambda: np.arange(6).reshape(2, 3), np.ndarray, change),
            "by columns": Case(lambda: np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.ndarray, change),
            "strided": Case(lambda: np.arange(20.0)[::3], np.ndarray, change),
            "large": Case(lambda: np.arange(300_000.0), np.ndarray, change),
            "no items": Case(lambda: np.empty((0, 3)), np.ndarray),
            "no dimensions": Case(lambda: np.array(3.0), np.ndarray),
            "nan": Case(lambda: np.array([math.nan, 1]), np.ndarray),
            "bool": Case(lambda: np.array([True, False]), np.ndarray),
            "complex": Case(lambda: np.array([1 + 2j]), np.ndarray),
            "text": Case(lambda: np.array(["ab", "c"]), np.ndarray),
            "times": Case(lambda: np.array(["2013-01-01", "NaT"], "M8[s]"), np.ndarray),
            "fields": Case(lambda: np.array([(1, 2.0)], [("a", "i1"), ("ü", "f8")]), np.ndarray),
        }

    def is_equal(self, left: Any, right: Any) -> bool:
        if left.dtype != right.dtype or left.shape != right.shape:
            return False
        return bool(np.array_equal(left, right, equal_nan=left.dtype.kind in "fcmM"))


def encode(value: Any, declared: Any = Any) -> Any:
    return choose_codec(declared, value).encode(value, declared)


def load(value: Any, stored: Any, wanted: Any) -> Any:
    encoded = encode(value, stored)
    return get_codec(encoded.codec).decode(Source(data=write_bytes(encoded)), wanted, encoded.type)


@pytest.mark.parametrize("wanted", [pa.Table, Annotated[pa.Table, Columns("x")], pa.Table | None])
def test_the_consumer_gets_the_type_that_it_declares(wanted: Any) -> None:
    frame = pd.DataFrame({"x": [1, 2]})
    assert isinstance(load(frame, pd.DataFrame, wanted), pa.Table)
    assert isinstance(load(pa.table({"x": [1, 2]}), pa.Table, pd.DataFrame), pd.DataFrame)
    assert isinstance(load(frame, pd.DataFrame, Any), pd.DataFrame)
    assert isinstance(load(frame, pd.DataFrame, pa.Table | pd.DataFrame), pd.DataFrame)


def test_chunks_are_no_part_of_the_content() -> None:
    one = pa.table({"x": pa.chunked_array([[1, 2, 3]])})
    two = pa.table({"x": pa.chunked_array([[1], [2, 3]])})
    assert encode(one).hash == encode(two).hash


def test_a_frame_and_the_arrow_table_of_its_content_have_one_hash() -> None:
    assert encode(pd.DataFrame({"x": [1, 2]})).hash == encode(pa.table({"x": [1, 2]})).hash


def test_columns_without_nulls_stay_in_the_mapped_file(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path), 0)
    artifact = store.put(encode(pd.DataFrame({"x": np.arange(1000.0), "n": np.arange(1000)})))
    loaded = get_codec("table/1").decode(store.open(artifact), pd.DataFrame, artifact.type)
    for name in ("x", "n"):
        values = loaded[name].to_numpy(copy=False)
        assert not values.flags.owndata


def test_a_part_of_a_loaded_table_can_be_changed_when_the_table_is_gone(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path), 0)
    artifact = store.put(encode(pd.DataFrame({"x": np.arange(1000.0), "n": np.arange(1000)})))
    part = get_codec("table/1").decode(store.open(artifact), pd.DataFrame, artifact.type)[["n"]]
    part.iloc[0, 0] = 7
    part["n"] += 1
    assert part["n"].iloc[0] == 8
    store.check(artifact)


def test_a_repeated_column_name_is_the_users_error() -> None:
    with pytest.raises(InputError, match="more than one column named x"):
        encode(pd.DataFrame([[1, 2]], columns=["x", "x"]))


def test_an_array_of_objects_is_refused_with_a_cure() -> None:
    with pytest.raises(InputError, match="Give a list or a table"):
        encode(np.array([{}, None]))


def test_bytes_of_an_array_that_was_pickled_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ArtifactError, match="not an array"):
        get_codec("array/1").decode(Source(path=str(tmp_path / "x.npy")), np.ndarray, "numpy.ndarray")


def test_another_value_than_declared_is_the_users_error() -> None:
    with pytest.raises(InputError, match=r"expected a pandas.DataFrame or pyarrow.Table, found dict"):
        get_codec("table/1").encode({}, pd.DataFrame)


# Previews


def test_a_preview_of_a_table_has_schema_first_rows_and_statistics() -> None:
    frame = pd.DataFrame(
        {"x": [1.0, 2.0, 3.0, math.nan], "s": ["a", "b", "a", None], "f": [True, False, True, True]}
    )
    preview = encode(frame).make_preview()
    assert (preview["kind"], preview["rows"], preview["column_count"]) == ("table", 4, 3)
    x, s, f = preview["columns"]
    assert (x["name"], x["type"], x["nulls"], x["min"], x["max"], x["mean"], x["std"]) == (
        "x",
        "double",
        1,
        1,
        3,
        2,
        1,
    )
    assert x["quantiles"]["0.5"] == 2
    assert sum(x["histogram"]["counts"]) == 3
    assert (s["type"], s["nulls"], s["distinct"], s["top"]) == ("string", 1, 2, [["a", 2], ["b", 1]])
    assert (f["distinct"], f["top"]) == (2, [[True, 3], [False, 1]])
    assert preview["head"] == [[1.0, "a", True], [2.0, "b", False], [3.0, "a", True], [None, None, True]]


def test_a_preview_shows_no_more_than_twenty_rows_and_cuts_long_texts() -> None:
    preview = encode(pd.DataFrame({"s": ["x" * 1000] * 50})).make_preview()
    assert len(preview["head"]) == 20
    assert len(preview["head"][0][0]) == 100


def test_a_preview_of_odd_values_is_still_json() -> None:
    table = pa.table(
        {
            "inf": [math.inf, -math.inf, math.nan],
            "huge": [1e308, -1e308, 0.0],
            "big": pa.array([2**63, 2**64 - 1, 0], pa.uint64()),
            "bytes": [b"\xff", b"a", None],
            "money": pa.array([Decimal("1.5"), None, Decimal("2.5")]),
            "nested": [{"a": [1]}, None, {"a": []}],
            "none": pa.nulls(3),
            "day": [date(2013, 1, 1), None, date(2014, 1, 1)],
            "kind": pa.array(["a", "b", None]).dictionary_encode(),
            "same": [1, 1, 1],
            "whole": pa.array([1, None, 3], pa.int8()),
        }
    )
    preview = encode(table).make_preview()
    assert json.loads(json.dumps(preview, allow_nan=False))["rows"] == 3
    columns = {c["name"]: c for c in preview["columns"]}
    assert columns["inf"]["max"] == "inf"
    assert columns["day"]["min"] == "2013-01-01"
    assert columns["kind"]["distinct"] == 2
    assert columns["money"]["mean"] == 2.0


def test_a_wide_table_is_cut_in_its_preview() -> None:
    preview = encode(pd.DataFrame({f"c{i}": [i] for i in range(500)})).make_preview()
    assert preview["column_count"] == 500
    assert len(preview["columns"]) == len(preview["head"][0]) == 200
