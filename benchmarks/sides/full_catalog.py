"""Fills a catalog for the pages: many runs, one with a graph of 100 nodes, a sweep of 2,000 trials.

python side.py full_catalog COUNT      a round gives the seconds that filling took; it is made once
"""

from __future__ import annotations

from collections.abc import Callable

from pairs import time_once
from sides.grid_flowlearner import grid
from sides.search_flowlearner import fill
from sides.trials_flowlearner import make_space, trial

from flowlearner import Client
from flowlearner.config import get_settings

TRIALS = 2000


def make(count: str) -> Callable[[], float]:
    """A round fills the catalog."""

    def run() -> None:
        client = Client(get_settings())
        fill(client.catalog, int(count))
        grid.with_options(executor="local").run(salt=1)
        trial.sweep(make_space("random", TRIALS, 0), trials=TRIALS, search="random")

    return lambda: time_once(run)
