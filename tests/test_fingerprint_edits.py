"""Which edits of a user's code change an operator's fingerprint, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flowlearner.fingerprint import Fingerprint, compute_fingerprint
from tests.fingerprint_project import FILES, edit, imported

FLOW, HELPERS, WORK = "flow.py", "helpers.py", "deep/inner/work.py"
CONSTANTS = "deep/inner/constants.py"


def read(folder: Path, files: Mapping[str, str] = FILES, name: str = "flow") -> Fingerprint:
    with imported(folder, files, name) as module:
        result: Fingerprint = module.step.fingerprint()
    return result


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Fingerprint:
    return read(tmp_path_factory.mktemp("before"))


# What is edited, in which file, from, to.
CHANGING = {
    "the body": (FLOW, "sum(total)", "max(total)"),
    "a local variable's name": (FLOW, "total", "sums"),
    "a default": (FLOW, "depth: Depth = 2", "depth: Depth = 3"),
    "a type hint": (FLOW, "(x: float,", "(x: int,"),
    "a range in an alias for a hint": (FLOW, "Range(1, 12)", "Range(1, 13)"),
    "a choice in an alias for a hint": (FLOW, '["fit", "score"]', '["fit", "predict"]'),
    "a field of the output": (FLOW, "count: int = 0", "count: float = 0"),
    "a field's default": (FLOW, "count: int = 0", "count: int = 1"),
    "a field of a pydantic model": (FLOW, "depth: int = 3", "depth: int = 4"),
    "a global number": (FLOW, "RATE = 0.1", "RATE = 0.2"),
    "a global number's type": (FLOW, "RATE = 0.1", "RATE = 1"),
    "a value in a global dict": (FLOW, '"b": 2', '"b": 3'),
    "a member of a global set": (FLOW, '{"x", "y"}', '{"x", "z"}'),
    "a state of a global object": (FLOW, "Settings(0.5)", "Settings(0.6)"),
    "a method of a global object's class": (HELPERS, "self.rate * 2", "self.rate * 3"),
    "a logger's assignment": (FLOW, 'getLogger("flow")', 'getLogger("other")'),
    "an imported logger's assignment": (HELPERS, 'getLogger("helpers")', 'getLogger("other")'),
    "a lock's assignment": (FLOW, "threading.Lock()", "threading.RLock()"),
    "a lambda": (FLOW, "x * 2", "x * 3"),
    "an argument of a partial": (FLOW, "by=0.5", "by=0.25"),
    "the function of a partial": (HELPERS, "return x * by", "return x / by"),
    "a function in a table": (HELPERS, "else 1", "else 2"),
    "which function is in a table": (FLOW, '"second": helpers.second', '"second": helpers.clean'),
    "a closure's value": (FLOW, "make(3)", "make(4)"),
    "a closure's code": (FLOW, "return x * factor", "return x + factor"),
    "a function behind a cache": (
        FLOW,
        "def cached(x):\n            return x + 1",
        "def cached(x):\n            return x + 2",
    ),
    "a function behind a decorator": (FLOW, "return x - 1", "return x - 2"),
    "the decorator of a helper": (HELPERS, "return fn(*args)", "return -fn(*args)"),
    "a helper by another name": (HELPERS, "polish(x) + 1", "polish(x) + 2"),
    "a helper through its module": (HELPERS, "by=2.0", "by=3.0"),
    "a helper three imports deep": (WORK, "x * constants", "x / constants"),
    "a constant three imports deep": (CONSTANTS, "SCALE = 3", "SCALE = 4"),
    "a constant of a module in a package": (CONSTANTS, "LIMIT = 10", "LIMIT = 11"),
    "a helper imported inside": ("deep/late.py", "x + SCALE", "x - SCALE"),
    "a helper of a module imported inside": (
        "deep/other.py",
        "more(x):\n    return x",
        "more(x):\n    return -x",
    ),
    "a class attribute": (FLOW, "size = 4", "size = 5"),
    "a method": (FLOW, "* self.size", "+ self.size"),
    "a property": (FLOW, "self.size / 2", "self.size / 3"),
    "a static method": (FLOW, "return x + 1\n\n        settings", "return x + 2\n\n        settings"),
    "an attribute of a base class": (HELPERS, 'kind = "base"', 'kind = "other"'),
    "a base class": (HELPERS, "class Base(Root):", "class Base:"),
    "a method of a base's base": (
        HELPERS,
        "def prepare(self, x):\n                return x",
        "def prepare(self, x):\n                return -x",
    ),
    "a class decorator": (HELPERS, "@dataclasses.dataclass", "@dataclasses.dataclass(eq=False)"),
    "what a package's name stands for": (
        FLOW,
        "linear_model import Ridge",
        "linear_model import Lasso as Ridge",
    ),
}

KEEPING = {
    "a comment": (FLOW, "# A comment.", "# Another."),
    "a docstring": (FLOW, '"""Do the step."""', '"""Another text."""'),
    "no docstring": (FLOW, '"""Do the step."""', ""),
    "a class's docstring": (FLOW, '"""A model."""', '"""Other."""'),
    "a method's docstring": (FLOW, '"""Fit."""', '"""Other."""'),
    "a module's docstring": (FLOW, '"""A module."""', '"""Other."""'),
    "layout": (
        FLOW,
        "return Out(value + sum(total))",
        "return Out(\n                value\n                + sum(total)\n            )",
    ),
    "resources": (FLOW, "@operator(cpus=1)", "@operator(cpus=2, retries=3)"),
    "no resources": (FLOW, "@operator(cpus=1)", "@operator"),
    "another name of the decorator": (FLOW, "@operator(cpus=1)", "@heavy()"),
    "a global that nothing reads": (FLOW, "UNUSED = 1", "UNUSED = 2"),
    "a helper that nothing calls": (
        HELPERS,
        "def unused(x):\n            return x",
        "def unused(x):\n            return -x",
    ),
    "a constant that nothing reads": (CONSTANTS, "OTHER = 1", "OTHER = 2"),
    "a function that nothing calls of a module imported inside": (
        "deep/other.py",
        "less(x):\n    return x",
        "less(x):\n    return -x",
    ),
    "another operator": (
        FLOW,
        "def lone(x: int) -> int:\n            return x + 1",
        "def lone(x: int) -> int:\n            return x",
    ),
    "the order of a global dict": (FLOW, '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    "the order of a global set": (FLOW, '{"x", "y"}', '{"y", "x"}'),
    "the order of a table of functions": (
        FLOW,
        '"first": helpers.first, "second": helpers.second',
        '"second": helpers.second, "first": helpers.first',
    ),
    "the order of definitions": (FLOW, "RATE = 0.1", "import json\n        RATE = 0.1"),
    "quotes around a hint": (FLOW, "-> Out:", '-> "Out":'),
    "a number written otherwise": (FLOW, "RATE = 0.1", "RATE = 1e-1"),
}


@pytest.mark.parametrize("what", CHANGING)
def test_an_edit_of_what_a_call_reaches_changes_the_fingerprint(
    what: str, before: Fingerprint, tmp_path: Path
) -> None:
    after = read(tmp_path, edit(CHANGING[what]))
    assert after.digest != before.digest
    assert after.problems == ()


@pytest.mark.parametrize("what", KEEPING)
def test_an_edit_of_what_no_call_depends_on_keeps_the_fingerprint(
    what: str, before: Fingerprint, tmp_path: Path
) -> None:
    after = read(tmp_path, edit(KEEPING[what]))
    assert after == Fingerprint(before.digest, after.source, before.problems, before.parts)


def test_a_project_in_another_folder_keeps_its_fingerprints(before: Fingerprint, tmp_path: Path) -> None:
    assert read(tmp_path / "elsewhere").digest == before.digest


def test_a_renamed_module_keeps_its_fingerprints(before: Fingerprint, tmp_path: Path) -> None:
    files = dict(FILES)
    files["renamed.py"] = files.pop(FLOW)
    assert read(tmp_path, files, "renamed").digest == before.digest


def test_a_renamed_module_of_helpers_keeps_fingerprints(before: Fingerprint, tmp_path: Path) -> None:
    files = edit(
        (FLOW, "import helpers\n", "import tools as helpers\n"), (FLOW, "from helpers", "from tools")
    )
    files["tools.py"] = files.pop(HELPERS)
    assert read(tmp_path, files).digest == before.digest


def test_a_renamed_module_that_is_imported_inside_keeps_fingerprints(
    before: Fingerprint, tmp_path: Path
) -> None:
    files = edit((FLOW, "from deep.late", "from deep.soon"))
    files["deep/soon.py"] = files.pop("deep/late.py")
    assert read(tmp_path, files).digest == before.digest


def test_a_helper_that_moves_to_another_module_keeps_fingerprints(
    before: Fingerprint, tmp_path: Path
) -> None:
    moved = "def polish(x):\n            return x * constants.SCALE"
    files = edit(
        (WORK, moved, ""),
        (HELPERS, "from deep.inner import polish", f"from deep.inner import constants\n        {moved}"),
        ("deep/inner/__init__.py", "from .work import polish", "from . import work"),
    )
    assert read(tmp_path, files).digest == before.digest


def test_parts_say_which_helper_changed(before: Fingerprint, tmp_path: Path) -> None:
    after = read(tmp_path, edit((WORK, "x * constants", "x / constants"), (FLOW, "RATE = 0.1", "RATE = 0.2")))
    assert after.parts.keys() == before.parts.keys()
    assert [n for n in after.parts if after.parts[n] != before.parts[n]] == ["RATE", "polish"]


def test_parts_hold_the_versions_of_the_packages_that_are_used(before: Fingerprint) -> None:
    import numpy as np
    import sklearn

    assert before.parts["numpy"] == np.__version__
    assert before.parts["sklearn"] == sklearn.__version__
    # It is imported, but nothing that the operator reaches uses it.
    assert "pandas" not in before.parts


def test_helpers_of_one_name_in_two_modules_stay_apart(tmp_path: Path) -> None:
    files = {
        "flow.py": """
            import one, two
            from flowlearner import operator

            @operator
            def step(x: int) -> int:
                return one.f(x) + two.f(x)
            """,
        "one.py": "def f(x):\n    return x + 1\n",
        "two.py": "def f(x):\n    return x + 2\n",
    }
    swapped = {**files, "one.py": files["two.py"], "two.py": files["one.py"]}
    first, second = read(tmp_path / "a", files), read(tmp_path / "b", swapped)
    assert first.digest != second.digest
    assert {"f", "f (2)"} <= first.parts.keys()


BOTH = """
    if x:
        import one as h
    else:
        import two as h
    return h.f(x)
"""
INNER = """
    def inner():
        import one as h
        return h.f(x)
    return inner() + h.f(x)
"""


@pytest.mark.parametrize(("before", "body"), [("", BOTH), ("import two as h\n", INNER)])
@pytest.mark.parametrize("edited", ["one.py", "two.py"])
def test_a_name_that_is_imported_from_two_places_stands_for_both(
    before: str, body: str, edited: str, tmp_path: Path
) -> None:
    files = {
        "flow.py": f"{before}from flowlearner import operator\n@operator\ndef step(x: int) -> int:{body}",
        "one.py": "def f(x):\n    return x + 1\n",
        "two.py": "def f(x):\n    return x + 2\n",
    }
    first = read(tmp_path / "a", files)
    second = read(tmp_path / "b", {**files, edited: "def f(x):\n    return x + 3\n"})
    assert first.digest != second.digest


def test_a_module_that_is_imported_for_what_the_import_does_enters(tmp_path: Path) -> None:
    flow = (
        "import flowlearner\n@flowlearner.operator\ndef step(x: int) -> int:\n    import tool\n    return x\n"
    )
    digests = {
        read(tmp_path / n, {"flow.py": flow, "tool.py": f"import builtins\nbuiltins.number = {n}\n"}).digest
        for n in "12"
    }
    assert len(digests) == 2


def test_the_source_is_the_operator_as_written(before: Fingerprint) -> None:
    assert before.source.startswith(
        '@operator(cpus=1)\ndef step(x: float, depth: Depth = 2, task: Task = "fit")'
    )
    assert "# A comment." in before.source
    assert before.source.endswith("return Out(value + sum(total))\n")


PAIRS = {
    "one of two lambdas in a line": (
        "pair = [lambda x: x + 1, lambda x: x + {}]\ndef step(x):\n    return pair[1](x)\n",
        "2",
        "3",
    ),
    "which of two lambdas in a line": (
        "a, b = {}\ndef step(x):\n    return a(x)\n",
        "(lambda x: x + 1), (lambda x: x + 2)",
        "(lambda x: x + 2), (lambda x: x + 1)",
    ),
    "a function registered for a type": (
        "import functools\n@functools.singledispatch\ndef f(x):\n    return 1\n"
        "@f.register\ndef _(x: int):\n    return {}\ndef step(x):\n    return f(x)\n",
        "2",
        "3",
    ),
    "a class made by a call": (
        "import dataclasses\nP = dataclasses.make_dataclass('P', ['{}'])\ndef step(x):\n    return P(x)\n",
        "a",
        "b",
    ),
    "a named tuple made by a call": (
        "import collections\nP = collections.namedtuple('P', '{}')\ndef step(x):\n    return P(x)\n",
        "a",
        "b",
    ),
    "a member of an enum": (
        "import enum\nclass E(enum.Enum):\n    A = {}\ndef step(x):\n    return E.A.value\n",
        "1",
        "2",
    ),
    "a method of a generic class": (
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass Box(Generic[T]):\n"
        "    def get(self):\n        return {}\ndef step(x: 'Box[int]'):\n    return x.get()\n",
        "1",
        "2",
    ),
    "a validator of a pydantic model": (
        "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\n    @pydantic.field_validator('a')\n"
        "    @classmethod\n    def v(cls, x):\n        return x + {}\ndef step(x: M):\n    return x.a\n",
        "1",
        "2",
    ),
    "the state of an object that holds a lock": (
        "import threading\nclass A:\n    def __init__(self, n):\n        self.lock = threading.Lock()\n"
        "        self.n = n\na = A({})\ndef step(x):\n    return a.n\n",
        "1",
        "2",
    ),
    "a function in an estimator": (
        "from sklearn.preprocessing import FunctionTransformer\ndef f(x):\n    return {}\n"
        "t = FunctionTransformer(f)\ndef step(x):\n    return t\n",
        "1",
        "2",
    ),
    "a global in a comprehension": ("K = {}\ndef step(x):\n    return [y for y in range(K)]\n", "1", "2"),
    "a mutable default": ("def step(x, y=[{}]):\n    return y\n", "1", "2"),
    "what a comprehension goes over": ("K = [{}]\ndef step(x):\n    return [K for K in K]\n", "1", "2"),
    "what a decorator's object was given": (
        "import functools\nclass Times:\n    def __init__(self, fn, by):\n        self.fn, self.by = fn, by\n"
        "        functools.update_wrapper(self, fn)\n"
        "    def __call__(self, x):\n        return self.fn(x) * self.by\n"
        "def f(x):\n    return x\nf = Times(f, {})\ndef step(x):\n    return f(x)\n",
        "2",
        "3",
    ),
    "what a defaultdict calls": (
        "import collections\nd = collections.defaultdict(lambda: {})\ndef step(x):\n    return d[x]\n",
        "1",
        "2",
    ),
    "an attribute of a function": (
        "def f(x):\n    return f.k\nf.k = {}\ndef step(x):\n    return f(x)\n",
        "1",
        "2",
    ),
    "an object that a class is given later": (
        "class B:\n    def __init__(self, v):\n        self.v = v\nclass A:\n    pass\nA.b = B({})\n"
        "def step(x):\n    return A.b.v\n",
        "1",
        "2",
    ),
    "the state of a plain object of Python's": (
        "import types\nc = types.SimpleNamespace(rate=0)\nc.rate = {}\ndef step(x):\n    return c.rate\n",
        "1",
        "2",
    ),
    "what a dict of a class of its own holds": (
        "class D(dict):\n    pass\nd = D()\nd['a'] = {}\ndef step(x):\n    return d['a']\n",
        "1",
        "2",
    ),
    "what an object beside a lock holds": (
        "import threading\nd = {{'lock': threading.Lock()}}\nd['a'] = {}\ndef step(x):\n    return d['a']\n",
        "1",
        "2",
    ),
    "what a star import brings": ("from math import *\ndef step(x):\n    return {}(x)\n", "sin", "cos"),
}


@pytest.mark.parametrize("what", PAIRS)
def test_these_differ_and_can_be_followed(what: str, tmp_path: Path) -> None:
    text, *fills = PAIRS[what]
    found = []
    for i, fill in enumerate(fills):
        with imported(tmp_path / str(i), {"flow.py": text.format(fill)}) as module:
            found.append(compute_fingerprint(module.step))
    assert found[0].digest != found[1].digest
    assert found[0].problems == found[1].problems == ()


def test_a_long_chain_of_calls_can_be_followed(tmp_path: Path) -> None:
    chain = "".join(f"def f{i}(x):\n    return f{i + 1}(x)\n" for i in range(2000))
    digests = set()
    for i, last in enumerate(("x", "-x")):
        text = f"{chain}def f2000(x):\n    return {last}\ndef step(x):\n    return f0(x)\n"
        with imported(tmp_path / str(i), {"flow.py": text}) as module:
            digests.add(compute_fingerprint(module.step).digest)
    assert len(digests) == 2
