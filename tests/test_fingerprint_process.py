"""A fingerprint in a process that lives long: values change in place, files are edited and loaded again."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlearner.fingerprint import compute_fingerprint
from tests.fingerprint_project import imported, write

LOCKED = """
import threading
class A:
    def __init__(self):
        self.lock, self.n = threading.Lock(), 1
"""

# What the module sets and returns, and how it is changed afterwards.
CHANGED_IN_PLACE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "an attribute of a plain object": (
        "import types\nV = types.SimpleNamespace(a=1)\n",
        lambda m: setattr(m.V, "a", 2),
    ),
    "an attribute of an object in a dict": (
        "import types\nV = {'k': types.SimpleNamespace(a=1)}\n",
        lambda m: setattr(m.V["k"], "a", 2),
    ),
    "an attribute of an object in a set": (
        "class A:\n    n = 0\nV = {A()}\n",
        lambda m: setattr(next(iter(m.V)), "n", 2),
    ),
    "a dict of a class of its own": ("class D(dict):\n    pass\nV = D(a=1)\n", lambda m: m.V.update(a=2)),
    "a list of a class of its own": ("class L(list):\n    pass\nV = L([1])\n", lambda m: m.V.append(2)),
    "a dict of Python's library": (
        "import collections\nV = collections.UserDict(a=1)\n",
        lambda m: m.V.update(a=2),
    ),
    "a parser of settings": (
        "import configparser\nV = configparser.ConfigParser()\n",
        lambda m: m.V.read_string("[a]\nb = 1"),
    ),
    "a table of a class of its own": (
        "import pandas as pd\nclass T(pd.DataFrame):\n    pass\nV = T({'a': [1]})\n",
        lambda m: m.V.__setitem__("a", [2]),
    ),
    "an object with a lock": (
        f"{LOCKED}V = A()\n",
        lambda m: setattr(m.V, "n", 2),
    ),
    "an object with a lock in a list": (
        f"{LOCKED}V = [A()]\n",
        lambda m: setattr(m.V[0], "n", 2),
    ),
    "a keyword of a partial": (
        "import functools\ndef f(a):\n    return a\nV = functools.partial(f, a=1)\n",
        lambda m: m.V.keywords.update(a=2),
    ),
    "a list in a partial": (
        "import functools\ndef f(a):\n    return a\nV = functools.partial(f, a=[1])\n",
        lambda m: m.V.keywords["a"].append(2),
    ),
    "the object of a method": (
        "class A:\n    n = 1\n    def get(self):\n        return self.n\nV = A().get\n",
        lambda m: setattr(m.V.__self__, "n", 2),
    ),
    "a further attribute of a dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int = 1\nV = A()\n",
        lambda m: setattr(m.V, "more", 2),
    ),
    "a default by keyword": (
        "def V(*, a=1):\n    return a\n",
        lambda m: m.V.__kwdefaults__.update(a=2),
    ),
    "a list that holds itself": ("V = [1]\nV.append(V)\n", lambda m: m.V.append(2)),
    "an object that holds itself": (
        "class A:\n    n = 1\nV = A()\nV.me = V\n",
        lambda m: setattr(m.V, "n", 2),
    ),
}


@pytest.mark.parametrize("what", CHANGED_IN_PLACE)
def test_what_is_changed_in_place_is_noticed(what: str, tmp_path: Path) -> None:
    before, change = CHANGED_IN_PLACE[what]
    with imported(tmp_path, {"flow.py": f"{before}def step(x):\n    return V\n"}) as module:
        first = compute_fingerprint(module.step)
        assert compute_fingerprint(module.step) is first
        change(module)
        assert compute_fingerprint(module.step).digest != first.digest
    assert first.problems == ()


@pytest.mark.parametrize("change", [lambda m: setattr(m, "K", 2), lambda m: setattr(m, "f", lambda: 2)])
def test_a_value_of_a_module_that_is_used_as_a_whole_is_noticed(change: Any, tmp_path: Path) -> None:
    files = {
        "flow.py": "import tool\ndef step(name):\n    return getattr(tool, name)\n",
        "tool.py": "K = 1\ndef f():\n    return 1\n",
    }
    with imported(tmp_path, files) as module:
        before = compute_fingerprint(module.step).digest
        change(sys.modules["tool"])
        assert compute_fingerprint(module.step).digest != before


# Variables of the environment


@pytest.mark.parametrize(
    "body",
    [
        "return os.environ['SETTING']",
        "return os.environ.get('SETTING', x)",
        "return os.getenv('SETTING')",
        "return 'SETTING' in os.environ",
        "return inside()",
        "from os import getenv\n    return getenv('SETTING')",
    ],
)
def test_a_variable_of_the_environment_counts_where_code_names_it(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import os\ndef inside():\n    return os.environ['SETTING']\ndef step(x):\n    {body}\n"
    found = []
    with imported(tmp_path, {"flow.py": text}) as module:
        for value in (None, "a", "b"):
            if value is not None:
                monkeypatch.setenv("SETTING", value)
            found.append(compute_fingerprint(module.step))
        monkeypatch.setenv("ANOTHER", "c")
        assert compute_fingerprint(module.step) is found[-1]
    assert len({f.digest for f in found}) == 3
    assert [f.problems for f in found] == [(), (), ()]


# Files that are edited

FLOW = """
import tool
from flowlearner.operation import operator

@operator
def step(x: int) -> int:
    return tool.THING
"""
EDITS = {
    "a class without methods": ("class THING:\n    n: int\n", "class THING:\n    n: float\n"),
    "a named tuple": (
        "from typing import NamedTuple\nclass THING(NamedTuple):\n    n: int\n",
        "from typing import NamedTuple\nclass THING(NamedTuple):\n    n: float\n",
    ),
    "what is taken by its assignment": (
        "import logging\nTHING = logging.getLogger('a')\n",
        "import logging\nTHING = logging.getLogger('b')\n",
    ),
    "a function": ("def THING():\n    return 1\n", "def THING():\n    return 2\n"),
}


def read_afresh(folder: Path, text: str) -> str:
    with imported(folder, {"flow.py": FLOW, "tool.py": text}) as module:
        return str(module.step.fingerprint().digest)


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_counts_once_the_file_is_loaded_again_and_not_before(what: str, tmp_path: Path) -> None:
    old, new = EDITS[what]
    expected = read_afresh(tmp_path / "old", old), read_afresh(tmp_path / "new", new)
    with imported(tmp_path / "edited", {"flow.py": FLOW, "tool.py": old}) as module:
        write(tmp_path / "edited", {"tool.py": new})
        before = module.step.fingerprint().digest
        importlib.reload(sys.modules["tool"])
        after = module.step.fingerprint().digest
    assert (before, after) == expected
    assert before != after


def test_a_compiled_copy_that_python_takes_for_the_new_text_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stale_copy.py"
    for text in ("def f():\n    return 1\n", "def f():\n    return 2\n"):
        path.write_text(text)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        if text.endswith("1\n"):
            py_compile.compile(str(path))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("stale_copy")
    monkeypatch.delitem(sys.modules, "stale_copy")
    assert module.f() == 1
    (problem,) = compute_fingerprint(module.f).problems
    assert "without __pycache__" in problem


def test_a_file_that_is_gone_counts_as_it_was_loaded(tmp_path: Path) -> None:
    text = "class THING:\n    n: int\n"
    with imported(tmp_path / "gone", {"flow.py": FLOW, "tool.py": text}) as module:
        (tmp_path / "gone" / "tool.py").unlink()
        (tmp_path / "gone" / "flow.py").unlink()
        found = module.step.fingerprint()
    assert found.problems == ()
    assert found.digest == read_afresh(tmp_path / "there", text)


def test_functions_of_modules_that_are_made_by_hand_are_followed() -> None:
    module = types.ModuleType("made")
    exec("def f(x):\n    return x\n", vars(module))
    assert "no source" in compute_fingerprint(vars(module)["f"]).problems[0]
