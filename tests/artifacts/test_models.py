"""The codec of models: whole, without pickle, and with nothing that the bytes name being run."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.base
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits
from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, train

from flowlearner import ArtifactError, InputError, Model
from flowlearner.artifacts import Source, choose_codec, find_codec, get_codec
from flowlearner.testing.codecs import Case, CodecConformance, write_bytes
from tests.artifacts.shapes import AddOne


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread, in child processes too: sums of floats depend on how many threads share them.

    Threads that wait for each other, on a machine that does other things too, also take minutes.
    """
    with threadpool_limits(1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def make_rows() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"x": random.normal(size=80), "y": random.normal(size=80), "z": random.normal(size=80)}
    )
    return rows, (rows["x"] + rows["y"] > 0).to_numpy().astype(int)


def fit(model: Any) -> Any:
    rows, target = make_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, target)


def fit_mixed() -> Any:
    rows, target = make_rows()
    rows = rows.assign(k=np.where(target, "a", "?"))
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values="?"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = ColumnTransformer([("numbers", numbers, ["x", "y"]), ("words", words, ["k"])])
    return Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(rows, target)


def fit_stopped() -> Any:
    rows, target = make_rows()
    model = XGBClassifier(n_estimators=50, early_stopping_rounds=2, learning_rate=0.9, random_state=0)
    return model.fit(rows[:60], target[:60], eval_set=[(rows[60:], target[60:])], verbose=False)


def fit_text_classes() -> Any:
    rows, target = make_rows()
    return RandomForestClassifier(3, random_state=0).fit(rows, np.where(target, "late", "in time"))


def fit_booster() -> Any:
    rows, target = make_rows()
    return train({"max_depth": 2, "objective": "binary:logistic", "seed": 0}, DMatrix(rows, target), 4)


def fit_ranker() -> Any:
    rows, target = make_rows()
    return XGBRanker(n_estimators=3, random_state=0).fit(rows, target, qid=np.repeat([0, 1], 40))


def boost(**params: Any) -> Any:
    return XGBClassifier(n_estimators=4, max_depth=3, random_state=0, n_jobs=1, **params)


class TestModelCodec(CodecConformance):
    codec = get_codec("model/1")

    def make_cases(self) -> Mapping[str, Case]:
        makers: dict[str, Any] = {
            "not fitted": lambda: LogisticRegression(C=0.3),
            "linear": lambda: fit(LinearRegression()),
            "ridge": lambda: fit(Ridge(alpha=0.3)),
            "logistic": lambda: fit(LogisticRegression()),
            "tree": lambda: fit(DecisionTreeClassifier(max_depth=3, random_state=0)),
            "regression tree": lambda: fit(DecisionTreeRegressor(max_depth=3, random_state=0)),
            "forest": lambda: fit(RandomForestClassifier(5, random_state=0)),
            "regression forest": lambda: fit(RandomForestRegressor(5, random_state=0)),
            "text classes": fit_text_classes,
            "boosting": lambda: fit(GradientBoostingClassifier(n_estimators=3, random_state=0)),
            "histogram": lambda: fit(HistGradientBoostingClassifier(max_iter=3, random_state=0)),
            "histogram regression": lambda: fit(HistGradientBoostingRegressor(max_iter=3, random_state=0)),
            "neighbours": lambda: fit(KNeighborsClassifier()),
            "vectors": lambda: fit(SVC()),
            "pipeline": fit_mixed,
            "selection": lambda: fit(make_pipeline(SelectKBest(f_classif, k=2), LogisticRegression())),
            "function": lambda: fit(make_pipeline(FunctionTransformer(np.tanh), Ridge())),
            "words": lambda: TfidfVectorizer().fit(["late flight", "in time"]),
            "stack": lambda: fit(
                StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))], cv=2)
            ),
            "search": lambda: (
                fit(GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, scoring="r2")).best_estimator_
            ),
            "own transformer": lambda: fit(make_pipeline(AddOne(2), LogisticRegression())),
            "xgboost": lambda: fit(boost()),
            "xgboost not fitted": lambda: boost(eta=0.1, tree_method="hist"),
            "xgboost with kept params": lambda: fit(boost(monotone_constraints=(1, 0, 0), base_score=0.4)),
            "xgboost stopped early": fit_stopped,
            "xgboost regression": lambda: fit(XGBRegressor(n_estimators=3, random_state=0)),
            "xgboost dart": lambda: fit(boost(booster="dart", rate_drop=0.1)),
            "xgboost linear": lambda: fit(boost(booster="gblinear")),
            "xgboost forest": lambda: fit(XGBRFClassifier(n_estimators=3, random_state=0)),
            "xgboost ranker": fit_ranker,
            "booster": fit_booster,
            "xgboost in a pipeline": lambda: fit(make_pipeline(StandardScaler(), boost())),
        }
        return {name: Case(make, Model) for name, make in makers.items()}

    def is_equal(self, left: Any, right: Any) -> bool:
        rows, _ = make_rows()
        if type(left) is not type(right):
            return False
        if isinstance(left, Booster):
            return bool(np.array_equal(left.predict(DMatrix(rows)), right.predict(DMatrix(rows))))
        # As text: a missing value that is NaN equals itself there.
        if repr(sorted(left.get_params(deep=False).items())) != repr(
            sorted(right.get_params(deep=False).items())
        ):
            return False
        if isinstance(left, TfidfVectorizer):
            return bool((left.transform(["late"]) != right.transform(["late"])).nnz == 0)
        if isinstance(left, Pipeline) and isinstance(left[0], ColumnTransformer):
            rows = rows.assign(k="a")
        if not _is_fitted(left) or not _is_fitted(right):
            return _is_fitted(left) == _is_fitted(right)
        method = "predict_proba" if hasattr(left, "predict_proba") else "predict"
        return bool(np.array_equal(getattr(left, method)(rows), getattr(right, method)(rows)))


def _is_fitted(model: Any) -> bool:
    if hasattr(model, "get_booster"):
        return "_Booster" in vars(model)
    try:
        sklearn.utils.validation.check_is_fitted(model)
    except sklearn.exceptions.NotFittedError:
        return False
    return True


def load(model: Any) -> Any:
    encoded = choose_codec(Model, model).encode(model, Model)
    return get_codec(encoded.codec).decode(Source(data=write_bytes(encoded)), Model, encoded.type)


def test_an_xgboost_model_comes_back_whole() -> None:
    model = fit_stopped()
    loaded = load(model)
    assert loaded.best_iteration == model.best_iteration
    assert loaded.best_score == model.best_score
    assert loaded.evals_result() == model.evals_result()
    assert loaded.feature_names_in_.tolist() == ["x", "y", "z"]
    assert loaded.classes_.tolist() == [0, 1]
    assert loaded.n_features_in_ == 3
    assert loaded.feature_importances_.tolist() == model.feature_importances_.tolist()
    assert sklearn.base.clone(loaded).get_params()["early_stopping_rounds"] == 2


def test_a_fitted_model_knows_the_names_of_its_columns() -> None:
    assert load(fit(LogisticRegression())).feature_names_in_.tolist() == ["x", "y", "z"]


def test_a_model_that_is_trained_further_leaves_the_stored_one_alone() -> None:
    model = fit(boost())
    before = choose_codec(Model, model).encode(model, Model).hash
    loaded = load(model)
    loaded.set_params(n_estimators=9)
    fit(loaded)
    assert choose_codec(Model, model).encode(model, Model).hash == before


def test_types_of_models_are_known_by_what_they_are() -> None:
    for declared in (
        Model,
        sklearn.base.BaseEstimator,
        LogisticRegression,
        XGBClassifier,
        Booster,
        AddOne,
        Pipeline,
    ):
        codec = find_codec(declared)
        assert codec is not None
        assert declared is Model or codec.name == "model/1"


def test_the_type_is_named_as_people_import_it() -> None:
    assert choose_codec(Model, boost()).encode(boost(), Model).type == "xgboost.XGBClassifier"
    linear = LinearRegression()
    assert choose_codec(Model, linear).encode(linear, Model).type == "sklearn.linear_model.LinearRegression"


def test_a_transformer_of_a_class_within_a_function_is_refused_when_it_is_stored() -> None:
    class Hidden(AddOne):
        pass

    model = fit(make_pipeline(Hidden(), Ridge()))
    with pytest.raises(InputError, match="Hidden"):
        choose_codec(Model, model).encode(model, Model)


def test_a_function_of_the_users_own_inside_a_model_is_refused_when_it_is_stored() -> None:
    model = fit(make_pipeline(FunctionTransformer(make_rows_odd), Ridge()))
    with pytest.raises(InputError, match="cannot be stored"):
        choose_codec(Model, model).encode(model, Model)


def make_rows_odd(rows: Any) -> Any:
    return rows * 2


def test_a_callable_objective_of_xgboost_is_refused_by_its_name() -> None:
    model = XGBRegressor(objective=make_rows_odd)
    with pytest.raises(InputError, match="objective"):
        choose_codec(Model, model).encode(model, Model)


def rename_class(data: bytes, old: str, new: str) -> bytes:
    """Return the bytes of a model in which another class is named."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(sink, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(old.encode(), new.encode()))
    return sink.getvalue()


def test_a_class_that_is_not_loaded_is_refused_by_its_name_and_not_imported() -> None:
    data = write_bytes(get_codec("model/1").encode(fit(AddOne()), Model))
    gone = rename_class(data, "tests.artifacts.shapes", "antigravity")
    with pytest.raises(ArtifactError, match=r"antigravity\.AddOne.*not trusted"):
        get_codec("model/1").decode(Source(data=gone), Model, "AddOne")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("subprocess", "Popen"),
        ("os", "system"),
        ("builtins", "eval"),
        ("numpy.lib._datasource", "DataSource"),
    ],
)
def test_bytes_that_name_something_else_than_a_model_are_refused(module: str, name: str) -> None:
    data = write_bytes(get_codec("model/1").encode(fit(AddOne()), Model))
    evil = rename_class(rename_class(data, "tests.artifacts.shapes", module), "AddOne", name)
    with pytest.raises(ArtifactError, match="not trusted"):
        get_codec("model/1").decode(Source(data=evil), Model, "AddOne")


def test_a_class_that_is_no_model_is_refused_for_xgboost_too() -> None:
    data = write_bytes(get_codec("model/1").encode(boost(), Model))
    evil = data.replace(b"xgboost.sklearn", b"subprocess     ").replace(b"XGBClassifier", b"Popen        ")
    with pytest.raises(ArtifactError, match="not loaded here"):
        get_codec("model/1").decode(Source(data=evil), Model, "xgboost.XGBClassifier")


def test_a_pickle_is_not_opened() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (exit, ())

    for data in (pickle.dumps(Evil()), b"PK\x03\x04", b"", b"FLXGB1\n", b"FLXGB1\n" + b"\xff" * 64):
        with pytest.raises(ArtifactError):
            get_codec("model/1").decode(Source(data=data), Model, "x")


def test_a_preview_shows_class_parameters_steps_and_features() -> None:
    preview = get_codec("model/1").encode(fit_mixed(), Model).make_preview()
    assert preview is not None
    assert preview["steps"] == [["columns", "ColumnTransformer"], ["model", "LogisticRegression"]]
    preview = get_codec("model/1").encode(fit(boost()), Model).make_preview()
    assert preview is not None
    assert preview["params"]["max_depth"] == 3
    assert preview["features"] == ["x", "y", "z"]
    json.dumps(preview, allow_nan=False)
