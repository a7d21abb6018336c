"""The workflow as Facebook published it: declares `mse`, returns `logloss`. It must not compile."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest

from examples.iris import load_flowers
from flowlearner import CompileError, Metric, Model, workflow
from operators.evaluate import evaluate_classification
from operators.predict import predict
from operators.split import split_random
from operators.train import train_tree


class Iris(NamedTuple):
    model: Model
    mse: Metric
    predictions: pd.DataFrame


@workflow
def iris() -> Iris:
    flowers = load_flowers()
    parts = split_random(flowers.labelled)
    model = train_tree(parts.train, "species")
    metrics = evaluate_classification(predict(model, parts.test), "species")
    return Iris(model=model, logloss=metrics.logloss, predictions=predict(model, flowers.unlabelled))  # type: ignore[call-arg]


def test_the_published_iris_workflow_does_not_compile_and_both_names_are_said() -> None:
    with pytest.raises(CompileError) as caught:
        iris.compile()
    assert "mse" in str(caught.value)
    assert "logloss" in str(caught.value)


def test_the_published_mistake_is_the_only_problem_of_the_workflow() -> None:
    with pytest.raises(CompileError) as caught:
        iris.compile()
    assert {problem.node for problem in caught.value.problems} == {None}
