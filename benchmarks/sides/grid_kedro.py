"""Kedro's side: the grid as a pipeline on its sequential runner, data in memory, nothing recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from sides.grid import LAYERS, SPREAD, WIDTH, make_rounds


def make_start(column: int) -> Callable[[int], int]:
    """Return the function of a node of the first layer: Kedro has no literals as inputs."""

    def start(salt: int) -> int:
        return salt * SPREAD + column

    return start


def step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """A node of any other layer."""
    return left + 100


def make_pipeline() -> Pipeline:
    """Build the grid; data are named by layer and column."""
    nodes = [node(make_start(c), "salt", f"l0c{c}", name=f"n0_{c}") for c in range(WIDTH)]
    for layer in range(1, LAYERS):
        for c in range(WIDTH):
            inputs = [f"l{layer - 1}c{c}", f"l{layer - 1}c{(c + 1) % WIDTH}"]
            nodes.append(node(step, inputs, f"l{layer}c{c}", name=f"n{layer}_{c}"))
    return Pipeline(nodes)


def make(mode: str) -> Callable[[], float]:
    """Rounds of `SequentialRunner.run` alone: the pipeline is built beforehand."""
    assert mode == "run"
    # A line for each start and end of a node would cost more than the node.
    logging.getLogger("kedro").setLevel(logging.WARNING)
    pipeline = make_pipeline()
    last = [f"l{LAYERS - 1}c{c}" for c in range(WIDTH)]

    def run(salt: int) -> list[int]:
        given = SequentialRunner().run(pipeline, DataCatalog({"salt": MemoryDataset(salt)}))
        return [given[name].load() for name in last]

    return make_rounds(run, {make_start(0).__code__, step.__code__}, cached=False)
