"""The page of one run."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from flowlearner import Client
from flowlearner.catalog import Catalog
from tests.ui.conftest import Open, read_texts
from tests.ui.filling import LONG, MANY_PARAMS, Filled
from tests.ui.flows import HOSTILE

PARTS = ("Results", "Graph", "Parameters", "Logs", "Why", "Code", "Lineage")
KINDS = ("good", "again", "failed", "odd", "bare", "wide", "gone", "lost")


def press(page: AppTest, label: str) -> AppTest:
    next(b for b in page.button if b.label == label).click()
    return page.run()


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_every_kind_of_run_shows(runs: Filled, open_page: Open, kind: str) -> None:
    page = open_page("run", id=getattr(runs, kind))
    for part in PARTS:
        page.button_group(key="part").select(part).run()
        assert not page.exception, part
        assert not page.error or kind == "failed", part


def test_the_header_says_who_when_and_what(runs: Filled, open_page: Open) -> None:
    texts = read_texts(open_page("run", id=runs.good))
    for text in ("line", "Completed", "lines", "team\\: ops", runs.good):
        assert text in texts


def test_the_beginning_of_an_id_is_enough(runs: Filled, open_page: Open) -> None:
    assert open_page("run", id=runs.good[:10]).title[0].value == "line"


def test_outputs_are_shown_by_their_type(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.good)
    texts = read_texts(page)
    assert "20 rows, 3 columns" in texts
    assert "sklearn.linear_model.LinearRegression" in texts
    assert "20 rows" in [t.value for t in page.text]
    assert page.get("vega_lite_chart")


def test_metrics_that_were_reported_by_steps_have_curves(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.good)
    table = page.dataframe[0].value.set_index("metric")
    assert table.loc["loss", "greatest"] == pytest.approx(0.1)
    assert [c.value for c in page.caption if c.value in ("loss", "accuracy")] == ["accuracy", "loss"]


def test_metrics_that_are_not_finite_are_named(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.odd)
    assert not page.exception
    assert str(page.dataframe[0].value.set_index("metric").loc["result", "last"]) == "nan"
    assert str(page.dataframe[0].value.set_index("metric").loc["loss", "last"]) == "inf"


def test_a_node_in_the_address_is_opened(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.good, part="Graph", node="load")
    texts = read_texts(page)
    assert page.subheader[0].value == "load"
    assert "20 rows" in [c.value for c in page.code]
    assert "def load" in texts


def test_a_failed_node_shows_the_frames_of_the_user(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.failed, part="Graph", node="refuse")
    (trace,) = [c.value for c in page.code if c.value.startswith("Traceback")]
    assert trace.splitlines()[1].endswith("in refuse")
    assert "raise ValueError(text)" in trace
    assert "/flowlearner/" not in trace


def test_an_unknown_node_in_the_address_is_no_mistake(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.good, part="Graph", node="nobody")
    assert not page.exception
    assert "Choose a node" in read_texts(page)


def test_what_differs_from_the_parent_is_told(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.again, part="Parameters")
    assert page.dataframe[0].value["name"].tolist() == ["rate"]
    page = open_page("run", id=runs.again, part="Code")
    assert "Same code, same environment" in read_texts(page)


def test_lineage_goes_up_to_parameters(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.again, part="Lineage", output="score")
    assert "rate: param rate = 0.3" in read_texts(page)


def test_many_params_are_all_there(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.wide, part="Parameters")
    assert len(page.dataframe[0].value) == MANY_PARAMS


def test_a_run_without_nodes_says_so(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.bare, part="Graph")
    assert page.info[0].value == "This run has no nodes."


def test_a_missing_artifact_is_told(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.lost)
    assert any("not in the store any more" in w.value for w in page.warning)


def test_hostile_texts_are_no_markup(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.failed, part="Graph", node="refuse")
    marked = [e.value for e in (*page.title, *page.subheader, *page.markdown, *page.caption, *page.error)]
    assert any("window" in text for text in marked)
    for text in marked:
        left = re.sub(r"\\.", "", text)
        assert not re.search(r"<|`|\$|:red\[|\(b\)", left), text
        assert len(text) < len(LONG)


def test_notes_are_shown_as_they_are(runs: Filled, open_page: Open) -> None:
    page = open_page("run", id=runs.failed)
    assert any(t.value.startswith(f"# Head\n{HOSTILE}\n") for t in page.text)


@pytest.mark.parametrize("run_id", ["nobody", "<script>", "%", "x" * 5000, "'"])
def test_an_unknown_id_is_told_with_a_way_on(runs: Filled, open_page: Open, run_id: str) -> None:
    page = open_page("run", id=run_id)
    assert not page.exception
    assert len(page.error) == 1
    assert page.get("page_link")


def test_an_address_without_an_id_says_so(runs: Filled, open_page: Open) -> None:
    assert "names no run" in open_page("run").info[0].value


def test_delete_and_restore(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = press(open_page("run", id=own_runs.good), "Delete")
    assert client.get_run(own_runs.good).record.deleted_at is not None
    assert "Deleted" in read_texts(page)
    page = press(page, "Restore")
    assert client.get_run(own_runs.good).record.deleted_at is None
    assert "Deleted" not in read_texts(page)


def test_tags_and_notes_are_edited(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page("run", id=own_runs.good)
    tags, notes = page.text_area
    assert tags.value == "team=ops"
    tags.set_value("stage = candidate\nformula=a=b")
    notes.set_value("Looks fine.")
    press(page, "Save")
    run = client.get_run(own_runs.good)
    assert (run.tags, run.notes) == ({"stage": "candidate", "formula": "a=b"}, "Looks fine.")


def test_a_line_that_is_no_tag_changes_nothing(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page("run", id=own_runs.good)
    page.text_area[0].set_value("nonsense")
    press(page, "Save")
    assert "Expected NAME" in page.error[0].value
    assert client.get_run(own_runs.good).tags == {"team": "ops"}


def test_a_run_that_was_purged_by_somebody_is_told(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page("run", id=own_runs.good)
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.delete_runs([own_runs.good])
        assert catalog.purge_runs() == 2
    page.run()
    assert not page.exception
    assert len(page.error) == 1
