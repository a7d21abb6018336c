"""What bisecting two runs has found: each difference with what it does to the metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowlearner.bisecting.differing import Difference

# Sums of effects are not exact.
_NEAR = 1e-9


@dataclass(frozen=True)
class Mixture:
    """A run with some of the differences.

    Attributes:
        has: indexes of the differences that it has from B.
        run_id: None where it did not come to a run.
        value: the metric; None where there is none, and then `reason` says why.
        cached: how many of its nodes came from the cache.
    """

    has: frozenset[int]
    base: str
    run_id: str | None = None
    value: float | None = None
    reason: str | None = None
    cached: int = 0
    nodes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "has": sorted(self.has),
            "run_id": self.run_id,
            "value": self.value,
            "reason": self.reason,
            "cached": self.cached,
            "nodes": self.nodes,
        }


@dataclass(frozen=True)
class Effect:
    """What one difference does to the metric.

    Attributes:
        alone: the metric of A with this difference alone.
        without: the metric of B with this difference taken back.
        from_a: what it adds to A.
        from_b: what it takes from B when it is taken back, with the sign of what it had added.
        cumulative: what it adds on the way from A to B, after those before it.
        share: the cumulative effect as a part of the whole change.
        reasons: why a value is missing.
    """

    difference: Difference
    alone: float | None
    without: float | None
    from_a: float | None
    from_b: float | None
    cumulative: float | None
    share: float | None
    reasons: tuple[str, ...] = ()

    @property
    def interacts(self) -> bool:
        """Whether it does something else to A than to B."""
        return self.from_a is not None and self.from_b is not None and not is_near(self.from_a, self.from_b)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.difference.to_json(),
            "alone": self.alone,
            "without": self.without,
            "effect_from_a": self.from_a,
            "effect_from_b": self.from_b,
            "effect_cumulative": self.cumulative,
            "share": self.share,
            "interacts": self.interacts,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class Group:
    """Differences next to each other, of which only the effect together is known."""

    members: tuple[int, ...]
    effect: float | None
    share: float | None
    reason: str


@dataclass(frozen=True)
class Bisection:
    """Which change moved the metric.

    Attributes:
        id: the tag "bisect" of all runs that were made for it.
        recorded: the metric as the two runs have it.
        value_a, value_b: the metric of the two, run again.
        effects: in the order of the graph.
        groups: what could not be separated.
        packages: which packages the two runs had in other versions; all mixtures run with today's.
        mixtures: every run that was made.
    """

    id: str
    run_a: str
    run_b: str
    workflow: str
    metric: str
    recorded: tuple[float, float]
    value_a: float
    value_b: float
    effects: tuple[Effect, ...]
    groups: tuple[Group, ...]
    packages: tuple[Mapping[str, Any], ...]
    mixtures: tuple[Mixture, ...] = field(repr=False, default=())

    @property
    def change(self) -> float:
        return self.value_b - self.value_a

    @property
    def interaction(self) -> float | None:
        """What the whole change has beyond the sum of what each difference adds to A."""
        single = [e.from_a for e in self.effects]
        if any(e is None for e in single) or not math.isfinite(self.change):
            return None
        rest = self.change - math.fsum(e for e in single if e is not None)
        scale = max(abs(self.value_a), abs(self.value_b), *(abs(e) for e in single if e is not None))
        return 0.0 if abs(rest) <= _NEAR * scale else rest

    @property
    def is_equal(self) -> bool:
        """Whether the two runs have the same metric."""
        return is_near(self.value_a, self.value_b)

    @property
    def moving(self) -> list[Effect]:
        """The differences that do something to A or to B."""
        ends = (self.value_a, self.value_b)
        return [
            e
            for e in self.effects
            if any(
                value is not None and not is_near(value, end)
                for value, end in zip((e.alone, e.without), ends, strict=True)
            )
        ]

    @property
    def sufficient(self) -> list[Effect]:
        """The differences that alone make the whole change, where there is one."""
        if self.is_equal:
            return []
        return [e for e in self.effects if e.alone is not None and is_near(e.alone, self.value_b)]

    @property
    def drifted(self) -> list[str]:
        """Which of the runs, "a" or "b", do not give today what they gave."""
        pairs = zip("ab", self.recorded, (self.value_a, self.value_b), strict=True)
        return [name for name, then, now in pairs if not is_near(then, now)]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "run_a": self.run_a,
            "run_b": self.run_b,
            "workflow": self.workflow,
            "metric": self.metric,
            "recorded": {"a": self.recorded[0], "b": self.recorded[1]},
            "value_a": self.value_a,
            "value_b": self.value_b,
            "change": self.change,
            "drifted": self.drifted,
            "differences": [e.to_json() for e in self.effects],
            "interaction": self.interaction,
            "sufficient": [e.difference.label for e in self.sufficient],
            "not_separated": [
                {
                    "differences": [self.effects[i].difference.label for i in g.members],
                    "effect": g.effect,
                    "share": g.share,
                    "reason": g.reason,
                }
                for g in self.groups
            ],
            "packages": [dict(p) for p in self.packages],
            "runs": [m.to_json() for m in self.mixtures],
        }


def is_near(first: float, second: float) -> bool:
    """Tell whether two values of a metric are equal but for rounding."""
    both_nan = math.isnan(first) and math.isnan(second)
    return both_nan or math.isclose(first, second, rel_tol=_NEAR, abs_tol=1e-12)


def attribute(
    differences: Sequence[Difference],
    mixtures: Mapping[frozenset[int], Mixture],
    value_a: float,
    value_b: float,
) -> tuple[list[Effect], list[Group]]:
    """Return what each difference does to the metric, from A, from B and on the way between.

    Args:
        mixtures: by which differences they have: none, all, each alone, all but each, and the first ones in
            their order.
        value_a, value_b: the metric without any, and with all.
    """
    everything = frozenset(range(len(differences)))
    whole = value_b - value_a
    steps: dict[int, float] = {}
    groups: list[Group] = []
    waiting: list[int] = []
    reasons: list[str] = []
    last = value_a
    for index in range(len(differences)):
        waiting.append(index)
        step = mixtures[frozenset(range(index + 1))]
        if step.value is None:
            reasons.append(step.reason or "")
            continue
        if len(waiting) == 1:
            steps[index] = step.value - last
        else:
            effect = step.value - last
            reason = "; ".join(dict.fromkeys(reasons))
            groups.append(Group(tuple(waiting), effect, _share(effect, whole), reason))
        waiting, reasons, last = [], [], step.value
    effects = []
    for index, difference in enumerate(differences):
        alone, without = mixtures[frozenset({index})], mixtures[everything - {index}]
        cumulative = steps.get(index)
        effects.append(
            Effect(
                difference,
                alone.value,
                without.value,
                None if alone.value is None else alone.value - value_a,
                None if without.value is None else value_b - without.value,
                cumulative,
                None if cumulative is None else _share(cumulative, whole),
                tuple(dict.fromkeys(m.reason for m in (alone, without) if m.reason)),
            )
        )
    return effects, groups


def _share(effect: float, whole: float) -> float | None:
    share = effect / whole if abs(whole) > 1e-12 else math.nan
    return share if math.isfinite(share) else None
