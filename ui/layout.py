"""Places the nodes of a graph in layers, so that edges run downwards and cross seldom.

The method of Sugiyama, Tagawa and Toda (1981): each node one layer below the lowest that it depends on, an
edge over several layers by a point in each, and in each layer the order of the barycentres of its neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SWEEPS = 8
POINT_WIDTH = 0.2
"""Of a layer an edge that passes takes less room than a node, which takes 1."""

Item = str | tuple[str, str, int]


@dataclass(frozen=True)
class Layout:
    """Places by node: column (the middle of it, from 0) and layer.

    Attributes:
        routes: for an edge over several layers, by its two ends, where it passes the layers between them.
        width, height: how many columns and layers there are.
    """

    places: Mapping[str, tuple[float, int]]
    width: float
    height: int
    routes: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)


def place_nodes(upstream: Mapping[str, Sequence[str]]) -> Layout:
    """Place the nodes of an acyclic graph.

    Args:
        upstream: what each node depends on; nodes in an order in which those come first.
    """
    layer: dict[str, int] = {}
    for name, above in upstream.items():
        layer[name] = max((layer[a] + 1 for a in above if a in layer), default=0)
    rows: list[list[Item]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name, depth in layer.items():
        rows[depth].append(name)
    chains: dict[tuple[str, str], list[Item]] = {}
    for name, above in upstream.items():
        for other in dict.fromkeys(a for a in above if a in layer):
            between = range(layer[other] + 1, layer[name])
            chains[other, name] = [other, *[(other, name, depth) for depth in between], name]
            for depth in between:
                rows[depth].append((other, name, depth))
    over: dict[Item, list[Item]] = {item: [] for row in rows for item in row}
    under: dict[Item, list[Item]] = {item: [] for row in rows for item in row}
    for chain in chains.values():
        for first, second in itertools.pairwise(chain):
            over[second].append(first)
            under[first].append(second)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _sort(row, over if down else under, _spread(rows))
    centres = _spread(rows)
    width = max((sum(map(_get_width, row)) for row in rows), default=0.0)
    return Layout(
        {name: (centres[name] + width / 2, depth) for name, depth in layer.items()},
        width,
        len(rows),
        {
            ends: [centres[i] + width / 2 for i in chain[1:-1]]
            for ends, chain in chains.items()
            if len(chain) > 2
        },
    )


def _get_width(item: Item) -> float:
    return 1.0 if isinstance(item, str) else POINT_WIDTH


def _spread(rows: Sequence[Sequence[Item]]) -> dict[Item, float]:
    """Return the middle of each item, with the middle of its row at 0."""
    centres: dict[Item, float] = {}
    for row in rows:
        left = -sum(map(_get_width, row)) / 2
        for item in row:
            centres[item] = left + _get_width(item) / 2
            left += _get_width(item)
    return centres


def _sort(row: list[Item], neighbours: Mapping[Item, Sequence[Item]], centres: Mapping[Item, float]) -> None:
    def key(item: Item) -> float:
        known = [centres[n] for n in neighbours[item]]
        return sum(known) / len(known) if known else centres[item]

    row.sort(key=key)
