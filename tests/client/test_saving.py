"""Writing values to files, in the form that the suffix names."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import altair as alt
import matplotlib.figure
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost

from flowlearner import ArtifactError, Client, Model, NotFoundError, Run, UsageError, operator, workflow
from flowlearner.errors import StorageError
from tests.client.flows import MANY_ROWS, things, tips


class Point(NamedTuple):
    x: int
    y: float


class Kinds(NamedTuple):
    named: pd.DataFrame
    arrow: pa.Table
    array: np.ndarray
    cube: np.ndarray
    point: Point
    text: str
    bad: float


@operator
def make_kinds() -> Kinds:
    named = pd.DataFrame({"x": [1, 2], "s": ["é", None]}, index=pd.Index(["a", "b"], name="key"))
    arrow = pa.table({"x": [1, 2], "t": ["u", "v"]})
    cube = np.zeros((2, 2, 2))
    return Kinds(named, arrow, np.array([[1.5, 2.0]]), cube, Point(1, 2.5), "h\né", float("nan"))


@workflow(executor="local")
def kinds() -> Kinds:
    made = make_kinds()
    return Kinds(made.named, made.arrow, made.array, made.cube, made.point, made.text, made.bad)


class Drawn(NamedTuple):
    chart: alt.Chart
    figure: matplotlib.figure.Figure
    model: Model


@operator
def draw() -> Drawn:
    rows = pd.DataFrame({"x": [1, 2, 3, 4], "y": [0, 1, 0, 1]})
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([1, 2])
    model = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(rows[["x"]], rows["y"])
    return Drawn(alt.Chart(rows).mark_point().encode(x="x", y="y"), figure, model)


@workflow(executor="local")
def drawing() -> Drawn:
    drawn = draw()
    return Drawn(drawn.chart, drawn.figure, drawn.model)


READERS: dict[str, Any] = {
    ".csv": pd.read_csv,
    ".csv.gz": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".parquet": pd.read_parquet,
    ".json": pd.read_json,
    ".arrow": pd.read_feather,
    ".feather": pd.read_feather,
    "": pd.read_parquet,
}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("n", [4, MANY_ROWS])
def test_a_table_is_written_in_the_form_of_its_suffix(
    client: Client, tmp_path: Path, suffix: str, n: int
) -> None:
    run = tips.run(n=n)
    target = client.save_output(run.id, "rows", tmp_path / f"rows{suffix}")
    assert target == tmp_path / f"rows{suffix}"
    pd.testing.assert_frame_equal(READERS[suffix](target), run.outputs.rows, check_dtype=False)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_a_suffix_counts_in_any_case(client: Client, tmp_path: Path) -> None:
    target = client.save_output(tips.run().id, "rows", tmp_path / "ROWS.CSV")
    assert target.read_text().startswith("x,y\n0,0.0\n")


def test_a_named_index_is_a_column_of_the_csv(client: Client, tmp_path: Path) -> None:
    target = client.save_output(kinds.run().id, "named", tmp_path / "named.csv")
    assert target.read_text(encoding="utf-8") == "key,x,s\na,1,é\nb,2,\n"


def test_a_named_index_is_kept_in_the_json_of_a_table(client: Client, tmp_path: Path) -> None:
    target = client.save_output(kinds.run().id, "named", tmp_path / "named.json")
    rows = json.loads(target.read_text(encoding="utf-8"))
    assert rows == [{"key": "a", "x": 1, "s": "é"}, {"key": "b", "x": 2, "s": None}]


@operator
def give_indexed(kind: str) -> pd.DataFrame:
    rows = pd.DataFrame({"x": [1, 2, 3], "index": [4, 5, 6]})
    indexes = {
        "filtered": pd.Index([0, 2, 5]),
        "words": pd.Index(["a", "b", "c"]),
        "taken": pd.Index([7, 8, 9], name="x"),
        "two": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["x", None]),
    }
    return rows.set_axis(indexes[kind], axis=0)


@workflow(executor="local")
def indexed(kind: str) -> pd.DataFrame:
    return give_indexed(kind)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("filtered", ["index_index", "x", "index"]),
        ("words", ["index_index", "x", "index"]),
        ("taken", ["x_index", "x", "index"]),
        ("two", ["x_index", "level_1", "x", "index"]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_an_index_that_says_something_is_a_column_with_a_name_of_its_own(
    client: Client, tmp_path: Path, suffix: str, kind: str, columns: list[str]
) -> None:
    target = client.save_output(indexed.run(kind=kind).id, "result", tmp_path / f"rows{suffix}")
    assert list(READERS[suffix](target).columns) == columns


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".json"])
def test_a_table_of_arrow_is_written_like_any_table(client: Client, tmp_path: Path, suffix: str) -> None:
    target = client.save_output(kinds.run().id, "arrow", tmp_path / f"rows{suffix}")
    assert READERS[suffix](target).to_dict("list") == {"x": [1, 2], "t": ["u", "v"]}


def test_an_array_is_written_as_npy_or_text(client: Client, tmp_path: Path) -> None:
    run = kinds.run()
    assert np.load(client.save_output(run.id, "array", tmp_path / "a.npy")).tolist() == [[1.5, 2.0]]
    assert client.save_output(run.id, "array", tmp_path / "a.csv").read_text() == "1.5,2.0\n"


def test_an_array_of_three_dimensions_has_no_text(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'a.csv': an array of 3 dimensions is written as .npy"):
        client.save_output(kinds.run().id, "cube", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_structure_is_written_as_json(client: Client, tmp_path: Path) -> None:
    run = kinds.run()
    assert json.loads(client.save_output(run.id, "point", tmp_path / "p.json").read_text()) == {
        "x": 1,
        "y": 2.5,
    }
    assert json.loads(client.save_output(run.id, "text", tmp_path / "t.json").read_text("utf-8")) == "h\né"
    assert client.save_output(run.id, "text", tmp_path / "t.txt").read_text("utf-8") == "h\né"
    assert json.loads(client.save_output(run.id, "bad", tmp_path / "bad.json").read_text()) == "NaN"


def test_a_chart_is_written_as_json_or_html(client: Client, tmp_path: Path) -> None:
    run = drawing.run()
    chart = json.loads(client.save_output(run.id, "chart", tmp_path / "c.json").read_text())
    assert "vega-lite" in chart["$schema"]
    page = client.save_output(run.id, "chart", tmp_path / "c.html").read_text()
    assert "<html" in page


def test_a_figure_of_matplotlib_is_written_as_png(client: Client, tmp_path: Path) -> None:
    target = client.save_output(drawing.run().id, "figure", tmp_path / "f.png")
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_model_of_xgboost_is_written_in_its_own_form(client: Client, tmp_path: Path) -> None:
    run = drawing.run()
    rows = pd.DataFrame({"x": [1, 2, 3, 4]})
    expected = run.outputs.model.predict(rows).tolist()
    for suffix in (".ubj", ".json"):
        model = xgboost.XGBClassifier()
        model.load_model(client.save_output(run.id, "model", tmp_path / f"m{suffix}"))
        assert model.predict(rows).tolist() == expected


@pytest.mark.parametrize(
    ("flow", "output", "name", "words"),
    [
        (tips, "rows", "rows.xlsx", "'rows.xlsx': a table is written as .parquet, .csv"),
        (tips, "mean", "mean.csv", "'mean.csv': float is written as .json"),
        (kinds, "array", "a.png", "'a.png': .* is written as .npy"),
        (drawing, "chart", "c.png", "'c.png': .* is written as .json, .html"),
        (drawing, "figure", "f.html", "'f.html': .* is written as .png"),
        (drawing, "model", "m.csv", "'m.csv': .* is written as"),
    ],
)
def test_a_suffix_that_does_not_fit_is_refused(
    client: Client, tmp_path: Path, flow: Any, output: str, name: str, words: str
) -> None:
    run: Run = flow.run()
    with pytest.raises(UsageError, match=words):
        client.save_output(run.id, output, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced(client: Client, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    target.write_text("old")
    client.save_output(tips.run(n=1).id, "rows", target)
    assert target.read_text() == "x,y\n0,0.0\n"


def test_a_folder_as_target_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        client.save_output(tips.run().id, "rows", tmp_path / "rows.csv")


@pytest.mark.parametrize("name", ["no/such/rows.csv", "no/such/rows.arrow", "no/such/rows.parquet"])
def test_a_target_in_a_folder_that_is_not_there_is_wrong_usage(
    client: Client, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match=f"cannot write '.*{name}': there is no folder '.*no/such'"):
        client.save_output(tips.run().id, "rows", tmp_path / name)


@pytest.mark.parametrize(
    ("flow", "output", "suffix"),
    [(tips, "mean", ".json"), (tips, "rows", ".csv"), (drawing, "chart", ".html")],
)
def test_a_file_as_parent_of_the_target_is_wrong_usage(
    client: Client, tmp_path: Path, flow: Any, output: str, suffix: str
) -> None:
    (tmp_path / "file").write_text("")
    run: Run = flow.run()
    with pytest.raises(UsageError, match="there is no folder"):
        client.save_output(run.id, output, tmp_path / "file" / f"x{suffix}")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EACCES, UsageError), (errno.EROFS, UsageError), (errno.ENOSPC, StorageError)],
)
def test_a_place_that_the_user_may_not_write_is_wrong_usage_and_a_full_disk_is_not(
    number: int, expected: type[Exception], client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touch(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    run_id = tips.run().id
    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(expected, match=f"cannot write '.*rows.csv': {os.strerror(number)}"):
        client.save_output(run_id, "rows", tmp_path / "rows.csv")


def test_an_unknown_output_writes_nothing(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'rows'"):
        client.save_output(tips.run().id, "row", tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_damaged_bytes_are_not_written(client: Client, tmp_path: Path) -> None:
    run = tips.run(n=MANY_ROWS)
    path = client.get_artifact(run.id, "rows").path
    assert path is not None
    (Path(client.settings.artifacts_url) / path).unlink()
    for suffix in (".csv", ".arrow"):
        with pytest.raises(ArtifactError, match="missing"):
            client.save_output(run.id, "rows", tmp_path / f"rows{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_value_is_written_as_its_bytes_and_never_opened(client: Client, tmp_path: Path) -> None:
    run = things.run()
    target = client.save_output(run.id, "result", tmp_path / "thing.pkl")
    assert target.read_bytes() == client.get_artifact(run.id, "result").inline


def test_an_output_of_a_node_is_saved_too(client: Client, tmp_path: Path) -> None:
    target = client.save_output(tips.run(n=1).id, "load.result", str(tmp_path / "rows.csv"))
    assert target.read_text() == "x,y\n0,0.0\n"


@operator
def make_labels() -> Annotated[pd.DataFrame, "columns that are numbers"]:
    return pd.DataFrame([[1, 2]], columns=pd.Index([0, 1]))


@workflow(executor="local")
def labels() -> pd.DataFrame:
    return make_labels()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_a_table_whose_columns_are_numbers_is_written(client: Client, tmp_path: Path, suffix: str) -> None:
    target = client.save_output(labels.run().id, "result", tmp_path / f"rows{suffix}")
    assert READERS[suffix](target).to_numpy().tolist() == [[1, 2]]
