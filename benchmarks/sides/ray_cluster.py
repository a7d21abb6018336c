"""Owns the Ray cluster that a side starts for itself: the same for ours and for the peers."""

from __future__ import annotations

import logging
from typing import Any

CPUS = 2
OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
LOCAL_OPTIONS: dict[str, Any] = {**OPTIONS, "include_dashboard": False}


def start_cluster() -> None:
    """Start a cluster of two processors, which ends with this process; a sweep in it finds it there."""
    import ray

    hush()
    ray.init(address="local", num_cpus=CPUS, **LOCAL_OPTIONS)


def hush() -> None:
    """Keep Ray from saying at each start that only who has its token may connect."""
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
