"""The check of an operator, and that check over the stock."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import operators.evaluate
import operators.features
import operators.load
import operators.plots
import operators.predict
import operators.split
import operators.train
from flowlearner import File, Operator, Seed, operator
from flowlearner.testing import check_operator

ROWS = pd.DataFrame(
    {
        "x": np.linspace(0, 1, 40),
        "y": np.tile([1.0, 2.0, np.nan, 4.0], 10),
        "kind": list("abcd") * 10,
        "at": pd.date_range("2013-01-01", periods=40),
        "label": [0, 1] * 20,
    }
)


class Two(NamedTuple):
    rows: pd.DataFrame
    name: str


def test_a_sound_operator_gives_its_outputs() -> None:
    @operator
    def halve(rows: pd.DataFrame, name: str = "half", seed: Seed = None) -> Two:
        return Two(rows.sample(frac=0.5, random_state=seed), name)

    outputs = check_operator(halve, rows=ROWS)
    assert len(outputs["rows"]) == 20
    assert outputs["name"] == "half"


def test_a_file_is_handed_over_as_in_a_run(tmp_path: Path) -> None:
    @operator
    def count(path: File) -> int:
        return len(Path(path).read_text().splitlines())

    (tmp_path / "a.csv").write_text("x\n1\n")
    assert check_operator(count, path=tmp_path / "a.csv") == {"result": 2}


def test_randomness_that_no_parameter_brings_is_found() -> None:
    @operator
    def roll(n: int) -> float:
        return random.random()

    with pytest.raises(AssertionError, match=r"'result' differs between two calls.*Seed"):
        check_operator(roll, n=1)


def test_an_operator_that_is_declared_uncached_may_differ() -> None:
    @operator(cache=False)
    def roll(n: int) -> float:
        return random.random()

    assert check_operator(roll, n=1)["result"] < 1


def test_mistakes_are_all_listed() -> None:
    class Odd:
        pass

    @operator
    def odd(number: int, other: int) -> Odd:
        return Odd()

    with pytest.raises(AssertionError) as caught:
        check_operator(odd, nummer=1)
    text = str(caught.value)
    assert "no parameter 'nummer'. Did you mean 'number'?" in text
    assert "parameter 'other' needs a value" in text
    assert "output 'result': no codec stores Odd" in text


def test_an_operator_that_raises_shows_its_traceback() -> None:
    @operator
    def fail(n: int) -> int:
        raise KeyError("nothing here")

    with pytest.raises(AssertionError, match="nothing here"):
        check_operator(fail, n=1)


def test_what_is_no_operator_is_refused() -> None:
    with pytest.raises(TypeError, match="takes what @operator makes, found <function"):
        check_operator(lambda n: n, n=3)  # type: ignore[arg-type]


def test_an_input_that_no_run_could_take_names_its_parameter() -> None:
    with pytest.raises(AssertionError, match=r"parameter 'rows': expected a pandas\.DataFrame"):
        check_operator(operators.split.split_random, rows="flights.csv")


STOCK: list[tuple[Operator[..., Any], dict[str, Any]]] = [
    (operators.split.split_random, {"rows": ROWS}),
    (operators.split.split_stratified, {"rows": ROWS, "label": "label"}),
    (operators.split.split_by_time, {"rows": ROWS, "time": "at"}),
    (operators.train.train_xgboost, {"rows": ROWS[["x", "y", "label"]], "label": "label"}),
    (operators.train.train_forest, {"rows": ROWS[["x", "label"]], "label": "label"}),
    (operators.train.train_logistic, {"rows": ROWS[["x", "label"]], "label": "label"}),
    (operators.train.train_hist_gradient_boosting, {"rows": ROWS[["x", "y", "label"]], "label": "label"}),
    (operators.train.train_tree, {"rows": ROWS[["x", "label"]], "label": "label"}),
    (operators.train.train_linear, {"rows": ROWS[["x", "label"]], "label": "label"}),
]


@pytest.mark.parametrize(("stock", "inputs"), STOCK, ids=lambda v: getattr(v, "name", ""))
def test_the_stock_is_sound(stock: Operator[..., Any], inputs: dict[str, Any]) -> None:
    required = [p.name for p in stock.interface.params if p.required]
    assert set(required) <= set(inputs), required
    assert check_operator(stock, **inputs)
