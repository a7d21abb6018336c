"""`workflow.flow` in the hands of Prefect's own users: called, served, nested, made again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import Enum
from pathlib import Path

import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flowlearner import Client, PlatformError, Seed, operator, workflow
from flowlearner.records import Status
from tests.engine.api import Api

pytestmark = [
    pytest.mark.slow,
    # Prefect's client leaves an event loop to the garbage collector when a test's thread ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _connected(api: Api) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: api.url}):
        yield


@operator
def double(number: int) -> int:
    return 2 * number


@workflow
def doubled(number: int = 10) -> int:
    return double(number)


def test_a_flow_that_prefect_calls_is_a_run_of_the_catalog(api: Api) -> None:
    run_id = doubled.flow(number=50)
    run = Client().get_run(run_id)
    assert run.status is Status.COMPLETED
    assert run.params == {"number": 50}
    assert api.find_flow_run(run_id)["state_type"] == "COMPLETED"


def test_a_flow_takes_its_parameters_by_position_as_the_workflow_does() -> None:
    @workflow
    def both(seed: Seed, number: int, other: int = 1) -> int:
        return double(number)

    assert Client().get_run(doubled.flow(7)).outputs.result == 14
    assert Client().get_run(both.flow(3, number=4)).params == {"seed": 3, "number": 4, "other": 1}


def test_a_flow_that_a_bare_flow_calls_is_its_subflow(api: Api) -> None:
    @prefect.flow
    def bare() -> list[str]:
        return [doubled.flow(number=1), doubled.flow(number=2)]

    assert [Client().get_run(i).outputs.result for i in bare()] == [2, 4]


@pytest.mark.parametrize("way", ["flow", "run"])
def test_a_workflow_that_an_operator_runs_is_a_run_of_its_own(way: str) -> None:
    @operator(cache=False)
    def nest(number: int) -> str:
        if way == "flow":
            return str(doubled.flow(number=number))
        return doubled.run(number=number).id

    @workflow
    def outer(number: int = 3) -> str:
        return nest(number)

    run = outer.run()
    inner = Client().get_run(run.outputs.result)
    assert (inner.workflow, inner.outputs.result) == ("doubled", 6)
    assert [r.workflow for r in Client().list_runs()] == ["doubled", "outer"]


def test_a_name_that_somebody_gives_to_flow_runs_is_nobodys_id() -> None:
    named = doubled.flow.with_options(flow_run_name="nightly")
    first, second = named(number=1), named(number=1)
    assert first != second
    assert {first, second} == {r.id for r in Client().list_runs()}


def test_a_flow_with_retries_is_made_again_as_another_run(tmp_path: Path) -> None:
    @operator(cache=False)
    def flaky(mark: str) -> int:
        if not Path(mark).exists():
            Path(mark).touch()
            raise ValueError("not yet")
        return 1

    @workflow
    def trying(mark: str) -> int:
        return flaky(mark)

    again = trying.flow.with_options(retries=1)
    assert again(mark=str(tmp_path / "mark"), return_state=True).is_completed()
    assert [r.status for r in Client().list_runs()] == [Status.COMPLETED, Status.FAILED]


class Color(Enum):
    RED = 1
    BLUE = 2


@operator
def describe(day: date, color: Color, pair: tuple[int, int], place: Path | None) -> str:
    return f"{day!r} {color} {pair} {place}"


@workflow
def described(
    day: date = date(2020, 1, 1),
    color: Color = Color.RED,
    pair: tuple[int, int] = (1, 2),
    place: Path | None = None,
) -> str:
    return describe(day, color, pair, place)


def test_parameters_and_defaults_come_back_from_prefects_json_as_what_they_are() -> None:
    def run(**params: object) -> object:
        return Client().get_run(described.flow(**params)).outputs.result

    assert run() == "datetime.date(2020, 1, 1) Color.RED (1, 2) None"
    assert (
        run(day="2021-02-03", color="BLUE", pair=[3, 4], place="/x")
        == "datetime.date(2021, 2, 3) Color.BLUE (3, 4) /x"
    )


def test_a_fault_of_the_engine_is_not_taken_for_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("it is broken")

    monkeypatch.setattr("flowlearner.engine.task.call_operator", break_down)
    with pytest.raises(PlatformError, match="it is broken"):
        doubled.run()
    assert Client().list_runs()[0].status is Status.FAILED
