from __future__ import annotations

import pytest

from examples import iris as example


def test_the_flowers_are_150_with_the_species_of_every_fifth_hidden() -> None:
    flowers = example.load_flowers()
    assert flowers.labelled["species"].value_counts().to_dict() == dict.fromkeys(
        ["setosa", "versicolor", "virginica"], 40
    )
    assert flowers.unlabelled.shape == (30, 4)


def test_the_flowers_have_the_declared_columns() -> None:
    for part, output in zip(example.load_flowers(), example.load_flowers.interface.outputs, strict=True):
        assert output.type.columns is not None
        assert tuple(part.columns) == output.type.columns.names


def test_the_example_tells_most_flowers() -> None:
    found = example.iris()
    assert found.logloss == pytest.approx(0.106, abs=0.05)
    hidden = ["setosa"] * 10 + ["versicolor"] * 10 + ["virginica"] * 10
    assert (found.predictions["prediction"] == hidden).mean() >= 0.9
