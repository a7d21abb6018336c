"""A run is run again to compare: what drifts is named, with by how much, and nothing else is kept."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowlearner import Client, UsageError, Workflow
from flowlearner.capture import read_environment
from flowlearner.errors import CodeError
from flowlearner.lease import get_process_owner
from flowlearner.loading import load_workflow
from flowlearner.records import Reproduction
from flowlearner.replay import reproduce
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

DRIFT = """
    from pathlib import Path
    from typing import Annotated, NamedTuple

    import numpy as np
    import pandas as pd
    from flowlearner import File, Metric, Model, Pickled, Seed, operator, workflow
    from sklearn.linear_model import LinearRegression
    from xgboost import XGBRegressor

    @operator
    def load(n: int) -> pd.DataFrame:
        return pd.DataFrame({"a": range(n), "b": [i / 2 for i in range(n)], "c": ["x"] * n})

    @operator
    def noise(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(b=rows["b"] + np.random.rand(len(rows)))

    @operator
    def seeded(rows: pd.DataFrame, seed: Seed = None) -> pd.DataFrame:
        return rows.assign(b=np.random.default_rng(seed).random(len(rows)))

    @operator
    def mean(rows: pd.DataFrame) -> Metric:
        return float(rows["b"].mean())

    @operator
    def fit(rows: pd.DataFrame) -> Model:
        return XGBRegressor(n_estimators=2).fit(rows[["a"]], rows["b"])

    @operator
    def linear(rows: pd.DataFrame) -> Model:
        return LinearRegression().fit(rows[["a"]], rows["b"])

    @operator(effects=True)
    def tell(x: float) -> int:
        with Path("told").open("a") as file:
            file.write("x")
        return 3

    @operator
    def after(n: int, x: float) -> int:
        return n + 1

    @operator(version="1")
    def ask(n: int) -> float:
        return float(Path("answer").read_text()) + n

    @operator
    def fail(x: float) -> int:
        raise ValueError("always")

    @operator
    def count(rows: pd.DataFrame, file: File) -> int:
        return len(rows) + len(Path(file).read_text())

    class Got(NamedTuple):
        mean: Metric
        model: Model
        other: Model

    @workflow(executor="local")
    def steady(n: int = 10) -> Got:
        rows = seeded(load(n))
        return Got(mean(rows), fit(rows), linear(rows))

    @workflow(executor="local")
    def unseeded(n: int = 10) -> int:
        m = mean(noise(load(n)))
        return after(tell(m), m)

    @workflow(executor="local")
    def asking(n: int = 10) -> float:
        return ask(n)

    @workflow(executor="local")
    def failing(n: int = 10) -> int:
        return after(fail(ask(n)), 1.0)

    @workflow(executor="local")
    def reading(rows: pd.DataFrame, file: File) -> int:
        return count(rows, file)

    @workflow(executor="local")
    def naming() -> int:
        return count("rows.csv", Path("file.txt"))
"""


@pytest.fixture
def module(project: Path) -> Path:
    path = project / "drift.py"
    path.write_text(textwrap.dedent(DRIFT))
    return path


def load(name: str) -> Workflow[..., Any]:
    found = load_workflow(f"drift.py:{name}")
    assert isinstance(found, Workflow)
    return found


def verdicts(found: Reproduction) -> dict[str, str]:
    return {n["node"]: n["verdict"] for n in found.nodes}


def test_what_comes_out_equal_is_reproduced_from_the_snapshot(module: Path, client: Client) -> None:
    run = load("steady").with_options(seed=3).run()
    module.unlink()
    found = client.reproduce(run.id)
    assert (found.verdict, found.diverged, found.times) == ("REPRODUCED", None, 1)
    assert set(verdicts(found).values()) == {"REPRODUCED"}
    assert client.get_run(run.id).record.reproduction == found


def test_an_unseeded_operator_is_named_with_by_how_much(module: Path, client: Client) -> None:
    run = load("unseeded").run(n=20)
    found = client.reproduce(run.id)
    assert found.verdict == "DRIFTED"
    assert found.diverged is not None
    assert (found.diverged["node"], found.diverged["operator"]) == ("noise", "noise")
    difference = found.diverged["difference"]
    assert (difference["kind"], difference["cells"]) == ("table", 20)
    assert [c["name"] for c in difference["columns"]] == ["b"]
    assert 0 < difference["max_absolute"] < 1
    assert verdicts(found) == {
        "load": "REPRODUCED", "noise": "DRIFTED", "mean": "DRIFTED", "tell": "SKIPPED", "after": "REPRODUCED",
    }  # fmt: skip
    assert [r.id for r in client.search("reproduction = 'DRIFTED'")] == [run.id]


def test_effects_are_not_repeated_and_nothing_but_the_verdict_is_kept(module: Path, client: Client) -> None:
    run = load("unseeded").run()
    entries = {n.name: n.cache_key for n in run.nodes if n.cache_key}
    before = client.catalog.find_cache_entries(entries.values())
    client.reproduce(run.id, times=2)
    assert Path("told").read_text() == "x"
    assert client.count_runs() == 1
    assert client.catalog.find_cache_entries(entries.values()) == before
    assert not list(client.settings.home_path.glob("reproduce-*"))
    assert client.check_catalog() == []


def test_what_is_within_a_declared_tolerance_is_reproduced(module: Path, client: Client) -> None:
    run = load("unseeded").run()
    assert client.reproduce(run.id, tolerance=1.0).verdict == "REPRODUCED"
    assert client.reproduce(run.id, tolerance=1e-12).verdict == "DRIFTED"
    excused = client.reproduce(run.id, tolerance={"noise": math.inf})
    assert excused.diverged is not None
    assert excused.diverged["node"] == "mean"
    assert excused.diverged["difference"]["kind"] == "number"
    with pytest.raises(UsageError, match=r"no node or operator 'noice'.*Did you mean 'noise'"):
        client.reproduce(run.id, tolerance={"noice": 1.0})


def change_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    now = read_environment()
    changed = replace(now, packages={**now.packages, "pandas": "9.9", "gone": "1"})
    monkeypatch.setattr(reproduce, "read_environment", lambda: changed)


def test_a_result_that_changed_with_the_packages_is_told_from_one_that_always_drifts(
    module: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("answer").write_text("1")
    asking, unseeded, steady = load("asking").run(), load("unseeded").run(), load("steady").run()
    Path("answer").write_text("2")
    assert client.reproduce(asking.id).verdict == "DRIFTED"
    change_packages(monkeypatch)
    found = client.reproduce(asking.id)
    assert (found.verdict, found.times) == ("ENVIRONMENT-CHANGED", 2)
    assert found.diverged is not None
    assert found.diverged["difference"]["absolute"] == 1
    changed = {p["name"]: (p["before"], p["now"]) for p in found.packages}
    assert changed == {"pandas": (read_environment().packages["pandas"], "9.9"), "gone": (None, "1")}
    assert client.reproduce(unseeded.id).verdict == "DRIFTED"
    assert client.reproduce(steady.id).verdict == "REPRODUCED"


def test_a_result_that_changed_with_the_machine_names_what_of_it_is_another(
    module: Path, client: Client, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("answer").write_text("1")
    run = load("asking").run()
    Path("answer").write_text("2")
    now = read_environment()
    other = {"cpu": "Another one", "cpus": 96, "settings": {"OMP_NUM_THREADS": "7"}, "release": "9"}
    changed = replace(now, machine={**now.machine, **other})
    monkeypatch.setattr(reproduce, "read_environment", lambda: changed)
    found = client.reproduce(run.id)
    assert (found.verdict, found.times) == ("ENVIRONMENT-CHANGED", 2)
    assert {p["name"]: p["now"] for p in found.packages} == {
        "cpu": "Another one",
        "cpus": "96",
        "OMP_NUM_THREADS": "7",
    }
    answer = cli("runs", "reproduce", run.id)
    assert "OMP_NUM_THREADS absent → 7" in answer.out


def test_of_a_run_that_recorded_less_of_its_machine_nothing_is_said() -> None:
    now = read_environment()
    assert reproduce.list_machine_changes(replace(now, machine={"cpus": now.machine["cpus"]}), now) == []
    assert reproduce.list_machine_changes(None, now) == []


def test_code_that_does_not_import_any_more_with_other_packages_is_told_so(
    module: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load("asking").submit()
    monkeypatch.delattr("flowlearner.types.Pickled")
    monkeypatch.delattr("flowlearner.Pickled", raising=False)
    with pytest.raises(CodeError, match=r"does not import.*cannot import name 'Pickled'"):
        client.reproduce(run.id)
    change_packages(monkeypatch)
    found = client.reproduce(run.id)
    assert found.verdict == "ENVIRONMENT-CHANGED"
    assert found.diverged is not None
    assert found.diverged["node"] == "ask"
    assert "cannot import name 'Pickled'" in found.diverged["difference"]["error"]["message"]


def test_a_failure_is_reproduced_and_a_new_one_is_named(module: Path, client: Client) -> None:
    Path("answer").write_text("1")
    failed, asked = load("failing").submit(), load("asking").run()
    found = client.reproduce(failed.id)
    assert (found.verdict, verdicts(found)) == (
        "REPRODUCED",
        {"ask": "REPRODUCED", "fail": "REPRODUCED", "after": "SKIPPED"},
    )
    Path("answer").unlink()
    found = client.reproduce(asked.id)
    assert found.verdict == "DRIFTED"
    assert found.diverged is not None
    assert found.diverged["difference"]["error"]["type"] == "FileNotFoundError"


def test_files_are_what_they_were_wherever_they_are_named(module: Path, client: Client) -> None:
    pd.DataFrame({"a": [1, 2]}).to_csv("rows.csv", index=False)
    Path("file.txt").write_text("abc")
    given, named = load("reading").run(rows="rows.csv", file="file.txt"), load("naming").run()
    Path("rows.csv").unlink()
    Path("file.txt").unlink()
    assert client.reproduce(given.id).verdict == "REPRODUCED"
    assert client.reproduce(named.id).verdict == "REPRODUCED"
    assert client.rerun(named.id, cache=False).outputs.result == 5


def test_what_has_no_end_or_no_nodes_is_refused(module: Path, client: Client) -> None:
    Path("answer").write_text("no number")
    run = load("asking").submit()
    assert client.reproduce(run.id).verdict == "REPRODUCED"
    with pytest.raises(UsageError, match="expected a number of 1 or more"):
        client.reproduce(run.id, times=0)


def test_the_command_prints_a_verdict_and_exits_0(module: Path, cli: Cli, client: Client) -> None:
    run = load("unseeded").run()
    answer = cli("runs", "reproduce", run.id, "--json")
    assert answer.status == 0, answer.err
    document = answer.document
    assert (document["run_id"], document["verdict"]) == (run.id, "DRIFTED")
    assert (document["diverged"]["node"], document["diverged"]["operator"]) == ("noise", "noise")
    assert document["diverged"]["difference"]["columns"][0]["name"] == "b"
    assert [n["node"] for n in document["nodes"]] == ["load", "noise", "mean", "tell", "after"]
    answer = cli("runs", "reproduce", run.id, "--times", "2")
    assert (answer.status, "DRIFTED" in answer.out) == (0, True)
    assert "First to diverge: noise. 10 cells differ, by" in answer.out
    shown = cli("runs", "show", run.id)
    assert "Reproduced" in shown.out
    assert "first at noise" in shown.out
    assert cli("runs", "show", run.id, "--json").document["reproduction"]["verdict"] == "DRIFTED"
    assert [r["id"] for r in cli("search", "reproduction = DRIFTED", "--json").document] == [run.id]
    for words, said in ((["--tolerance", "x"], "expected a number"), (["--tolerance", "x=1"], "no node or")):
        answer = cli("runs", "reproduce", run.id, *words)
        assert (answer.status, said in answer.err) == (2, True)


def test_what_a_killed_reproduction_has_left_is_removed_by_the_next(module: Path, client: Client) -> None:
    run = load("steady").run()
    home, owner = client.settings.home_path, get_process_owner()
    left = home / f"reproduce-{owner.host}-{owner.pid}-{owner.pid_started + 1}-abc"
    others = home / f"reproduce-{owner.host}x-{owner.pid}-{owner.pid_started + 1}-abc"
    for folder in (left, others):
        (folder / "0").mkdir(parents=True)
    client.reproduce(run.id)
    assert (left.exists(), others.exists()) == (False, True)
