"""What a nested workflow declares of its parameters holds for what other nodes give."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import pytest

from flowlearner import Choice, Columns, Range, RunFailed, operator, workflow
from flowlearner.records import Status
from tests.engine.calls import called
from tests.engine.flows import load


@operator
def give(n: int) -> int:
    return n


@operator
def word(n: int) -> str:
    return "z" * n


@operator
def use(n: int) -> int:
    called("use")
    return n


@operator
def use_all(numbers: list[int]) -> int:
    called("use_all")
    return sum(numbers)


@operator
def spell(text: str) -> str:
    called("spell")
    return text


@operator
def count(rows: pd.DataFrame | None) -> int:
    called("count")
    return 0 if rows is None else len(rows)


@operator
def drop(n: int) -> pd.DataFrame | None:
    return None


@workflow
def small(n: Annotated[int, Range(1, 3)]) -> int:
    return use(n)


@workflow
def middle(n: int) -> int:
    return small(n)


@workflow(executor="local")
def ranged(n: int) -> int:
    return use(middle(give(n)))


@workflow
def few(numbers: list[Annotated[int, Range(1, 3)]]) -> int:
    return use_all(numbers)


@workflow(executor="local")
def listed(n: int) -> int:
    return few([1, give(n)])


@workflow(executor="local")
def handed_on(n: int) -> int:
    return few([n, 1])


@workflow
def chosen(text: Annotated[str, Choice(["z", "zz"])]) -> str:
    return spell(text)


@workflow(executor="local")
def spelled(n: int) -> str:
    return chosen(word(n))


@workflow
def aged(rows: Annotated[pd.DataFrame | None, Columns(x=int, age=float)] = None) -> int:
    return count(rows)


@workflow(executor="local")
def tabled(n: int) -> int:
    return aged(load(n))


@workflow(executor="local")
def given_table(rows: pd.DataFrame) -> int:
    return aged(rows)


@pytest.mark.parametrize(
    ("flow", "given", "said"),
    [
        (ranged, {"n": 9}, "parameter 'middle.small.n': expected a value in 1..3, found 9"),
        (listed, {"n": 9}, r"parameter 'few.numbers'\[1\]: expected a value in 1..3, found 9"),
        (handed_on, {"n": 9}, r"parameter 'few.numbers'\[0\]: expected a value in 1..3, found 9"),
        (spelled, {"n": 3}, "parameter 'chosen.text': expected one of {z,zz}, found 'zzz'"),
        (tabled, {"n": 2}, "parameter 'aged.rows': expects columns x, age.*missing age"),
        (given_table, {"rows": pd.DataFrame({"x": [1]})}, "parameter 'aged.rows': .*missing age"),
    ],
)
def test_a_value_outside_of_what_is_declared_fails_the_node_that_reads_it(
    calls: list[str], flow: object, given: dict[str, object], said: str
) -> None:
    with pytest.raises(RunFailed, match=said) as caught:
        flow.run(**given)  # type: ignore[attr-defined]
    assert set(calls) <= {"load"}
    statuses = [n.status for n in caught.value.run.nodes]
    assert statuses.count(Status.FAILED) == 1
    assert set(statuses) <= {Status.COMPLETED, Status.FAILED, Status.SKIPPED}


def test_a_value_within_what_is_declared_passes(calls: list[str]) -> None:
    assert ranged.run(n=3).outputs.result == 3
    assert listed.run(n=3).outputs.result == 4
    assert spelled.run(n=2).outputs.result == "zz"
    assert given_table.run(rows=pd.DataFrame({"x": [1], "age": [2.0]})).outputs.result == 1


def test_what_is_none_has_no_columns() -> None:
    @workflow(executor="local")
    def none(n: int = 1) -> int:
        return aged(drop(n))

    assert none.run().outputs.result == 0


def test_a_result_that_the_cache_has_does_not_pass_a_value_that_is_not_allowed() -> None:
    @workflow(executor="local")
    def free(n: int) -> int:
        return use(give(n))

    assert free.run(n=9).outputs.result == 9
    with pytest.raises(RunFailed, match=r"'middle\.small\.n'"):
        ranged.run(n=9)


def test_other_readers_of_the_same_output_are_not_limited(calls: list[str]) -> None:
    @workflow(executor="local")
    def both(n: int) -> list[int]:
        given = give(n)
        return [small(given), use(given)]

    run = both.submit(n=9)
    assert {n.name: n.status for n in run.nodes} == {
        "give": Status.COMPLETED,
        "small.use": Status.FAILED,
        "use": Status.COMPLETED,
    }


def test_a_plan_says_what_is_not_allowed() -> None:
    ranged.submit(n=9)
    rows = {row.node: row for row in ranged.plan(n=9)}
    assert "'middle.small.n': expected a value in 1..3" in rows["middle.small.use"].reason
