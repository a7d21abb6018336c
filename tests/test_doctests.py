"""The examples in docstrings of public modules run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from typing import Annotated, Any

import pytest

import flowlearner

MODULES = sorted(
    {
        *flowlearner._HOMES,
        "flowlearner.canonical",
        "flowlearner.graph",
        "flowlearner.params",
        "flowlearner.spec",
    }
)
GLOBALS = {name: getattr(flowlearner, name) for name in flowlearner.__all__} | {
    "Annotated": Annotated,
    "Any": Any,
}
WITH_EXAMPLES = ("Range", "LogRange", "Choice", "Columns", "Pickled", "operator", "workflow")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    module = importlib.import_module(name)
    failed = doctest.testmod(module, extraglobs=GLOBALS, optionflags=doctest.ELLIPSIS).failed
    assert failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_each_word_of_authoring_has_an_example_that_runs(name: str) -> None:
    examples = doctest.DocTestFinder().find(getattr(flowlearner, name), globs=dict(GLOBALS))
    assert any(test.examples for test in examples)
