"""Runs on the local executor: results, cache, failures, cancellation, isolation."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest

import flowlearner
from flowlearner import (
    Client,
    Columns,
    File,
    InputError,
    Metric,
    ParameterError,
    ResourceError,
    RunFailed,
    Secret,
    Seed,
    operator,
    workflow,
)
from flowlearner.records import Status
from tests.engine.calls import called


@operator
def load(n: int) -> pd.DataFrame:
    called("load")
    return pd.DataFrame({"x": range(n), "y": [float(i) for i in range(n)]})


@operator
def parity(n: int) -> int:
    called("parity")
    return n % 2


@operator
def mean(rows: pd.DataFrame) -> Metric:
    called("mean")
    return float(rows["y"].mean())


@operator
def add(a: float, b: float) -> float:
    called("add")
    return a + b


class Outputs(NamedTuple):
    rows: pd.DataFrame
    mean: Metric


@workflow(executor="local")
def simple(n: int = 4) -> Outputs:
    rows = load(n)
    return Outputs(rows=rows, mean=mean(rows))


def test_a_run_completes_and_its_outputs_load() -> None:
    run = simple.run(n=4)
    assert run.status is Status.COMPLETED
    assert run.outputs.mean == 1.5
    assert list(run.outputs.rows["x"]) == [0, 1, 2, 3]
    assert run.metrics == {"mean": 1.5}
    assert [n.name for n in run.nodes] == ["load", "mean"]


def test_the_same_run_again_is_all_cached_and_calls_nothing(calls: list[str]) -> None:
    first = simple.run(n=4)
    calls.clear()
    second = simple.run(n=4)
    assert calls == []
    assert [n.cached for n in second.nodes] == [True, True]
    assert {n.cached_from for n in second.nodes} == {first.id}
    assert second.outputs.mean == 1.5
    assert second.metrics == {"mean": 1.5}


def test_an_integer_for_a_float_parameter_has_the_key_of_the_float(calls: list[str]) -> None:
    @workflow(executor="local")
    def sums(a: float) -> float:
        return add(a, 1)

    sums.run(a=1)
    calls.clear()
    sums.run(a=1.0)
    assert calls == []


def test_consumers_of_an_output_that_came_out_equal_hit(calls: list[str]) -> None:
    @workflow(executor="local")
    def chain(n: int) -> float:
        return add(parity(n), 1.0)

    chain.run(n=2)
    calls.clear()
    run = chain.run(n=4)
    assert calls == ["parity"]
    assert [(n.name, n.cached) for n in run.nodes] == [("parity", False), ("add", True)]


def test_no_cache_runs_everything_and_refresh_runs_one_node(calls: list[str]) -> None:
    simple.run(n=4)
    calls.clear()
    simple.with_options(cache=False).run(n=4)
    assert calls == ["load", "mean"]
    calls.clear()
    run = simple.with_options(refresh=["load"]).run(n=4)
    assert calls == ["load"]
    assert run.nodes[0].miss_reason == "--refresh"


def test_each_node_run_says_why_it_missed() -> None:
    first = simple.run(n=4)
    second = simple.run(n=5)
    assert first.nodes[0].miss_reason == "first run of this node"
    assert second.nodes[0].miss_reason == "input 'n' changed"
    assert second.nodes[1].miss_reason == "input 'rows' changed"


def test_plan_says_what_would_hit_and_runs_nothing(calls: list[str]) -> None:
    simple.run(n=4)
    calls.clear()
    assert [(r.node, r.action) for r in simple.plan(n=4)] == [("load", "cached"), ("mean", "cached")]
    assert [(r.node, r.action) for r in simple.plan(n=9)] == [("load", "run"), ("mean", "unknown")]
    assert calls == []


def test_a_lost_artifact_runs_its_node_again_and_repairs_the_store(calls: list[str], own_home: Path) -> None:
    big = 20_000
    first = simple.run(n=big)
    for file in (own_home / "artifacts").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"damaged")
    calls.clear()
    second = simple.run(n=big)
    assert "load" in calls
    assert "artifact lost" in str(second.nodes[0].miss_reason)
    assert second.outputs.mean == first.outputs.mean
    calls.clear()
    simple.run(n=big)
    assert calls == []


def test_a_failing_node_fails_the_run_and_independent_branches_finish() -> None:
    @operator
    def fail(n: int) -> int:
        raise ValueError(f"no {n} today")

    class Both(NamedTuple):
        bad: float
        good: int

    @workflow(executor="local")
    def branches(n: int = 3) -> Both:
        return Both(bad=add(fail(n), 1.0), good=parity(n))

    with pytest.raises(RunFailed, match="node 'fail' failed: ValueError: no 3 today") as caught:
        branches.run()
    run = caught.value.run
    assert {n.name: n.status for n in run.nodes} == {
        "fail": Status.FAILED,
        "add": Status.SKIPPED,
        "parity": Status.COMPLETED,
    }
    error = run.nodes[0].error
    assert error is not None
    assert error.type == "ValueError"
    assert "flowlearner/engine" not in error.traceback
    assert "no 3 today" in error.traceback


def test_retries_are_made_and_the_attempt_is_recorded() -> None:
    attempts: list[int] = []

    @operator(retries=2, uses=[], version="retry-test")
    def flaky(n: int) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("not yet")
        return n

    @workflow(executor="local")
    def tries(n: int = 1) -> int:
        return flaky(n)

    run = tries.run()
    assert len(attempts) == 3
    assert run.nodes[0].attempt == 3


def test_an_operator_that_returns_another_type_fails_with_both_types() -> None:
    @operator
    def wrong(n: int) -> int:
        return "text"  # type: ignore[return-value]

    @workflow(executor="local")
    def bad(n: int = 1) -> int:
        return wrong(n)

    with pytest.raises(RunFailed, match="expected int, found str 'text'"):
        bad.run()


def test_a_value_without_codec_fails_its_node() -> None:
    @operator
    def odd(n: int) -> Any:
        return threading.Lock()

    @workflow(executor="local")
    def bad(n: int = 1) -> Any:
        return odd(n)

    with pytest.raises(RunFailed, match="codec"):
        bad.run()


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


def test_reported_metrics_are_recorded_with_their_curve_and_replayed_by_a_hit() -> None:
    @operator
    def learn(n: int) -> int:
        for step in range(n):
            flowlearner.report(step=step, loss=1.0 / (step + 1))
        return n

    @workflow(executor="local")
    def curves(n: int = 4) -> int:
        return learn(n)

    assert curves.run().metrics == {"loss": 0.25}
    again = curves.run()
    assert again.nodes[0].cached
    assert again.metrics == {"loss": 0.25}


def test_logs_and_prints_reach_the_catalog() -> None:
    @operator
    def talk(n: int) -> int:
        print("hello from print")
        logging.getLogger("mine").info("hello from logging")
        return n

    @workflow(executor="local")
    def talks(n: int = 1) -> int:
        return talk(n)

    run = talks.run()
    lines = [(line.node, line.level, line.message) for line in Client().logs(run.id)]
    assert ("talk", "PRINT", "hello from print") in lines
    assert ("talk", "INFO", "hello from logging") in lines


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


def test_what_can_never_fit_is_refused_with_the_numbers() -> None:
    @operator(cpus=512)
    def huge(n: int) -> int:
        return n

    @workflow(executor="local")
    def never(n: int = 1) -> int:
        return huge(n)

    with pytest.raises(ResourceError, match="node 'huge' asks for 512 cpus"):
        never.run()
    assert Client().list_runs() == []


def test_cache_false_and_effects_run_every_time(calls: list[str]) -> None:
    @operator(cache=False)
    def always(n: int) -> int:
        called("always")
        return n

    @operator(effects=True)
    def notify(n: int) -> None:
        called("notify")

    @workflow(executor="local")
    def both(n: int = 1) -> int:
        value = always(n)
        notify(value)
        return parity(value)

    both.run()
    calls.clear()
    run = both.run()
    assert sorted(calls) == ["always", "notify"]
    assert run.nodes[-1].cached or run.nodes[1].cached


def test_an_isolated_operator_runs_in_a_child_with_the_same_result() -> None:
    @operator(isolate=True)
    def child(rows: pd.DataFrame) -> int:
        print("in the child")
        flowlearner.report(step=1, seen=float(len(rows)))
        return os.getpid()

    @workflow(executor="local")
    def isolated(n: int = 4) -> int:
        return child(load(n))

    run = isolated.run()
    assert run.outputs.result != os.getpid()
    assert run.metrics["seen"] == 4.0
    assert "in the child" in [line.message for line in Client().logs(run.id)]


def test_a_timeout_kills_the_child_and_what_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "pids"

    @operator(timeout_s=3)
    def stuck(path: str) -> int:
        import subprocess
        import time

        child = subprocess.Popen(["sleep", "600"])
        Path(path).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
        return 1

    @workflow(executor="local")
    def slow(path: str) -> int:
        return stuck(path)

    with pytest.raises(RunFailed, match="longer than timeout_s=3"):
        slow.run(path=str(marker))
    for pid in marker.read_text().split():
        assert not _is_running(int(pid))


def test_a_child_that_dies_is_a_failure_that_names_the_signal() -> None:
    @operator(isolate=True)
    def suicidal(n: int) -> int:
        os.kill(os.getpid(), 9)
        return n

    @workflow(executor="local")
    def dies(n: int = 1) -> int:
        return suicidal(n)

    with pytest.raises(RunFailed, match="SIGKILL"):
        dies.run()


def test_cancelling_from_another_thread_ends_in_cancelled_and_kills_children(tmp_path: Path) -> None:
    marker = tmp_path / "pid"

    @operator(isolate=True)
    def stuck(path: str) -> int:
        import time

        Path(path).write_text(str(os.getpid()))
        time.sleep(600)
        return 1

    @operator
    def spin(n: int) -> int:
        while True:
            n += 1

    class Both(NamedTuple):
        a: int
        b: int

    @workflow(executor="local")
    def slow(path: str) -> Both:
        return Both(stuck(path), parity(spin(1)))

    def cancel() -> None:
        client = Client()
        while not marker.exists():
            time.sleep(0.05)
        client.cancel_run(client.list_runs()[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunFailed) as caught:
        slow.run(path=str(marker))
    thread.join()
    run = caught.value.run
    assert run.status is Status.CANCELLED
    assert {n.status for n in run.nodes} == {Status.CANCELLED}
    assert not _is_running(int(marker.read_text()))


def test_two_isolated_one_cpu_operators_overlap_and_two_cpu_ones_do_not(tmp_path: Path) -> None:
    def body(path: str, name: str) -> float:
        import time

        begin = time.time()
        value = 0
        while time.time() - begin < 1.5:
            value += 1
        Path(path, name).write_text(f"{begin} {time.time()}")
        return begin

    @operator(isolate=True, cpus=1, cache=False)
    def narrow(path: str, name: str) -> float:
        return body(path, name)

    @operator(isolate=True, cpus=2, cache=False)
    def wide(path: str, name: str) -> float:
        return body(path, name)

    class Pair(NamedTuple):
        a: float
        b: float

    @workflow(executor="local")
    def overlap(path: str) -> Pair:
        return Pair(narrow(path, "n1"), narrow(path, "n2"))

    @workflow(executor="local")
    def serial(path: str) -> Pair:
        return Pair(wide(path, "w1"), wide(path, "w2"))

    overlap.run(path=str(tmp_path))
    serial.run(path=str(tmp_path))

    def times(name: str) -> tuple[float, float]:
        begin, end = (tmp_path / name).read_text().split()
        return float(begin), float(end)

    (a, b), (c, d) = times("n1"), times("n2")
    assert max(a, c) < min(b, d), "the 1-cpu operators did not overlap"
    (a, b), (c, d) = times("w1"), times("w2")
    assert b <= c or d <= a, "the 2-cpu operators overlapped"


def test_two_threads_may_run_workflows_at_the_same_time() -> None:
    results: list[float] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(simple.run(n=n).outputs.mean)) for n in (2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0.5, 1.0, 1.5]


def test_arrow_and_pandas_consumers_share_one_artifact() -> None:
    @operator
    def rows_of(table: pa.Table) -> int:
        return int(table.num_rows)

    @workflow(executor="local")
    def mixed(n: int = 3) -> int:
        return rows_of(load(n))  # type: ignore[arg-type]

    assert mixed.run().outputs.result == 3


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
