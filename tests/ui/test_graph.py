"""What is drawn of a graph."""

from __future__ import annotations

from typing import Any

from flowlearner import Client
from tests.ui.filling import Filled
from ui.components.graph import WIDEST, describe


def make_graph(*layers: int) -> dict[str, Any]:
    """A graph of layers, in which each node depends on all of the layer before."""
    names = [[f"n{d}_{i}" for i in range(count)] for d, count in enumerate(layers)]
    nodes = [
        {"name": name, "operator": "op", "upstream": names[d - 1] if d else []}
        for d, row in enumerate(names)
        for name in row
    ]
    return {"nodes": nodes}


def test_a_narrow_graph_runs_down_and_a_wide_one_aside() -> None:
    narrow, wide = describe(make_graph(1, 3, 1), None, None), describe(make_graph(1, 24, 1), None, None)
    assert (narrow["sideways"], wide["sideways"]) == (False, True)
    assert narrow["width"] <= WIDEST
    assert wide["width"] <= WIDEST


def test_nodes_lie_within_the_picture_and_edges_end_at_them() -> None:
    for graph in (make_graph(2, 3, 1), make_graph(1, 24, 5)):
        drawn = describe(graph, None, None)
        corners = {n["name"]: (n["x"], n["y"]) for n in drawn["nodes"]}
        for node in drawn["nodes"]:
            assert 0 <= node["x"] <= drawn["width"] - node["w"]
            assert 0 <= node["y"] <= drawn["height"] - node["h"]
        for edge in drawn["edges"]:
            across, enter, _ = edge["points"][-1]
            x, y = (enter, across) if drawn["sideways"] else (across, enter)
            left, top = corners[edge["to"]]
            assert left <= x <= left + 170
            assert top <= y <= top + 44


def test_a_node_tells_how_it_fared(runs: Filled, client: Client) -> None:
    drawn = describe(client.get_graph(runs.failed), client.get_run(runs.failed), "refuse")
    status = {n["name"]: n["status"] for n in drawn["nodes"]}
    assert status == {"refuse": "FAILED", "keep": "SKIPPED"}
    assert drawn["chosen"] == "refuse"
    assert drawn["nodes"][0]["title"].startswith("refuse (refuse), failed, ")
