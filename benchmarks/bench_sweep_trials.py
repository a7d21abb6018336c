"""Measures what a sweep costs a trial that does nothing: time and memory, against loops with less record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from pairs import FEW_PAIRS, MIN_PAIRS, Pairs, choose_few, collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side, measure_once

LIMIT_MS, AIM_MS = 2.0, 1.2
TPE_LIMIT_MS = 1.5
MEMORY_LIMIT_KB = 3.0
MANY = 20_000
TPE_TRIALS = 500
OPTUNA = ("trials_optuna", "time", "random", "1000", "sqlite")
OPTUNA_NAME = "Optuna on SQLite"


def measure_time(search: str, trials: int, executor: str, env: dict[str, str], count: int) -> dict[str, Any]:
    """Whole sweeps against the driver by hand; of 20,000 trials few pairs, for their time hardly varies."""
    few = trials >= MANY
    pairs_count = choose_few(count) if few else count
    ours_words = ("time", search, str(trials), executor)
    with (
        Side("trials_flowlearner", *ours_words, env=env) as ours,
        Side("trials_bare", search, str(trials), executor, env=env) as peer,
    ):
        pairs = collect_pairs(ours, peer, pairs_count, warmup=0 if few else 1)
    return name_time(pairs, search, trials, executor, "a driver by hand", few)


def name_time(pairs: Pairs, search: str, trials: int, executor: str, peer: str, few: bool) -> dict[str, Any]:
    """Shape the result: milliseconds a trial decide."""
    ours_ms, peer_ms = (s / trials * 1e3 for s in (pairs.ours_median, pairs.peer_median))
    target = f"<= {LIMIT_MS:g} ms a trial, aim {AIM_MS} (found {ours_ms:.3g}; theirs {peer_ms:.3g})"
    name = f"{trials:,} trials, {search}, {executor}, against {peer}"
    enough = FEW_PAIRS if few else MIN_PAIRS
    return make_result(name, pairs, target, ours_ms <= LIMIT_MS, enough=enough)


def measure_optuna(env: dict[str, str], count: int) -> dict[str, Any]:
    """Against a loop that asks Optuna and keeps every trial in its SQLite storage."""
    with (
        Side("trials_flowlearner", "time", "random", "1000", "local", env=env) as ours,
        Side(*OPTUNA, env=env) as peer,
    ):
        pairs = collect_pairs(ours, peer, count)
    return name_time(pairs, "random", 1000, "local", OPTUNA_NAME, few=False)


def measure_tpe(env: dict[str, str], count: int) -> dict[str, Any]:
    """A search that learns, against the same search alone: what we add to a trial."""
    words = (str(TPE_TRIALS), "local")
    with (
        Side("trials_flowlearner", "time", "tpe", *words, env=env) as ours,
        Side("trials_optuna", "time", "tpe", str(TPE_TRIALS), "memory", env=env) as peer,
    ):
        pairs = collect_pairs(ours, peer, count)
    extra_ms = pairs.extra_median / TPE_TRIALS * 1e3
    target = f"<= {TPE_LIMIT_MS} ms a trial more (found {extra_ms:.2f})"
    name = f"{TPE_TRIALS} trials, tpe, local, against the same study in memory"
    return make_result(name, pairs, target, extra_ms <= TPE_LIMIT_MS)


def measure_memory(env: dict[str, str], count: int) -> dict[str, Any]:
    """What the driver's peak grows by, from the thousandth trial to the last."""
    pairs = collect_pairs(
        partial(measure_once, "trials_flowlearner", "memory", "random", str(MANY), "local", env=env),
        partial(measure_once, "trials_optuna", "memory", "random", str(MANY), "memory", env=env),
        choose_few(count),
        warmup=0,
    )
    target = f"<= {MEMORY_LIMIT_KB:g} KB a trial"
    name = f"memory of {MANY:,} trials, random, local, against a study in memory"
    ok = pairs.ours_median <= MEMORY_LIMIT_KB
    return make_result(name, pairs, target, ok, unit="KB", enough=FEW_PAIRS)


def measure(count: int) -> list[dict[str, Any]]:
    """Each figure in a home of its own, whose catalog grows from round to round."""
    figures: list[Callable[[dict[str, str], int], dict[str, Any]]] = [
        measure_optuna,
        partial(measure_time, "random", 1000, "local"),
        partial(measure_time, "grid", 1000, "local"),
        partial(measure_time, "random", 1000, "ray"),
        measure_tpe,
        partial(measure_time, "random", MANY, "local"),
        partial(measure_time, "grid", MANY, "local"),
        measure_memory,
    ]
    results = []
    for figure in figures:
        with own_home() as env:
            results.append(figure(env, count))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
