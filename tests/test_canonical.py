"""The canonical encoding of values: equal ones agree, in every process, and different ones differ."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
import scipy.sparse
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from flowlearner import canonical
from flowlearner.canonical import digest, digest_parts, encode, register_encoder
from flowlearner.errors import UnstableValueError
from tests.canonical_values import Color, Limits, Pair, Rights, Settings, Shift, make_estimators, make_values
from tests.fingerprint_project import imported

GOLDEN = Path(__file__).parent / "golden" / "digests.json"
VALUES = make_values()
PINNED = [name for name in VALUES if name not in make_estimators()]

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
)
objects = (
    st.builds(Pair, st.integers(), st.text(max_size=3))
    | st.builds(Settings, st.floats(), st.lists(st.text(max_size=3), max_size=3))
    | st.sampled_from([*Color, *Rights, Rights(0), Rights.READ | Rights.WRITE])
    | st.text("ab", max_size=3).map(PurePosixPath)
)
arrays = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "?", "M8[s]"]).flatmap(
    lambda dtype: numpy_strategies.arrays(dtype, numpy_strategies.array_shapes(max_dims=2, max_side=3))
)
keys = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
values = st.recursive(
    atoms | objects | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=12,
)


def describe(value: Any) -> Any:
    """An independent statement of what makes values one: type and content, sets and dicts without order."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return kind, value.dtype.str, value.shape, describe(value.ravel().tolist())
    if isinstance(value, enum.Enum):
        return kind, value.value
    if dataclasses.is_dataclass(value):
        return kind, tuple(describe(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(describe(v) for v in value)
    if isinstance(value, dict):
        return kind, frozenset((describe(k), describe(v)) for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(describe(v) for v in value)
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, complex):
        return kind, describe(value.real), describe(value.imag)
    if isinstance(value, decimal.Decimal):
        return kind, value.as_tuple()
    return kind, value


# Properties


@given(values)
def test_a_copy_has_the_same_encoding(value: Any) -> None:
    assert encode(copy.deepcopy(value)) == encode(value)
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@given(values, values)
@settings(max_examples=300)
def test_values_agree_exactly_where_they_are_equal_in_type_and_content(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == (describe(a) == describe(b))


@given(st.lists(values, min_size=2, max_size=20))
def test_different_values_have_different_encodings(found: list[Any]) -> None:
    assert len({encode(v) for v in found}) == len({describe(v) for v in found})


@given(st.dictionaries(keys, values, max_size=6), st.randoms())
def test_the_order_of_a_dict_does_not_count(value: dict[Any, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(value)


@given(st.lists(st.integers() | st.text(), unique=True, max_size=6))
def test_the_order_of_a_set_does_not_count(items: list[Any]) -> None:
    backwards = set()
    for item in reversed(items):
        backwards.add(item)
    assert digest(set(items)) == digest(backwards)


@given(st.lists(st.floats(), max_size=20), st.sampled_from(["<f8", ">f8", "<f4", "<f2"]))
def test_an_array_agrees_with_itself_in_another_layout(items: list[float], dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.array(items, dtype=dtype)
    spread = np.zeros(len(array) * 2, dtype=dtype)[::2]
    spread[:] = array
    assert digest(spread) == digest(array) == digest(array.astype(array.dtype.newbyteorder()))


Compute = Callable[[list[Any] | None], list[str]]
CHILD = """
import pickle, struct, sys
from flowlearner.canonical import digest
from tests.canonical_values import make_values
while size := sys.stdin.buffer.read(8):
    found = pickle.loads(sys.stdin.buffer.read(*struct.unpack("<Q", size)))
    if found is None:
        found = make_values().values()
    print(*map(digest, found), flush=True)
"""


@pytest.fixture(scope="module", params=["1", "2"])
def compute_there(request: pytest.FixtureRequest) -> Iterator[Compute]:
    """What gives the digests of values in another process, in which texts have other hashes.

    Given None, it is those of the values of each kind, which that process makes itself.
    """
    environment = {**os.environ, "PYTHONHASHSEED": request.param}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def compute(found: list[Any] | None) -> list[str]:
        data = pickle.dumps(found)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(struct.pack("<Q", len(data)) + data)
        child.stdin.flush()
        return child.stdout.readline().decode().split()

    # To import what values need takes seconds, which are for no example to wait.
    compute(None)
    yield compute
    child.communicate()
    assert child.returncode == 0


@pytest.mark.slow
def test_another_process_agrees_on_a_value_of_each_kind(compute_there: Compute) -> None:
    assert compute_there(None) == [digest(value) for value in VALUES.values()]


@pytest.mark.slow
@given(st.lists(values, min_size=2, max_size=10))
def test_another_process_agrees_exactly_where_values_are_equal(
    compute_there: Compute, found: list[Any]
) -> None:
    here, there = [digest(v) for v in found], compute_there(found)
    assert here == there
    for i, j in itertools.combinations(range(len(found)), 2):
        assert (here[i] == there[j]) == (describe(found[i]) == describe(found[j]))


# Kinds


def test_one_value_of_each_kind_has_an_encoding_of_its_own() -> None:
    assert len({digest(v) for v in VALUES.values()}) == len(VALUES)


@pytest.mark.parametrize("name", PINNED)
def test_digests_are_what_they_were(name: str) -> None:
    # A change here loses every result that any user has cached: raise canonical.FORMAT and say so.
    assert digest(VALUES[name]) == json.loads(GOLDEN.read_text())["values"][name]


def test_a_hash_of_parts_is_what_it_was() -> None:
    expected = json.loads(GOLDEN.read_text())["parts"]
    assert digest_parts("node-key/1", "abc", b"\x00") == expected


@dataclasses.dataclass
class Other:
    rate: float
    names: list[str]


class Number(enum.IntEnum):
    ONE = 1


class Empty(pydantic.BaseModel):
    pass


def nan_of(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(value)


DIFFERENT = {
    "1, 1.0 and True": [1, 1.0, True, np.int64(1), np.float64(1), decimal.Decimal(1), Number.ONE, "1"],
    "zeros": [0, 0.0, -0.0, 0j, complex(0.0, -0.0), complex(-0.0, 0.0)],
    "decimals that print otherwise": [decimal.Decimal(t) for t in ("1", "1.0", "1E+1", "10", "-0", "0")],
    "containers": [[1, 2], (1, 2), {1, 2}, frozenset({1, 2}), {1: 2}, np.array([1, 2]), [[1], 2], [[1, 2]]],
    "empty containers": [[], (), {}, set(), frozenset(), "", b"", bytearray(), None],
    "nesting": [[[], []], [[[]]], [[]], ["a", "b"], ["ab"], [["a"], "b"]],
    "keys and values": [{"a": "b"}, {"b": "a"}, {"a": None}, {None: "a"}],
    "texts and bytes": ["a", b"a", bytearray(b"a"), Path("a")],
    "classes of equal fields": [Settings(1.0, []), Other(1.0, [])],
    "named and plain tuples": [Pair(1, "a"), (1, "a"), Pair(1, "b")],
    "pydantic extras": [Limits(), Limits(more=1), Limits(more=2), Limits(depth=4), Empty()],
    "members": [Color.RED, Color.BLUE, Rights.READ, Rights.READ | Rights.WRITE, Rights(0)],
    "times with and without a zone": [
        dt.datetime(2013, 1, 1),
        dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2013, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.date(2013, 1, 1),
        pd.Timestamp("2013-01-01"),
        pd.Timestamp("2013-01-01", tz="UTC"),
    ],
    "array shapes": [
        np.zeros(4),
        np.zeros((2, 2)),
        np.zeros((4, 1)),
        np.zeros((1, 4)),
        np.zeros((0, 4)),
        np.zeros(0),
    ],
    "array types": [
        np.zeros(2, t) for t in ("f8", "f4", "i8", "u8", "?", "M8[s]", "M8[ns]", "m8[s]", "O", "U1", "S1")
    ],
    "complex arrays with NaN": [np.array([complex(math.nan, i)]) for i in (0, 1)]
    + [np.array([complex(1, math.nan)])],
    "structured arrays": [
        np.zeros(1, [("a", "i4")]),
        np.zeros(1, [("b", "i4")]),
        np.zeros(1, [("a", "i4"), ("b", "i4")]),
    ],
    "masks": [np.ma.masked_array([1, 2], m) for m in ([0, 0], [0, 1], [1, 1])] + [np.array([1, 2])],
    "sparse": [
        scipy.sparse.csr_matrix([[1, 0]]),
        scipy.sparse.csc_matrix([[1, 0]]),
        scipy.sparse.csr_matrix([[0, 1]]),
    ],
    "series": [pd.Series([1, 2], name=n) for n in (None, "value", "a", 1, "1")]
    + [pd.Series([1, 2], index=[1, 0])],
    "indexes": [pd.Index([1, 2], name=n) for n in (None, "a")] + [pd.Index([2, 1]), pd.Index(["1", "2"])],
    "generators": [np.random.default_rng(0), np.random.default_rng(1)],
    "bunches": [sklearn.utils.Bunch(a=1), sklearn.utils.Bunch(a=2), sklearn.utils.Bunch()],
    "transformers of the user": [Shift(1.0), Shift(2.0)],
    "functions in estimators": [
        sklearn.preprocessing.FunctionTransformer(f) for f in (np.log, np.log1p, np.mean, None)
    ],
    "parameters of estimators": [sklearn.linear_model.Ridge(1.0), sklearn.linear_model.Ridge(2.0)],
    "fits": [
        sklearn.linear_model.Ridge(),
        *(sklearn.linear_model.Ridge().fit([[1], [2]], y) for y in ([1, 2], [1, 3])),
    ],
    "xgboost parameters": [xgboost.XGBClassifier(max_depth=d) for d in (2, 3)]
    + [xgboost.XGBRegressor(max_depth=2)],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_these_stay_apart(what: str) -> None:
    found = DIFFERENT[what]
    assert len({digest(v) for v in found}) == len(found)


def used_sparse() -> Any:
    matrix = scipy.sparse.csr_matrix([[0, 1], [2, 0]])
    assert matrix.has_sorted_indices
    return matrix


EQUAL = {
    "NaNs of other bits": [math.nan, -math.nan, nan_of(0x7FF8000000000001), nan_of(0xFFF8000000000000)],
    "NaNs in arrays": [np.array([1.0, nan_of(b)]) for b in (0x7FF8000000000000, 0xFFF8000000000003)],
    "memory order": [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))],
    "what lies under a mask": [np.ma.masked_array([1, 2], [1, 0]), np.ma.masked_array([5, 2], [1, 0])],
    "padding of structured arrays": [
        np.array([(1, 2.0)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=align))
        for align in (False, True)
    ],
    "sparse of other order": [
        used_sparse(),
        scipy.sparse.csr_matrix((np.array([1, 1, 1]), ([0, 1, 1], [1, 0, 0])), shape=(2, 2)),
        scipy.sparse.csr_matrix([[0, 1], [2, 0]]),
    ],
    "text of a decimal in another context": [decimal.Decimal("1E+3"), decimal.Decimal("1e3")],
    "a frame as Arrow": [pd.DataFrame({"a": [1, 2]}), pa.table({"a": [1, 2]})],
    "range indexes": [pd.Index([0, 1, 2]), pd.RangeIndex(3)],
}


@pytest.mark.parametrize("what", EQUAL)
def test_these_agree(what: str) -> None:
    assert len({digest(v) for v in EQUAL[what]}) == 1


def test_an_estimator_fitted_twice_agrees() -> None:
    again = make_estimators()
    assert {n: digest(v) for n, v in again.items()} == {n: digest(VALUES[n]) for n in again}


def test_an_estimator_agrees_after_it_was_used() -> None:
    for name, model in make_estimators().items():
        before = digest(model)
        if "unfitted" not in name and hasattr(model, "predict"):
            model.predict(np.zeros((2, 2)))
        assert digest(model) == before, name


def test_a_users_class_counts_without_its_module() -> None:
    def make(module: str) -> Any:
        cls = dataclasses.make_dataclass("Point", ["x"])
        cls.__module__ = module
        return cls(1)

    assert digest(make("a")) == digest(make("b.c"))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (object(), "value: "),
        ({"a": [1, object()]}, "value['a'][1]: "),
        (Settings(0.5, [threading.Lock()]), "value.names[0]: "),
        ([lambda: 1], "value[0]: "),
        (np.zeros(1, dtype="longdouble"), "value: "),
        (xgboost.DMatrix(np.zeros((1, 1))), "value: "),
        ((i for i in ()), "value: "),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_value_without_encoding_is_refused_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(UnstableValueError) as caught:
        digest(value)
    assert str(caught.value).startswith(place)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(UnstableValueError, match=r"value\[1\]: the value contains itself"):
        digest(value)


def test_a_value_that_is_twice_in_another_does_not_contain_itself() -> None:
    part = [1]
    assert digest([part, part]) == digest([[1], [1]])


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnstableValueError, match="nested too deeply"):
        digest(value)
    while value:
        value = value[0]


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


def test_a_registered_type_is_encoded_as_its_function_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "_encoders", {})
    register_encoder(f"{Celsius.__module__}.Celsius", lambda c: c.degrees)
    assert digest(Celsius(1.0)) == digest(Celsius(1.0))
    assert len({digest(Celsius(1.0)), digest(Celsius(2.0)), digest(1.0)}) == 3


METHOD = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Point:
    x: int

    def shift(self):
        return helper(self.x)

def helper(x):
    return x + {}
"""


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {v}, lambda v: {"a": v}])
def test_the_code_of_a_users_class_is_a_part_of_its_objects(wrap: Any, tmp_path: Path) -> None:
    digests = []
    for i, text in enumerate(
        (METHOD.format(1), "# Moved.\n" + METHOD.format("1  # a comment"), METHOD.format(2))
    ):
        with imported(tmp_path / str(i), {f"points{i}.py": text}, f"points{i}") as module:
            digests.append(digest(wrap(module.Point(1))))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_what_a_defaultdict_calls_is_named_only_where_it_is_pythons_own() -> None:
    assert digest(collections.defaultdict(list)) != digest(collections.defaultdict(int))
    with pytest.raises(UnstableValueError, match="what a defaultdict calls for a new key"):
        digest(collections.defaultdict(lambda: 1))
