"""From FILE:WORKFLOW to the workflow: what is found, what is loaded anew, and what a failing import says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner import loading
from flowlearner.errors import FlowLearnerError, NotFoundError, UsageError
from flowlearner.loading import load_workflow

REPOSITORY = Path(__file__).resolve().parents[1]
HEAD = "from flowlearner import operator, workflow\n"
ONE = (
    HEAD
    + '''
@operator
def double(a: int) -> int:
    return a * 2

@workflow
def doubled(a: int = 1) -> int:
    """Twice."""
    return double(a)
'''
)
TWO = ONE + "\n@workflow\ndef again(a: int = 1) -> int:\n    return double(double(a))\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what a test imports is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(loading, "_roots", [])
    monkeypatch.setattr(loading, "_loaded", {})
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if (getattr(sys.modules[name], "__file__", None) or str(tmp_path)).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.update(before)


def write(path: str, text: str = ONE) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def fail(target: str, kind: type[FlowLearnerError]) -> str:
    with pytest.raises(kind) as caught:
        load_workflow(target)
    return str(caught.value)


# What is found


def test_a_file_and_a_workflow_in_it() -> None:
    write("numbers_of_mine.py", TWO)
    assert load_workflow("numbers_of_mine.py:again").name == "again"


def test_the_only_workflow_of_a_file_need_not_be_named() -> None:
    write("numbers_of_mine.py")
    assert load_workflow("numbers_of_mine.py").name == "doubled"


def test_of_several_workflows_one_must_be_named() -> None:
    write("numbers_of_mine.py", TWO)
    message = fail("numbers_of_mine.py", NotFoundError)
    place = "numbers_of_mine.py"
    assert message == f"{place} has 2 workflows: doubled, again. Choose one, for example {place}:doubled"


def test_a_module_of_a_package_in_the_current_folder() -> None:
    write("project_of_mine/__init__.py", "")
    write("project_of_mine/flows.py")
    assert load_workflow("project_of_mine.flows:doubled").name == "doubled"


def test_a_path_with_folders_finds_the_modules_beside_the_file() -> None:
    write("deep/down/helper_of_mine.py", "FACTOR = 3\n")
    write("deep/down/flows_of_mine.py", "from helper_of_mine import FACTOR\n" + ONE)
    assert load_workflow("deep/down/flows_of_mine.py:doubled").name == "doubled"


def test_a_file_with_relative_imports_is_loaded_as_part_of_its_package() -> None:
    write("project_of_mine/__init__.py", "")
    write("project_of_mine/helper.py", "FACTOR = 3\n")
    write("project_of_mine/flows.py", "from .helper import FACTOR\n" + ONE)
    found = load_workflow("project_of_mine/flows.py:doubled")
    assert found.fn.__module__ == "project_of_mine.flows"


def test_a_workflow_that_a_file_only_imports_can_be_named() -> None:
    write("flows_of_mine.py")
    write("front_of_mine.py", "from flows_of_mine import doubled\n")
    assert load_workflow("front_of_mine.py:doubled").name == "doubled"


# What is not there


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("nowhere.py:flow", ["no file 'nowhere.py'", "looked in"]),
        ("number_of_mine.py:doubled", ["Did you mean 'numbers_of_mine.py'?"]),
        ("no.such.module:flow", ["no module 'no.such.module'"]),
        ("./:flow", ["is a folder", "Python files in it: numbers_of_mine.py"]),
        ("numbers_of_mine.py:doubld", ["no workflow 'doubld'", "It has doubled.", "Did you mean 'doubled'?"]),
        ("numbers_of_mine.py:double", ["'double' is an operator, not a workflow", "@workflow"]),
        ("numbers_of_mine.py:HERE", ["'HERE' is of type str, not a workflow"]),
        ("plain_of_mine.py", ["has no workflow; decorate a function with @workflow"]),
    ],
)
def test_what_is_missing_is_said(target: str, parts: list[str]) -> None:
    write("numbers_of_mine.py", ONE + "HERE = 'text'\n")
    write("plain_of_mine.py", "x = 1\n")
    message = fail(target, NotFoundError)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("target", ["", ":flow", "a b:flow", "file.txt:flow", "book.ipynb:flow"])
def test_what_can_name_no_workflow_is_wrong_usage(target: str) -> None:
    write("file.txt", "")
    write("book.ipynb", "{}")
    assert fail(target, UsageError)


# Loading again


def test_a_file_that_has_not_changed_is_not_executed_again() -> None:
    write("numbers_of_mine.py")
    assert load_workflow("numbers_of_mine.py") is load_workflow("numbers_of_mine.py")


def test_a_file_that_has_changed_is_executed_again() -> None:
    path = write("numbers_of_mine.py")
    before = load_workflow("numbers_of_mine.py")
    path.write_text(ONE.replace("Twice.", "Two times."))
    after = load_workflow("numbers_of_mine.py")
    assert (before.interface.doc, after.interface.doc) == ("Twice.", "Two times.")


def test_two_files_of_one_name_in_two_folders_are_told_apart() -> None:
    write("a/flows_of_mine.py", ONE.replace("Twice.", "Of a."))
    write("b/flows_of_mine.py", ONE.replace("Twice.", "Of b."))
    docs = [load_workflow(f"{folder}/flows_of_mine.py").interface.doc for folder in "aba"]
    assert docs == ["Of a.", "Of b.", "Of a."]


def test_a_module_that_did_not_import_is_not_left_half_made() -> None:
    path = write("numbers_of_mine.py", "import no_such_package_anywhere\n" + ONE)
    fail("numbers_of_mine.py:doubled", UsageError)
    assert "numbers_of_mine" not in sys.modules
    path.write_text(ONE)
    assert load_workflow("numbers_of_mine.py:doubled").name == "doubled"


# What a failing import says


def test_a_failing_import_shows_the_users_own_frames_only() -> None:
    write("helper_of_mine.py", "import json\n\ndef read():\n    return json.loads('{')\n\nVALUE = read()\n")
    write("flows_of_mine.py", "from helper_of_mine import VALUE\n" + ONE)
    assert fail("flows_of_mine.py:doubled", UsageError).splitlines() == [
        "flows_of_mine.py does not import: JSONDecodeError: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        "  flows_of_mine.py, line 1, in <module>",
        "    from helper_of_mine import VALUE",
        "  helper_of_mine.py, line 6, in <module>",
        "    VALUE = read()",
        "  helper_of_mine.py, line 4, in read",
        "    return json.loads('{')",
    ]


def test_a_missing_package_says_what_to_install() -> None:
    write("flows_of_mine.py", "import no_such_package_anywhere.part\n" + ONE)
    message = fail("flows_of_mine.py:doubled", UsageError)
    assert "Install 'no_such_package_anywhere' in this environment, or correct the name." in message


def test_a_missing_module_of_a_package_of_ones_own_is_not_to_be_installed() -> None:
    write("parts_of_mine/__init__.py", "")
    write("flows_of_mine.py", "import parts_of_mine.wheels\n" + ONE)
    message = fail("flows_of_mine.py:doubled", UsageError)
    assert message.endswith("The package 'parts_of_mine' has no such module; correct the name.")


def test_files_that_import_each_other_are_not_to_be_renamed() -> None:
    write("here_of_mine.py", "import there_of_mine\nx = 1\n")
    write("there_of_mine.py", "from here_of_mine import x\n")
    message = fail("here_of_mine.py:doubled", UsageError)
    assert "cannot import name 'x'" in message
    assert "Rename" not in message


def test_a_file_beside_that_hides_a_module_is_told_to_be_renamed() -> None:
    write("colorsys.py", "")
    write("flows_of_mine.py", "import colorsys\ncolorsys.rgb_to_hsv\n" + ONE)
    sys.modules.pop("colorsys", None)
    message = fail("flows_of_mine.py:doubled", UsageError)
    sys.modules.pop("colorsys", None)
    assert "colorsys.py is named like the package 'colorsys' and hides it. Rename the file." in message


def test_an_endless_recursion_shows_few_of_its_calls() -> None:
    write("flows_of_mine.py", "def f():\n    f()\n\nf()\n")
    lines = fail("flows_of_mine.py:doubled", UsageError).splitlines()
    assert any("more calls" in line for line in lines)
    assert len(lines) < 50


def test_a_syntax_error_points_at_the_place() -> None:
    write("flows_of_mine.py", "def f():\n    return (1 +\n")
    message = fail("flows_of_mine.py:doubled", UsageError)
    assert "flows_of_mine.py, line 2" in message
    assert "    return (1 +\n           ^" in message


def test_a_script_that_ends_python_is_told_how_to_be_a_module() -> None:
    write("flows_of_mine.py", "import sys\nsys.exit(4)\n")
    message = fail("flows_of_mine.py:doubled", UsageError)
    assert "exit status 4" in message
    assert "if __name__ == '__main__':" in message


def test_a_file_named_as_a_package_that_it_imports_is_told_to_be_renamed() -> None:
    # Not imported before, else the name would be taken already.
    write("colorsys.py", "from colorsys import rgb_to_hsv\n" + ONE)
    sys.modules.pop("colorsys", None)
    message = fail("colorsys.py:doubled", UsageError)
    assert "Rename the file." in message


def test_a_file_named_as_a_module_in_use_is_told_to_be_renamed() -> None:
    write("json.py")
    assert "Rename the file." in fail("json.py:doubled", UsageError)


# The user's folders that are named as ours

FOLDERS = {
    "operators/mine.py": HEAD + "@operator\ndef triple(a: int) -> int:\n    return a * 3\n",
    "ui/texts.py": "NAME = 'of the user'\n",
    "flows.py": HEAD
    + "from operators.mine import triple\nfrom ui.texts import NAME\n"
    + "@workflow\ndef tripled(a: int = 2) -> int:\n    return triple(a)\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("with_init", [True, False], ids=["packages", "bare folders"])
@pytest.mark.parametrize("isolate", [False, True], ids=["in this process", "in a child"])
def test_the_users_folders_named_as_ours_win(
    project: Path, tmp_path_factory: pytest.TempPathFactory, with_init: bool, isolate: bool
) -> None:
    for path, text in FOLDERS.items():
        write(path, text.replace("@operator\n", "@operator(isolate=True)\n") if isolate else text)
    if with_init:
        write("operators/__init__.py", "")
        write("ui/__init__.py", "")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "flowlearner.cli.main", "run", str(project / "flows.py:tripled")]
    found = subprocess.run(
        [*command, "--executor", "local"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "result  6" in found.stdout


def test_the_stock_is_found_again_after_a_project_that_hides_it() -> None:
    for path, text in FOLDERS.items():
        write(f"theirs/{path}", text)
    write("plain/flows_of_mine.py", "from operators.split import split_random\n" + ONE)
    assert load_workflow("theirs/flows.py:tripled").name == "tripled"
    assert load_workflow("plain/flows_of_mine.py:doubled").name == "doubled"


def test_an_edit_of_equal_size_and_time_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    text = """
from flowlearner import operator, workflow

@operator
def add(x: int) -> int:
    return x + {}

@workflow
def flow(x: int) -> int:
    return add(x)
"""
    file = tmp_path / "same_tick.py"
    results = []
    for number in (1, 2):
        file.write_text(text.format(number))
        os.utime(file, ns=(0, 0))
        results.append(load_workflow(str(file)).fn(0))
    # As in the next process, which finds what this one has compiled.
    sys.modules.pop("same_tick")
    file.write_text(text.format(3))
    os.utime(file, ns=(0, 0))
    results.append(load_workflow(str(file)).fn(0))
    assert results == [1, 2, 3]
