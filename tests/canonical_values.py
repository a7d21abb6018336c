"""Values of each kind that has a canonical encoding, made the same way in every process."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import uuid
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import scipy.sparse
import sklearn.compose
import sklearn.ensemble
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import xgboost


class Pair(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass
class Settings:
    rate: float
    names: list[str]


class Limits(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    depth: int = 3


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Shift(sklearn.base.TransformerMixin, sklearn.base.BaseEstimator):  # type: ignore[misc]
    def __init__(self, by: float = 1.0) -> None:
        self.by = by


def make_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [1, 2, 3],
            "share": [0.5, float("nan"), -0.0],
            "name": ["a", None, "c"],
            "late": [True, False, True],
            "when": pd.to_datetime(["2013-01-01", None, "2013-01-03"]).tz_localize("America/New_York"),
            "kind": pd.Categorical(["x", "y", "x"], categories=["y", "x"]),
        }
    )


def make_estimators() -> dict[str, Any]:
    x = np.arange(40, dtype=float).reshape(20, 2)
    y = np.arange(20) % 2
    frame = pd.DataFrame(x, columns=["a", "b"])
    scaler = sklearn.preprocessing.StandardScaler()
    return {
        "logistic": sklearn.linear_model.LogisticRegression(C=0.5).fit(x, y),
        "unfitted": sklearn.linear_model.LogisticRegression(C=0.5),
        "forest": sklearn.ensemble.RandomForestClassifier(3, random_state=0).fit(x, y),
        "boosting": sklearn.ensemble.HistGradientBoostingRegressor(max_iter=3, random_state=0).fit(x, y),
        "pipeline": sklearn.pipeline.make_pipeline(scaler, sklearn.linear_model.Ridge()).fit(x, y),
        "columns": sklearn.compose.ColumnTransformer([("s", scaler, ["a"])], remainder="passthrough").fit(
            frame
        ),
        "function": sklearn.preprocessing.FunctionTransformer(np.log1p),
        "transformer": Shift(2.0),
        "xgboost": xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(x, y),
        "xgboost unfitted": xgboost.XGBClassifier(n_estimators=2),
    }


def make_values() -> dict[str, Any]:
    """Return one value of each kind by name."""
    plain: dict[str, Any] = {
        "none": None,
        "true": True,
        "int": 1,
        "big int": 10**40,
        "float": 1.0,
        "zero": 0.0,
        "minus zero": -0.0,
        "nan": float("nan"),
        "complex": 1 + 2j,
        "str": "a",
        "bytes": b"a",
        "bytearray": bytearray(b"a"),
        "list": [1, [2, "a"]],
        "tuple": (1, 2),
        "dict": {"b": 1, "a": [2], 3: None},
        "set": {"x", "y", 3},
        "frozenset": frozenset({"x", "y"}),
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, 2]),
        "date": dt.date(2013, 1, 1),
        "time": dt.time(1, 2),
        "datetime": dt.datetime(2013, 1, 1, 5),
        "datetime with zone": dt.datetime(2013, 1, 1, 5, tzinfo=ZoneInfo("America/New_York")),
        "timedelta": dt.timedelta(days=1, microseconds=5),
        "decimal": decimal.Decimal("1.50"),
        "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=5),
        "path": pathlib.PurePosixPath("a/b"),
        "range": range(0, 10**30, 2),
        "pattern": re.compile("a+", re.IGNORECASE),
        "namedtuple": Pair(1, "a"),
        "dataclass": Settings(0.5, ["a"]),
        "pydantic": Limits(depth=4, more="x"),
        "enum": Color.RED,
        "flag": Rights.READ | Rights.WRITE,
    }
    arrays: dict[str, Any] = {
        "array": np.arange(6, dtype="int32").reshape(2, 3),
        "array of floats": np.array([1.0, np.nan, -0.0]),
        "array of texts": np.array(["a", "bc"]),
        "array of times": np.array(["2013-01-01", "NaT"], dtype="datetime64[ns]"),
        "array of objects": np.array([1, "a", None], dtype=object),
        "structured array": np.array([(1, 2.0)], dtype=[("a", "i1"), ("b", "f8")]),
        "masked array": np.ma.masked_array([1, 2], [True, False]),
        "numpy scalar": np.float64(1.0),
        "numpy type": np.dtype("int32"),
        "generator": np.random.default_rng(0),
        "random state": np.random.RandomState(0),
        "sparse": scipy.sparse.csr_matrix([[0, 1], [2, 0]]),
    }
    tables: dict[str, Any] = {
        "frame": make_frame(),
        "series": pd.Series([1, 2], name="a"),
        "index": pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["n", None]),
        "categorical": pd.Categorical(["a", "b"]),
        "timestamp": pd.Timestamp("2013-01-01", tz="UTC"),
        "missing": pd.NaT,
        "arrow": pa.table({"a": pa.array([[1], None, [2, 3]]), "b": pa.array([{"x": 1}, None, {"x": None}])}),
        "arrow array": pa.array([1, None]),
    }
    return plain | arrays | tables | make_estimators()
