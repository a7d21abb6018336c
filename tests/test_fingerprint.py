"""What a fingerprint promises beyond edits of files: one hash wherever code runs, and no stale answer."""

from __future__ import annotations

import functools
import importlib
import json
import linecache
import logging
import os
import pickle
import subprocess
import sys
import threading
import timeit
import types
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

import examples.iris
import flowlearner
import operators.train
from flowlearner.fingerprint import Fingerprint, compute_fingerprint, is_user_module, origin
from flowlearner.operation import operator
from tests.fingerprint_project import FILES, edit, imported, write

CODE = """
import functools
from flowlearner.operation import operator

LIMIT = 3

class Point:
    x: int = 0

def helper(x):
    return x + LIMIT

pick = lambda x: helper(x)

@operator
def step(x: int) -> int:
    return pick(x) + Point.x
"""
MAIN = CODE + "\nprint(step.fingerprint().digest)\n"


def run_cell(text: str, namespace: dict[str, Any], number: int) -> None:
    """Run a cell as a notebook does: the text is known to linecache alone."""
    file = f"<ipython-input-{number}-{abs(hash(text)):x}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), namespace)


@pytest.fixture
def notebook() -> Any:
    before = dict(linecache.cache)
    yield {"__name__": "__main__", "__builtins__": __builtins__}
    linecache.cache.clear()
    linecache.cache.update(before)


def import_text(folder: Path, text: str) -> Any:
    with imported(folder, {"flow.py": text}) as module:
        return module


def make_step(folder: Path, body: str, before: str = "") -> Fingerprint:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"{before}\ndef step(x, name='a'):\n{lines}"
    with imported(folder, {"flow.py": text}) as module:
        return compute_fingerprint(module.step)


# One hash wherever the code runs


def test_a_script_an_import_and_a_notebook_cell_agree(tmp_path: Path, notebook: dict[str, Any]) -> None:
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    seen = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(done.stdout.strip())
    with imported(tmp_path, {"flow.py": CODE}) as module:
        seen.add(module.step.fingerprint().digest)
    parts = CODE.split("\n\n")
    for number, part in enumerate(parts):
        run_cell(part + "\n", notebook, number)
    found = notebook["step"].fingerprint()
    assert found.problems == ()
    assert seen == {found.digest}


def test_a_module_whose_loader_alone_has_the_text_agrees(tmp_path: Path) -> None:
    class Loader:
        def get_source(self, name: str) -> str:
            return CODE

    module = types.ModuleType("flow")
    module.__file__ = "/nowhere/flow.py"
    module.__loader__ = Loader()  # type: ignore[assignment]
    sys.modules["flow"] = module
    try:
        exec(compile(CODE, module.__file__, "exec"), vars(module))
        found = module.step.fingerprint()
    finally:
        del sys.modules["flow"]
    assert found.problems == ()
    with imported(tmp_path, {"flow.py": CODE}) as again:
        assert again.step.fingerprint().digest == found.digest


def test_relative_and_absolute_imports_of_one_helper_agree(tmp_path: Path) -> None:
    files = {"pack/__init__.py": "", "pack/tool.py": "def f(x):\n    return x\n"}
    digests = set()
    for i, line in enumerate(("from .tool import f", "from pack.tool import f")):
        text = f"def step(x):\n    {line}\n    return f(x)\n"
        with imported(tmp_path / str(i), {**files, "pack/flow.py": text}, "pack.flow") as module:
            digests.add(compute_fingerprint(module.step).digest)
    assert len(digests) == 1


def test_a_function_that_was_sent_by_value_has_no_source_and_says_so(notebook: dict[str, Any]) -> None:
    run_cell("def step(x):\n    return x\n", notebook, 1)
    found = compute_fingerprint(pickle.loads(cloudpickle.dumps(notebook["step"])), version="1")
    assert found.source == ""
    assert compute_fingerprint(pickle.loads(cloudpickle.dumps(notebook["step"]))).problems


def test_digests_are_what_they_were(tmp_path: Path) -> None:
    # A change here loses every result that any user has cached: raise fingerprint.KIND and say so.
    golden = json.loads((Path(__file__).parent / "golden" / "digests.json").read_text())["fingerprints"]
    with imported(tmp_path, {"flow.py": CODE}) as module:
        assert module.step.fingerprint().digest == golden["operator"]
        assert compute_fingerprint(module.step.fn, version="1").digest == golden["version"]
        assert compute_fingerprint(module.step.fn, uses=[1, "a", module.Point]).digest == golden["uses"]


# version= and uses=


def plain(x: int) -> int:
    return x


def test_a_version_enters_in_addition() -> None:
    digests = {compute_fingerprint(plain, version=v).digest for v in (None, "", "1", "2")}
    assert len(digests) == 4
    assert compute_fingerprint(plain, version="1").digest in digests


def test_used_functions_and_values_enter(tmp_path: Path) -> None:
    def other(x: int) -> int:
        return x + 1

    uses: list[tuple[Any, ...]] = [(), (other,), (3,), (3.0,), (other, 3), ({"a": other},)]
    assert len({compute_fingerprint(plain, uses=u).digest for u in uses}) == len(uses)


def test_the_version_of_an_operator_that_a_workflow_calls_enters() -> None:
    def build(version: str | None) -> str:
        @operator(version=version)
        def inner(x: int) -> int:
            return x

        def outer(x: int) -> int:
            return inner(x)

        return compute_fingerprint(outer).digest

    assert len({build(None), build("1"), build("2")}) == 3
    assert build("1") == build("1")


def test_the_version_of_a_package_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> str:
        def step(x: int) -> Any:
            return np.log(x)

        return compute_fingerprint(step).digest

    before = build()
    monkeypatch.setattr("flowlearner.fingerprint.values.find_package_version", lambda top: "0.0")
    assert build() != before


@pytest.mark.parametrize("top", ["numpy", "sklearn", "_pytest", "typing_extensions"])
def test_a_package_is_found_by_the_name_that_is_imported(top: str) -> None:
    names = {"numpy": "numpy", "sklearn": "scikit-learn", "_pytest": "pytest"}
    expected = importlib.metadata.version(names.get(top, "typing-extensions"))
    assert origin.find_package_version(top) == expected


# What cannot be followed

UNFOLLOWED = {
    "exec": ("exec(name)", ""),
    "eval": ("return eval(name)", ""),
    "eval as a value": ("return list(map(eval, name))", ""),
    "eval by another name": ("return run(name)", "run = eval\n"),
    "globals": ("return globals()[name]", ""),
    "a module among the loaded ones": ("return sys.modules[name].f", "import sys\n"),
    "a variable of the environment by a name in a variable": ("return os.environ[name]", "import os\n"),
    "all of the environment": ("return {**os.environ}", "import os\n"),
    "the environment by another name": ("e = os.environ\nreturn e['A']", "import os\n"),
    "the environment in a path": ("return os.path.expandvars(name)", "import os\n"),
    "a module by a name in a variable": ("return importlib.import_module(name)", "import importlib\n"),
    "a module by a name in a variable, imported inside": (
        "from importlib import import_module\nreturn import_module(name)",
        "",
    ),
    "a global without encoding that is not assigned": (
        "return THING",
        "globals()['THING'] = open(__file__)\n",
    ),
    "classes that derive from another one": ("return A.__subclasses__()", "class A:\n    pass\n"),
    "a helper without source": ("return made(x)", "exec('def made(x): return x')\n"),
}


@pytest.mark.parametrize("what", UNFOLLOWED)
def test_what_cannot_be_followed_is_a_problem_that_asks_for_a_version(what: str, tmp_path: Path) -> None:
    body, before = UNFOLLOWED[what]
    found = make_step(tmp_path, body, before)
    assert len(found.problems) == 1
    assert "flow.py:" in found.problems[0] or "'made'" in found.problems[0]
    assert "version=" in found.problems[0]


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("return eval_metric(x)", "def eval_metric(x):\n    return x\n"),
        ("return rows.eval(name)", "import pandas as pd\nrows = pd.DataFrame()\n"),
        ("eval = len\nreturn eval(name)", ""),
        ("return importlib.import_module('json')", "import importlib\n"),
        ("return getattr(x, name)", ""),
        ("os.environ['A'] = name\nos.environ.update(A=name)", "import os\n"),
        (
            "try:\n    import package_of_nobody\nexcept ImportError:\n    package_of_nobody = None",
            "",
        ),
    ],
)
def test_what_only_looks_dynamic_is_no_problem(body: str, before: str, tmp_path: Path) -> None:
    assert make_step(tmp_path, body, before).problems == ()


def test_a_version_settles_what_cannot_be_followed(tmp_path: Path) -> None:
    with imported(tmp_path, {"flow.py": "def step(x):\n    return eval(x)\n"}) as module:
        assert compute_fingerprint(module.step).problems
        assert compute_fingerprint(module.step, version="1").problems == ()


def test_a_module_imported_by_a_written_name_is_followed_as_a_whole(tmp_path: Path) -> None:
    files = {
        "flow.py": "import importlib\ndef step(x):\n    return importlib.import_module('tool').f(x)\n",
        "tool.py": "def f(x):\n    return x\n",
    }
    digests = set()
    for i, text in enumerate((files["tool.py"], files["tool.py"].replace("return x", "return -x"))):
        with imported(tmp_path / str(i), {**files, "tool.py": text}) as module:
            digests.add(compute_fingerprint(module.step).digest)
    assert len(digests) == 2


def test_a_module_used_as_a_value_is_followed_as_a_whole(tmp_path: Path) -> None:
    digests = set()
    for i, sign in enumerate(("", "-")):
        files = {
            "flow.py": "import tool\ndef step(x, name):\n    return getattr(tool, name)(x)\n",
            "tool.py": f"def f(x):\n    return {sign}x\n",
        }
        with imported(tmp_path / str(i), files) as module:
            digests.add(compute_fingerprint(module.step).digest)
    assert len(digests) == 2


# No stale answer


def test_a_redefined_helper_of_a_notebook_is_noticed(notebook: dict[str, Any]) -> None:
    run_cell("def helper(x):\n    return x\n", notebook, 1)
    run_cell("def step(x):\n    return helper(x)\n", notebook, 2)
    before = compute_fingerprint(notebook["step"])
    run_cell("def helper(x):\n    return -x\n", notebook, 3)
    after = compute_fingerprint(notebook["step"])
    run_cell("def helper(x):\n    return x  # as before\n", notebook, 4)
    assert after.digest != before.digest
    assert compute_fingerprint(notebook["step"]).digest == before.digest


def test_a_helper_that_is_defined_later_is_noticed(notebook: dict[str, Any]) -> None:
    run_cell("def step(x):\n    return helper(x)\n", notebook, 1)
    before = compute_fingerprint(notebook["step"]).digest
    run_cell("def helper(x):\n    return x\n", notebook, 2)
    assert compute_fingerprint(notebook["step"]).digest != before


def test_a_class_of_a_notebook_without_methods_is_followed(notebook: dict[str, Any]) -> None:
    run_cell("from typing import NamedTuple\n", notebook, 1)
    run_cell("class Out(NamedTuple):\n    a: int\n", notebook, 2)
    run_cell("def step(x) -> Out:\n    return Out(x)\n", notebook, 3)
    before = compute_fingerprint(notebook["step"])
    run_cell("class Out(NamedTuple):\n    a: float\n", notebook, 4)
    after = compute_fingerprint(notebook["step"])
    assert before.problems == after.problems == ()
    assert after.digest != before.digest


GLOBAL: Any = 1


def reads_global() -> Any:
    return GLOBAL


@pytest.mark.parametrize(
    ("first", "second"),
    [(1, 2), (1, 1.0), (1, True), ([1], [1, 2]), ({"a": 1}, {"a": 2}), ("a", b"a"), ((), [])],
)
def test_a_rebound_global_is_noticed(monkeypatch: pytest.MonkeyPatch, first: Any, second: Any) -> None:
    monkeypatch.setitem(globals(), "GLOBAL", first)
    before = compute_fingerprint(reads_global).digest
    monkeypatch.setitem(globals(), "GLOBAL", second)
    assert compute_fingerprint(reads_global).digest != before
    monkeypatch.setitem(globals(), "GLOBAL", first)
    assert compute_fingerprint(reads_global).digest == before


class Counter:
    def __init__(self) -> None:
        self.n = 0


def _grow(value: Any) -> None:
    if isinstance(value, list):
        value.append(3)
    elif isinstance(value, dict):
        value["inner"].append(3)
    elif isinstance(value, Counter):
        value.n += 1
    elif isinstance(value, pd.DataFrame):
        value.loc[0, "a"] = 9
    else:
        value[0] = 9


@pytest.mark.parametrize(
    "value",
    [[1], {"inner": [1]}, Counter(), np.zeros(3), pd.DataFrame({"a": [1, 2]}), [plain], [Counter(), plain]],
    ids=lambda v: type(v).__name__,
)
def test_a_global_that_changes_in_place_is_noticed(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setitem(globals(), "GLOBAL", value)
    before = compute_fingerprint(reads_global)
    assert before.problems == ()
    assert compute_fingerprint(reads_global) is before
    _grow(value)
    assert compute_fingerprint(reads_global).digest != before.digest


def test_a_class_attribute_that_is_set_later_is_noticed(tmp_path: Path) -> None:
    text = (
        "class Box:\n    size = 1\n    def f(self):\n        return 1\ndef step(x):\n    return Box().size\n"
    )
    module = import_text(tmp_path, text)
    before = compute_fingerprint(module.step).digest
    module.Box.size = 2
    grown = compute_fingerprint(module.step).digest
    module.Box.size = 1
    assert grown != before
    assert compute_fingerprint(module.step).digest == before
    module.Box.f = lambda self: 2
    assert compute_fingerprint(module.step).digest != before


def test_a_closure_that_is_rebound_is_noticed() -> None:
    value = 1

    def step() -> int:
        return value

    before = compute_fingerprint(step).digest
    value = 2
    assert compute_fingerprint(step).digest != before


def test_an_edited_and_reloaded_module_is_noticed(tmp_path: Path) -> None:
    files = {
        "flow.py": "import tool\ndef step(x):\n    return tool.f(x)\n",
        "tool.py": "def f(x):\n    return x\n",
    }
    with imported(tmp_path, files) as module:
        before = compute_fingerprint(module.step).digest
        write(tmp_path, {"tool.py": "# now otherwise\ndef f(x):\n    return -x\n"})
        importlib.reload(sys.modules["tool"])
        after = compute_fingerprint(module.step)
    assert after.problems == ()
    assert after.digest != before


def test_code_that_was_edited_but_not_loaded_again_is_never_taken_for_the_new_text(tmp_path: Path) -> None:
    text = "def step(x):\n    return x\ndef seen(x):\n    return x\n"
    with imported(tmp_path, {"flow.py": text}) as module:
        known = compute_fingerprint(module.seen)
        write(tmp_path, {"flow.py": text.replace("return x", "return -x")})
        # The text as it was read before is kept.
        assert compute_fingerprint(module.step).problems == ()
        assert compute_fingerprint(module.seen) is known
    with imported(tmp_path / "b", {"flow.py": text}) as module:
        write(tmp_path / "b", {"flow.py": text.replace("return x", "return -x")})
        (problem,) = compute_fingerprint(module.step).problems
    assert "changed after it was loaded" in problem


def test_a_repeated_call_costs_microseconds(tmp_path: Path) -> None:
    with imported(tmp_path, FILES) as module:
        step = module.step
        step.fingerprint()
        best = min(timeit.repeat(step.fingerprint, number=50, repeat=5)) / 50
    # 15 µs where nothing else runs; the bound only catches another order of magnitude.
    assert best < 200e-6


def test_threads_agree(tmp_path: Path) -> None:
    found = []
    with imported(tmp_path, FILES) as module:
        threads = [
            threading.Thread(target=lambda: found.append(module.step.fingerprint().digest)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


# Whose code it is


def test_python_packages_and_flowlearner_are_not_the_users_code() -> None:
    others = (json, sys, logging, functools, np, pd, pytest, flowlearner, origin)
    assert [m.__name__ for m in others if is_user_module(m)] == []


def test_stock_operators_and_examples_are_the_users_code() -> None:
    assert is_user_module(operators.train)
    assert is_user_module(examples.iris)
    assert is_user_module(sys.modules[__name__])


def test_installed_stock_is_the_users_code_and_its_neighbours_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "site-packages"
    monkeypatch.setattr(origin, "PACKAGE", folder / "flowlearner")
    origin.is_user_file.cache_clear()
    try:
        assert origin.is_user_file(str(folder / "operators" / "train.py"))
        assert origin.is_user_file(str(folder / "examples" / "iris.py"))
        assert not origin.is_user_file(str(folder / "flowlearner" / "types.py"))
        assert not origin.is_user_file(str(folder / "numpy" / "__init__.py"))
    finally:
        origin.is_user_file.cache_clear()


def test_every_stock_operator_can_be_followed() -> None:
    names = ("evaluate", "features", "load", "plots", "predict", "split", "train")
    stock = [v for n in names for v in vars(importlib.import_module(f"operators.{n}")).values()]
    problems = {
        o.name: o.fingerprint().problems for o in stock if hasattr(type(o), "__flowlearner_operator__")
    }
    assert len(problems) > 15
    assert not any(problems.values())


def test_edits_are_found_in_the_project_of_the_tests() -> None:
    with pytest.raises(AssertionError):
        edit(("flow.py", "not there", ""))
