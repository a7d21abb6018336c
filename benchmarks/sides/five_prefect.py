"""The bare script of the whole process: five tasks, one after the other, heartbeats off."""

from __future__ import annotations

import sys

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner


@task(cache_policy=NO_CACHE, persist_result=False)
def add_one(number: int) -> int:
    """A task."""
    return number + 1


@flow(task_runner=ThreadPoolTaskRunner(), persist_result=False)
def five(number: int) -> int:
    """Five tasks in a row."""
    future = add_one.submit(number)
    for _ in range(4):
        future = add_one.submit(future)
    return future.result()


if __name__ == "__main__":
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        print(five(int(sys.argv[1])))
