"""Chooses the points of a sweep: grid, random and quasi-random by number alone, the others by Optuna."""

from __future__ import annotations

import importlib.util
import itertools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flowlearner.errors import ParameterError, UsageError, shorten, suggest
from flowlearner.records import Status
from flowlearner.sweep.space import Point, Space
from flowlearner.types import Choice, LogRange

SEARCHES = ("random", "grid", "qmc", "tpe", "cmaes", "gp", "nsga2")
STOPS = ("asha", "median")
ADAPTIVE = ("tpe", "cmaes", "gp", "nsga2")
# A finite space up to this size is drawn from without repetition.
MAX_SHUFFLED = 1_000_000
SOBOL_BITS = 30


@dataclass(frozen=True)
class Objective:
    """What is searched for: metrics, each with the direction in which it gets better."""

    metrics: tuple[str, ...]
    modes: tuple[str, ...]

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        return ["maximize" if mode == "max" else "minimize" for mode in self.modes]

    def is_better(self, a: float, b: float) -> bool:
        """Compare two values of a single metric."""
        return a > b if self.modes[0] == "max" else a < b


class Points(ABC):
    """Points that depend on (seed, number) alone, so that any of them can be had at any time."""

    @abstractmethod
    def get(self, number: int) -> Point | None:
        """Return a trial's point; None where there are no more."""


class GridPoints(Points):
    """Every point of a finite space, the last dimension varying fastest."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._counts = [d.count or 0 for d in space.dimensions]
        self._regular = not any(d.when for d in space.dimensions)
        self._total = math.prod(self._counts) if self._regular else 0
        self._listed: list[Point] | None = None

    def get(self, number: int) -> Point | None:
        if not self._regular:
            if self._listed is None:
                self._listed = list(self._space.iter_points())
            return dict(self._listed[number]) if number < len(self._listed) else None
        if number >= self._total:
            return None
        point: Point = {}
        for dimension, count in zip(reversed(self._space.dimensions), reversed(self._counts), strict=True):
            number, index = divmod(number, count)
            point[dimension.name] = dimension.value_at(index)
        return {d.name: point[d.name] for d in self._space.dimensions}


class RandomPoints(Points):
    """Independent draws; from a finite space without repetition, so that every trial tries something new."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        total = space.count_points()
        self._grid: GridPoints | None = None
        if total is not None and total <= MAX_SHUFFLED:
            self._grid = GridPoints(space)
            self._order = np.random.default_rng([seed]).permutation(total)

    def get(self, number: int) -> Point | None:
        if self._grid is not None:
            return self._grid.get(int(self._order[number])) if number < len(self._order) else None
        shares = np.random.default_rng([self._seed, number]).random(len(self._space.dimensions))
        return self._space.point_of(shares.tolist())


class QuasiRandomPoints(Points):
    """A scrambled Sobol sequence (Owen, 1998): as random, and spread more evenly."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._next = 0
        self._sequence = self._make()

    def _make(self) -> Any:
        from scipy.stats.qmc import Sobol

        return Sobol(len(self._space.dimensions), scramble=True, bits=SOBOL_BITS, rng=self._seed)

    def get(self, number: int) -> Point | None:
        if number < self._next:
            self._sequence, self._next = self._make(), 0
        if number > self._next:
            self._sequence.fast_forward(number - self._next)
        with warnings.catch_warnings():
            # It tells that the balance of the sequence wants a power of 2; trials come one by one.
            warnings.simplefilter("ignore", UserWarning)
            shares = self._sequence.random(1)[0]
        self._next = number + 1
        return self._space.point_of(shares.tolist())


class Searcher:
    """Suggests points and, where trials may stop early, says when; used from one thread.

    Args:
        points: what is suggested, or None where `sampler` learns from what trials gave.
        sampler: an Optuna sampler.
        pruner: an Optuna pruner, or None where trials run to their end.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        points: Points | None = None,
        sampler: Any = None,
        pruner: Any = None,
    ) -> None:
        self._space = space
        self._points = points
        self._prunes = pruner is not None
        self._trials: dict[int, Any] = {}
        self._study: Any = None
        if sampler is not None or pruner is not None:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._study = optuna.create_study(
                sampler=sampler or optuna.samplers.RandomSampler(seed=0),
                pruner=pruner or optuna.pruners.NopPruner(),
                directions=objective.directions,
            )

    @property
    def stops_early(self) -> bool:
        """Whether trials may be stopped for what they report."""
        return self._prunes

    @property
    def is_adaptive(self) -> bool:
        """Whether points depend on how earlier trials went."""
        return self._points is None

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial; None where there are no more."""
        point = self._points.get(number) if self._points is not None else None
        if self._points is not None and point is None:
            return None
        if self._study is not None:
            trial = self._study.ask()
            self._trials[number] = trial
            if point is None:
                point = suggest_point(trial, self._space)
        return point

    def report(self, number: int, step: int, value: float) -> bool:
        """Take a value of a running trial; return whether it should stop."""
        trial = self._trials.get(number)
        if trial is None or not math.isfinite(value):
            return False
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, number: int, status: Status, values: Sequence[float] | None) -> None:
        """Take how a trial ended."""
        trial = self._trials.pop(number, None)
        if trial is None:
            return
        from optuna.trial import TrialState

        if status is Status.COMPLETED and values is not None:
            self._study.tell(trial, list(values))
        else:
            self._study.tell(trial, state=TrialState.PRUNED if status is Status.PRUNED else TrialState.FAIL)

    def restore(
        self,
        number: int,
        point: Point,
        status: Status,
        values: Sequence[float] | None,
        curve: Sequence[tuple[int, float]] = (),
    ) -> None:
        """Take a trial of an earlier process as if it had been asked for, had reported and had ended here."""
        if self._study is None:
            return
        if self._points is None:
            self._study.enqueue_trial(encode_point(point, self._space))
        trial = self._study.ask()
        if self._points is None:
            suggest_point(trial, self._space)
        self._trials[number] = trial
        for step, value in curve:
            self.report(number, step, value)
        if status.is_final:
            self.tell(number, status, values)


def suggest_point(trial: Any, space: Space) -> Point:
    """Let an Optuna trial choose a value for each active dimension, in order."""
    point: Point = {}
    for dimension in space.dimensions:
        if not dimension.is_active(point):
            continue
        name, domain = dimension.name, dimension.domain
        if isinstance(domain, Choice):
            # By index: Optuna's categories must be plain values, ours may be operators.
            point[name] = domain.values[trial.suggest_categorical(name, list(range(len(domain.values))))]
        elif isinstance(domain, LogRange):
            ask = trial.suggest_int if dimension.is_int else trial.suggest_float
            point[name] = ask(name, _end(dimension, domain.low), _end(dimension, domain.high), log=True)
        elif dimension.is_int:
            point[name] = trial.suggest_int(
                name, int(domain.low), int(domain.high), step=int(domain.step or 1)
            )
        else:
            point[name] = trial.suggest_float(name, float(domain.low), float(domain.high), step=domain.step)
    return point


def _end(dimension: Any, value: float) -> float:
    return int(value) if dimension.is_int else float(value)


def encode_point(point: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return a point as Optuna knows it: a value of a list by its index."""
    encoded = {}
    for dimension in space.dimensions:
        if dimension.name in point:
            value = point[dimension.name]
            if isinstance(dimension.domain, Choice):
                value = next(i for i, v in enumerate(dimension.domain.values) if v is value or v == value)
            encoded[dimension.name] = value
    return encoded


def make_searcher(
    space: Space, objective: Objective, *, search: str, stop: str | None, seed: int, trials: int | None
) -> Searcher:
    """Make what chooses the points of a sweep.

    Raises:
        UsageError: a word is unknown, or two of them do not go together.
    """
    if search not in SEARCHES:
        raise UsageError(f"no search '{search}'; there are {shorten(SEARCHES)}.{suggest(search, SEARCHES)}")
    if stop is not None and stop not in STOPS:
        raise UsageError(f"no early stopping '{stop}'; there are {shorten(STOPS)}.{suggest(stop, STOPS)}")
    if len(objective.metrics) > 1:
        if stop is not None:
            raise UsageError("early stopping compares one metric; leave 'stop' out or search for one metric")
        if search in ("cmaes", "gp"):
            raise UsageError(f"search '{search}' takes one metric; take nsga2 or tpe for several")
    if search == "grid":
        _check_grid(space)
    points: Points | None = None
    if search == "grid":
        points = GridPoints(space)
    elif search == "random":
        points = RandomPoints(space, seed)
    elif search == "qmc":
        points = QuasiRandomPoints(space, seed)
    return Searcher(
        space,
        objective,
        points,
        None if points is not None else make_sampler(search, seed, trials),
        None if stop is None else make_pruner(stop),
    )


def _check_grid(space: Space) -> None:
    endless = [d for d in space.dimensions if d.count is None]
    if endless:
        examples = ", ".join(f"'{d.name}' ({d.domain})" for d in itertools.islice(endless, 3))
        raise ParameterError(
            f"space: a grid takes lists of values and ranges with a step, but {examples} is continuous. "
            "Give it a step (0.1..0.9:0.2) or a list ({0.01,0.1}), or take another search"
        )


def make_sampler(search: str, seed: int, trials: int | None) -> Any:
    """Return Optuna's sampler of a name."""
    import optuna

    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search == "tpe":
            # Trials in flight count as poor where they are, so that those started together spread.
            return samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=_count_startup(trials))
        if search == "cmaes":
            return samplers.CmaEsSampler(seed=seed)
        if search == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=_count_population(trials))
    if importlib.util.find_spec("torch") is None:
        raise UsageError("search 'gp' needs torch, which is not installed: pip install 'flowlearner[gp]'")
    return samplers.GPSampler(seed=seed)


def _count_startup(trials: int | None) -> int:
    return 10 if trials is None else max(5, min(10, trials // 4))


def _count_population(trials: int | None) -> int:
    return 50 if trials is None else max(4, min(50, trials // 4))


def make_pruner(stop: str) -> Any:
    """Return Optuna's pruner of a name.

    "asha" is asynchronous successive halving (Li et al., 2020): of each three trials that reach a rung, one
    goes on to the next, three times as far.
    """
    import optuna

    if stop == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
