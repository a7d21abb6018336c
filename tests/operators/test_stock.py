"""What every stock operator keeps: whole types and documentation, and examples that run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import operators
from flowlearner import Operator

MODULES = [importlib.import_module(f"operators.{m.name}") for m in pkgutil.iter_modules(operators.__path__)]


def list_public() -> Iterator[Any]:
    for module in MODULES:
        for name, value in sorted(vars(module).items()):
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and name[0] != "_":
                yield pytest.param(module, value, id=f"{module.__name__}.{name}")


OPERATORS = [p for p in list_public() if isinstance(p.values[1], Operator)]


def test_the_stock_has_every_promised_operator() -> None:
    assert {p.values[1].name for p in OPERATORS} >= {
        *("load_table", "load_csv", "load_parquet"),
        *("split_random", "split_stratified", "split_by_time"),
        *("impute", "encode", "scale", "apply_transformer", "chain", "index_label"),
        *("train_xgboost", "train_hist_gradient_boosting", "train_forest", "train_tree"),
        *("train_sgd", "train_logistic", "train_linear"),
        *("predict", "evaluate_classification", "evaluate_regression"),
        *("plot_roc", "plot_calibration", "plot_importance"),
    }


@pytest.mark.parametrize(("module", "value"), list(list_public()))
def test_every_example_in_a_docstring_runs(module: Any, value: Any) -> None:
    doc = value.__doc__ or ""
    parsed = doctest.DocTestParser().get_doctest(doc, dict(vars(module)), value.__name__, None, None)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(parsed, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize(("module", "value"), OPERATORS)
def test_every_operator_has_an_example(module: Any, value: Any) -> None:
    assert ">>>" in value.__doc__


@pytest.mark.parametrize(("module", "value"), OPERATORS)
def test_every_parameter_of_an_operator_is_documented(module: Any, value: Any) -> None:
    assert [p.name for p in value.interface.params if not p.doc] == []


@pytest.mark.parametrize(("module", "value"), OPERATORS)
def test_every_operator_has_a_fingerprint_without_problems(module: Any, value: Any) -> None:
    assert value.fingerprint().problems == ()
