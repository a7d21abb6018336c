"""Which changes of an input let a node run again, and which are none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edited_project import Project, opened_project

TAKE = """
    import dataclasses, datetime, enum, math
    from decimal import Decimal
    from pathlib import Path
    from typing import Annotated, Any, NamedTuple

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from pydantic import BaseModel
    from sklearn.linear_model import Ridge
    from flowlearner import Model, Seed, operator, workflow

    class Kind(enum.Enum):
        A = 1
        B = 2

    @dataclasses.dataclass(frozen=True)
    class Plan:
        rounds: int = 2
        kind: Kind = Kind.A

    class Config(BaseModel):
        depth: int = 3

    class Pair(NamedTuple):
        a: int
        b: float = 0.0

    @operator
    def take(value: {hint}) -> str:
        return type(value).__name__

    @workflow
    def takes(value: {hint}) -> str:
        return take(value)
    """
RUNS, KEEPS = True, False

# What a node is given: the type of its input, a value, another one, and whether it runs again for that.
INPUTS = {
    "the order of a dict": ("dict[str, int]", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", KEEPS),
    "the order of a set": ("set[str]", "{'a', 'b', 'c'}", "set('cba')", KEEPS),
    "the order of a list": ("list[int]", "[1, 2]", "[2, 1]", RUNS),
    "a value in a dict in a list": ("list[dict[str, int]]", "[{'a': 1}]", "[{'a': 2}]", RUNS),
    "an integer for a float": ("float", "1.0", "1", KEEPS),
    "the sign of a zero": ("float", "0.0", "-0.0", RUNS),
    "a NaN": ("float", "math.nan", "-float('nan')", KEEPS),
    "True for 1": ("int | bool", "1", "True", RUNS),
    "a text for bytes": ("str | bytes", "'a'", "b'a'", RUNS),
    "a member of an enum": ("Kind", "Kind.A", "Kind.B", RUNS),
    "a field of a dataclass": ("Plan", "Plan()", "Plan(3)", RUNS),
    "an equal dataclass": ("Plan", "Plan()", "Plan(2, Kind.A)", KEEPS),
    "a field of a pydantic model": ("Config", "Config()", "Config(depth=4)", RUNS),
    "a field of a named tuple": ("Pair", "Pair(1)", "Pair(1, 0.5)", RUNS),
    "a path": ("Path", "Path('a/b')", "Path('a/c')", RUNS),
    "a path with a dot": ("Path", "Path('a/b')", "Path('a/./b')", KEEPS),
    "a date": ("datetime.date", "datetime.date(2013, 1, 1)", "datetime.date(2013, 1, 2)", RUNS),
    "the zeros of a decimal": ("Decimal", "Decimal('1')", "Decimal('1.0')", RUNS),
    "the width of floats": ("np.ndarray", "np.ones(2)", "np.ones(2, 'f4')", RUNS),
    "the layout of an array": ("np.ndarray", "np.ones((2, 3))", "np.ones((3, 2)).T", KEEPS),
    "the shape of an array": ("np.ndarray", "np.ones((2, 3))", "np.ones((3, 2))", RUNS),
    "the width of a column": (
        "pd.DataFrame",
        "pd.DataFrame({'a': [1.0]})",
        "pd.DataFrame({'a': [1.0]}, dtype='f4')",
        RUNS,
    ),
    "the order of columns": (
        "pd.DataFrame",
        "pd.DataFrame({'a': [1], 'b': [1]})",
        "pd.DataFrame({'b': [1], 'a': [1]})",
        RUNS,
    ),
    "the chunks of a table": (
        "pa.Table",
        "pa.table({'a': [1, 2]})",
        "pa.concat_tables([pa.table({'a': [1]}), pa.table({'a': [2]})])",
        KEEPS,
    ),
    "a table of the other library": (
        "pd.DataFrame",
        "pd.DataFrame({'a': [1, 2]})",
        "pa.table({'a': [1, 2]})",
        KEEPS,
    ),
    "a parameter of an estimator": ("Model", "Ridge(1.0)", "Ridge(2.0)", RUNS),
    "an estimator fitted again": (
        "Model",
        "Ridge().fit([[1], [2]], [1, 2])",
        "Ridge().fit([[1], [2]], [1, 2])",
        KEEPS,
    ),
    "an estimator fitted to something else": (
        "Model",
        "Ridge().fit([[1], [2]], [1, 2])",
        "Ridge().fit([[1], [2]], [1, 3])",
        RUNS,
    ),
    "a seed": ("Seed", "1", "2", RUNS),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with opened_project(tmp_path / "project", monkeypatch) as found:
        yield found


@pytest.mark.parametrize("what", INPUTS)
def test_an_input_counts_by_its_content(what: str, project: Project) -> None:
    hint, value, other, again = INPUTS[what]
    project.write(flow=TAKE.format(hint=hint))
    ran = []
    for text in (value, other):
        workflow = project.load()
        given = eval(text, vars(sys.modules["flow"]))
        (node,) = workflow.with_options(executor="local").run(value=given).nodes
        # What is never kept would run again, too.
        assert node.cache_key
        ran.append(not node.cached)
    assert ran == [True, again]
