"""The form that launches: a widget for each type, what is said beside a field, and what it begins with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from flowlearner import Client
from flowlearner.config import get_settings
from flowlearner.loading import load_workflow
from flowlearner.schedule import deployments
from flowlearner.schedule.launch import Launch
from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled

FLOWS = '''
import enum
from datetime import date, datetime
from typing import Annotated

import pandas as pd

from flowlearner import Choice, Columns, File, LogRange, Metric, Range, Secret, Seed, operator, workflow


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@operator
def judge(rows: pd.DataFrame, depth: int) -> Metric:
    return float(rows["x"].sum()) * depth


@workflow(executor="local")
def every(
    rows: Annotated[pd.DataFrame, Columns(x=float)],
    depth: Annotated[int, Range(1, 12)] = 6,
    eta: Annotated[float, LogRange(0.01, 0.5)] = 0.1,
    kind: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    shuffle: bool = True,
    since: date = date(2024, 1, 31),
    until: datetime | None = None,
    limit: float | None = None,
    names: list[str] = ["a"],
    color: Color = Color.RED,
    note: str = "",
    token: Secret = "",
    extra: File | None = None,
    seed: Seed = None,
) -> Metric:
    """Judge <b>rows</b> in every way.

    Args:
        depth: how deep *trees* grow
    """
    return judge(rows, depth)


@operator
def refuse(n: int) -> Metric:
    if n == 2:
        raise ValueError("not two")
    return float(n)


@workflow(executor="local")
def fussy(n: int = 2) -> Metric:
    return refuse(n)


@operator
def count() -> int:
    return 1


@workflow(executor="local")
def plainly() -> int:
    return count()
'''


@dataclass(frozen=True)
class Place:
    folder: Path
    home: Path
    run_id: str
    failed_id: str
    sweep_id: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    (folder / "form_flows.py").write_text(FLOWS)
    (folder / "rows.csv").write_text("x\n1.5\n2.5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWLEARNER_HOME", str(home))
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        every: Any = load_workflow("form_flows.py:every")
        changed = every.with_options(experiment="first", tags={"team": "ops"}, notes="a\nb", seed=3)
        run = changed.run(
            rows="rows.csv", depth=4, eta=0.2, kind="dart", token="old", limit=2.5, names=["b", "c"]
        )
        load_workflow("form_flows.py:plainly").run()  # type: ignore[attr-defined]
        fussy: Any = load_workflow("form_flows.py:fussy")
        sweep = fussy.sweep({"n": [1, 2]}, metric="result", search="grid")
        failed = fussy.submit()
        sys.modules.pop("form_flows")
    return Place(folder, home, run.id, failed.id, sweep.id)


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("FLOWLEARNER_HOME", str(made.home))
    monkeypatch.chdir(made.folder)
    return made


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Launch, dict[str, Any]]]:
    """What was handed to Prefect, which does not run here; tests of the client hand it to a real one."""
    found: list[tuple[Launch, dict[str, Any]]] = []
    monkeypatch.setattr(Client, "check_launching", lambda _: None)
    monkeypatch.setattr(
        deployments, "submit_launch", lambda _s, _id, launch, secrets: found.append((launch, dict(secrets)))
    )
    monkeypatch.setattr(deployments, "find_launch", lambda _s, _id: None)
    monkeypatch.setattr(Client, "_check_server", lambda _: None)
    return found


def find(elements: Any, label: str) -> Any:
    return next(e for e in elements if e.label == label)


def press(page: AppTest, label: str = "Launch") -> AppTest:
    return find(page.button, label).click().run()


def test_each_type_has_its_widget_and_begins_with_its_default(place: Place, open_page: Open) -> None:
    page = open_page("launch", workflow="every")
    assert not page.exception
    texts = {e.label: e.value for e in page.text_input}
    # As the latest run had it.
    assert texts["rows"].startswith("artifact:")
    assert "rows\\.csv" in read_texts(page)
    assert (texts["depth exactly"], find(page.select_slider, "depth").value) == ("6", "6")
    assert (texts["eta exactly"], find(page.select_slider, "eta").value) == ("0.1", "0.1")
    assert find(page.selectbox, "kind").options == ["gbtree", "dart"]
    assert find(page.toggle, "shuffle").value is True
    assert find(page.date_input, "since").value.isoformat() == "2024-01-31"
    assert find(page.get("date_time_input") or page.get("datetime_input"), "until").value is None
    assert find(page.text_area, "names").value == '["a"]'
    assert find(page.text_area, "color").value == "RED"
    assert find(page.text_input, "token").proto.type == 1
    assert "how deep \\*trees\\* grow" in find(page.select_slider, "depth").help
    assert "Judge <b>rows</b> in every way." in [e.value for e in page.text]


def test_what_does_not_fit_is_said_beside_its_field_and_nothing_starts(
    place: Place, open_page: Open, launches: list[Any]
) -> None:
    page = open_page("launch", workflow="every")
    find(page.text_input, "rows").set_value("")
    assert "needs a value" not in read_texts(page.run())
    find(page.text_input, "depth exactly").set_value("13")
    find(page.text_input, "limit").set_value("much")
    find(page.text_area, "Tags, one NAME=VALUE in each line").set_value("team")
    find(page.text_input, "Seed").set_value("-1")
    page.run()
    said = read_texts(page)
    assert r"expected a value in 1\.\.12\, found 13" in said
    assert r"expected float \| None\, found \'much\'" in said
    assert r"expected NAME\=VALUE\, found \'team\'" in said
    assert r"expected a whole number from 0 to 2\*\*63 \- 1\, found \'\-1\'" in said
    press(page)
    assert "needs a value" in read_texts(page)
    assert "Nothing has started" in page.error[0].value
    assert launches == []


def test_slider_and_exact_number_follow_each_other(place: Place, open_page: Open) -> None:
    page = open_page("launch", workflow="every")
    find(page.text_input, "eta exactly").set_value("0.123456").run()
    assert abs(float(find(page.select_slider, "eta").value) - 0.123456) < 0.01
    assert find(page.text_input, "eta exactly").value == "0.123456"
    find(page.select_slider, "depth").set_value("2").run()
    assert find(page.text_input, "depth exactly").value == "2"


def test_only_what_was_changed_is_launched_and_a_secret_apart(
    place: Place, open_page: Open, launches: list[Any]
) -> None:
    page = open_page("launch", workflow="every")
    find(page.text_input, "rows").set_value("rows.csv")
    find(page.text_input, "depth exactly").set_value("9")
    find(page.text_input, "token").set_value("s3cr3t!")
    find(page.toggle, "shuffle").set_value(False)
    find(page.text_area, "Notes").set_value("why")
    find(page.text_area, "Tags, one NAME=VALUE in each line").set_value("a = b\n")
    find(page.text_input, "Seed").set_value("5")
    page.run()
    press(page)
    assert not page.exception
    ((launch, secrets),) = launches
    assert launch.params == {"rows": "rows.csv", "depth": "9", "shuffle": "false"}
    assert secrets == {"token": "s3cr3t!"}
    assert (launch.is_clone, launch.notes, launch.seed, launch.tags) == (False, "why", 5, {"a": "b"})
    assert (launch.experiment, launch.sweep, launch.cache) == ("default", None, None)
    assert "s3cr3t!" not in str(page.query_params)


def test_a_clone_begins_with_all_that_the_run_had_and_asks_for_its_secret(
    place: Place, open_page: Open, launches: list[Any]
) -> None:
    page = open_page("launch", clone=place.run_id)
    texts = {e.label: e.value for e in page.text_input}
    assert texts["rows"].startswith("artifact:")
    assert (texts["depth exactly"], texts["eta exactly"], texts["limit"], texts["Seed"]) == (
        "4",
        "0.2",
        "2.5",
        "3",
    )
    assert find(page.selectbox, "kind").value == "dart"
    assert find(page.selectbox, "Experiment").value == "first"
    assert find(page.text_area, "names").value == '["b", "c"]'
    assert find(page.text_area, "Tags, one NAME=VALUE in each line").value == "team=ops"
    assert find(page.text_area, "Notes").value == "a\nb"
    assert texts["token"] == ""
    press(page)
    assert "see token" in page.error[0].value
    find(page.text_input, "token").set_value("new")
    find(page.text_input, "limit").set_value("")
    press(page.run())
    ((launch, secrets),) = launches
    assert (launch.run_id, launch.is_clone, launch.params, secrets) == (
        place.run_id, True, {"limit": None}, {"token": "new"},
    )  # fmt: skip


def test_as_a_sweep_fields_become_domains(place: Place, open_page: Open, launches: list[Any]) -> None:
    page = open_page("launch", workflow="every")
    find(page.toggle, "As a sweep").set_value(True).run()
    domains = {e.label: e.value for e in page.text_input if e.label.endswith(" over")}
    assert domains == {"depth over": "1..12", "eta over": "log(0.01,0.5)", "kind over": "{gbtree,dart}"}
    assert "Vary token" not in [t.label for t in page.toggle]
    find(page.text_input, "rows").set_value("rows.csv")
    find(page.text_input, "depth over").set_value("2..20").run()
    assert r"expected a value in 1\.\.12\, found 20" in read_texts(page)
    find(page.text_input, "depth over").set_value("2..10")
    find(page.toggle, "Vary eta").set_value(False)
    find(page.number_input, "Trials").set_value(8)
    find(page.selectbox, "Search").set_value("random")
    press(page.run())
    ((launch, _),) = launches
    assert launch.params == {"rows": "rows.csv"}
    assert launch.sweep == {
        "space": {"depth": "2..10", "kind": "{gbtree,dart}"}, "metric": ["result"], "mode": ["max"],
        "trials": 8, "search": "random", "stop": None, "seed": 0, "executor": "ray",
    }  # fmt: skip


def test_a_workflow_without_a_metric_is_no_sweep_and_one_without_parameters_says_so(
    place: Place, open_page: Open
) -> None:
    page = open_page("launch", workflow="plainly")
    assert find(page.toggle, "As a sweep").disabled
    assert "It takes none." in read_texts(page)


def test_without_services_it_says_how_they_are_started(place: Place, open_page: Open) -> None:
    page = open_page("launch", workflow="plainly")
    assert "flowlearner up" in [c.value for c in page.code]
    press(page)
    assert "flowlearner up" in page.error[0].value.replace("\\", "")
    assert not page.exception


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("launch", {"workflow": "nope"}, "There is no workflow"),
        ("launch", {"clone": "ffff"}, "ffff"),
        ("launched", {}, "names nothing"),
        ("launched", {"id": "0123456789abcdef"}, "Nothing was launched"),
    ],
)
def test_an_address_that_names_nothing_is_said_in_words(
    place: Place, open_page: Open, launches: list[Any], name: str, params: dict[str, str], said: str
) -> None:
    page = open_page(name, **params)
    assert not page.exception
    assert said in read_texts(page)


def test_an_empty_catalog_says_how_the_first_run_is_made(own_home: Path, open_page: Open) -> None:
    with Client(get_settings()) as client:
        client.upgrade_catalog()
    page = open_page("launch")
    assert not page.exception
    assert "flowlearner run flights.py:delays" in read_texts(page)


def test_a_run_page_links_to_its_clone_and_launches_it_again(
    place: Place, open_page: Open, launches: list[Any]
) -> None:
    page = open_page("run", id=place.run_id)
    assert "Clone" in str([link.proto for link in page.get("page_link")])
    press(page, "Run again")
    # Its secret is stored nowhere.
    assert "token" in page.error[0].value
    with Client() as client:
        plain_id = client.list_runs(workflow="plainly")[0].id
    again = press(open_page("run", id=plain_id), "Run again")
    assert not again.exception
    assert [launch.run_id for launch, _ in launches] == [plain_id]


def test_what_failed_goes_on_from_its_page(place: Place, open_page: Open, launches: list[Any]) -> None:
    page = open_page("sweep", id=place.sweep_id)
    assert not page.exception
    assert "Resume" not in [b.label for b in page.button]
    assert "Run the best again" in str([link.proto for link in page.get("page_link")])
    waiting = press(page, "Retry failed")
    assert not waiting.exception
    press(open_page("run", id=place.failed_id), "Resume")
    assert [(x.sweep_id, x.retries, x.run_id, x.goes_on) for x, _ in launches] == [
        (place.sweep_id, True, None, True),
        (None, False, place.failed_id, True),
    ]


def test_a_run_without_its_code_is_no_clone(runs: Filled, open_page: Open) -> None:
    page = open_page("launch", clone=runs.bare)
    assert not page.exception
    assert "no snapshot of its code" in read_texts(page)
