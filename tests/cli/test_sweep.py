"""The command that searches: what it takes, what it says, and how it ends."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client, Metric, operator, workflow
from flowlearner.cli.sweep_show import make_run_arguments
from tests.cli.conftest import Answer, Cli

GUESS = '''
import time
from pathlib import Path
from typing import Annotated, NamedTuple

from flowlearner import Choice, LogRange, Metric, Operator, Range, operator, report, workflow


@operator
def load(path: str, n: int) -> list[float]:
    return [float(i) for i in range(n)]


@operator
def calm(x: float) -> float:
    return x


@operator
def nervous(x: float) -> float:
    if x > 0.5:
        raise ValueError(f"{x} is too much")
    return x


@operator
def judge(rows: list[float], x: float, depth: int, booster: str) -> Metric:
    return sum(rows) + depth - abs(x - 0.25) + (0.5 if booster == "dart" else 0.0)


@workflow
def guess(
    x: Annotated[float, Range(0, 1)] = 0.5,
    depth: Annotated[int, Range(1, 4)] = 2,
    booster: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    train: Operator = calm,
    n: int = 3,
    seed: int = 0,
    path: str = "",
) -> Metric:
    """Guess a number.

    Args:
        n: how many rows.
    """
    return judge(load(path, n), train(x), depth, booster)


class Two(NamedTuple):
    gain: Metric
    cost: Metric


@operator
def weigh(x: float, depth: int) -> Two:
    return Two(x * depth, x + depth)


@workflow
def two(x: Annotated[float, Range(0, 1)] = 0.5, depth: Annotated[int, Range(1, 4)] = 2) -> Two:
    return weigh(x, depth)


@operator
def learn(x: float, reports: bool) -> Metric:
    for step in range(9):
        if reports:
            report(step=step, result=x * step)
            time.sleep(0.02)
    return x * 8


@workflow
def learning(x: Annotated[float, Range(0, 1)] = 0.5, reports: bool = True) -> Metric:
    return learn(x, reports)
'''

Sweep = Callable[..., Answer]


@pytest.fixture
def sweep(cli: Cli, project: Path) -> Sweep:
    """Run the sweep of guess.py:guess on the local executor."""
    (project / "guess.py").write_text(GUESS)

    def run(*args: str) -> Answer:
        return cli("sweep", "guess.py:guess", "--executor", "local", *args)

    return run


def test_the_json_of_a_sweep_has_all_that_is_promised(sweep: Sweep) -> None:
    answer = sweep("--space", "depth=1..4", "--space", "x=0.1..0.3", "--trials", "6", "--seed", "1", "--json")
    assert answer.status == 0, answer.err
    found = answer.document
    assert (found["status"], found["metric"], found["mode"]) == ("COMPLETED", "result", "max")
    assert (found["workflow"], found["experiment"], found["counts"]) == ("guess", "default", {"COMPLETED": 6})
    assert set(found["best"]) == {"run_id", "params", "value"}
    assert set(found["best"]["params"]) == {"depth", "x"}
    assert [t["number"] for t in found["trials"]] == list(range(6))
    keys = {"number", "run_id", "status", "params", "value", "started_at", "finished_at"}
    assert set(found["trials"][0]) >= keys
    assert found["best"]["value"] == max(t["value"] for t in found["trials"])
    assert found["node_executions"]["load"] == 1
    assert found["node_savings"]["load"] == {"shared": 5, "reused": 0}
    assert set(found) >= {"id", "created_at"}


def test_a_sweep_ends_with_its_best_trial_and_the_commands_to_go_on(sweep: Sweep) -> None:
    answer = sweep("--space", "depth=1..4", "--search", "grid", "-p", "n=5")
    assert answer.status == 0
    found = Client().list_sweeps()[0]
    best = found.find_best()
    assert best is not None
    assert best.point == {"depth": 4}
    for text in (
        "Completed in ",
        "4 trials (4 completed)",
        f"3, run {best.run_id}",
        f"flowlearner sweeps show {found.id[:8]}",
        f"flowlearner runs show {best.run_id[:8]}",
        "flowlearner run guess.py:guess -p n=5 -p depth=4 --executor local",
        "6 of 12 calls (50 %) did not have to run.",
    ):
        assert text in answer.out


def test_the_command_for_the_best_trial_gives_the_same_value(sweep: Sweep, cli: Cli) -> None:
    space = ["--space", "x=0..1", "--space", "train={calm,guess.nervous}", "--space", "booster"]
    answer = sweep(*space, "-p", "path=half  full", "--run-seed", "3", "--trials", "8", "--no-cache")
    found = Client().list_sweeps()[0]
    best = found.find_best()
    assert best is not None
    line = next(li for li in answer.out.splitlines() if li.startswith("Run that alone: "))
    arguments = shlex.split(line.partition(": ")[2])
    assert arguments[0] == "flowlearner"
    run = cli(*arguments[1:], "--json").document
    assert run["metrics"]["result"] == best.values[0]
    assert all(node["cached"] for node in run["nodes"])


@operator(cache=False)
def measure(text: str | None) -> Metric:
    return float(len(text or ""))


@workflow(executor="local")
def optional(text: str | None = None) -> Metric:
    return measure(text)


def test_the_command_for_a_trial_gives_no_text_for_none() -> None:
    found = optional.sweep({"text": [None, "none"]}, search="grid")
    commands = [make_run_arguments(found, trial, "f.py:optional") for trial in found.trial_records]
    assert commands == [f"run f.py:optional {more}--executor local" for more in ("", "-p text=none ")]


def test_the_same_seed_gives_the_same_points(sweep: Sweep) -> None:
    words = ("--space", "x", "--search", "random", "--trials", "5", "--json", "--seed")
    first, second, other = (sweep(*words, seed).document for seed in ("7", "7", "8"))
    assert [t["params"] for t in first["trials"]] == [t["params"] for t in second["trials"]]
    assert [t["params"] for t in first["trials"]] != [t["params"] for t in other["trials"]]


def test_without_a_space_every_declared_range_varies(sweep: Sweep) -> None:
    assert set(sweep("--trials", "3", "--depth", "2", "--json").document["best"]["params"]) == {
        "x",
        "booster",
    }


def test_a_name_alone_takes_the_declared_range_and_may_be_written_with_hyphens(sweep: Sweep) -> None:
    found = sweep("--space", "depth", "--search", "grid", "--json").document
    assert sorted(t["params"]["depth"] for t in found["trials"]) == [1, 2, 3, 4]


def test_an_option_of_the_command_wins_and_p_sets_the_parameter_of_its_name(sweep: Sweep) -> None:
    found = sweep("--space", "depth", "--search", "grid", "--seed", "4", "-p", "seed=9", "--json").document
    assert (found["spec"]["seed"], found["spec"]["params"]) == (4, {"seed": 9})


def test_experiment_tags_and_notes_are_recorded(sweep: Sweep) -> None:
    words = [
        "--space",
        "depth",
        "--search",
        "grid",
        "--experiment",
        "tries",
        "--tag",
        "team=ops",
        "--note",
        "hello",
    ]
    found = sweep(*words, "--json").document
    assert (found["experiment"], found["tags"], found["notes"]) == ("tries", {"team": "ops"}, "hello")


def test_several_metrics_give_a_pareto_front(cli: Cli, sweep: Sweep) -> None:
    words = [
        "sweep",
        "guess.py:two",
        "--executor",
        "local",
        "--space",
        "x",
        "--space",
        "depth",
        "--trials",
        "12",
    ]
    words += ["--metric", "gain", "--metric", "cost", "--mode", "max", "--mode", "min", "--search", "nsga2"]
    found = cli(*words, "--json").document
    assert (found["metric"], found["mode"], found["best"]) == (["gain", "cost"], ["max", "min"], None)
    assert found["pareto"]
    answer = cli(*words)
    assert answer.status == 0
    assert "that no other beats in every metric" in answer.out
    assert "A trial of the front: flowlearner runs show " in answer.out


def test_help_lists_the_parameters_of_the_workflow(sweep: Sweep) -> None:
    answer = sweep("--help")
    assert answer.status == 0
    for text in ("--space", "--max-failures", "--spec", "how many rows", "1..4", "{gbtree,dart}"):
        assert text in answer.out


# Points and trials


def test_it_says_that_there_are_fewer_points_than_trials(sweep: Sweep) -> None:
    for search in ("grid", "random"):
        answer = sweep("--space", "depth", "--search", search, "--trials", "20")
        assert (
            "There are only 4 different points, fewer than the 20 trials; all of them are tried."
            in answer.err
        )
        assert "4 trials (4 completed)" in answer.out


def test_random_search_of_a_small_space_ends_when_all_is_tried(sweep: Sweep) -> None:
    found = sweep("--space", "depth", "--search", "random", "--json").document
    assert (found["status"], len(found["trials"]), found["spec"]["trials"]) == ("COMPLETED", 4, 4)


def test_it_says_that_a_grid_has_more_points_than_trials(sweep: Sweep) -> None:
    answer = sweep("--space", "depth", "--search", "grid", "--trials", "3")
    assert "The grid has 4 points; 3 of them are tried. --trials 4 tries all." in answer.err
    assert "3 trials (3 completed)" in answer.out


def test_it_says_that_an_adaptive_search_repeats_points(sweep: Sweep) -> None:
    answer = sweep("--space", "depth=1..2", "--trials", "5")
    assert (
        "There are only 2 different points, fewer than the 5 trials: some may be tried more than once,"
        in answer.err
    )


def test_trials_that_are_stopped_early_are_counted(cli: Cli, sweep: Sweep) -> None:
    words = [
        "sweep",
        "guess.py:learning",
        "--executor",
        "local",
        "--space",
        "x",
        "--trials",
        "12",
        "--stop",
        "asha",
    ]
    answer = cli(*words)
    assert answer.status == 0
    assert " pruned)" in answer.out
    assert "nothing to go by" not in answer.err
    found = cli(*words, "--no-cache", "--json").document
    assert found["counts"]["PRUNED"] + found["counts"]["COMPLETED"] == 12


def test_it_says_that_early_stopping_had_nothing_to_go_by(cli: Cli, sweep: Sweep) -> None:
    words = [
        "sweep",
        "guess.py:learning",
        "--executor",
        "local",
        "--space",
        "x",
        "--trials",
        "4",
        "--stop",
        "asha",
    ]
    answer = cli(*words, "-p", "reports=no")
    assert answer.status == 0
    assert "stop 'asha' had nothing to go by: no operator reports 'result'." in answer.err


# Failures


def test_a_sweep_with_some_failed_trials_is_done_and_says_so(sweep: Sweep) -> None:
    words = ["--space", "x=0..1:0.25", "--search", "grid", "-p", "train=nervous"]
    answer = sweep(*words)
    assert answer.status == 0
    found = Client().list_sweeps()[0]
    assert "5 trials (3 completed, 2 failed)" in answer.out
    assert "2 trials failed; the first: trial 3, run " in answer.out
    assert "ValueError: 0.75 is too much" in answer.out
    assert f"flowlearner sweeps retry {found.id[:8]}" in answer.out
    assert "trial 3 failed: node 'nervous' failed: ValueError: 0.75 is too much" in answer.err
    assert sweep(*words, "--json").status == 0


def test_a_sweep_whose_every_trial_failed_ends_with_1(sweep: Sweep) -> None:
    words = ["--space", "x=0.6..1.0:0.2", "--search", "grid", "-p", "train=nervous"]
    answer = sweep(*words)
    assert answer.status == 1
    assert "Each of its 3 trials failed" in answer.out
    found = sweep(*words, "--json")
    assert (found.status, found.document["status"], found.document["best"]) == (1, "FAILED", None)


def test_too_many_failed_trials_end_the_sweep_with_1(sweep: Sweep) -> None:
    answer = sweep(
        "--space", "x=0.6..1.0:0.01", "--search", "grid", "-p", "train=nervous", "--max-failures", "2"
    )
    assert answer.status == 1
    assert "more than max_failures=2" in answer.out
    assert "not begun" in answer.out
    assert f"flowlearner sweeps resume {Client().list_sweeps()[0].id[:8]}" in answer.out


def test_many_failing_trials_are_counted_rather_than_listed(sweep: Sweep) -> None:
    answer = sweep("--space", "x=0.6..1.0:0.02", "--search", "grid", "-p", "train=nervous")
    assert answer.err.count("is too much") == 3
    assert "more trials fail; they are counted" in answer.err


def test_input_that_is_not_there_ends_with_1(cli: Cli, project: Path) -> None:
    sweep_of = [
        "sweep",
        "tips.py:tips",
        "--executor",
        "local",
        "--metric",
        "mean",
        "--space",
        "smallest=1..2",
    ]
    answer = cli(*sweep_of, "-p", "rows=tipps.csv")
    assert answer.status == 1
    assert "tipps.csv" in answer.err
    assert Client().list_sweeps() == []


def test_a_catalog_that_does_not_answer_ends_with_3(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEARNER_CATALOG", "sqlite:////proc/nowhere/catalog.db")
    words = ["--space", "depth", "--search", "grid"]
    answer = sweep(*words)
    assert (answer.status, answer.out) == (3, "")
    assert "Traceback" not in answer.err
    assert sweep(*words, "--json").document["error"]["type"] in ("CatalogError", "StorageError")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "dept=1..2"], "no parameter 'dept'"),
        (["--space", "depth=1..9"], "'depth': expected a value in 1..4, found 9"),
        (["--space", "depth=3..1"], "low is above high"),
        (["--space", "x=log(0,1)"], "low must be above 0"),
        (["--space", "depth=three"], "'three' is no domain"),
        (["--space", "n"], "'n': the workflow declares no range for it"),
        (["--space", "booster={}"], "{} has no value in it"),
        (["--space", "depth", "--space", "depth=1..2"], "'depth' is given twice"),
        (["--space", "depth", "-p", "depth=2"], "'depth' is both fixed and in the space"),
        (["--space", "train={calm,nervos}"], "Did you mean 'nervous'?"),
        (["--space", "train={calm,operators.train.train_tre}"], "Did you mean 'train_tree'?"),
        (["--space", "train={calm,nowhere.at_all}"], "No module named 'nowhere'"),
        (["--space", "x", "--search", "grid"], "a grid takes lists of values and ranges with a step"),
        (["--space", "x", "--search", "gird"], "no search 'gird'"),
        (["--space", "x", "--stop", "asah"], "Did you mean 'asha'?"),
        (["--space", "x", "--executor", "dask"], "no executor 'dask'"),
        (["--space", "x", "--metric", "auc"], "it returns no metric 'auc'; it returns result"),
        (["--space", "x", "--mode", "up"], "mode: expected max or min, found 'up'"),
        (["--space", "x", "--trials", "0"], "trials: expected a whole number of at least 1, found 0"),
        (["--space", "x", "--trials", "few"], "--trials"),
        (["--space", "x", "--parallel", "-1"], "parallel: expected a whole number of at least 1"),
        (["--space", "x", "--max-failures=-1"], "max_failures: expected a whole number of at least 0"),
        (["--space", "x", "--tag", "ops"], "--tag ops: expected NAME=VALUE"),
        (["--space", "x", "-p", "m=2"], "no parameter"),
        (["--spac", "x"], "--spac: neither an option nor a parameter"),
        (["--spec", "nowhere.yaml"], "no spec file 'nowhere.yaml'"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_runs(sweep: Sweep, words: list[str], message: str) -> None:
    answer = sweep(*words)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert Client().list_sweeps() == []
    found = sweep(*words, "--json")
    assert (found.status, set(found.document)) == (2, {"error"})


def test_a_workflow_is_needed(cli: Cli, project: Path) -> None:
    answer = cli("sweep", "--space", "x=1..2")
    assert answer.status == 2
    assert "expected FILE:WORKFLOW, for example flights.py:delays, or --spec FILE" in answer.err


# Operators


def test_operators_are_named_by_the_module_or_in_full(sweep: Sweep) -> None:
    words = ["--search", "grid", "--json", "--space"]
    found = sweep(*words, "train={calm,guess.nervous}").document
    assert [t["params"]["train"] for t in found["trials"]] == ["calm", "nervous"]


def test_a_stock_operator_is_named_in_full_by_run_too(cli: Cli, project: Path) -> None:
    (project / "plain.py").write_text(
        "from flowlearner import Metric, Operator, operator, workflow\n"
        "@operator\ndef own(x: int) -> Metric:\n    return float(x)\n"
        "@workflow\ndef plain(train: Operator = own, x: int = 1) -> Metric:\n    return train(x)\n"
    )
    (project / "steps.py").write_text(
        "from flowlearner import Metric, operator\n"
        "@operator\ndef double(x: int) -> Metric:\n    return 2.0 * x\n"
    )
    answer = cli(
        "run", "plain.py:plain", "-p", "train=steps.double", "-p", "x=4", "--executor", "local", "--json"
    )
    assert answer.document["metrics"] == {"result": 8.0}
    words = [
        "sweep",
        "plain.py:plain",
        "--space",
        "train={own,steps.double}",
        "--executor",
        "local",
        "--search",
        "grid",
    ]
    assert cli(*words, "--json").document["best"]["value"] == 2.0
    assert "flowlearner run plain.py:plain -p train=steps.double --executor local" in cli(*words).out


def test_an_operator_is_found_in_a_module_that_the_workflow_knows_by_another_name(
    cli: Cli, project: Path
) -> None:
    (project / "other.py").write_text(
        "import operators.train as t\nfrom flowlearner import Metric, Operator, operator, workflow\n"
        "@operator\ndef own(x: int) -> Metric:\n    return float(x)\n"
        "@workflow\ndef other(train: Operator = own, x: int = 1) -> Metric:\n    return own(x)\n"
    )
    words = ["check", "other.py:other", "--json", "-p"]
    assert cli(*words, "train=t.train_tree").status == 0
    assert cli(*words, "train=operators.train.train_tree").status == 0
    wrong = cli(*words, "train=operators.train.load_table")
    assert wrong.status == 2
    assert (
        "'operators.train' has no 'load_table'; its operators are train_xgboost"
        in wrong.document["error"]["message"]
    )
    broken = project / "broken_steps.py"
    broken.write_text("1 / 0\n")
    message = cli(*words, "train=broken_steps.fit").document["error"]["message"]
    assert "('broken_steps' does not import: ZeroDivisionError: division by zero)" in message


# Spec files


SPEC = """
workflow: ../guess.py:guess
params: {n: 4}
space:
  depth: 1..4
  booster: {gbtree,dart}
metric: result
mode: min
search: grid
experiment: nightly
tags: {team: ops}
notes: by night
executor: local
run_seed: 2
"""


@pytest.fixture
def spec(sweep: Sweep, project: Path) -> Path:
    (project / "specs").mkdir()
    path = project / "specs" / "sweep.yaml"
    path.write_text(SPEC)
    return path


def test_a_spec_stands_for_options_and_workflow(cli: Cli, spec: Path) -> None:
    answer = cli("sweep", "--spec", "specs/sweep.yaml", "--json")
    assert answer.status == 0, answer.err
    found = answer.document
    assert (found["workflow"], found["mode"], found["experiment"]) == ("guess", "min", "nightly")
    assert (found["tags"], found["notes"]) == ({"team": "ops"}, "by night")
    assert found["best"]["params"] == {"depth": 1, "booster": "gbtree"}
    words: dict[str, Any] = found["spec"]
    assert (words["search"], words["run_seed"], words["params"], words["executor"]) == (
        "grid",
        2,
        {"n": 4},
        "local",
    )
    assert found["counts"] == {"COMPLETED": 8}
    assert "flowlearner run guess.py:guess -p n=4 " in cli("sweep", "--spec", "specs/sweep.yaml").out


def test_options_win_over_the_spec(cli: Cli, spec: Path) -> None:
    words = ["--mode", "max", "--tag", "team=lab", "--space", "x={0.1,0.2}", "-p", "depth=3", "-p", "n=1"]
    found = cli("sweep", "guess.py:guess", "--spec", "specs/sweep.yaml", *words, "--json").document
    assert (found["mode"], found["tags"]) == ("max", {"team": "lab"})
    assert found["spec"]["space"] == {"booster": "{gbtree,dart}", "x": "{0.1,0.2}"}
    assert found["spec"]["params"] == {"depth": 3, "n": 1}


def test_a_path_in_a_spec_is_relative_to_the_spec(cli: Cli, project: Path) -> None:
    (project / "specs").mkdir()
    (project / "specs" / "own.csv").write_text("tip,bill\n2.5,10\n")
    text = "workflow: ../tips.py:tips\nparams: {rows: own.csv}\nspace: {smallest: [0, 1]}\nmetric: mean\n"
    (project / "specs" / "tips.yaml").write_text(text)
    found = cli(
        "sweep", "--spec", "specs/tips.yaml", "--executor", "local", "--search", "grid", "--json"
    ).document
    assert found["best"]["value"] == 2.5


def test_mistakes_of_a_spec_end_with_2_and_name_the_place(cli: Cli, spec: Path) -> None:
    spec.write_text(SPEC.replace("depth: 1..4", "depth: 1..9"))
    answer = cli("sweep", "--spec", "specs/sweep.yaml")
    assert (answer.status, answer.out) == (2, "")
    assert "specs/sweep.yaml:5:10: 'depth': expected a value in 1..4, found 9" in answer.err
    spec.write_text(SPEC.replace("guess.py:guess", "guess.py:gues"))
    answer = cli("sweep", "--spec", "specs/sweep.yaml", "--json")
    assert answer.status == 2
    assert answer.document["error"]["message"].startswith("specs/sweep.yaml:2:11: workflow: ")
    spec.write_text("space: {depth: 1..4}")
    assert "names no workflow" in cli("sweep", "--spec", "specs/sweep.yaml").err


def test_help_after_a_spec_lists_the_parameters_of_its_workflow(cli: Cli, spec: Path) -> None:
    answer = cli("sweep", "--spec", "specs/sweep.yaml", "--help")
    assert answer.status == 0
    assert "how many rows" in answer.out
