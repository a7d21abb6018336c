"""Which runs would no longer hit: compared with what really misses after the change."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowlearner import Choice, Client, NotFoundError, UsageError
from flowlearner.catalog import Catalog
from flowlearner.config import get_settings
from flowlearner.engine.base import RunOptions
from flowlearner.engine.submit import plan
from tests.edited_project import Project

STEPS = """
    from pathlib import Path
    import pandas as pd
    from flowlearner import File, operator
    from tools import scale

    LIMIT = float(Path("limit.txt").read_text())

    @operator
    def load(rows: pd.DataFrame) -> pd.DataFrame:
        return rows

    @operator
    def grow(rows: pd.DataFrame, by: float) -> float:
        return float(rows["x"].sum()) * scale(by)

    @operator
    def cut(rows: pd.DataFrame, by: float) -> float:
        return min(float(rows["x"].sum()), LIMIT) - by

    @operator
    def twice(value: float) -> float:
        return value * 2

    @operator
    def again(value: float) -> float:
        return twice(value) + 1

    @operator
    def count(files: list[File]) -> int:
        return sum(len(Path(f).read_text()) for f in files)
    """
FLOW = """
    import pandas as pd
    from flowlearner import File, Operator, Static, workflow
    from inner import halved
    from steps import again, count, cut, grow, load, twice

    @workflow
    def plain(rows: pd.DataFrame, by: float = 1.0) -> float:
        return grow(load(rows), by)

    @workflow
    def chosen(rows: pd.DataFrame, small: Static[bool] = False) -> float:
        step = cut if small else grow
        return step(load(rows), 2.0)

    @workflow
    def picked(step: Operator = twice) -> float:
        return step(1.5)

    @workflow
    def named() -> float:
        return grow("fixed.csv", 3.0)

    @workflow
    def helped(value: float = 1.0) -> float:
        return again(value)

    @workflow
    def listed(files: list[File]) -> int:
        return count(files)

    @workflow
    def nested(value: float = 1.0) -> float:
        return halved(value)
    """
INNER = """
    from flowlearner import workflow
    from steps import twice

    @workflow
    def halved(value: float) -> float:
        return twice(value)
    """
TOOLS = """
    def scale(by):
        return by

    def other(by):
        return by
    """


@pytest.fixture
def runs(project: Project) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Runs by a name: the workflow, its parameters, and the id."""
    project.write(steps=STEPS, flow=FLOW, inner=INNER, tools=TOOLS)
    Path("limit.txt").write_text("3")
    for name in ("a", "b", "fixed"):
        Path(f"{name}.csv").write_text(f"x\n{ord(name[0])}\n2\n")
    frame = pd.read_csv("b.csv")
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "plain a": ("plain", {"rows": "a.csv"}),
        "plain b": ("plain", {"rows": "b.csv", "by": 2.0}),
        "plain in memory": ("plain", {"rows": frame, "by": 5.0}),
        "chosen grow": ("chosen", {"rows": "a.csv"}),
        "chosen cut": ("chosen", {"rows": "a.csv", "small": True}),
        "named": ("named", {}),
        "picked": ("picked", {}),
        "helped": ("helped", {}),
        "listed": ("listed", {"files": ["a.csv", "fixed.csv"]}),
        "nested": ("nested", {"value": 3.0}),
    }
    done = {}
    for name, (workflow, params) in wanted.items():
        run = project.run(f"flow.py:{workflow}", **params)
        done[name] = (workflow, params, run.id)
    return done


def list_missing(project: Project, runs: dict[str, tuple[str, dict[str, Any], str]]) -> set[str]:
    """Return the runs of which a step would run, by asking for a plan of each."""
    missing = set()
    for name, (workflow, given, _) in runs.items():
        params = dict(given)
        if name == "plain in memory":
            # As a script that reads the file would give it.
            params["rows"] = pd.read_csv("b.csv")
        definition = project.load(f"flow.py:{workflow}")
        rows = plan(definition, params, RunOptions(executor="local"), get_settings())
        if any(row.action != "cached" for row in rows):
            missing.add(name)
    return missing


def change(file: str, old: str, new: str) -> Callable[[Project], None]:
    return lambda project: project.edit(file, old, new)


ALL = {
    "plain a", "plain b", "plain in memory", "chosen grow", "chosen cut", "picked", "named", "helped",
    "listed", "nested",
}  # fmt: skip
# What is asked for, the change, and the runs that are listed.
CHANGES: dict[str, tuple[str, Callable[[Project], None], set[str]]] = {
    "a file that runs were given": (
        "a.csv",
        change("a.csv", "2", "7"),
        {"plain a", "chosen grow", "chosen cut", "listed"},
    ),
    "a file that a script read": ("b.csv", change("b.csv", "2", "7"), {"plain b", "plain in memory"}),
    "a file that the workflow names, and a list": (
        "fixed.csv",
        change("fixed.csv", "2", "7"),
        {"named", "listed"},
    ),
    "a file that a module reads": ("limit.txt", change("limit.txt", "3", "4"), {"chosen cut"}),
    "an operator": (
        "grow",
        change("steps.py", "* scale(by)", "+ scale(by)"),
        {"plain a", "plain b", "plain in memory", "chosen grow", "named"},
    ),
    "an operator that another's code calls": (
        "twice",
        change("steps.py", "value * 2", "value * 3"),
        {"picked", "helped", "nested"},
    ),
    "an operator that a static parameter chose": (
        "cut",
        change("steps.py", "LIMIT) - by", "LIMIT) + by"),
        {"chosen cut"},
    ),
    "a module of helpers": (
        "tools.py",
        change("tools.py", "return by\n\ndef other", "return -by\n\ndef other"),
        {"plain a", "plain b", "plain in memory", "chosen grow", "named"},
    ),
    "a module with a nested workflow": (
        "inner.py",
        change("inner.py", "twice(value)", "twice(twice(value))"),
        {"nested"},
    ),
    "the module of the operators": (
        "steps.py",
        change("steps.py", "return value * 2", "return value * 4"),
        ALL,
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_run_that_misses_after_a_change_is_listed(
    what: str, project: Project, client: Client, runs: dict[str, tuple[str, dict[str, Any], str]]
) -> None:
    assert list_missing(project, runs) == set()
    asked, make, expected = CHANGES[what]
    names = {run_id: name for name, (_, _, run_id) in runs.items()}
    found = client.list_stale(asked)
    listed = {names[stale.run.id] for stale in found.runs}
    make(project)
    missing = list_missing(project, runs)
    assert missing
    assert missing <= listed
    assert listed == expected
    assert found.checked == len(runs)


def test_a_file_that_is_only_a_default_does_not_matter_to_runs_that_were_given_another(
    project: Project, client: Client
) -> None:
    project.write(
        flow="""
        from pathlib import Path
        from flowlearner import File, operator, workflow

        HERE = Path(__file__).parent

        @operator
        def size(file: File) -> int:
            return len(Path(file).read_text())

        @workflow
        def flow(file: File = HERE / "usual.txt") -> int:
            return size(file)
        """
    )
    Path("usual.txt").write_text("usual")
    Path("other.txt").write_text("the other")
    usual, other = project.run(), project.run(file="other.txt")
    assert [s.run.id for s in client.list_stale("usual.txt").runs] == [usual.id]
    assert [s.run.id for s in client.list_stale("other.txt").runs] == [other.id]


def test_what_is_behind_a_step_may_run_and_is_told_apart(
    client: Client, runs: dict[str, tuple[str, dict[str, Any], str]]
) -> None:
    found = {s.run.id: s for s in client.list_stale("load").runs}
    stale = found[runs["plain a"][2]]
    assert stale.nodes == {"load": "calls operator 'load'"}
    assert stale.behind == ("grow",)


def test_a_run_whose_code_cannot_be_read_is_listed(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from flowlearner import operator, workflow

        @operator
        def one() -> int:
            return 1

        @operator
        def two() -> int:
            return 2

        @workflow
        def first() -> int:
            return one()

        @workflow
        def second() -> int:
            return two()
        """
    )
    first, second = project.run("flow.py:first"), project.run("flow.py:second")
    assert [s.run.id for s in client.list_stale("two").runs] == [second.id]
    snapshot = client.find_artifact(first.record.code.snapshot)
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.update_artifact(replace(snapshot, inline=b"damaged"))
    found = {s.run.id: s.nodes for s in client.list_stale("two").runs}
    assert found[first.id] == {"one": "its code cannot be read"}


def test_a_script_is_known_by_its_command_also_in_runs_that_repeat_it(
    project: Project, client: Client
) -> None:
    Path("script.py").write_text(
        textwrap.dedent(
            """
            from flowlearner import operator, workflow

            @operator
            def one(n: int) -> int:
                return n

            @workflow(executor="local")
            def flow(n: int = 1) -> int:
                return one(n)

            if __name__ == "__main__":
                flow.run()
            """
        )
    )
    subprocess.run([sys.executable, "script.py"], check=True)
    first = client.list_runs()[0]
    second = client.clone(first.id, {"n": 2})
    Path("script.py").write_text("changed")
    assert [s.run.id for s in client.list_stale("script.py").runs] == [second.id, first.id]
    assert client.list_stale("flow.py").runs == ()


def test_trials_of_a_sweep_are_looked_at(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from flowlearner import Metric, operator, workflow

        @operator
        def square(n: int) -> Metric:
            return float(n * n)

        @workflow
        def flow(n: int = 1) -> Metric:
            return square(n)
        """
    )
    flow = project.load().with_options(executor="local")
    sweep = flow.sweep({"n": Choice([1, 2, 3])}, metric="result", mode="max", search="grid", executor="local")
    found = client.list_stale("square").runs
    assert {(s.run.sweep_id, s.run.trial_number) for s in found} == {(sweep.id, i) for i in range(3)}


def test_what_is_not_there_is_an_error_that_says_so(project: Project, client: Client) -> None:
    project.write(flow="from flowlearner import operator, workflow\n")
    with pytest.raises(NotFoundError, match=r"no operator 'nix'.*Nor is there a file"):
        client.list_stale("nix")
    with pytest.raises(NotFoundError, match=r"there is no file .*nix.csv, and no run"):
        client.list_stale("nix.csv")
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        client.list_stale("./folder")
