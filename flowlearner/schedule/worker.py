"""What runs in the runner's process: a Prefect worker that starts the runs of this home's schedules.

`runner` starts it, as `python -m flowlearner.schedule.worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from typing import Any

# Settings are read once, at import. Runs are asked for often, and only when they are due: one that is fetched
# ahead would find the one before it still going.
os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
# Its log is a file, which may say more than a terminal.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO")

import anyio
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from flowlearner.config import Settings, get_settings
from flowlearner.engine.endpoint import ask
from flowlearner.engine.server import ensure_server, get_server
from flowlearner.schedule.deployments import OPEN, PAGE, make_pool
from flowlearner.schedule.runner import (
    RunnerFiles,
    choose_pool,
    end_running,
    held,
    make_state,
)

WORKER_NAME = "flowlearner"
QUERY_S = 2.0
PAUSE_S = 5.0
WATCH_S = 5.0
LOST_AFTER = 2


def end_orphans(client: Any, files: RunnerFiles, pool: str) -> None:
    """Tell Prefect of runs whose processes ended without anybody to see it.

    Else they would count as still going, and none of their schedule would ever run again.
    """
    files.forget_ended()
    alive = {name for name, _ in files.list_running()}
    offset = 0
    while True:
        found = client.read_flow_runs(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(OPEN)))
            ),
            sort=FlowRunSort.START_TIME_ASC,
            limit=PAGE,
            offset=offset,
        )
        for flow_run in found:
            if str(flow_run.id) in alive or not _end_orphan(client, flow_run):
                offset += 1
        if len(found) < PAGE:
            return


def _end_orphan(client: Any, flow_run: Any) -> bool:
    state: Any = Crashed(message="its process ended without finishing it")
    try:
        client.set_flow_run_state(flow_run.id, state, force=True)
    except Exception as error:  # noqa: BLE001 - it cannot end a run whose deployment is deleted
        print(f"Flow run {flow_run.id} stays as it is: {type(error).__name__}: {error}", flush=True)
        return False
    return True


class Runner:
    """Keeps a worker going until it is asked to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = RunnerFiles(settings)
        self._url: str = PREFECT_API_URL.value() or ""
        self._state = make_state(self._url)
        self._ending = threading.Event()
        self._worker: ProcessWorker | None = None

    def run(self) -> None:
        """Serve schedules until SIGTERM or SIGINT."""
        self._files.write_state(self._state)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ending.set())
        threading.Thread(target=self._watch, daemon=True).start()
        while not self._ending.is_set():
            try:
                asyncio.run(self._serve())
            except Exception:  # noqa: BLE001 - a server that is away comes back, or is started again
                traceback.print_exc()
                self._ending.wait(PAUSE_S)
        # What was just being started when the worker was told to end.
        end_running(self._files)

    async def _serve(self) -> None:
        pool = choose_pool(self._settings, get_server(self._settings))
        with get_client(sync_client=True) as client:
            make_pool(client, pool, updates=True)
            end_orphans(client, self._files, pool)
        self._worker = ProcessWorker(pool, name=WORKER_NAME, prefetch_seconds=0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._worker.start)
            while not self._ending.is_set():
                await anyio.sleep(0.1)
            # While the worker lives: it takes what they still have to say.
            await anyio.to_thread.run_sync(end_running, self._files)
            group.cancel_scope.cancel()

    def _watch(self) -> None:
        """Note that the worker asks for work, and start the server again where it has gone."""
        lost = 0
        while not self._ending.wait(1.0 if self._state.asked_at is None else WATCH_S):
            worker = self._worker
            if worker is not None and worker.is_setup and worker.is_worker_still_polling(QUERY_S):
                self._state = replace(self._state, asked_at=time.time())
                self._files.write_state(self._state)
            lost = 0 if ask(f"{self._url}/health", PAUSE_S).status else lost + 1
            if lost >= LOST_AFTER and not self._ending.is_set():
                print("The Prefect server does not answer; looking after it", flush=True)
                with contextlib.suppress(Exception):
                    ensure_server(self._settings, lambda line: print(line, flush=True))


def main() -> int:
    settings = get_settings()
    files = RunnerFiles(settings)
    files.make()
    with held(files.lock_path) as is_mine:
        if not is_mine:
            return 0
        Runner(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
