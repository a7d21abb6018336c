"""The peer of a search: MLflow over SQLite, in an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

from sides.search import TOP, check_top, iter_entries

QUERY, ORDER = "params.depth = '4'", "metrics.auc DESC"
BATCH = 1000


def make(count: str) -> Callable[[], float]:
    """Fill its tables directly, which takes seconds instead of minutes; a round is one search."""
    import mlflow
    from mlflow.entities import ViewType
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun
    from mlflow.tracking import MlflowClient
    from mlflow.tracking._tracking_service.utils import _get_store

    url = f"sqlite:///{os.environ['HOME']}/mlflow.db"
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    experiment = client.create_experiment("default-runs")
    with _get_store(url).ManagedSessionMaker() as session:
        for number, entry in enumerate(iter_entries(int(count))):
            at = 1_700_000_000_000 + number * 1000
            session.add(
                SqlRun(
                    run_uuid=entry.name, name=entry.name, experiment_id=int(experiment), status="FINISHED",
                    user_id="ops", start_time=at, end_time=at + 9000, lifecycle_stage="active",
                    source_type="LOCAL", source_name="", artifact_uri="",
                )
            )  # fmt: skip
            for name, value in entry.params.items():
                session.add(SqlParam(run_uuid=entry.name, key=name, value=str(value)))
            for name, amount in entry.metrics.items():
                point = {"run_uuid": entry.name, "key": name, "value": amount, "timestamp": at, "step": 0}
                session.add(SqlMetric(**point, is_nan=False))
                session.add(SqlLatestMetric(**point, is_nan=False))
            if number % BATCH == BATCH - 1:
                session.flush()

    def measure() -> float:
        start = perf_counter()
        found = client.search_runs([experiment], QUERY, ViewType.ACTIVE_ONLY, TOP, [ORDER])
        seconds = perf_counter() - start
        rows = [
            (r.data.metrics["auc"], int(r.data.params["depth"]), len(r.data.metrics), len(r.data.params))
            for r in found
        ]
        check_top(rows, int(count))
        return seconds

    return measure
