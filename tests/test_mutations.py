"""Which edits let a node run again: a project is run, edited, loaded afresh and run again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flowlearner.fingerprint.origin import find_package_version
from tests.edited_project import Project, opened_project
from tests.fingerprint_project import FILES, edit, write

FLOW, HELPERS, WORK = "flow.py", "helpers.py", "deep/inner/work.py"
CONSTANTS = "deep/inner/constants.py"
MORE, ONE, TWO = "more.py", "one.py", "two.py"

# Beside the project that fingerprints are tested with: a second operator, and the workflow that is run.
PROJECT = {
    **FILES,
    MORE: """
        import dataclasses
        import datetime
        import enum
        import logging
        import os
        from pathlib import Path

        import numpy as np

        import one, two
        from flowlearner import operator

        class Kind(enum.Enum):
            PLAIN = "plain"
            BOLD = "bold"

        @dataclasses.dataclass(frozen=True)
        class Plan:
            rounds: int = 2
            kind: Kind = Kind.PLAIN

            def count(self):
                return self.rounds + 1

        class Box:
            class Inner:
                width = 5

                def area(self):
                    return self.width * 2

        plan = Plan()
        START = datetime.date(2013, 1, 1)
        ROOT = Path("data")
        HERE = Path(__file__).parent
        log = logging.getLogger(__name__)
        WEIGHTS = np.array([1.0, 2.0])
        ZERO = 0.0
        BOUNDS = {"low": [1, 2], "high": (3, 4)}
        LEVELS = [1, 2]
        LEVELS.append(3)
        if ZERO:
            def choose(x):
                return x
        else:
            def choose(x):
                return x + 1

        def named(x):
            return x + 1

        def by_key(*, key=1):
            return key

        class Reader:
            def __enter__(self):
                return 1

            def __exit__(self, *_):
                return False

        async def later():
            return 1

        def counted():
            yield from range(3)

        @operator(uses=[named], version="1", retries=1)
        def extra(x: float) -> float:
            x += one.f(x) + two.f(x) + plan.count() + Box.Inner().area() + choose(x) + by_key()
            x += START.year + len(str(ROOT)) + float(WEIGHTS.sum()) + ZERO + len(BOUNDS) + len(LEVELS)
            with Reader() as read:
                x += read + sum(counted()) + sum(i for i in range(2) if i)
            later().close()
            log.info(HERE)
            x += len(os.environ.get("SETTING", ""))
            return x + (1 if plan.kind is Kind.PLAIN else 0)
        """,
    ONE: "def f(x):\n    return x + 1\n",
    TWO: "def f(x):\n    return x + 2\n",
    "pipeline.py": """
        from typing import NamedTuple

        from flow import step
        from more import extra
        from flowlearner import workflow

        class Both(NamedTuple):
            rows: float
            more: float

        @workflow
        def both() -> Both:
            return Both(rows=step(1).rows, more=extra(1))
        """,
}
STEP, EXTRA, HIT = {"step"}, {"extra"}, set[str]()

# What is edited: the nodes that run again, in which file, from, to.
EDITS: dict[str, tuple[Any, ...]] = {
    "the body": (STEP, FLOW, "sum(total)", "max(total)"),
    "a local variable's name": (STEP, FLOW, "total", "sums"),
    "the name that a helper is imported by": (STEP, FLOW, "tidy", "neat"),
    "a default": (STEP, FLOW, "depth: Depth = 2", "depth: Depth = 3"),
    "a type hint": (STEP, FLOW, "(x: float,", "(x: int,"),
    "a range in an alias for a hint": (STEP, FLOW, "Range(1, 12)", "Range(1, 13)"),
    "a choice in an alias for a hint": (STEP, FLOW, '["fit", "score"]', '["fit", "predict"]'),
    "a field of the output": (STEP, FLOW, "count: int = 0", "count: float = 0"),
    "a field's default": (STEP, FLOW, "count: int = 0", "count: int = 1"),
    "a field of a pydantic model": (STEP, FLOW, "depth: int = 3", "depth: int = 4"),
    "a global number": (STEP, FLOW, "RATE = 0.1", "RATE = 0.2"),
    "a global number's type": (STEP, FLOW, "RATE = 0.1", "RATE = 1"),
    "a value in a global dict": (STEP, FLOW, '"b": 2', '"b": 3'),
    "a member of a global set": (STEP, FLOW, '{"x", "y"}', '{"x", "z"}'),
    "a state of a global object": (STEP, FLOW, "Settings(0.5)", "Settings(0.6)"),
    "a method of a global object's class": (STEP, HELPERS, "self.rate * 2", "self.rate * 3"),
    "a logger's assignment": (STEP, FLOW, 'getLogger("flow")', 'getLogger("other")'),
    "an imported logger's assignment": (STEP, HELPERS, 'getLogger("helpers")', 'getLogger("other")'),
    "a lock's assignment": (STEP, FLOW, "threading.Lock()", "threading.RLock()"),
    "a lambda": (STEP, FLOW, "x * 2", "x * 3"),
    "an argument of a partial": (STEP, FLOW, "by=0.5", "by=0.25"),
    "the function of a partial": (STEP, HELPERS, "return x * by", "return x / by"),
    "a function in a table": (STEP, HELPERS, "else 1", "else 2"),
    "which function is in a table": (STEP, FLOW, '"second": helpers.second', '"second": helpers.clean'),
    "a closure's value": (STEP, FLOW, "make(3)", "make(4)"),
    "a closure's code": (STEP, FLOW, "return x * factor", "return x + factor"),
    "a function behind a cache": (
        STEP,
        FLOW,
        "def cached(x):\n            return x + 1",
        "def cached(x):\n            return x + 2",
    ),
    "a function behind a decorator": (STEP, FLOW, "return x - 1", "return x - 2"),
    "the decorator of a helper": (STEP, HELPERS, "return fn(*args)", "return -fn(*args)"),
    "a decorator that a helper gets": (STEP, HELPERS, "def first", "@traced\n        def first"),
    "a helper by another name": (STEP, HELPERS, "polish(x) + 1", "polish(x) + 2"),
    "a helper through its module": (STEP, HELPERS, "by=2.0", "by=3.0"),
    "a helper three imports deep": (STEP, WORK, "x * constants", "x / constants"),
    "a constant three imports deep": (STEP, CONSTANTS, "SCALE = 3", "SCALE = 4"),
    "a constant of a module in a package": (STEP, CONSTANTS, "LIMIT = 10", "LIMIT = 11"),
    "a helper imported inside": (STEP, "deep/late.py", "x + SCALE", "x - SCALE"),
    "a helper of a module imported inside": (
        STEP,
        "deep/other.py",
        "more(x):\n    return x",
        "more(x):\n    return -x",
    ),
    "a class attribute": (STEP, FLOW, "size = 4", "size = 5"),
    "a method": (STEP, FLOW, "* self.size", "+ self.size"),
    "a property": (STEP, FLOW, "self.size / 2", "self.size / 3"),
    "a static method": (STEP, FLOW, "return x + 1\n\n        settings", "return x + 2\n\n        settings"),
    "an attribute of a base class": (STEP, HELPERS, 'kind = "base"', 'kind = "other"'),
    "a base class": (STEP, HELPERS, "class Base(Root):", "class Base(Root, dict):"),
    "a method of a base's base": (
        STEP,
        HELPERS,
        "def prepare(self, x):\n                return x",
        "def prepare(self, x):\n                return -x",
    ),
    "a class decorator": (STEP, HELPERS, "@dataclasses.dataclass", "@dataclasses.dataclass(eq=False)"),
    "what a package's name stands for": (
        STEP,
        FLOW,
        "linear_model import Ridge",
        "linear_model import Lasso as Ridge",
    ),
    # Of the second operator
    "a value of an enum": (EXTRA, MORE, 'PLAIN = "plain"', 'PLAIN = "flat"'),
    "a field's default of a dataclass": (EXTRA, MORE, "rounds: int = 2", "rounds: int = 3"),
    "a method of a dataclass": (EXTRA, MORE, "self.rounds + 1", "self.rounds + 2"),
    "an attribute of a class in a class": (EXTRA, MORE, "width = 5", "width = 6"),
    "a method of a class in a class": (EXTRA, MORE, "self.width * 2", "self.width * 3"),
    "a global date": (EXTRA, MORE, "date(2013, 1, 1)", "date(2013, 1, 2)"),
    "a global path": (EXTRA, MORE, 'Path("data")', 'Path("date")'),
    "a value in a global array": (EXTRA, MORE, "[1.0, 2.0]", "[1.0, 3.0]"),
    "the width of a global array": (EXTRA, MORE, "[1.0, 2.0]", "[1.0, 2.0], 'f4'"),
    "the sign of a zero": (EXTRA, MORE, "ZERO = 0.0", "ZERO = -0.0"),
    "a tuple in the place of a list": (EXTRA, MORE, '"low": [1, 2]', '"low": (1, 2)'),
    "what a list is given later": (EXTRA, MORE, "LEVELS.append(3)", "LEVELS.append(4)"),
    "the definition in the branch that is taken": (
        EXTRA,
        MORE,
        "x + 1\n\n        def named",
        "x - 1\n\n        def named",
    ),
    "a default by keyword": (EXTRA, MORE, "key=1", "key=2"),
    "True in the place of 1": (EXTRA, MORE, "key=1", "key=True"),
    "what `uses=` names": (
        EXTRA,
        MORE,
        "def named(x):\n            return x + 1",
        "def named(x):\n            return x",
    ),
    "`uses=`": (EXTRA, MORE, "uses=[named]", "uses=[by_key]"),
    "`version=`": (EXTRA, MORE, 'version="1"', 'version="2"'),
    "a context manager's method": (
        EXTRA,
        MORE,
        "return 1\n\n            def __exit__",
        "return 2\n\n            def __exit__",
    ),
    "a coroutine": (
        EXTRA,
        MORE,
        "async def later():\n            return 1",
        "async def later():\n            return 2",
    ),
    "a generator": (EXTRA, MORE, "range(3)", "range(4)"),
    "the condition of a comprehension": (EXTRA, MORE, "if i)", "if not i)"),
    "the place of two terms": (EXTRA, MORE, "one.f(x) + two.f(x)", "two.f(x) + one.f(x)"),
    "one of two helpers of one name": (EXTRA, TWO, "x + 2", "x + 3"),
    # What no call depends on
    "a comment": (HIT, FLOW, "# A comment.", "# Another."),
    "a docstring": (HIT, FLOW, '"""Do the step."""', '"""Another text."""'),
    "no docstring": (HIT, FLOW, '"""Do the step."""', ""),
    "a class's docstring": (HIT, FLOW, '"""A model."""', '"""Other."""'),
    "a method's docstring": (HIT, FLOW, '"""Fit."""', '"""Other."""'),
    "a module's docstring": (HIT, FLOW, '"""A module."""', '"""Other."""'),
    "layout": (
        HIT,
        FLOW,
        "return Out(value + sum(total))",
        "return Out(\n                value\n                + sum(total)\n            )",
    ),
    "resources": (HIT, FLOW, "@operator(cpus=1)", "@operator(cpus=2, retries=3)"),
    "no resources": (HIT, FLOW, "@operator(cpus=1)", "@operator"),
    "another name of the decorator": (HIT, FLOW, "@operator(cpus=1)", "@heavy()"),
    "a global that nothing reads": (HIT, FLOW, "UNUSED = 1", "UNUSED = 2"),
    "a helper that nothing calls": (
        HIT,
        HELPERS,
        "def unused(x):\n            return x",
        "def unused(x):\n            return -x",
    ),
    "a constant that nothing reads": (HIT, CONSTANTS, "OTHER = 1", "OTHER = 2"),
    "a function that nothing calls of a module imported inside": (
        HIT,
        "deep/other.py",
        "less(x):\n    return x",
        "less(x):\n    return -x",
    ),
    "another operator": (
        HIT,
        FLOW,
        "def lone(x: int) -> int:\n            return x + 1",
        "def lone(x: int) -> int:\n            return x",
    ),
    "the order of a global dict": (HIT, FLOW, '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    "the order of a global set": (HIT, FLOW, '{"x", "y"}', '{"y", "x"}'),
    "the order of a table of functions": (
        HIT,
        FLOW,
        '"first": helpers.first, "second": helpers.second',
        '"second": helpers.second, "first": helpers.first',
    ),
    "the order of definitions": (HIT, FLOW, "RATE = 0.1", "import json\n        RATE = 0.1"),
    "quotes around a hint": (HIT, FLOW, "-> Out:", '-> "Out":'),
    "a number written otherwise": (HIT, FLOW, "RATE = 0.1", "RATE = 1e-1"),
    "a text in other quotes": (HIT, MORE, '"SETTING"', "'SETTING'"),
    "brackets that say nothing": (HIT, MORE, "x += one.f(x)", "x += (one.f(x))"),
    "a comment in a class": (HIT, MORE, "width = 5", "width = 5  # wide"),
    "the docstring of a module of helpers": (HIT, ONE, "def f", '"""Helpers."""\ndef f'),
    "the workflow": (HIT, "pipeline.py", "step(1).rows, more=extra(1)", "step(1).rows, more=extra(x=1)"),
}


def move(files: dict[str, str], old: str, new: str) -> None:
    files[new] = files.pop(old)


def swap_helpers(files: dict[str, str]) -> None:
    files[ONE], files[TWO] = files[TWO], files[ONE]


def rename_module(files: dict[str, str]) -> None:
    move(files, MORE, "most.py")
    files["pipeline.py"] = files["pipeline.py"].replace("from more", "from most")


def rename_helpers(files: dict[str, str]) -> None:
    move(files, HELPERS, "tools.py")
    flow = files[FLOW].replace("import helpers\n", "import tools as helpers\n")
    files[FLOW] = flow.replace("from helpers", "from tools")


def move_into_package(files: dict[str, str]) -> None:
    move(files, ONE, "kit/one.py")
    move(files, TWO, "kit/two.py")
    files[MORE] = files[MORE].replace("import one, two", "from kit import one, two")


# What happens to the files: the nodes that run again, and how it is done.
MOVES: dict[str, tuple[set[str], Callable[[dict[str, str]], None]]] = {
    "two helpers of one name change places": (EXTRA, swap_helpers),
    "the operator's module gets another name": (HIT, rename_module),
    "a module of helpers gets another name": (HIT, rename_helpers),
    "modules of helpers become a package": (HIT, move_into_package),
}


@dataclass(frozen=True)
class Place:
    """Where the project runs: variables of the environment, versions of packages, the folder's name."""

    variables: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    folder: str = "project"


# What changes around the code: the nodes that run again.
PLACES = {
    "a variable of the environment that code reads": (EXTRA, Place(variables={"SETTING": "a"})),
    "a variable of the environment that no code reads": (HIT, Place(variables={"OTHER": "a"})),
    "the version of a package that one operator uses": (STEP, Place(versions={"sklearn": "0.1"})),
    "the version of a package that both use": (STEP | EXTRA, Place(versions={"numpy": "0.1"})),
    "the version of a package that a module imports and no operator uses": (
        HIT,
        Place(versions={"pandas": "0.1"}),
    ),
    "the folder": (HIT, Place(folder="elsewhere")),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all runs are remembered, that of the project as it is before any edit first."""
    found = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch, opened(found, patch) as project:
        assert run(project, PROJECT) == STEP | EXTRA
    return found


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with opened(home, monkeypatch) as found:
        yield found


@contextmanager
def opened(home: Path, patch: pytest.MonkeyPatch, name: str = "project") -> Iterator[Project]:
    patch.setenv("FLOWLEARNER_HOME", str(home))
    # Python tells a compiled copy from its text by size and second, which the edits here keep.
    patch.setattr(sys, "dont_write_bytecode", True)
    folder = home / name
    with opened_project(folder, patch) as project:
        yield project
    shutil.rmtree(folder)


def run(project: Project, files: Mapping[str, str]) -> set[str]:
    """Write the files, run them as a new process would, and return the nodes that ran."""
    write(project.folder, files)
    nodes = project.run("pipeline.py").nodes
    # What is never kept would run again, too.
    assert all(n.cache_key for n in nodes)
    return {n.name for n in nodes if not n.cached}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_lets_those_nodes_run_again_that_depend_on_it(what: str, project: Project) -> None:
    expected, file, old, new = EDITS[what]
    assert run(project, edit((file, old, new), files=PROJECT)) == expected


@pytest.mark.parametrize("what", MOVES)
def test_where_code_is_does_not_count_and_which_code_does(what: str, project: Project) -> None:
    expected, change = MOVES[what]
    files = dict(PROJECT)
    change(files)
    assert run(project, files) == expected


@pytest.mark.parametrize("what", PLACES)
def test_around_the_code_counts_what_it_reads(what: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, place = PLACES[what]
    monkeypatch.setattr(
        "flowlearner.fingerprint.values.find_package_version",
        lambda top: place.versions.get(top) or find_package_version(top),
    )
    for name, value in place.variables.items():
        monkeypatch.setenv(name, value)
    with opened(home, monkeypatch, place.folder) as project:
        assert run(project, PROJECT) == expected
