"""A sweep on a cluster of two nodes, one of which is lost in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from flowlearner import Client, Sweep
from flowlearner.engine.guard import list_descendants
from flowlearner.records import Status

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore::ResourceWarning")]

# A lost node is noticed after a second or two instead of fifteen.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}
FLOW = """
    import time
    from typing import Annotated
    from flowlearner import Metric, Range, operator, workflow
    from nodes_helper import lift

    @operator
    def base(n: int) -> int:
        return n

    @operator
    def score(n: int, x: int) -> Metric:
        import ray
        print(ray.get_runtime_context().get_node_id())
        time.sleep(0.4)
        return lift(n * x)

    @workflow
    def search(x: Annotated[int, Range(1, 30)] = 1, n: int = 3) -> Metric:
        return score(base(n), x)
"""


@pytest.fixture(autouse=True)
def prefect_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Any]]:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": HEALTH},
    )
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    monkeypatch.setenv("FLOWLEARNER_RAY_ADDRESS", cluster.address)
    try:
        yield cluster, second
    finally:
        cluster.shutdown()


def list_nodes(client: Client, sweep: Sweep) -> set[str]:
    """Return the nodes on which trials have ended so far."""
    return {line.message for t in sweep.trial_records for line in client.list_logs(t.run_id)}


def test_a_node_that_is_lost_costs_no_trial(nodes: tuple[Cluster, Any], tmp_path: Path) -> None:
    _, second = nodes
    (tmp_path / "nodes_helper.py").write_text("def lift(x):\n    return x + 0.5\n")
    (tmp_path / "nodes_flow.py").write_text(textwrap.dedent(FLOW))
    code = "import nodes_helper, nodes_flow; nodes_flow.search.sweep(search='grid', parallel=4)"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    with Client() as client:
        while True:
            assert time.monotonic() < deadline, "trials ran on one node only"
            assert driver.poll() is None, driver.communicate()[1].decode()
            if (Path(os.environ["FLOWLEARNER_HOME"]) / "catalog.db").exists():
                found = client.list_sweeps()
                if found and len(list_nodes(client, found[0])) == 2:
                    break
            time.sleep(0.1)
        lost = second.all_processes["raylet"][0].process.pid
        # Workers outlive their raylet for a while, and could end what they do.
        for pid in [*list_descendants(lost), lost]:
            os.kill(pid, signal.SIGKILL)
        _, errors = driver.communicate(timeout=120)
        assert driver.returncode == 0, errors.decode()
        sweep = client.list_sweeps()[0]
        assert sweep.status is Status.COMPLETED
        assert sweep.counts == {"COMPLETED": 30}
        assert [t.values[0] for t in sweep.trial_records] == [3 * x + 0.5 for x in range(1, 31)]
