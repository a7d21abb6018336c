"""Places the nodes of a graph in layers, so that edges run downwards and cross seldom.

The method of Sugiyama, Tagawa and Toda (1981): each node one layer below the lowest that it depends on, and
in each layer the order of the barycentres of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """Places by node: column (a fraction where a layer is centred) and layer, both from 0.

    Attributes:
        width, height: how many columns and layers there are.
    """

    places: Mapping[str, tuple[float, int]]
    width: int
    height: int


def place_nodes(upstream: Mapping[str, Sequence[str]]) -> Layout:
    """Place the nodes of an acyclic graph.

    Args:
        upstream: what each node depends on; nodes in an order in which those come first.
    """
    layer: dict[str, int] = {}
    for name, above in upstream.items():
        layer[name] = max((layer[a] + 1 for a in above if a in layer), default=0)
    height = max(layer.values(), default=-1) + 1
    rows: list[list[str]] = [[] for _ in range(height)]
    for name, depth in layer.items():
        rows[depth].append(name)
    downstream: dict[str, list[str]] = {name: [] for name in upstream}
    for name, above in upstream.items():
        for other in above:
            if other in downstream:
                downstream[other].append(name)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = upstream if down else downstream
        for row in rows if down else reversed(rows):
            _sort(row, neighbours, {n: _centre(i, len(r)) for r in rows for i, n in enumerate(r)})
    width = max((len(row) for row in rows), default=0)
    places = {n: (_centre(i, len(r)) + width / 2, d) for d, r in enumerate(rows) for i, n in enumerate(r)}
    return Layout(places, width, height)


def _centre(index: int, count: int) -> float:
    return index + 0.5 - count / 2


def _sort(row: list[str], neighbours: Mapping[str, Sequence[str]], place: Mapping[str, float]) -> None:
    def key(name: str) -> float:
        known = [place[n] for n in neighbours[name] if n in place]
        return sum(known) / len(known) if known else place[name]

    row.sort(key=key)
