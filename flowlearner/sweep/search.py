"""Chooses the points of a sweep: grid, random and quasi-random by number alone, the others by Optuna.

The same seed gives the same grid and random points always, the same quasi-random ones with one version of
scipy, and the same points of the others where trials run one at a time, for these learn from what has ended.
"""

from __future__ import annotations

import hashlib
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
from flowlearner.sweep.space import SHARES, Point, Space
from flowlearner.types import Choice, LogRange

SEARCHES = ("random", "grid", "qmc", "tpe", "cmaes", "gp", "nsga2")
STOPS = ("asha", "median")
ADAPTIVE = ("tpe", "cmaes", "gp", "nsga2")
# Earlier, trials that learn slowly but well look as bad as others.
FIRST_RUNG = 8
# A finite space up to this size is drawn from without repetition.
MAX_SHUFFLED = 1_000_000
SOBOL_BITS = 30
# Optuna counts places in floats; of more places than this it takes a share.
MAX_PLACES = 1 << 40


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
        self._total = space.count_points() or 0

    def get(self, number: int) -> Point | None:
        return self._space.get_point(number) if number < self._total else None


class RandomPoints(Points):
    """Independent draws; from a finite space without repetition, so that every trial tries something new.

    A space of more than a million points is drawn from as an endless one is. The draws are bits of SHAKE-256:
    no version of any package draws others.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        total = space.count_points()
        self._order: Any = None
        if total is not None and total <= MAX_SHUFFLED:
            self._order = np.argsort(_draw(f"{seed}", total), kind="stable")

    def get(self, number: int) -> Point | None:
        if self._order is not None:
            if number >= len(self._order):
                return None
            return self._space.get_point(int(self._order[number]))
        draws = _draw(f"{self._seed}/{number}", len(self._space.dimensions)).tolist()
        return self._space.point_of([(draw >> 11) / SHARES for draw in draws])


def _draw(key: str, count: int) -> Any:
    """Return an array of 64-bit numbers that depend on a key alone."""
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(8 * count), dtype="<u8")


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
        # Optuna's trials in flight by our numbers, each with the steps that it has reported.
        self._trials: dict[int, tuple[Any, set[int]]] = {}
        self._study: Any = None
        # Of a small space, to notice when each point was tried.
        total = space.count_points() if points is None else None
        self._total = total if total is not None and total <= MAX_SHUFFLED else None
        self._tried: set[tuple[tuple[str, Any], ...]] = set()
        if sampler is not None or pruner is not None:
            optuna = load_optuna()
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
        if point is None and self._is_exhausted():
            return None
        if self._study is not None:
            trial = self._begin(number)
            if point is None:
                point = suggest_point(trial, self._space)
                self._remember(point)
        return point

    def _remember(self, point: Point) -> None:
        """Note a point of a search that may give it again."""
        if self._total is not None:
            self._tried.add(tuple(encode_point(point, self._space).items()))

    def _is_exhausted(self) -> bool:
        return self._total is not None and len(self._tried) >= self._total

    def _begin(self, number: int) -> Any:
        trial = self._study.ask()
        self._trials[number] = trial, set()
        return trial

    def report(self, number: int, step: int, value: float) -> bool:
        """Take a value of a running trial; return whether it should stop."""
        if not self._prunes or number not in self._trials or not math.isfinite(value):
            return False
        trial, steps = self._trials[number]
        # Optuna counts steps from 0, and an operator that is tried again reports again.
        if step < 0 or step in steps:
            return False
        steps.add(step)
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, number: int, status: Status, values: Sequence[float] | None) -> None:
        """Take how a trial ended."""
        trial, _ = self._trials.pop(number, (None, None))
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
        trial = self._begin(number)
        if self._points is None:
            # Asked for, though not taken: by it a sampler notes to which of its generations a trial belongs.
            _ = trial.relative_params
            self._remember(suggest_point(trial, self._space))
        for step, value in curve:
            self.report(number, step, value)
        if status.is_final:
            self.tell(number, status, values)


def suggest_point(trial: Any, space: Space) -> Point:
    """Let an Optuna trial choose a value for each active dimension, in order.

    Optuna chooses among the values of a list, and along a range that has steps, by their places: its
    categories must be plain values while ours may be operators, and its steps round otherwise than ours.
    """
    point: Point = {}
    for dimension in space.dimensions:
        if not dimension.is_active(point):
            continue
        name, domain, count = dimension.name, dimension.domain, dimension.count
        if isinstance(domain, Choice):
            point[name] = domain.values[trial.suggest_categorical(name, list(range(len(domain.values))))]
        elif isinstance(domain, LogRange):
            suggest = trial.suggest_int if dimension.is_int else trial.suggest_float
            point[name] = suggest(name, domain.low, domain.high, log=True)
        elif count is not None and count > MAX_PLACES:
            share = trial.suggest_float(name, 0, 1)
            point[name] = dimension.value_of(min(share, 1 - 1 / SHARES))
        elif count is not None:
            point[name] = dimension.value_at(trial.suggest_int(name, 0, count - 1))
        else:
            point[name] = trial.suggest_float(name, domain.low, domain.high)
    return point


def encode_point(point: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return a point as `suggest_point` asks Optuna for it."""
    encoded = {}
    for dimension in space.dimensions:
        if dimension.name in point:
            value, count = point[dimension.name], dimension.count
            if count is not None and not isinstance(dimension.domain, LogRange):
                value = dimension.index_of(value)
                value = value / count if count > MAX_PLACES else value
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
    if search == "cmaes":
        _check_cmaes(space)
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


def _check_cmaes(space: Space) -> None:
    """Refuse what Optuna would search at random without a word."""
    ranges = [d for d in space.dimensions if not d.when and not isinstance(d.domain, Choice) and d.count != 1]
    if len(ranges) < 2:
        raise ParameterError(
            "space: search 'cmaes' needs at least two ranges of numbers that vary under no condition, found "
            f"{shorten(d.name for d in ranges)}; take tpe"
        )


def make_sampler(search: str, seed: int, trials: int | None) -> Any:
    """Return Optuna's sampler of a name.

    Raises:
        UsageError: it needs a package that is not installed.
    """
    optuna = load_optuna()
    samplers = optuna.samplers
    if search == "gp" and importlib.util.find_spec("torch") is None:
        raise UsageError("search 'gp' needs torch, which is not installed: pip install 'flowlearner[gp]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search == "tpe":
            # Trials in flight count as poor where they are, so that those started together spread.
            return samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=_count_startup(trials))
        if search == "cmaes":
            return samplers.CmaEsSampler(seed=seed)
        if search == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=_count_population(trials))
        return samplers.GPSampler(seed=seed)


def load_optuna() -> Any:
    """Return the package optuna, which says nothing by itself."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _count_startup(trials: int | None) -> int:
    return 10 if trials is None else max(5, min(10, trials // 4))


def _count_population(trials: int | None) -> int:
    # About ten generations: with fewer there is little to inherit.
    return 10 if trials is None else max(4, min(50, trials // 10))


def make_pruner(stop: str) -> Any:
    """Return Optuna's pruner of a name.

    "asha" is asynchronous successive halving (Li et al., 2020): of each three trials that reach a rung, one
    goes on to the next, three times as far: after 8, 24, 72 ... steps.
    """
    optuna = load_optuna()
    if stop == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=3)
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
