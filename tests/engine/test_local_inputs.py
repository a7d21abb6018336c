"""What a run on the local executor is given: files, tables, seeds, secrets, lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest

from flowlearner import (
    Client,
    Columns,
    File,
    InputError,
    Metric,
    ParameterError,
    RunFailed,
    Secret,
    Seed,
    operator,
    workflow,
)
from flowlearner.errors import StorageError
from flowlearner.inputs import InputResolver
from flowlearner.interface import Param
from flowlearner.records import Artifact, Status
from tests.engine.calls import called
from tests.engine.flows import load, mean, parity, simple


def test_missing_columns_are_found_before_the_body_runs(calls: list[str]) -> None:
    @operator
    def needs(rows: Annotated[pd.DataFrame, Columns(x=int, age=float)]) -> int:
        called("needs")
        return 1

    @workflow(executor="local")
    def columns(n: int = 2) -> int:
        return needs(load(n))

    with pytest.raises(RunFailed, match="missing age"):
        columns.run()
    assert "needs" not in calls


def test_changing_an_input_never_reaches_another_node() -> None:
    @operator
    def spoil(rows: pd.DataFrame) -> int:
        rows["y"] = 0.0
        rows.iloc[0, 0] = 99
        return len(rows)

    @operator
    def check(rows: pd.DataFrame, after: int) -> float:
        return float(rows["y"].sum())

    @workflow(executor="local")
    def shared(n: int = 4) -> float:
        rows = load(n)
        return check(rows, spoil(rows))

    assert shared.run().outputs.result == 6.0


def test_a_list_of_futures_and_defaults_reach_the_operator() -> None:
    @operator
    def total(values: list[float], scale: float = 2.0) -> float:
        return sum(values) * scale

    @workflow(executor="local")
    def sums(n: int = 3) -> float:
        return total([parity(n), parity(4), 10])

    assert sums.run().outputs.result == 22.0


def test_an_unbound_seed_receives_the_seed_of_the_run_and_is_keyed(calls: list[str]) -> None:
    @operator
    def draw(seed: Seed = None) -> int:
        called("draw")
        return seed if seed is not None else -1

    @workflow(executor="local")
    def seeded() -> int:
        return draw()

    assert seeded.run().outputs.result == 0
    assert seeded.with_options(seed=7).run().outputs.result == 7
    calls.clear()
    assert seeded.with_options(seed=7).run().outputs.result == 7
    assert calls == []


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_catalog_holds_is_refused(seed: int) -> None:
    with pytest.raises(ParameterError, match=r"seed: expected a whole number from 0 to 2\*\*63 - 1"):
        simple.with_options(seed=seed).run()


def test_a_secret_reaches_the_operator_and_nothing_else(own_home: Path) -> None:
    @operator
    def connect(password: Secret, n: int) -> int:
        print("connecting with", password)
        raise RuntimeError(f"refused {password}")

    @workflow(executor="local")
    def secretive(password: Secret, n: int = 1) -> int:
        return connect(password, n)

    # Put together here: the source of this module is stored with the run.
    text = "-".join(["hunter2", "very", "secret"])
    with pytest.raises(RunFailed) as caught:
        secretive.run(password=text)
    assert caught.value.run.params["password"] == "***"
    assert [f for f in own_home.rglob("*") if f.is_file() and text.encode() in f.read_bytes()] == []


def test_a_table_parameter_takes_a_path_and_a_second_run_parses_nothing(
    calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("x,y\n1,2.0\n2,4.0\n")

    @workflow(executor="local")
    def from_file(rows: pd.DataFrame) -> Metric:
        return mean(rows)

    assert from_file.run(rows=str(file)).outputs.result == 3.0
    calls.clear()
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: pytest.fail("parsed again"))
    run = from_file.run(rows=file)
    assert calls == []
    assert run.nodes[0].cached
    assert run.params["rows"]["source"] == str(file)


def test_a_table_has_one_hash_whatever_its_file_format(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [2.0, 4.5], "s": ["a", "b"]})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")

    @workflow(executor="local")
    def from_file(rows: pd.DataFrame) -> Metric:
        return mean(rows)

    hashes = {from_file.run(rows=tmp_path / n).params["rows"]["hash"] for n in ("rows.csv", "rows.parquet")}
    hashes.add(from_file.run(rows=frame).params["rows"]["hash"])
    assert len(hashes) == 1


def test_a_file_parameter_is_keyed_by_content(calls: list[str], tmp_path: Path) -> None:
    @operator
    def size(path: File) -> int:
        called("size")
        return len(Path(path).read_bytes())

    @workflow(executor="local")
    def sizes(path: File) -> int:
        return size(path)

    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    one.write_bytes(b"12345")
    two.write_bytes(b"12345")
    assert sizes.run(path=one).outputs.result == 5
    assert sizes.run(path=two).nodes[0].cached
    two.write_bytes(b"54321!")
    assert sizes.run(path=two).outputs.result == 6
    assert calls == ["size", "size"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"\x00\xff\xfe\x00\x81", "does not read|no columns"), (None, "no file")],
)
def test_an_unusable_csv_is_a_clear_error(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "bad.csv"
    if content is not None:
        file.write_bytes(content)

    @workflow(executor="local")
    def from_file(rows: pd.DataFrame) -> Metric:
        return mean(rows)

    with pytest.raises((InputError, RunFailed), match=words):
        from_file.run(rows=file)


def test_wrong_parameters_are_listed_before_anything_runs() -> None:
    with pytest.raises(
        ParameterError, match=r"no parameter 'm'.*expected int, found str 'x'|found str 'x'.*no parameter"
    ):
        simple.run(m=3, n="x")
    assert Client().list_runs() == []


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,2.0\n2,4.0\n")
    return path


@workflow(executor="local")
def averaged(rows: pd.DataFrame) -> Metric:
    return mean(rows)


def test_a_run_is_there_while_its_inputs_are_read(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Status, object]] = []
    resolve = InputResolver.resolve

    def look(self: InputResolver, param: Param, value: object) -> Artifact:
        seen.extend((r.status, r.params["rows"]) for r in Client().list_runs())
        return resolve(self, param, value)

    monkeypatch.setattr(InputResolver, "resolve", look)
    run = averaged.run(rows=rows)
    assert seen == [(Status.RUNNING, str(rows))]
    assert run.params["rows"]["hash"]


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KeyboardInterrupt, Status.CANCELLED),
        (StorageError("no space left"), Status.FAILED),
        (InputError("it does not read"), Status.FAILED),
    ],
)
def test_a_run_that_ends_while_its_inputs_are_read_is_recorded(
    raised: type[BaseException] | BaseException, status: Status, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise raised

    monkeypatch.setattr(InputResolver, "resolve", stop)
    with pytest.raises((KeyboardInterrupt, StorageError, RunFailed)):
        averaged.run(rows=rows)
    (run,) = Client().list_runs()
    assert run.status is status
    assert run.error is not None
