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


PLACES = {
    "a logger's name": "import logging\nV = logging.getLogger(__name__)\n",
    "the module's name": "V = 1\nif __name__ == '__main__':\n    V = 2\n",
    "its folder": "from pathlib import Path\nV = Path(__file__).parent\n",
    "its folder as text": "import os\nV = os.path.dirname(os.path.abspath(__file__))\n",
    "a path in a folder beside it": (
        "from pathlib import Path\nHERE = Path(__file__).resolve().parent\nV = HERE.parent / 'data'\n"
    ),
    "a new type": "from typing import NewType\nV = NewType('V', int)\n",
    "a type variable": "from typing import TypeVar\nclass M:\n    pass\nV = TypeVar('V', bound=M)\n",
}


@pytest.mark.parametrize("what", PLACES)
def test_what_a_module_knows_of_its_own_place_does_not_count(what: str, tmp_path: Path) -> None:
    text = f"{PLACES[what]}def step(x):\n    return V, __name__, __file__\n"
    first = "from tool import V\nimport tool\ndef step(x):\n    return V, tool.__name__\n"
    found = []
    for folder, name, tool in (("a", "flow", "tool"), ("b/c", "other", "kit")):
        through = first.replace("import tool", f"import {tool} as tool").replace("from tool", f"from {tool}")
        for read_as in (text, through):
            files = {f"{name}.py": read_as, f"{tool}.py": PLACES[what]}
            with imported(tmp_path / folder, files, name) as module:
                found.append(compute_fingerprint(module.step))
    assert [f.problems for f in found] == [()] * 4
    assert [f.digest for f in found[:2]] == [f.digest for f in found[2:]]


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
    "what a property sets that a class is given later": (
        "class A:\n    pass\ndef get(self):\n    return self.v\ndef put(self, v):\n    self.v = v * {}\n"
        "A.p = property(get, put)\ndef step(x):\n    a = A()\n    a.p = x\n    return a.p\n",
        "2",
        "3",
    ),
    "a method with arguments that a class is given later": (
        "import functools\nclass A:\n    pass\ndef f(self, k):\n    return k + {}\n"
        "A.m = functools.partialmethod(f, 2)\ndef step(x):\n    return A().m()\n",
        "2",
        "3",
    ),
    "an object in the place of what a class was written with": (
        "class B:\n    def __init__(self, v):\n        self.v = v\nclass A:\n    b = None\nA.b = B({})\n"
        "def step(x):\n    return A().b.v\n",
        "2",
        "3",
    ),
    "what a new type is made of": (
        "from typing import NewType\nU = NewType('U', {})\ndef step(x: U):\n    return x\n",
        "int",
        "float",
    ),
    "what a type variable is bound to": (
        "from typing import TypeVar\nclass M:\n    v = {}\nT = TypeVar('T', bound=M)\n"
        "def step(x: T):\n    return x\n",
        "1",
        "2",
    ),
    "a function that numpy calls for each item": (
        "import numpy as np\ndef f(x):\n    return x + {}\ng = np.frompyfunc(f, 1, 1)\n"
        "def step(x):\n    return g(x)\n",
        "1",
        "2",
    ),
    "a path that does not come from the file": (
        "from pathlib import Path\nDATA = Path('/data/{}')\ndef step(x):\n    return DATA\n",
        "a",
        "b",
    ),
    "what is read from a file beside the module": (
        "from pathlib import Path\nVERSION = Path(__file__).read_text()\n# {}\n"
        "def step(x):\n    return VERSION\n",
        "a",
        "b",
    ),
    "a path that is read from a file beside the module": (
        "from pathlib import Path\nV = '/' + Path(__file__).read_text()[-2:-1]\n"
        "def step(x):\n    return V  # {}\n",
        "a",
        "b",
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
