"""Which arguments of a command are its own options, and which are parameters of the workflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlearner.cli.parameters import split_args
from tests.cli.conftest import Cli

OWN = {"--param": True, "-p": True, "--json": False, "--note": True}
Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("args", "rest", "given"),
    [
        (["f.py:w", "--depth", "4"], ["f.py:w"], [("depth", "4")]),
        (["--depth", "4", "f.py:w"], ["f.py:w"], [("depth", "4")]),
        (["f.py:w", "--depth=4"], ["f.py:w"], [("depth", "4")]),
        (["f.py:w", "--depth=-4"], ["f.py:w"], [("depth", "-4")]),
        (["f.py:w", "--depth", "-4"], ["f.py:w"], [("depth", "-4")]),
        (["f.py:w", "--depth", "-.5"], ["f.py:w"], [("depth", "-.5")]),
        (["f.py:w", "--text=a=b"], ["f.py:w"], [("text", "a=b")]),
        (["f.py:w", "--text", ""], ["f.py:w"], [("text", "")]),
        (["f.py:w", "--flag"], ["f.py:w"], [("flag", None)]),
        (["f.py:w", "--flag", "--json"], ["f.py:w", "--json"], [("flag", None)]),
        (["f.py:w", "--json", "--depth", "4"], ["f.py:w", "--json"], [("depth", "4")]),
        (["--note", "--depth", "f.py:w"], ["--note", "--depth", "f.py:w"], []),
        (["-p", "depth=4", "f.py:w"], ["-p", "depth=4", "f.py:w"], []),
        (["--note=x", "f.py:w"], ["--note=x", "f.py:w"], []),
        (["--", "f.py:w"], ["--", "f.py:w"], []),
    ],
)
def test_what_the_command_does_not_know_is_a_parameter(
    args: list[str], rest: list[str], given: list[tuple[str, str | None]]
) -> None:
    assert split_args(args, OWN) == (rest, given, "f.py:w")


def test_without_a_target_there_is_none() -> None:
    assert split_args(["--json"], OWN) == (["--json"], [], None)


SWITCHES = """
from typing import Annotated

from enum import Enum

from flowlearner import Choice, operator, workflow


class Colour(Enum):
    RED = "r"
    BLUE = "b"


@operator
def join(
    loud: bool, names: list[str], size: int | None, booster: Annotated[str, Choice(["gbtree", "dart"])]
) -> str:
    return f"{loud} {names} {size} {booster}"


@workflow
def switches(
    loud: bool = False,
    names: list[str] = ["a"],
    max_size: int | None = None,
    booster: Annotated[str, Choice(["gbtree", "dart"])] = "dart",
    colour: Colour = Colour.RED,
) -> str:
    return join(loud, names, max_size, booster)
"""


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ([], "False ['a'] None dart"),
        (["--loud"], "True ['a'] None dart"),
        (["--no-loud"], "False ['a'] None dart"),
        (["--loud", "yes"], "True ['a'] None dart"),
        (["--max-size", "4"], "False ['a'] 4 dart"),
        (["--max_size=4"], "False ['a'] 4 dart"),
        (["-p", "max_size=4", "--booster", "gbtree"], "False ['a'] 4 gbtree"),
        (["--names", '["b", "c"]'], "False ['b', 'c'] None dart"),
        (["--max-size", "none"], "False ['a'] None dart"),
    ],
)
def test_texts_become_values_of_the_declared_types(
    cli: Cli, project: Path, args: list[str], result: str
) -> None:
    (project / "switches.py").write_text(SWITCHES)
    answer = cli("run", "switches.py:switches", "--executor", "local", "--json", *args)
    assert answer.status == 0, answer.out
    assert answer.document["outputs"]["result"]["value"] == result


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--max-size", "4", "-p", "max_size=5"], ["parameter 'max_size' is given twice", "--max-size"]),
        (["--max-size"], ["--max-size needs a value"]),
        (["--booster", "drat"], ["'drat'", "gbtree", "dart"]),
        (["--loud", "perhaps"], ["parameter 'loud'", "perhaps"]),
        (["--names", "b,c"], ["parameter 'names'", "found 'b,c'", 'given in JSON, such as ["a", "b"]']),
        (["--colour", "green"], ["parameter 'colour': expected one of RED, BLUE, found 'green'"]),
        (["--tag", "x"], ["--tag x: expected NAME=VALUE"]),
        (["--max-size", "x", "--loud", "y"], ["'max_size'", "'loud'"]),
    ],
)
def test_mistakes_in_parameters_are_told(cli: Cli, project: Path, args: list[str], parts: list[str]) -> None:
    (project / "switches.py").write_text(SWITCHES)
    answer = cli("run", "switches.py:switches", "--executor", "local", *args)
    assert answer.status == 2, answer.err
    for part in parts:
        assert part in answer.err
