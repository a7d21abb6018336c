"""A run is run again with changes, which are kept with the new run and can be searched."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from flowlearner import Client, CompileError, NotFoundError, ParameterError, Workflow
from flowlearner.loading import load_workflow
from flowlearner.records import Change


def test_a_clone_keeps_its_parent_and_what_differs(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.run(n=4)
    (project / "flow.py").unlink()
    clone = client.clone(first.id, {"n": 5})
    assert (clone.outputs.total, clone.record.parent_id) == (10, first.id)
    assert clone.record.changes == (Change("param", "n", 4, 5),)
    assert clone.to_json()["changes"] == [{"kind": "param", "name": "n", "before": 4, "after": 5}]
    assert [r.id for r in client.search(f"change.n = 5 and parent = '{first.id}'")] == [clone.id]


def test_what_is_given_as_it_was_is_no_difference(flow: Workflow[..., object], client: Client) -> None:
    assert client.clone(flow.run(n=4).id, {"n": 4}).record.changes == ()


@pytest.mark.parametrize(
    ("replace", "total", "changed"),
    [
        ({"double_2": "triple"}, 6, ["double_2"]),
        ({"double": "triple"}, 9, ["double", "double_2"]),
        ({"double": "triple", "double_2": "double"}, 6, ["double"]),
    ],
)
def test_an_operator_is_replaced_wherever_it_is_called_or_in_one_node(
    project: Path, client: Client, replace: dict[str, str], total: int, changed: list[str]
) -> None:
    code = (project / "flow.py").read_text().replace("add_seed(double(n))", "add_seed(double(double(n)))")
    (project / "flow.py").write_text(code)
    flow = load_workflow("flow.py:flow")
    assert isinstance(flow, Workflow)
    first = flow.run(n=1)
    (project / "flow.py").unlink()
    clone = client.clone(first.id, replace=replace)
    assert clone.outputs.total == total
    assert clone.record.changes == tuple(Change("operator", name, "double", "triple") for name in changed)
    assert [r.id for r in client.search(f"change.{changed[0]} = 'triple'")] == [clone.id]


def test_a_clone_of_a_clone_and_its_rerun_keep_the_operator(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    clone = client.clone(flow.run(n=2).id, replace={"double": "triple"})
    (project / "flow.py").unlink()
    again = client.rerun(clone.id, cache=False)
    assert (again.outputs.total, again.record.changes) == (6, ())
    deeper = client.clone(clone.id, {"n": 3})
    assert (deeper.outputs.total, deeper.record.changes) == (9, (Change("param", "n", 2, 3),))
    back = client.clone(clone.id, replace={"double": "double"})
    assert (back.outputs.total, back.record.changes) == (
        4,
        (Change("operator", "double", "triple", "double"),),
    )


def test_an_operator_of_another_module_is_kept_with_the_new_run(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    (project / "more.py").write_text(
        "from flowlearner import operator\n\n@operator\ndef square(n: int) -> int:\n    return n * n\n"
    )
    first = flow.run(n=5)
    clone = client.clone(first.id, replace={"double": "more.square"})
    assert clone.outputs.total == 25
    (project / "more.py").write_text("raise RuntimeError")
    sys.modules.pop("more")
    (project / "flow.py").unlink()
    assert client.rerun(clone.id, cache=False).outputs.total == 25


def test_an_operator_that_does_not_fit_is_an_error_before_anything_runs(
    flow: Workflow[..., object], client: Client
) -> None:
    first = flow.run()
    with pytest.raises(
        CompileError, match=r"'longer', which takes its place, needs a value for 'text: str'"
    ) as caught:
        client.clone(first.id, replace={"double": "longer"})
    assert "add_seed" in str(caught.value)
    with pytest.raises(NotFoundError, match=r"no node or operator 'duble'.*Did you mean 'double'"):
        client.clone(first.id, replace={"duble": "triple"})
    with pytest.raises(ParameterError, match=r"expected an operator.*found 'tripel'.*Did you mean 'triple'"):
        client.clone(first.id, replace={"double": "tripel"})
    with pytest.raises(ParameterError, match="expected int"):
        client.clone(first.id, {"n": "many"})
    assert client.count_runs() == 1


def test_a_table_that_is_given_is_told_by_its_type(project: Path, client: Client) -> None:
    (project / "tables.py").write_text(
        "import pandas as pd\n"
        "from flowlearner import operator, workflow\n\n"
        "@operator\ndef total(rows: pd.DataFrame) -> int:\n    return int(rows['a'].sum())\n\n"
        "@workflow(executor='local')\ndef tables(rows: pd.DataFrame) -> int:\n    return total(rows)\n"
    )
    tables = load_workflow("tables.py:tables")
    assert isinstance(tables, Workflow)
    first = tables.run(rows=pd.DataFrame({"a": [1]}))
    clone = client.clone(first.id, {"rows": pd.DataFrame({"a": [2]})})
    assert clone.outputs.result == 2
    (change,) = clone.record.changes
    assert (change.name, change.before, change.after) == ("rows", first.params["rows"], "<DataFrame>")


def test_todays_code_of_a_clone_keeps_the_operator_too(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    clone = client.clone(flow.run(n=2).id, replace={"double": "triple"})
    code = (project / "flow.py").read_text()
    (project / "flow.py").write_text(code.replace("return 3 * n", "return 3 * n + 1"))
    again = client.rerun(client.rerun(clone.id).id, current=True)
    assert again.outputs.total == 7
    (project / "flow.py").write_text(code.replace("add_seed(double(n))", "add_seed(longer(n, 'x'))"))
    with pytest.raises(CompileError, match="'n' expects int"):
        client.rerun(flow.run(n=2).id, current=True)
