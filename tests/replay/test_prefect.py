"""Runs on Prefect, trials of sweeps and runs of the stock are run again too."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowlearner import Client, UsageError, Workflow
from flowlearner.records import Status

pytestmark = [
    pytest.mark.slow,
    # Prefect's client leaves an event loop to the garbage collector when a test's thread ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_run_on_prefect_is_run_again_on_prefect(
    flow: Workflow[..., object], project: Path, client: Client, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    first = flow.with_options(executor="prefect").submit(n=4, is_broken=True)
    (project / "flow.py").unlink()
    again = client.resume(first.id, {"is_broken": False})
    assert (again.status, again.outputs.total) == (Status.COMPLETED, 8)
    assert (again.record.executor, [n.cached for n in again.nodes]) == ("prefect", [True, True, False])
    assert again.record.prefect_flow_run_id not in (None, first.record.prefect_flow_run_id)
    assert client.reproduce(again.id).verdict == "REPRODUCED"
    assert client.rerun(first.id, executor="local").record.executor == "local"


def test_a_trial_is_run_again_as_a_plain_run(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    sweep = flow.sweep({"n": [3, 4]}, search="grid", executor="local")
    trial = sweep.trial_records[1]
    (project / "flow.py").unlink()
    again = client.rerun(trial.run_id, executor="local", cache=False)
    assert (again.outputs.total, again.record.sweep_id, again.record.parent_id) == (8, None, trial.run_id)
    assert client.reproduce(trial.run_id).verdict == "REPRODUCED"
    with pytest.raises(UsageError, match="flowlearner sweeps resume"):
        client.resume(trial.run_id)
