"""The peers of boosted trees: bare Ray tasks, Optuna's threads, joblib, a grid search, a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sides.boosting import DEPTHS, ETAS, LABEL, POINTS, TRAIN_ROWS, make_model, make_rounds, train
from sides.ray_cluster import CPUS, start_cluster

Run = Callable[[pd.DataFrame], list[float]]


def make_ray() -> Run:
    """All tasks at once, on a cluster that is there before."""
    import ray

    start_cluster()
    remote = ray.remote(train)

    def run(rows: pd.DataFrame) -> list[float]:
        table = ray.put(rows)
        found: list[float] = ray.get([remote.remote(table, *point) for point in POINTS])
        return found

    return run


def make_optuna() -> Run:
    """A study in memory, with two threads."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def run(rows: pd.DataFrame) -> list[float]:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for eta, depth in POINTS:
            study.enqueue_trial({"eta": eta, "max_depth": depth})
        study.optimize(
            lambda trial: train(
                rows, trial.suggest_float("eta", 0.001, 1.0), trial.suggest_int("max_depth", 1, 20)
            ),
            n_trials=len(POINTS),
            n_jobs=CPUS,
        )
        found = {(t.params["eta"], t.params["max_depth"]): t.value for t in study.trials}
        return [found[point] for point in POINTS]

    return run


def make_joblib() -> Run:
    """Two processes, started before."""
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=CPUS)

    def run(rows: pd.DataFrame) -> list[float]:
        return list(workers(delayed(train)(rows, *point) for point in POINTS))

    return run


def make_grid_search() -> Run:
    """scikit-learn's search over the same grid, on the same split, without a last fit."""
    from sklearn.model_selection import GridSearchCV

    split = (np.arange(TRAIN_ROWS), np.arange(TRAIN_ROWS, 5 * TRAIN_ROWS // 4))

    def run(rows: pd.DataFrame) -> list[float]:
        grid = {"learning_rate": list(ETAS), "max_depth": list(DEPTHS)}
        search = GridSearchCV(
            make_model(), grid, scoring="neg_log_loss", n_jobs=CPUS, refit=False, cv=[split]
        )
        results: dict[str, Any] = search.fit(rows.drop(columns=LABEL), rows[LABEL]).cv_results_
        found = {
            (p["learning_rate"], p["max_depth"]): -loss
            for p, loss in zip(results["params"], results["mean_test_score"], strict=True)
        }
        return [float(found[point]) for point in POINTS]

    return run


def make_sequential() -> Run:
    """One trial after the other."""
    return lambda rows: [train(rows, *point) for point in POINTS]


MAKERS = {
    "ray": make_ray,
    "optuna": make_optuna,
    "joblib": make_joblib,
    "grid_search": make_grid_search,
    "ideal": make_sequential,
}


def make(peer: str) -> Callable[[], float]:
    """Rounds of a peer; "ideal" is the time of one after the other, divided by the processors."""
    measure = make_rounds(MAKERS[peer]())
    if peer == "ideal":
        return lambda: measure() / CPUS
    return measure
