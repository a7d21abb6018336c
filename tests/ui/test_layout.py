"""Places of the nodes of a graph."""

from __future__ import annotations

import random

from ui.layout import place_nodes


def test_no_graph_has_no_place() -> None:
    assert (place_nodes({}).places, place_nodes({}).height) == ({}, 0)


def test_every_node_lies_below_what_it_depends_on() -> None:
    layout = place_nodes({"a": [], "b": ["a"], "c": ["a", "b"], "d": []})
    assert {name: row for name, (_, row) in layout.places.items()} == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert layout.height == 3


def test_an_edge_over_a_layer_passes_beside_its_nodes() -> None:
    layout = place_nodes({"a": [], "b": ["a"], "c": ["a", "b"]})
    (column,) = layout.routes["a", "c"]
    assert abs(column - layout.places["b"][0]) > 0.5
    assert list(layout.routes) == [("a", "c")]


def test_edges_that_need_not_cross_do_not() -> None:
    layout = place_nodes({"a": [], "b": [], "x": ["b"], "y": ["a"]})
    columns = {name: column for name, (column, _) in layout.places.items()}
    assert (columns["a"] < columns["b"]) == (columns["y"] < columns["x"])


def test_a_hundred_nodes_have_places_of_their_own_within_the_picture() -> None:
    pick = random.Random(0)
    names = [f"n{i}" for i in range(100)]
    layout = place_nodes({n: pick.sample(names[:i], min(i, 2)) for i, n in enumerate(names)})
    assert len(set(layout.places.values())) == 100
    assert all(0 <= column <= layout.width for column, _ in layout.places.values())
    by_row: dict[int, list[float]] = {}
    for column, row in layout.places.values():
        by_row.setdefault(row, []).append(column)
    assert all(
        b - a >= 0.999 for row in by_row.values() for a, b in zip(sorted(row), sorted(row)[1:], strict=False)
    )


def test_unknown_names_upstream_are_left_out() -> None:
    assert place_nodes({"b": ["nobody"]}).places == {"b": (0.5, 0)}
