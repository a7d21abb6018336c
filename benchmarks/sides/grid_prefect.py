"""Prefect's side: the grid as a bare flow with threads; no caching, no stored results, as on our side."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner
from sides.grid import LAYERS, SPREAD, WIDTH, make_rounds


@task(cache_policy=NO_CACHE, persist_result=False)
def start(salt: int, column: int) -> int:
    """A node of the first layer."""
    return salt * SPREAD + column


@task(cache_policy=NO_CACHE, persist_result=False)
def step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """A node of any other layer."""
    return left + 100


@flow(task_runner=ThreadPoolTaskRunner(), persist_result=False)
def grid(salt: int) -> list[int]:
    """Ten layers of ten nodes; Prefect is given futures and waits for them."""
    layer = [start.submit(salt, column) for column in range(WIDTH)]
    for _ in range(LAYERS - 1):
        layer = [step.submit(layer[c], layer[(c + 1) % WIDTH]) for c in range(WIDTH)]
    return [future.result() for future in layer]


@flow(task_runner=ThreadPoolTaskRunner(), persist_result=False)
def grid_by_layer(salt: int) -> list[int]:
    """The same by hand: a layer starts when all of the one before has ended.

    Prefect asks the server for every future that it is given: this is faster, but Prefect sees no graph.
    """
    layer = [start.submit(salt, column) for column in range(WIDTH)]
    for _ in range(LAYERS - 1):
        given = [future.result() for future in layer]
        layer = [step.submit(given[c], given[(c + 1) % WIDTH]) for c in range(WIDTH)]
    return [future.result() for future in layer]


def make(mode: str) -> Callable[[], float]:
    """Rounds of a flow ("futures" or "layers"), without the heartbeats that hold up its end by a second."""
    called = grid if mode == "futures" else grid_by_layer

    def run(salt: int) -> list[int]:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return called(salt)

    return make_rounds(run, {start.fn.__code__, step.fn.__code__}, cached=False)
