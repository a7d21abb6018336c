"""A sweep that goes on takes its tables and files as they were when it began."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import pytest

from flowlearner import Choice, Client, File, Metric, Range, SweepFailed, operator, workflow
from flowlearner.config import get_settings
from flowlearner.records import Status
from flowlearner.sweep.resume import resume_sweep, retry_sweep

FLOW = """
    import os
    from typing import Annotated
    import pandas as pd
    from flowlearner import Metric, Range, operator, workflow
    from flowlearner.sweep.driver import Driver

    @operator
    def total(rows: pd.DataFrame, x: int) -> Metric:
        return float(rows["a"].sum() + x)

    @workflow(executor="local")
    def search(rows: pd.DataFrame, x: Annotated[int, Range(1, 3)] = 1) -> Metric:
        return total(rows, x)

    def die(self):
        os._exit(9)

    if __name__ == "__main__":
        Driver.run = die
        search.sweep(rows="rows.csv", search="grid")
"""


def test_it_goes_on_when_its_driver_died_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying_flow.py").write_text(textwrap.dedent(FLOW))
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    assert subprocess.run([sys.executable, "dying_flow.py"], cwd=tmp_path, timeout=60).returncode == 9
    monkeypatch.chdir(tmp_path)
    with Client() as client:
        (sweep,) = client.list_sweeps()
        assert (sweep.status, sweep.trial_records) == (Status.CRASHED, [])
        resume_sweep(sweep.id, get_settings())
        assert [t.values for t in sweep.refresh().trial_records] == [(4.0,), (5.0,), (6.0,)]


@operator(cache=False)
def measure(rows: pd.DataFrame, file: File, x: int) -> Metric:
    if x == 2 and not (Path(os.environ["FLOWLEARNER_HOME"]) / "mended").exists():
        raise RuntimeError("the machine is broken")
    return float(rows["a"].sum() * 100 + len(Path(file).read_bytes()) * 10 + x)


@workflow(executor="local")
def search(rows: pd.DataFrame, file: File, x: Annotated[int, Range(1, 2)] = 1) -> Metric:
    return measure(rows, file, x)


def test_files_that_a_space_lists_are_taken_as_they_were(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("1.csv", "a\n1\n"), ("2.csv", "a\n2\n"), ("f", "f"), ("g", "gg")):
        Path(name).write_text(text)
    space = {"rows": ["1.csv", Path("2.csv")], "file": ["f", "g"], "x": None}
    sweep = search.sweep(space, search="grid")
    assert sweep.counts == {"COMPLETED": 4, "FAILED": 4}
    named = sweep.trials()[["rows", "file", "x"]]
    (own_home / "mended").touch()
    Path("1.csv").write_text("a\n50\n")
    Path("2.csv").unlink()
    Path("g").write_text("another")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    retry_sweep(sweep.id, get_settings(), definition=search)
    values = [t.values[0] for t in sweep.refresh().trial_records]
    assert values == [111, 112, 121, 122, 211, 212, 221, 222]
    pd.testing.assert_frame_equal(sweep.trials()[["rows", "file", "x"]], named)


def test_tables_in_memory_can_be_in_the_space_of_a_sweep_that_goes_on(own_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("f")
    tables = Choice([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})])
    sweep = search.sweep({"rows": tables, "x": None}, search="grid", file=file)
    (own_home / "mended").touch()
    retry_sweep(sweep.id, get_settings(), definition=search)
    assert [t.values[0] for t in sweep.refresh().trial_records] == [111, 112, 211, 212]


class Color(Enum):
    RED = 1
    BLUE = 2


class Layer(NamedTuple):
    width: int
    rate: float


@operator(cache=False)
def show(
    a: dict[str, int] | None, b: set[int] | None, c: list[Color] | None, d: Layer | None, e: Any
) -> Metric:
    if not (Path(os.environ["FLOWLEARNER_HOME"]) / "mended").exists():
        raise RuntimeError("the machine is broken")
    SHOWN.extend(v for v in (a, b, c, d, e) if v is not None)
    return 1.0


SHOWN: list[Any] = []


@workflow(executor="local")
def listed(
    a: dict[str, int] | None = None,
    b: set[int] | None = None,
    c: list[Color] | None = None,
    d: Layer | None = None,
    e: Any = None,
) -> Metric:
    return show(a, b, c, d, e)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a", [{"n": 1}, {"n": 2}]),
        ("b", [{1, 2}, {3}]),
        ("c", [[Color.RED], [Color.BLUE, Color.RED]]),
        ("d", [Layer(1, 0.5), Layer(2, 0.25)]),
        ("e", [[1], [True], [1.0], {"n": [1]}]),
    ],
)
def test_values_that_are_containers_are_the_same_when_the_sweep_goes_on(
    own_home: Path, name: str, values: list[Any]
) -> None:
    with pytest.raises(SweepFailed) as failed:
        listed.sweep({name: Choice(values)}, search="grid", parallel=1)
    (own_home / "mended").touch()
    SHOWN.clear()
    retry_sweep(failed.value.sweep.id, get_settings(), definition=listed)
    assert list(map(repr, SHOWN)) == list(map(repr, values))


@operator(cache=False)
def count(rows: pd.DataFrame, times: int) -> Metric:
    if times == 3 and not (Path(os.environ["FLOWLEARNER_HOME"]) / "mended").exists():
        raise RuntimeError("the machine is broken")
    return float(len(rows) * times)


@workflow(executor="local")
def repeated(rows: pd.DataFrame, times: int = 2) -> Metric:
    return count(rows, times)


def test_a_condition_on_a_file_holds_when_the_sweep_goes_on(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("1.csv").write_text("a\n1\n")
    Path("2.csv").write_text("a\n1\n2\n")
    space = {"rows": ["1.csv", "2.csv"], "times": Choice([3, 4], when={"rows": "2.csv"})}
    sweep = repeated.sweep(space, search="grid")
    (own_home / "mended").touch()
    Path("2.csv").unlink()
    retry_sweep(sweep.id, get_settings(), definition=repeated)
    assert [t.values[0] for t in sweep.refresh().trial_records] == [2, 6, 8]
