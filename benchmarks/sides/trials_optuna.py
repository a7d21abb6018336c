"""Optuna's side of trivial trials: its ask and tell, every trial in SQLite or in memory alone."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from sides.memory import read_memory
from sides.trials import Trial, make_rounds

FIRST = 1000


def make_sampler(search: str, seed: int) -> Any:
    """Return the sampler, set as ours is."""
    if search == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=10)
    return optuna.samplers.RandomSampler(seed=seed)


def run_trials(study: Any, count: int, parallel: int) -> None:
    """Ask and tell, with as many trials begun at once as ours has."""
    flying: deque[tuple[Any, float]] = deque()
    for _ in range(count):
        trial = study.ask()
        flying.append((trial, trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)))
        if len(flying) >= parallel:
            study.tell(*flying.popleft())
    while flying:
        study.tell(*flying.popleft())


def make(what: str, search: str, count: str, storage: str) -> Callable[[], float]:
    """Rounds of a study ("time") on "sqlite" or in "memory", or what it grows by, KB a trial ("memory")."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = int(count)
    # The processors of a sweep that learns: two; what does not learn may as well go one by one.
    parallel = 2 if search == "tpe" else 1
    studies: list[Any] = []

    def make_study(seed: int) -> Any:
        path = Path(os.environ["FLOWLEARNER_HOME"], f"optuna-{os.getpid()}.db")
        place = None if storage == "memory" else optuna.storages.RDBStorage(f"sqlite:///{path}")
        return optuna.create_study(storage=place, sampler=make_sampler(search, seed), study_name=f"s{seed}")

    def run(seed: int) -> None:
        studies[:] = [make_study(seed)]
        run_trials(studies[0], trials, parallel)

    def read() -> list[Trial]:
        return [(t.params["x"], t.params["y"], t.value) for t in studies[0].trials]

    def measure_memory() -> float:
        study = make_study(0)
        run_trials(study, FIRST, parallel)
        before = read_memory("VmHWM")
        run_trials(study, trials - FIRST, parallel)
        return (read_memory("VmHWM") - before) / (trials - FIRST) / 1024

    return measure_memory if what == "memory" else make_rounds(run, read, trials)
