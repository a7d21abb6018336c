"""Every estimator of scikit-learn and xgboost that can be fitted comes back as it was stored."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits

from flowlearner import InputError, Model
from flowlearner.artifacts import Source, choose_codec, get_codec
from flowlearner.testing.codecs import write_bytes

# So little data lets many of them warn, and some are deprecated.
pytestmark = pytest.mark.filterwarnings("ignore")
CLASSES = {name: cls for name, cls in all_estimators() if issubclass(cls, BaseEstimator)} | {
    name: cls
    for name, cls in vars(xgboost).items()
    if isinstance(cls, type) and issubclass(cls, xgboost.XGBModel)
}
# What it is made of leads round in a circle, which no library stores without pickle.
REFUSED = ("Birch",)
METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform")
ROWS = np.random.default_rng(0).normal(size=(40, 4))
LABELS = (ROWS[:, 0] > 0).astype(int)
# Rows and target, of several kinds: each estimator takes the first that it can be fitted to.
DATA: tuple[tuple[Any, ...], ...] = (
    (ROWS, LABELS),
    (abs(ROWS), LABELS),
    (abs(ROWS), abs(ROWS[:, 0])),
    (ROWS, ROWS[:, :2]),
    (ROWS, np.column_stack([LABELS, 1 - LABELS])),
    (["a late flight", "in time"] * 5,),
    ([{"a": 1, "b": 2}] * 5,),
    (ROWS[:, 0], LABELS),
    (LABELS,),
    ([["a"], ["a", "b"]],),
    (ROWS @ ROWS.T,),
    (ROWS.reshape(1, 16, 10),),
)
# So that fitting takes no longer than it must, and is the same each time.
SMALL = {"random_state": 0, "n_estimators": 3, "n_jobs": 1, "cv": 2}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread, in child processes too: sums of floats depend on how many threads share them."""
    with threadpool_limits(1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def make(cls: type) -> Any:
    """Make an estimator that has not been fitted; those that are made of others get simple ones."""
    inner = Ridge() if "Regressor" in cls.__name__ else LogisticRegression()
    if cls.__name__ == "FrozenEstimator":
        inner.fit(*DATA[0])
    arguments = {
        "estimator": inner,
        "estimators": [("first", inner)],
        "steps": [("scale", StandardScaler()), ("model", inner)],
        "transformer_list": [("scale", StandardScaler())],
        "transformers": [("scale", StandardScaler(), [0, 1])],
        "param_grid": {"C": [0.1, 1.0]},
        "param_distributions": {"C": [0.1, 1.0]},
        "dictionary": np.eye(4),
    }
    names = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    given = {name: arguments[name] for name in names if name in arguments}
    if cls.__name__ == "SelfTrainingClassifier":
        given["estimator"] = inner
    if cls.__name__.endswith("RandomProjection"):
        given["n_components"] = 2
    made = cls(**given)
    made.set_params(**{k: v for k, v in SMALL.items() if k in made.get_params(deep=False)})
    return made


def fit(cls: type) -> tuple[Any, Any]:
    """Return a fitted estimator and the rows that it was fitted to and can be used with.

    Raises:
        AssertionError: there are none.
    """
    reasons = []
    for rows, *target in DATA:
        more = {"qid": np.repeat([0, 1], len(rows) // 2)} if cls is xgboost.XGBRanker else {}
        try:
            model = make(cls).fit(rows, *target, **more)
            predict(model, rows)
            return model, rows
        except Exception as error:  # noqa: BLE001 - an estimator may say in any way that it takes other data
            reasons.append(f"{type(error).__name__}: {error}")
    raise AssertionError(f"{cls.__name__} cannot be fitted:\n" + "\n".join(reasons))


def compute_hashes() -> dict[str, str]:
    """Return the content hash of every estimator, fitted here; searches keep how long they took."""
    return {
        name: choose_codec(Model, model).encode(model, Model).hash
        for name, cls in CLASSES.items()
        if name not in REFUSED and not name.endswith("SearchCV")
        for model, _ in [fit(cls)]
    }


def predict(model: Any, rows: Any) -> dict[str, Any]:
    """Return what a model gives for rows, by method."""
    found = {}
    # Some take a shorter way for the very array that they were fitted to.
    rows = rows.copy()
    for name in METHODS:
        if hasattr(model, name):
            result = getattr(model, name)(rows)
            found[name] = result.toarray() if hasattr(result, "toarray") else np.asarray(result)
    return found


@pytest.mark.parametrize("name", [n for n in CLASSES if n not in REFUSED])
def test_an_estimator_comes_back_whole(name: str) -> None:
    model, rows = fit(CLASSES[name])
    codec = choose_codec(Model, model)
    encoded = codec.encode(model, Model)
    loaded = get_codec(encoded.codec).decode(Source(data=write_bytes(encoded)), Model, encoded.type)
    assert type(loaded) is type(model)
    assert codec.encode(loaded, Model).hash == encoded.hash
    # As text: a missing value that is NaN equals itself there.
    assert repr(sorted(loaded.get_params().items())) == repr(sorted(model.get_params().items()))
    expected, found = predict(model, rows), predict(loaded, rows)
    assert found.keys() == expected.keys()
    for method, result in expected.items():
        np.testing.assert_array_equal(found[method], result)


@pytest.mark.parametrize("name", REFUSED)
def test_an_estimator_that_cannot_be_stored_says_so(name: str) -> None:
    model, _ = fit(CLASSES[name])
    with pytest.raises(InputError, match="the model cannot be stored"):
        choose_codec(Model, model).encode(model, Model)


@pytest.mark.slow
def test_another_process_fits_every_estimator_to_the_same_hash() -> None:
    script = f"import json, {__name__} as m; print(json.dumps(m.compute_hashes()))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == compute_hashes()
