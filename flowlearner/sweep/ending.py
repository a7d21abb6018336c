"""How a trial ended: status, the values that were searched for, outputs and metrics."""

from __future__ import annotations

import math
from dataclasses import replace

from flowlearner.engine.base import utc_now
from flowlearner.engine.node import describe_error
from flowlearner.engine.result import choose_status, collect_metrics, collect_outputs, find_error
from flowlearner.errors import UserError
from flowlearner.records import ErrorInfo, Status, TrialEnd
from flowlearner.sweep.calls import Trial
from flowlearner.sweep.search import Objective


def end_trial(
    trial: Trial, objective: Objective, status: Status | None = None
) -> tuple[TrialEnd, list[float] | None]:
    """Return how a trial whose nodes have all ended is recorded, and its values where it completed.

    Args:
        status: PRUNED or CANCELLED where it was stopped; None: as its nodes say.
    """
    end = TrialEnd(trial.run_id, status or choose_status(trial.done), utc_now())
    if end.status is not Status.COMPLETED:
        # The curve of a trial that was stopped is what it has; a failed one keeps what it reported, too.
        error = find_error(trial.context.graph, trial.done)
        metrics = collect_metrics(trial.context.graph, trial.done, [])
        return replace(end, error=error, metrics=tuple(metrics)), None
    try:
        outputs, artifacts = collect_outputs(
            trial.context.graph, trial.done, trial.binder, trial.context.store
        )
    except UserError as broken:
        error = describe_error(broken, trial.context.secrets)
        metrics = collect_metrics(trial.context.graph, trial.done, [])
        return replace(end, status=Status.FAILED, error=error, metrics=tuple(metrics)), None
    metrics = collect_metrics(trial.context.graph, trial.done, outputs)
    end = replace(end, outputs=tuple(outputs), artifacts=tuple(artifacts), metrics=tuple(metrics))
    found = {m.name: m.value for m in metrics if m.step is None}
    values = [found.get(name, math.nan) for name in objective.metrics]
    strange = [n for n, v in zip(objective.metrics, values, strict=True) if math.isnan(v)]
    if strange:
        message = f"metric '{strange[0]}' is not a number, so the trial cannot be compared"
        return replace(end, status=Status.FAILED, error=ErrorInfo("NotANumber", message)), None
    return end, values
