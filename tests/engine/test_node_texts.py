"""What a node says about a table or a value that is not what its operator declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowlearner import Columns, InputError, Model, RunFailed, operator, workflow
from flowlearner.engine.node import check_columns


def test_the_nearest_name_of_a_missing_column_is_a_sentence_of_its_own() -> None:
    table = pd.DataFrame({"age": [1]})
    with pytest.raises(InputError, match=r"missing agee\. Did you mean 'age'\?"):
        check_columns(table, Columns("agee"), "input 'rows'", closed=False)


def test_a_returned_value_of_another_type_names_the_output_and_the_cure() -> None:
    @operator
    def wrong(n: int) -> int:
        return "text"  # type: ignore[return-value]

    @workflow(executor="local")
    def flow(n: int) -> int:
        return wrong(n)

    with pytest.raises(RunFailed) as caught:
        flow.run(n=1)
    text = str(caught.value)
    assert "output 'result': expected int, found str 'text'" in text
    assert "Return that type, or change the annotation after '->'." in text


def test_a_trainer_that_forgets_to_return_its_model_fails_itself() -> None:
    @operator
    def train(n: int) -> Model:
        pass  # type: ignore[empty-body]

    @operator
    def predict(model: Model) -> int:
        return 1

    @workflow(executor="local")
    def flow(n: int) -> int:
        return predict(train(n))

    with pytest.raises(RunFailed, match="operator 'train' returned another type than it declares"):
        flow.run(n=1)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("model.ubj", "found str 'model.ubj'"),
        (pd.DataFrame({"x": [1]}), "found pandas.DataFrame"),
        ({"weights": [1.0]}, "found dict"),
        (np.ones(2), "found ndarray"),
        (Path("model.ubj"), "found PosixPath"),
    ],
)
def test_what_is_no_model_is_refused_where_a_model_is_declared(value: Any, found: str) -> None:
    @operator(cache=False)
    def train(n: int) -> Model:
        return value

    @workflow(executor="local")
    def flow(n: int) -> Model:
        return train(n)

    with pytest.raises(RunFailed) as caught:
        flow.run(n=1)
    text = str(caught.value)
    assert "operator 'train' returned another type than it declares" in text
    assert f"output 'result': expected Model, {found}" in text


def test_an_artifact_that_is_no_model_is_refused_where_a_model_is_taken() -> None:
    @operator
    def load(n: int) -> pd.DataFrame:
        return pd.DataFrame({"x": [n]})

    @operator
    def predict(model: Model) -> int:
        return 1

    @workflow(executor="local")
    def tables(n: int) -> pd.DataFrame:
        return load(n)

    @workflow(executor="local")
    def flow(model: Model) -> int:
        return predict(model)

    table = tables.run(n=1).record.outputs["result"].hash
    with pytest.raises(RunFailed, match=r"expected Model, found pandas\.DataFrame"):
        flow.run(model=f"artifact:{table}")
