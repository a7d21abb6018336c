"""What code reaches in a snapshot, by reading alone, and what differs between two snapshots."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from flowlearner.explaining.changes import Change, compare_reaches
from flowlearner.explaining.reach import Code, Reach
from tests.fingerprint_project import FILES, edit
from tests.test_mutations import EDITS, PROJECT


def make_modules(files: Mapping[str, str]) -> dict[str, Any]:
    """Return files as a snapshot has them."""
    modules = {}
    for file, text in files.items():
        parts = file.removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = {"source": textwrap.dedent(text).lstrip("\n"), "package": is_package}
    return modules


def read(files: Mapping[str, str], module: str = "flow", name: str = "step", source: str = "") -> Reach:
    reach = Code(make_modules(files)).find_reach(module, name, source)
    assert reach is not None
    return reach


def compare(before: Mapping[str, str], after: Mapping[str, str], name: str = "step") -> list[Change]:
    return compare_reaches(read(before, name=name), read(after, name=name))


# What a module does to a value after its assignment only shows when it runs.
UNSEEN = ("what a list is given later",)


@pytest.mark.parametrize("what", [what for what in EDITS if what not in UNSEEN])
def test_what_lets_a_node_run_again_is_named_and_nothing_else_is(what: str) -> None:
    expected, file, old, new = EDITS[what]
    after = edit((file, old, new), files=PROJECT)
    nodes = (("step", "flow"), ("extra", "more"))
    found = {n for n, m in nodes if compare_reaches(read(PROJECT, m, n), read(after, m, n))}
    assert found == expected


def test_a_value_is_told_before_and_after() -> None:
    (change,) = compare(FILES, edit(("deep/inner/constants.py", "SCALE = 3", "SCALE = 4")))
    assert (change.kind, change.name, change.before, change.after) == ("value", "SCALE", "3", "4")
    assert change.module == "deep.inner.constants"


def test_a_helper_is_told_with_a_diff_of_its_source() -> None:
    (change,) = compare(FILES, edit(("deep/inner/work.py", "x * constants", "x / constants")))
    assert (change.kind, change.name) == ("function", "polish")
    assert "-    return x * constants.SCALE\n+    return x / constants.SCALE\n" in change.diff


def test_a_renamed_helper_is_no_difference_in_those_who_call_it() -> None:
    files = {n: t.replace("polish", "shine") for n, t in FILES.items()}
    (change,) = compare(FILES, files)
    assert (change.kind, change.before, change.after) == ("renamed", "polish", "shine")


def test_a_helper_that_was_renamed_and_changed_is_told_as_another() -> None:
    files = {
        n: t.replace("polish", "shine").replace("x * constants", "x / constants") for n, t in FILES.items()
    }
    assert {(c.name, c.how) for c in compare(FILES, files)} == {
        ("clean", "changed"),
        ("shine", "added"),
        ("polish", "removed"),
    }


def test_a_moved_helper_and_a_moved_file_are_no_difference() -> None:
    moved = dict(FILES)
    moved["other.py"] = moved.pop("helpers.py")
    moved["flow.py"] = moved["flow.py"].replace("import helpers", "import other as helpers")
    moved["flow.py"] = moved["flow.py"].replace("from helpers import", "from other import")
    assert compare(FILES, moved) == []


def test_the_operator_is_found_in_a_module_of_another_name() -> None:
    source = read(FILES).root.source
    moved = {("__main__.py" if n == "flow.py" else n): t for n, t in FILES.items()}
    reach = read(moved, source=source)
    assert reach.root.module == "__main__"
    assert compare_reaches(read(FILES), reach) == []


def test_helpers_of_one_name_in_two_modules_stay_apart() -> None:
    files = {
        "flow.py": """
            import a, b
            def step(x):
                return a.clean(x) + b.clean(x)
            """,
        "a.py": "def clean(x):\n    return x + 1\n",
        "b.py": "def clean(x):\n    return x + 2\n",
    }
    (change,) = compare(files, edit(("b.py", "x + 2", "x + 3"), files=files))
    assert (change.module, change.name) == ("b", "clean")


def test_version_and_uses_of_the_operator_count_and_its_resources_do_not() -> None:
    files = {
        "flow.py": """
            from flowlearner import operator
            def far(x):
                return x
            @operator(version="1", uses=[far], cpus=1)
            def step(x: int) -> int:
                return x
            """
    }
    (change,) = compare(files, edit(("flow.py", 'version="1"', 'version="2"'), files=files))
    assert (change.kind, change.before, change.after) == ("version", "'1'", "'2'")
    (change,) = compare(
        files, edit(("flow.py", "return x\n            @", "return -x\n            @"), files=files)
    )
    assert (change.kind, change.name) == ("function", "far")
    assert compare(files, edit(("flow.py", "cpus=1", "cpus=2"), files=files)) == []


def test_an_operator_inside_a_function_reads_what_that_function_binds() -> None:
    files = {
        "flow.py": """
            def make():
                rate = 2
                def helper(x):
                    return x * rate
                def step(x):
                    return helper(x)
                return step
            """
    }
    (change,) = compare(files, edit(("flow.py", "rate = 2", "rate = 3"), files=files))
    assert (change.kind, change.name, change.after) == ("value", "rate", "3")


def test_a_star_import_and_a_package_that_hands_on_names_are_followed() -> None:
    files = {
        "flow.py": "from deep import *\ndef step(x):\n    return polish(x)\n",
        "deep/__init__.py": "from .work import *\n",
        "deep/work.py": "def polish(x):\n    return x\n",
    }
    (change,) = compare(files, edit(("deep/work.py", "return x", "return -x"), files=files))
    assert change.name == "polish"


def test_modules_that_import_a_name_from_each_other_come_to_an_end() -> None:
    files = {
        "flow.py": "from a import polish\ndef step(x):\n    return polish(x)\n",
        "a.py": "try:\n    from b import polish\nexcept ImportError:\n    def polish(x):\n        return x\n",
        "b.py": "from a import polish\nfrom a import *\n",
    }
    assert [d.name for d in read(files).definitions] == ["polish"]


def test_a_notebook_with_magic_lines_is_read() -> None:
    files = {"__main__.py": "%matplotlib inline\n!pip list\nRATE = 1\ndef step(x):\n    return x * RATE\n"}
    assert [d.name for d in read(files, module="__main__").definitions] == ["RATE"]


def test_packages_and_variables_of_the_environment_are_listed() -> None:
    files = {
        "flow.py": """
            import math, os
            import numpy as np
            from sklearn.linear_model import Ridge
            def step(x):
                return np.log1p(x) + Ridge().alpha + math.pi + len(os.environ["TEAM"])
            """
    }
    reach = read(files)
    assert reach.packages == {"numpy", "sklearn"}
    assert reach.environment == {"TEAM"}
