"""What a user's type checker sees: decorated functions keep their signatures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

USER = """
from typing import Annotated, NamedTuple

import pandas as pd

from flowlearner import Choice, Metric, Model, Operator, Range, Seed, Static, operator, workflow


class Parts(NamedTuple):
    train: pd.DataFrame
    test: pd.DataFrame


@operator
def split(rows: pd.DataFrame, test_size: float = 0.2, seed: Seed = None) -> Parts:
    return Parts(rows, rows)


@operator(cpus=2, memory="2GiB")
def evaluate(model: Model, rows: pd.DataFrame) -> Metric:
    return 0.5


@workflow(experiment="delays")
def delays(
    rows: pd.DataFrame, max_depth: Annotated[int, Range(1, 12)] = 6, times: Static[int] = 2,
    measure: Operator[..., float] = evaluate,
) -> Metric:
    return evaluate("model", split(rows).test)


df = pd.DataFrame()
reveal_type(split(df))  # Parts
reveal_type(split(df).train)  # DataFrame
reveal_type(evaluate(1, df))  # float
reveal_type(split.map([df, df]))  # fallback=flights.Parts
reveal_type(delays(df))  # float
reveal_type(delays.with_options(seed=7))  # Workflow[
reveal_type(delays.run(rows="flights.parquet"))  # Run
reveal_type(delays.compile())  # Graph
split(df, test_sise=0.1)  # error: call-arg
split("flights")  # error: arg-type
split()  # error: call-arg
split(df).trian  # error: attr-defined
delays(df, max_depth="deep")  # error: arg-type
delays.with_options(experimnt="x")  # error: arg-type
delays.with_options(seed="x")  # error: arg-type
operator(cpu=2)  # error: call-overload
delays.run(df)  # error: arg-type
Choice("a", "b")  # error: arg-type
"""


@pytest.mark.slow
def test_a_users_type_checker_sees_signatures_and_finds_wrong_arguments(tmp_path: Path) -> None:
    file = tmp_path / "flights.py"
    file.write_text(USER)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--cache-dir",
            str(tmp_path),
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        timeout=110,
    )
    found = {
        int(m[1]): m[2] for m in re.finditer(r"flights\.py:(\d+): (error: .*|note: Revealed.*)", done.stdout)
    }
    expected = {
        number: line.partition("# ")[2]
        for number, line in enumerate(USER.splitlines(), 1)
        if re.search(r"  # (error|[A-Zfl])", line)
    }
    assert set(found) == set(expected), done.stdout
    for number, words in expected.items():
        kind = words.removeprefix("error: ")
        assert (f"[{kind}]" if words.startswith("error") else kind) in found[number], found[number]
