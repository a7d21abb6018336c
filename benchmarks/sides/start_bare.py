"""The peer of a sweep's beginning: Ray attached to or started, and a first task."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from sides.ray_cluster import LOCAL_OPTIONS, OPTIONS, hush


def tell_time() -> float:
    """When it began, by the clock of this machine."""
    return time.time()


def make() -> Callable[[], float]:
    """One round, on the cluster of FLOWLEARNER_RAY_ADDRESS or a new one; importing Ray counts, as in ours."""
    address = os.environ.get("FLOWLEARNER_RAY_ADDRESS", "")

    def measure() -> float:
        began = time.time()
        import ray

        hush()
        ray.init(address=address or "local", **(OPTIONS if address else LOCAL_OPTIONS))
        return float(ray.get(ray.remote(tell_time).remote())) - began

    return measure
