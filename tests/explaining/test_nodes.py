"""Why nodes ran: what differs from the nearest earlier run, and which run made what was cached."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client, NotFoundError, RunFailed
from flowlearner.catalog import Catalog
from flowlearner.client.run import to_plain
from flowlearner.explaining.nodes import NodeExplanation
from flowlearner.records import Environment
from tests.edited_project import Project

HELPERS = """
    SCALE = 2.0

    def tidy(x):
        return x[x["tip"] > 0]

    def boost(v):
        return v * SCALE
    """
FLOW = """
    from typing import NamedTuple
    import numpy as np
    import pandas as pd
    from flowlearner import Metric, Seed, operator, workflow
    import helpers
    from helpers import boost

    class Parts(NamedTuple):
        train: pd.DataFrame
        test: pd.DataFrame

    @operator
    def load(rows: pd.DataFrame) -> pd.DataFrame:
        return helpers.tidy(rows)

    @operator
    def split(rows: pd.DataFrame, at: int, seed: Seed = None) -> Parts:
        return Parts(rows.iloc[:at], rows.iloc[at:])

    @operator
    def judge(train: pd.DataFrame, test: pd.DataFrame, power: float, name: str) -> Metric:
        return float(boost(np.mean(train["tip"]) - np.mean(test["tip"]))) ** power

    class Out(NamedTuple):
        score: Metric

    @workflow
    def flow(rows: pd.DataFrame, at: int = 2, power: float = 1.0) -> Out:
        parts = split(load(rows), at)
        return Out(judge(parts.train, parts.test, power, "plain"))
    """


@pytest.fixture
def tips(project: Project) -> Project:
    project.write(flow=FLOW, helpers=HELPERS)
    (project.folder / "tips.csv").write_text("tip,bill\n1.5,10\n0.5,8\n3.5,20\n0,3\n")
    return project


def explain(client: Client, run: Any) -> dict[str, NodeExplanation]:
    return {n.name: n for n in client.explain_run(run.id).nodes}


def kinds(node: NodeExplanation) -> list[tuple[str, str]]:
    return [(d.kind, d.name) for d in node.differences]


def test_the_first_run_of_a_node_is_told_so(tips: Project, client: Client) -> None:
    nodes = explain(client, tips.run(rows="tips.csv"))
    assert {n.summary for n in nodes.values()} == {"first run of this node"}
    assert nodes["load"].compared_with is None


def test_a_hit_names_the_run_that_made_it(tips: Project, client: Client) -> None:
    first = tips.run(rows="tips.csv")
    tips.run(rows="tips.csv")
    nodes = explain(client, tips.run(rows="tips.csv"))
    for node in nodes.values():
        assert node.action == "cached"
        assert node.made_by is not None
        assert (node.made_by.run_id, node.made_by.node) == (first.id, node.name)
        assert node.differences == ()


def test_a_changed_helper_is_named_with_a_diff_and_followed_to_the_inputs(
    tips: Project, client: Client
) -> None:
    first = tips.run(rows="tips.csv")
    tips.edit("helpers.py", '["tip"] > 0', '["tip"] > 0.6')
    nodes = explain(client, tips.run(rows="tips.csv"))
    assert kinds(nodes["load"]) == [("function", "tidy")]
    assert '+    return x[x["tip"] > 0.6]' in nodes["load"].differences[0].diff
    assert nodes["load"].compared_with is not None
    assert nodes["load"].compared_with.run_id == first.id
    assert nodes["split"].summary == "input 'rows' changed: helper 'tidy' changed in 'load'"
    assert [(c.kind, c.name, c.node) for c in nodes["judge"].differences[0].causes] == [
        ("function", "tidy", "load")
    ]
    assert nodes["judge"].summary == "inputs 'train', 'test' changed: helper 'tidy' changed in 'load'"


def test_the_operator_itself_a_global_and_a_version_are_told(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    tips.edit("flow.py", "** power", "* power")
    tips.edit("helpers.py", "SCALE = 2.0", "SCALE = 3.0")
    tips.edit("flow.py", "@operator\n    def judge".replace("    ", ""), '@operator(version="2")\ndef judge')
    node = explain(client, tips.run(rows="tips.csv"))["judge"]
    assert kinds(node) == [("operator", "judge"), ("version", "judge"), ("value", "SCALE")]
    assert [d.text for d in node.differences[1:]] == [
        "version= of 'judge': none → '2'",
        "global 'SCALE': 2.0 → 3.0",
    ]


def test_comments_a_moved_file_and_another_name_of_the_module_make_no_difference(
    tips: Project, client: Client
) -> None:
    tips.run(rows="tips.csv")
    tips.edit("helpers.py", "SCALE = 2.0", "# How much.\nSCALE = 2.0")
    os.rename("helpers.py", "tools.py")
    tips.edit("flow.py", "import helpers", "import tools as helpers")
    tips.edit("flow.py", "from helpers", "from tools")
    os.rename("flow.py", "tip_flow.py")
    # What differs is one global, whose value is another.
    tips.edit("tools.py", "SCALE = 2.0", "SCALE = 4.0")
    nodes = explain(client, tips.run("tip_flow.py", rows="tips.csv"))
    assert [nodes[n].action for n in ("load", "split", "judge")] == ["cached", "cached", "ran"]
    assert kinds(nodes["judge"]) == [("value", "SCALE")]


def test_a_renamed_helper_is_told_as_that_alone(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    tips.edit("helpers.py", "def boost", "def lift")
    tips.edit("flow.py", "boost", "lift")
    node = explain(client, tips.run(rows="tips.csv"))["judge"]
    assert node.summary == "'boost' is now called 'lift'"


def test_params_are_told_from_old_to_new_and_files_by_their_content(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    nodes = explain(client, tips.run(rows="tips.csv", power=2.0))
    assert nodes["judge"].summary == "parameter 'power': 1.0 → 2.0"
    assert nodes["split"].action == "cached"
    Path("tips.csv").write_text("tip,bill\n2.5,10\n0.5,8\n3.5,20\n")
    nodes = explain(client, tips.run(rows="tips.csv", power=2.0))
    assert nodes["load"].summary == "parameter 'rows': the content of tips.csv changed"
    Path("other.csv").write_text("tip,bill\n9.5,10\n0.5,8\n3.5,20\n")
    nodes = explain(client, tips.run(rows="other.csv", power=2.0))
    assert nodes["load"].summary == "parameter 'rows': tips.csv → other.csv"
    assert nodes["judge"].differences[0].causes[0].kind == "param"


def test_a_literal_in_the_workflow_and_the_seed_are_told(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    tips.edit("flow.py", '"plain"', '"fancy"')
    flow = tips.load().with_options(executor="local", seed=7)
    nodes = explain(client, flow.run(rows="tips.csv"))
    assert nodes["split"].summary == "the run's seed: 0 → 7"
    assert nodes["judge"].summary == "input 'name', given in the workflow: 'plain' → 'fancy'"


def test_the_nearest_run_has_most_in_common_and_of_those_is_the_latest(tips: Project, client: Client) -> None:
    near = tips.run(rows="tips.csv", power=2.0)
    Path("other.csv").write_text("tip,bill\n9.5,10\n0.5,8\n3.5,20\n")
    tips.run(rows="other.csv", power=4.0)
    node = explain(client, tips.run(rows="tips.csv", power=3.0))["judge"]
    assert node.compared_with is not None
    assert node.compared_with.run_id == near.id
    latest = tips.run(rows="tips.csv", power=5.0)
    node = explain(client, tips.run(rows="tips.csv", power=6.0))["judge"]
    assert node.compared_with is not None
    assert node.compared_with.run_id == latest.id


def test_no_cache_and_refresh_are_told_with_what_differs_besides(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    nodes = explain(client, tips.run(rows="tips.csv", cache=False))
    assert nodes["load"].summary.endswith("(--no-cache); nothing else differs")
    flow = tips.load().with_options(executor="local", refresh=["judge"])
    nodes = explain(client, flow.run(rows="tips.csv", power=3.0))
    assert kinds(nodes["judge"]) == [("refresh", "judge"), ("param", "power")]


def test_a_lost_artifact_is_the_reason(tips: Project, client: Client) -> None:
    run = tips.run(rows="tips.csv")
    artifact = client.get_artifact(run.id, "judge.result")
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.update_artifact(replace(artifact, inline=b"damaged"))
    node = explain(client, tips.run(rows="tips.csv"))["judge"]
    assert kinds(node) == [("lost", "judge")]
    assert node.summary.startswith("artifact lost: ")


def test_what_is_never_cached_is_told_and_what_it_gives_is_called_unstable(
    project: Project, client: Client
) -> None:
    project.write(
        flow="""
        import itertools
        from flowlearner import operator, workflow

        class Counter:
            calls = 0

        @operator(cache=False)
        def draw(n: int) -> int:
            with open("calls.txt", "a+") as file:
                file.write("x")
                file.seek(0)
                return n + len(file.read())

        @operator
        def double(n: int) -> int:
            return n * 2

        @workflow
        def flow(n: int = 1) -> int:
            return double(draw(n))
        """
    )
    project.run()
    nodes = explain(client, project.run())
    assert nodes["draw"].summary == "never cached: cache=False"
    assert [(c.kind, c.node) for c in nodes["double"].differences[0].causes] == [("unstable", "draw")]


def test_a_value_that_the_source_does_not_tell_is_named_as_undetermined(
    project: Project, client: Client
) -> None:
    project.write(
        flow="""
        from pathlib import Path
        from flowlearner import operator, workflow

        LIMIT = int(Path("limit.txt").read_text())

        @operator
        def cut(n: int) -> int:
            return min(n, LIMIT)

        @workflow
        def flow(n: int = 5) -> int:
            return cut(n)
        """
    )
    Path("limit.txt").write_text("3")
    project.run()
    Path("limit.txt").write_text("4")
    node = explain(client, project.run())["cut"]
    assert kinds(node) == [("undetermined", "cut")]
    assert "'LIMIT'" in node.summary


def test_a_module_that_the_snapshot_leaves_out_is_named(project: Project, client: Client) -> None:
    project.write(
        my_tokens="def sign(n):\n    return n + 1\n",
        flow="""
        from flowlearner import operator, workflow
        from my_tokens import sign

        @operator
        def one(n: int) -> int:
            return sign(n)

        @workflow
        def flow(n: int = 1) -> int:
            return one(n)
        """,
    )
    project.run()
    project.edit("my_tokens.py", "n + 1", "n + 2")
    node = explain(client, project.run())["one"]
    assert kinds(node) == [("undetermined", "one")]
    assert "the module 'my_tokens', which the snapshot does not have" in node.summary


def test_a_package_of_another_version_is_told(
    tips: Project, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tips.run(rows="tips.csv")
    from flowlearner.capture import read_environment
    from flowlearner.fingerprint import values

    found = read_environment()
    old = found.packages["numpy"]
    newer = Environment("newer", found.python, {**found.packages, "numpy": "99.0"}, found.machine)
    find = values.find_package_version
    monkeypatch.setattr("flowlearner.engine.submit.read_environment", lambda: newer)
    monkeypatch.setattr(values, "find_package_version", lambda top: "99.0" if top == "numpy" else find(top))
    node = explain(client, tips.run(rows="tips.csv"))["judge"]
    assert node.summary == f"package numpy: {old} → 99.0"


def test_where_a_snapshot_is_gone_the_operators_own_source_still_tells(tips: Project, client: Client) -> None:
    first = tips.run(rows="tips.csv")
    tips.edit("flow.py", "** power", "* power")
    second = tips.run(rows="tips.csv")
    snapshot = first.record.code.snapshot
    assert snapshot is not None
    artifact = client.find_artifact(snapshot)
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.update_artifact(replace(artifact, inline=b"damaged"))
    assert kinds(explain(client, second)["judge"]) == [("operator", "judge")]


def test_nodes_that_did_not_run_say_why(tips: Project, client: Client) -> None:
    tips.edit("helpers.py", "return x[", "raise ValueError('no')\n    return x[")
    with pytest.raises(RunFailed) as failed:
        tips.run(rows="tips.csv")
    nodes = explain(client, failed.value.run)
    assert nodes["load"].action == "ran"
    assert nodes["judge"].summary == "did not run: 'load' failed before it"


def test_an_item_of_a_list_is_told_alone(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from flowlearner import operator, workflow

        @operator
        def grow(n: int, by: int) -> int:
            return n + by

        @operator
        def total(items: list[int]) -> int:
            return sum(items)

        @workflow
        def flow(a: int = 1, b: int = 2) -> int:
            return total([grow(a, 1), grow(b, 2), 5])
        """
    )
    project.run()
    node = explain(client, project.run(b=7))["total"]
    assert node.summary == "input 'items' changed: parameter 'b': 2 → 7"


def test_one_node_may_be_asked_for_and_a_wrong_name_is_told(tips: Project, client: Client) -> None:
    run = tips.run(rows="tips.csv")
    assert [n.name for n in client.explain_run(run.id[:8], "judge").nodes] == ["judge"]
    with pytest.raises(NotFoundError, match="no node 'jugde'; it has load, split, judge"):
        client.explain_run(run.id, "jugde")


def test_the_explanation_is_json(tips: Project, client: Client) -> None:
    tips.run(rows="tips.csv")
    run = tips.run(rows="tips.csv", power=float("nan"))
    document = to_plain(client.explain_run(run.id).to_json())
    assert json.loads(json.dumps(document, allow_nan=False))["nodes"][2]["differences"][0]["after"] == "NaN"


def test_a_chain_of_a_thousand_steps_is_followed_to_its_root(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from flowlearner import operator, workflow

        @operator
        def step(n: int) -> int:
            return n + 1

        @workflow
        def flow(n: int = 1) -> int:
            for _ in range(1000):
                n = step(n)
            return n
        """
    )
    project.run()
    done = project.run(n=5000)
    (node,) = client.explain_run(done.id, "step_1000").nodes
    assert node.summary == "input 'n' changed: parameter 'n': 1 → 5000"
    found = client.trace_lineage(f"{done.id}.result")
    origin, depth = found.origin, 0
    while origin is not None and origin.inputs:
        origin, depth = origin.inputs["n"], depth + 1
    assert origin is not None
    assert (depth, origin.is_cut) == (100, True)
    json.dumps(to_plain(found.to_json()))


def test_files_in_a_list_are_told_by_their_names_and_content(project: Project, client: Client) -> None:
    project.write(
        flow="""
        from pathlib import Path
        from flowlearner import File, operator, workflow

        @operator
        def count(files: list[File]) -> int:
            return sum(len(Path(f).read_text()) for f in files)

        @workflow
        def flow(files: list[File]) -> int:
            return count(files)
        """
    )
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)
    project.run(files=["a.txt"])
    nodes = explain(client, project.run(files=["a.txt", "b.txt"]))
    assert nodes["count"].summary == "parameter 'files': [a.txt] → [a.txt, b.txt]"
    Path("b.txt").write_text("other")
    nodes = explain(client, project.run(files=["a.txt", "b.txt"]))
    assert nodes["count"].summary == "parameter 'files': the content of [a.txt, b.txt] changed"
