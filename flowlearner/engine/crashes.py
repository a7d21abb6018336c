"""Runs and sweeps whose process is gone: they are recorded as CRASHED, and Prefect is told of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.engine.endpoint import Answer, tell
from flowlearner.errors import FlowLearnerError
from flowlearner.heartbeat import is_gone, wait_until_gone
from flowlearner.lease import is_alive, is_stopped
from flowlearner.records import RunRecord, SweepRecord

ANSWER_S = 2.0
# Of more that Prefect believes to run the others are settled the next time.
MOST = 200


def settle_crashes(catalog: Catalog) -> list[str]:
    """Record what processes have left that are gone, and tell Prefect; return the ids of runs."""
    is_dead = partial(is_gone, catalog)
    # Before their trials: the driver of a sweep that has crashed writes no trial any more.
    sweeps = catalog.store_crashed_sweeps(is_dead)
    runs = catalog.store_crashes(is_dead)
    tell_crashed(catalog.find_flow_runs([*runs, *sweeps]))
    return runs


def take_over(catalog: Catalog, record: RunRecord | SweepRecord, say: Callable[[str], None]) -> bool:
    """Record a run or sweep that has not ended as CRASHED, once its process is gone or stopped for too long.

    Args:
        say: is told where that takes a while.

    Returns:
        False where its process goes on, or has ended it.
    """
    process = record.process
    if process is None:
        return False
    is_run = isinstance(record, RunRecord)
    if is_alive(process) is None or is_stopped(process):
        say(f"Waiting whether {'run' if is_run else 'sweep'} {record.id[:8]} is still heard of ...")
    if not wait_until_gone(catalog, process):
        return False
    store = catalog.store_crash if is_run else catalog.store_sweep_crash
    stored = store(record.id, process)
    if stored:
        tell_crashed(catalog.find_flow_runs([record.id]))
    return stored


def settle_all(settings: Settings, url: str) -> None:
    """Record what processes have left that are gone, and tell a server that has just begun to answer.

    It fails where a run would fail, too, which says so then.

    Args:
        url: of its API.
    """
    with contextlib.suppress(FlowLearnerError), Catalog(settings.catalog_url) as catalog:
        settle_crashes(catalog)
        settle_prefect(catalog, url)


def settle_prefect(catalog: Catalog, url: str) -> None:
    """Tell a Prefect server of runs that crashed while it was away; it believes that they still run.

    Args:
        url: of its API.
    """
    running = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    answer = tell(f"{url}/flow_runs/filter", {"flow_runs": running, "limit": MOST}, ANSWER_S)
    found = _read(answer)
    ids = [str(each["id"]) for each in found if "id" in each]
    tell_crashed((flow_run, url) for flow_run in catalog.list_crashed_flow_runs(ids))


def tell_crashed(flow_runs: Iterable[tuple[str, str]]) -> None:
    """Set the state of Prefect flow runs, as far as their servers answer.

    Args:
        flow_runs: each with the URL of its API.
    """
    state = {"type": "CRASHED", "name": "Crashed", "message": "its process ended without finishing it"}
    silent: set[str] = set()
    for flow_run, url in flow_runs:
        if url not in silent:
            body = {"state": state, "force": True}
            if not tell(f"{url}/flow_runs/{flow_run}/set_state", body, ANSWER_S).status:
                silent.add(url)


def _read(answer: Answer) -> list[dict[str, Any]]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
