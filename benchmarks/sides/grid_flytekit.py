"""flytekit's side: the grid as a workflow that runs in this process, with or without its local cache."""

from __future__ import annotations

from collections.abc import Callable

from flytekit import task, workflow
from sides.grid import LAYERS, WIDTH, make_rounds


@task
def start(salt: int, column: int) -> int:
    """A node of the first layer."""
    return salt * 10_000 + column


@task
def step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """A node of any other layer."""
    return left + 100


@workflow
def grid(salt: int) -> list[int]:
    """Ten layers of ten nodes."""
    layer = [start(salt=salt, column=column) for column in range(WIDTH)]
    for _ in range(LAYERS - 1):
        layer = [step(left=layer[c], right=layer[(c + 1) % WIDTH]) for c in range(WIDTH)]
    return layer


@task(cache=True, cache_version="1")
def cached_start(salt: int, column: int) -> int:
    """The same, cached."""
    return salt * 10_000 + column


@task(cache=True, cache_version="1")
def cached_step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """The same, cached."""
    return left + 100


@workflow
def cached_grid(salt: int) -> list[int]:
    """The same, of cached tasks."""
    layer = [cached_start(salt=salt, column=column) for column in range(WIDTH)]
    for _ in range(LAYERS - 1):
        layer = [cached_step(left=layer[c], right=layer[(c + 1) % WIDTH]) for c in range(WIDTH)]
    return layer


def make(mode: str) -> Callable[[], float]:
    """Rounds of calling the workflow ("run"), or with every task in its cache ("cached")."""
    cached = mode == "cached"
    called = cached_grid if cached else grid
    tasks = (cached_start, cached_step) if cached else (start, step)
    codes = {each.task_function.__code__ for each in tasks}
    return make_rounds(lambda salt: list(called(salt=salt)), codes, cached)
