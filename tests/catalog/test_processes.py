"""Several processes on one catalog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowlearner.catalog import Catalog
from flowlearner.records import Status
from tests.catalog.make import begin, make_node

ROOT = Path(__file__).parents[2]
WRITERS, RUNS, NODES = 8, 12, 10


@pytest.fixture
def postgresql_url(empty_postgresql_url: str) -> str:
    """Here a catalog does not exist before it is opened."""
    return empty_postgresql_url


def start_writer(url: str, number: int, runs: int = RUNS, nodes: int = NODES) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.catalog.make", url, str(number), str(runs), str(nodes)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_eight_writers_and_a_polling_reader_see_no_lock_and_lose_no_row(url: str) -> None:
    # The catalog does not exist yet: the writers make it at the same moment.
    writers = [start_writer(url, i) for i in range(WRITERS)]
    polls = 0
    with Catalog(url) as reader:
        while any(w.poll() is None for w in writers):
            for run in reader.list_runs(query="status = COMPLETED OR status = RUNNING"):
                found = reader.get_run(run.id)
                # A finished run is whole whenever it is looked at.
                assert found.status is not Status.COMPLETED or len(found.nodes) == NODES
            polls += 1
        assert [(w.communicate()[1], w.returncode) for w in writers] == [("", 0)] * WRITERS
        assert reader.count_runs(status=Status.COMPLETED) == WRITERS * RUNS
        keys = [f"{i:064x}" for i in range(WRITERS * RUNS * NODES)]
        assert len(reader.find_cache_entries(keys)) == len(keys)
        assert len(reader.find_artifacts(keys)) == len(keys)
        assert all(len(reader.get_run(i).nodes) == NODES for i in reader.list_run_ids())
        assert reader.check() == []
    assert polls > 0


@pytest.mark.slow
def test_processes_that_create_a_catalog_at_the_same_moment_all_succeed(url: str) -> None:
    writers = [start_writer(url, i, 1, 1) for i in range(4)]
    assert [w.communicate()[1] for w in writers] == [""] * 4
    with Catalog(url) as catalog:
        assert catalog.count_runs() == 4


@pytest.mark.slow
def test_what_was_committed_survives_a_kill(url: str) -> None:
    writer = start_writer(url, 0, runs=10_000)
    with Catalog(url) as catalog:
        while catalog.count_runs(status=Status.COMPLETED) < 5:
            assert writer.poll() is None, writer.communicate()[1]
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        done = catalog.count_runs(status=Status.COMPLETED)
        assert done >= 5
        for run_id in catalog.list_run_ids(status=Status.COMPLETED):
            assert len(catalog.get_run(run_id).nodes) == NODES
        assert catalog.check() == []
        begin(catalog, "next")


def test_a_forked_child_uses_connections_of_its_own(url: str) -> None:
    with Catalog(url) as catalog:
        begin(catalog, "a")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                catalog.record_nodes("a", [make_node("in-child")])
                catalog.close()
                status = 0
            finally:
                os._exit(status)
        catalog.record_nodes("a", [make_node("in-parent")])
        assert os.waitpid(child, 0)[1] == 0
        assert {n.name for n in catalog.get_run("a").nodes} == {"in-child", "in-parent"}
