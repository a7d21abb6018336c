"""What made a value and what used it; which models saw a dataset or a column of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client, NotFoundError, UsageError
from flowlearner.client.run import to_plain
from flowlearner.lineage.trace import Lineage
from tests.edited_project import Project

FLOW = """
    from typing import Annotated, NamedTuple
    import pandas as pd
    from sklearn.linear_model import LinearRegression
    from flowlearner import Columns, Metric, Model, Seed, operator, workflow

    class Parts(NamedTuple):
        train: pd.DataFrame
        test: pd.DataFrame

    @operator
    def split(rows: pd.DataFrame, at: int, seed: Seed = None) -> Parts:
        return Parts(rows.iloc[:at], rows.iloc[at:])

    @operator
    def narrow(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["tip", "bill"]]

    @operator
    def fit_any(rows: pd.DataFrame) -> Model:
        return LinearRegression().fit(rows[["bill"]], rows["tip"])

    @operator
    def fit_declared(rows: Annotated[pd.DataFrame, Columns(tip=float, day=int)]) -> Model:
        return LinearRegression().fit(rows[["day"]], rows["tip"])

    @operator
    def fit_others(rows: Annotated[pd.DataFrame, Columns(tip=float, bill=int)]) -> Model:
        return LinearRegression().fit(rows[["bill"]], rows["tip"])

    @operator
    def score(model: Model, rows: pd.DataFrame) -> Metric:
        return float(model.score(rows[list(model.feature_names_in_)], rows["tip"]))

    class Out(NamedTuple):
        model: Model
        declared: Model
        others: Model
        narrowed: Model
        score: Metric
        parts: list[pd.DataFrame]

    @workflow
    def flow(rows: pd.DataFrame, at: int = 4) -> Out:
        parts = split(rows, at)
        model = fit_any(parts.train)
        return Out(
            model,
            fit_declared(parts.train),
            fit_others(parts.train),
            fit_any(narrow(parts.train)),
            score(model, parts.test),
            [parts.train, parts.test],
        )

    @workflow
    def refit(rows: pd.DataFrame) -> Model:
        return fit_any(rows)
    """
TIPS = "tip,bill,day\n1.5,10,1\n0.5,8,2\n3.5,20,1\n2.5,18,3\n1.5,9,2\n0.5,3,1\n"


@pytest.fixture
def tips(project: Project) -> Project:
    project.write(flow=FLOW)
    Path("tips.csv").write_text(TIPS)
    return project


def run(project: Project, **params: Any) -> Any:
    return project.run("flow.py:flow", **{"rows": "tips.csv", **params})


def find_models(found: Lineage) -> set[str]:
    return {m.node for m in found.models}


def test_an_output_is_followed_up_to_files_params_and_the_seed(tips: Project, client: Client) -> None:
    first = run(tips)
    second = run(tips)
    origin = client.trace_lineage(f"{second.id[:8]}.score").origin
    assert origin is not None
    assert (origin.kind, origin.name, origin.operator) == ("node", "score", "score")
    assert (origin.run_id, origin.made_by) == (second.id, first.id)
    model, rows = origin.inputs["model"], origin.inputs["rows"]
    assert (model.name, rows.name) == ("fit_any", "split.test")
    split = model.inputs["rows"]
    assert split.name == "split.train"
    assert (split.inputs["rows"].kind, split.inputs["rows"].value) == (
        "file",
        str(Path("tips.csv").absolute()),
    )
    assert (split.inputs["at"].kind, split.inputs["at"].value) == ("param", 4)
    assert (split.inputs["seed"].kind, split.inputs["seed"].value) == ("seed", 0)
    assert rows.is_repeated
    assert rows.inputs == {}


def test_an_artifact_leads_to_the_first_run_that_made_it(tips: Project, client: Client) -> None:
    first, second = run(tips), run(tips)
    hash_ = client.get_artifact(second.id, "split.train").hash
    found = client.trace_lineage(hash_[:12])
    assert found.origin is not None
    assert found.origin.run_id == first.id
    assert found.made_in == 2
    assert client.trace_lineage(f"artifact:{hash_}").origin == found.origin


def test_an_output_that_the_workflow_puts_together_is_followed_by_its_items(
    tips: Project, client: Client
) -> None:
    origin = client.trace_lineage(f"{run(tips).id}.parts").origin
    assert origin is not None
    assert [o.name for o in origin.inputs.values()] == ["split.train", "split.test"]


def test_a_file_is_followed_down_to_steps_runs_and_models(tips: Project, client: Client) -> None:
    first, second = run(tips), run(tips, at=3)
    found = client.trace_lineage("tips.csv")
    assert found.target.kind == "file"
    assert found.target.is_current == (True,)
    assert found.runs == [second.id, first.id]
    assert {u.node.name for u in found.uses if u.is_direct} == {"split"}
    assert {u.node.name for u in found.uses} == {
        "split", "narrow", "fit_any", "fit_any_2", "fit_declared", "fit_others", "score",
    }  # fmt: skip
    assert find_models(found) == {"fit_any", "fit_any_2", "fit_declared", "fit_others"}
    Path("tips.csv").write_text(TIPS + "9.5,9,1\n")
    assert client.trace_lineage("tips.csv").target.is_current == (False,)
    Path("tips.csv").unlink()
    assert client.trace_lineage("tips.csv").runs == [second.id, first.id]


def test_what_one_run_made_and_another_was_given_is_followed(tips: Project, client: Client) -> None:
    first = run(tips)
    hash_ = client.get_artifact(first.id, "narrow.result").hash
    second = tips.run("flow.py:refit", rows=f"artifact:{hash_}")
    assert second.id in client.trace_lineage("tips.csv").runs
    origin = client.trace_lineage(f"{second.id}.result").origin
    assert origin is not None
    assert origin.inputs["rows"].hash == hash_


def test_runs_that_came_to_an_equal_number_have_nothing_to_do_with_each_other(
    project: Project, client: Client
) -> None:
    project.write(
        flow="""
        from flowlearner import File, operator, workflow

        @operator
        def size(file: File) -> int:
            return 3

        @operator
        def three() -> int:
            return 3

        @operator
        def double(n: int) -> int:
            return 2 * n

        @workflow
        def sized(file: File) -> int:
            return double(size(file))

        @workflow
        def counted() -> int:
            return double(three())
        """
    )
    Path("a.txt").write_text("abc")
    first = project.run("flow.py:sized", file="a.txt")
    project.run("flow.py:counted")
    assert client.trace_lineage("a.txt").runs == [first.id]
    assert client.trace_lineage(f"{first.id}.size").runs == [first.id]


def test_deleted_runs_are_left_out(tips: Project, client: Client) -> None:
    first, second = run(tips), run(tips, at=3)
    client.delete_runs([first.id])
    assert client.trace_lineage("tips.csv").runs == [second.id]


def test_files_in_a_list_are_followed_to_the_steps_that_take_it(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from pathlib import Path
        from flowlearner import File, operator, workflow

        @operator
        def count(files: list[File]) -> int:
            return sum(len(Path(f).read_text()) for f in files)

        @operator
        def double(n: int) -> int:
            return 2 * n

        @workflow
        def flow(files: list[File]) -> int:
            return double(count(files))
        """
    )
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)
    done = project.run(files=["a.txt", "b.txt"])
    found = client.trace_lineage("b.txt")
    assert [(u.run.id, u.node.name) for u in found.uses] == [(done.id, "count"), (done.id, "double")]


def test_a_file_of_its_own_is_not_taken_for_one_of_a_list_beside_it(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from pathlib import Path
        from flowlearner import File, operator, workflow

        @operator
        def size(file: File) -> int:
            return len(Path(file).read_text())

        @operator
        def count(names: list[str]) -> int:
            return len(names)

        @workflow
        def flow(file: File, names: list[str] = ["a", "b"]) -> int:
            count(names)
            return size(file)
        """
    )
    Path("a.txt").write_text("text")
    with pytest.warns(UserWarning, match="count"):
        project.run(file="a.txt")
    assert [u.node.name for u in client.trace_lineage("a.txt").uses] == ["size"]


def test_models_say_whether_they_saw_a_column(tips: Project, client: Client) -> None:
    run(tips)
    models = client.trace_lineage("tips.csv", column="day").models
    assert {m.node: m.saw for m in models} == {
        "fit_declared": "declared",
        "fit_any": "possible",
        "fit_others": "no",
        "fit_any_2": "derived",
    }
    why = {m.node: m.why for m in models}
    assert why["fit_others"] == "'fit_others' declares that it takes tip, bill"
    assert why["fit_any_2"] == "at most what 'narrow' made of it"
    assert [m.saw for m in models] == ["declared", "possible", "derived", "no"]
    found = client.trace_lineage("tips.csv", column="bill").models
    assert {m.node: m.saw for m in found if m.node in ("fit_any_2", "fit_others")} == {
        "fit_any_2": "possible",
        "fit_others": "declared",
    }


def test_a_column_is_followed_from_one_run_into_another(tips: Project, client: Client) -> None:
    first = run(tips)
    hash_ = client.get_artifact(first.id, "narrow.result").hash
    second = tips.run("flow.py:refit", rows=f"artifact:{hash_}")
    models = client.trace_lineage("tips.csv", column="bill").models
    assert [m.saw for m in models if m.run.id == second.id] == ["possible"]
    models = client.trace_lineage("tips.csv", column="day").models
    assert [m.saw for m in models if m.run.id == second.id] == ["derived"]


def test_what_there_is_not_is_told(tips: Project, client: Client) -> None:
    done = run(tips)
    with pytest.raises(NotFoundError, match=r"no column 'tipp'. Did you mean 'tip'"):
        client.trace_lineage("tips.csv", column="tipp")
    with pytest.raises(UsageError, match="asks for a column of a table"):
        client.trace_lineage(f"{done.id}.score", column="tip")
    with pytest.raises(NotFoundError, match=r"has no output 'scroe'.*Did you mean 'score'"):
        client.trace_lineage(f"{done.id}.scroe")
    with pytest.raises(NotFoundError, match="is a run of flow: name one of its outputs"):
        client.trace_lineage(done.id[:8])
    with pytest.raises(NotFoundError, match="no run that is kept was given the file"):
        client.trace_lineage("flow.py")
    with pytest.raises(NotFoundError, match="there is no file"):
        client.trace_lineage("nix.csv")
    with pytest.raises(UsageError, match=r"expected an artifact's hash, RUN.OUTPUT"):
        client.trace_lineage("nix")


def test_the_lineage_is_json(tips: Project, client: Client) -> None:
    run(tips)
    document = json.loads(json.dumps(to_plain(client.trace_lineage("tips.csv", "day").to_json())))
    assert set(document) == {"target", "column", "made_by", "made_in_runs", "used_by", "runs", "models"}
    assert document["models"][0]["saw"] == "declared"


def test_a_column_of_a_file_is_followed_from_the_table_that_is_read_from_it(
    project: Project, client: Client
) -> None:
    project.write(
        flow="""
        from typing import Annotated
        import pandas as pd
        from sklearn.linear_model import LinearRegression
        from flowlearner import Columns, File, Model, operator, workflow

        @operator
        def read(file: File) -> pd.DataFrame:
            return pd.read_csv(file)

        @operator
        def narrow(rows: Annotated[pd.DataFrame, Columns(tip=float, bill=int)]) -> pd.DataFrame:
            return rows[["tip", "bill"]]

        @operator
        def sort(rows: pd.DataFrame) -> pd.DataFrame:
            return rows.sort_values("bill")

        @operator
        def fit(rows: pd.DataFrame) -> Model:
            return LinearRegression().fit(rows[["bill"]], rows["tip"])

        @workflow
        def flow(file: File) -> Model:
            return fit(sort(narrow(read(file))))
        """
    )
    Path("tips.csv").write_text(TIPS)
    project.run(file="tips.csv")
    (model,) = client.trace_lineage("tips.csv", column="bill").models
    assert model.saw == "possible"
    (model,) = client.trace_lineage("tips.csv", column="day").models
    assert (model.saw, model.why) == ("no", "'narrow' declares that it takes tip, bill")
    with pytest.raises(NotFoundError, match=r"no column 'bil'. Did you mean 'bill'"):
        client.trace_lineage("tips.csv", column="bil")
