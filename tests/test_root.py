"""The package root: what it offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import flowlearner

WORDS = (
    "operator workflow Range LogRange Choice Columns Metric Model File Seed Secret Static Client report "
    "CompileError RunFailed"
)


def test_the_list_of_names_is_that_of_the_lazy_loader() -> None:
    assert flowlearner.__all__ == sorted(flowlearner._MODULE_OF)


@pytest.mark.parametrize("name", flowlearner.__all__)
def test_each_name_loads_and_says_what_it_is(name: str) -> None:
    value: Any = getattr(flowlearner, name)
    assert value.__doc__ if not isinstance(value, type(flowlearner.Metric)) else True


def test_the_names_of_the_contract_are_there() -> None:
    assert set(WORDS.split()) <= set(flowlearner.__all__)


def test_everything_that_is_listed_is_visible_and_an_unknown_name_is_an_attribute_error() -> None:
    assert set(flowlearner.__all__) <= set(dir(flowlearner))
    with pytest.raises(AttributeError, match="has no attribute 'opertor'"):
        flowlearner.opertor  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import flowlearner", "prefect ray streamlit pandas pyarrow sqlalchemy pydantic xgboost sklearn"),
        (
            "from flowlearner import operator, workflow, Client",
            "prefect ray streamlit xgboost sklearn altair",
        ),
    ],
)
def test_importing_loads_no_heavy_package(statement: str, absent: str) -> None:
    code = f"{statement}\nimport sys\nprint(*[m for m in {absent.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
