"""The workflow with which Facebook introduced FBLearner Flow in 2016: which species is this iris?

    flowlearner run examples/iris.py:iris

Published, it declared the outputs `model`, `mse` and `predictions` and returned `model`, `logloss` and
`predictions`, which nothing had noticed. Here the class that is returned is the declaration, so the
two cannot differ: a type checker, an editor and `flowlearner check` all refuse the published form.

Published, it also trained a single decision tree. A tree gives the probability 0 to what its pure leaves
have not seen, so one flower out of 24 makes a log loss of 1.5; the forest here has 0.1.

Source: "Introducing FBLearner Flow: Facebook's AI backbone", code.fb.com, 9 May 2016. Data: R. A. Fisher,
"The use of multiple measurements in taxonomic problems", 1936, as scikit-learn ships them.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import pandas as pd

from flowlearner import Columns, Metric, Model, Range, operator, workflow
from operators.evaluate import evaluate_classification
from operators.predict import predict
from operators.split import split_stratified
from operators.train import train_forest

MEASURES = {"sepal_length": float, "sepal_width": float, "petal_length": float, "petal_width": float}

Labelled = Annotated[pd.DataFrame, Columns(**MEASURES, species=str)]
Unlabelled = Annotated[pd.DataFrame, Columns(**MEASURES)]


class Flowers(NamedTuple):
    """120 flowers whose species are known, and 30 whose species are kept back."""

    labelled: Labelled
    unlabelled: Unlabelled


@operator
def load_flowers() -> Flowers:
    """Load the 150 flowers that scikit-learn ships and hide the species of every fifth.

    Returns:
        Lengths and widths in centimetres; as many flowers of each species on both sides.
    """
    from sklearn.datasets import load_iris

    data = load_iris()
    flowers = pd.DataFrame(data.data, columns=list(MEASURES))
    flowers["species"] = pd.Series(data.target_names[data.target], dtype="str")
    is_hidden = flowers.index % 5 == 4
    return Flowers(
        labelled=flowers[~is_hidden].reset_index(drop=True),
        unlabelled=flowers[is_hidden].drop(columns="species").reset_index(drop=True),
    )


class Iris(NamedTuple):
    """The forest, its log loss on flowers that it has not seen, and what it says of the unlabelled ones."""

    model: Model
    logloss: Metric
    predictions: pd.DataFrame


@workflow
def iris(
    trees: Annotated[int, Range(1, 1000)] = 100,
    max_depth: Annotated[int, Range(1, 10)] = 3,
    test_size: Annotated[float, Range(0.1, 0.5)] = 0.2,
) -> Iris:
    """Learn to tell the species of an iris, and tell those of flowers without a label.

    Args:
        trees: number of trees.
        max_depth: greatest depth of a tree.
        test_size: the share of labelled flowers that judge the model.
    """
    flowers = load_flowers()
    parts = split_stratified(flowers.labelled, "species", test_size)
    model = train_forest(parts.train, "species", trees, max_depth, min_leaf=3)
    scores = evaluate_classification(predict(model, parts.test, keep=["species"]), "species")
    return Iris(model=model, logloss=scores.logloss, predictions=predict(model, flowers.unlabelled))
