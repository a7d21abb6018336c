"""The peers of trials with work in common: joblib and Optuna as they are, and joblib.Memory by hand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from joblib import Memory, Parallel, delayed
from sides.ray_cluster import CPUS
from sides.sharing import (
    Floats,
    Values,
    list_points,
    load_numbers,
    make_features,
    make_rounds,
    run_trial,
    train_at,
)

Run = Callable[[int], Values]


def make_joblib(strengths: int) -> Run:
    """Whole trials in two processes, started before."""
    workers, points = Parallel(n_jobs=CPUS), list_points(strengths)

    def run(salt: int) -> Values:
        found = workers(delayed(run_trial)(salt, *point) for point in points)
        return dict(zip(points, found, strict=True))

    return run


def make_optuna(strengths: int) -> Run:
    """Whole trials in two threads, the study in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    points = list_points(strengths)

    def run(salt: int) -> Values:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for kind, strength in points:
            study.enqueue_trial({"kind": kind, "strength": strength})
        study.optimize(
            lambda trial: run_trial(
                salt, trial.suggest_int("kind", 0, 1), trial.suggest_int("strength", 0, strengths - 1)
            ),
            n_trials=len(points),
            n_jobs=CPUS,
        )
        return {(t.params["kind"], t.params["strength"]): t.value for t in study.trials}

    return run


def prepare(memory: Memory, salt: int, kind: int) -> Floats:
    """The shared part of a trial, each step cached on disk."""
    features: Floats = memory.cache(make_features)(memory.cache(load_numbers)(salt), kind)
    return features


def run_remembered(memory: Memory, salt: int, kind: int, strength: int) -> float:
    """A whole trial that looks on disk first for what others have done."""
    return train_at(prepare(memory, salt, kind), strength)


def make_memory(strengths: int) -> Run:
    """Whole trials in two processes, with joblib.Memory around what they share; each round has a new folder.

    Where two trials need the same thing at once both compute it.
    """
    workers, points = Parallel(n_jobs=CPUS), list_points(strengths)

    def run(salt: int) -> Values:
        folder = tempfile.mkdtemp(dir=os.environ["FLOWLEARNER_HOME"])
        memory = Memory(folder, verbose=0)
        found = workers(delayed(run_remembered)(memory, salt, *point) for point in points)
        shutil.rmtree(folder)
        return dict(zip(points, found, strict=True))

    return run


MAKERS: dict[str, Any] = {"joblib": make_joblib, "optuna": make_optuna, "memory": make_memory}


def make(peer: str, strengths: str) -> Callable[[], float]:
    """Rounds of a peer."""
    return make_rounds(MAKERS[peer](int(strengths)), int(strengths))
