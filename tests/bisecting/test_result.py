"""What is said of values that were found, whatever they are."""

from __future__ import annotations

import json
import math

import pytest

from flowlearner.bisecting.differing import Difference
from flowlearner.bisecting.result import Bisection, Mixture, attribute
from flowlearner.client.run import to_plain


def make(values: dict[frozenset[int], float | None]) -> Bisection:
    count = max(map(len, values))
    differences = [Difference("param", f"p{i}", "") for i in range(count)]
    mixtures = {
        has: Mixture(has, "A", value=v, reason=None if v is not None else "it fails")
        for has, v in values.items()
    }
    first, last = values[frozenset()], values[frozenset(range(count))]
    assert first is not None
    assert last is not None
    effects, groups = attribute(differences, mixtures, first, last)
    return Bisection("i", "a", "b", "w", "m", (first, last), first, last, tuple(effects), tuple(groups), ())


def pick(*indexes: int) -> frozenset[int]:
    return frozenset(indexes)


def test_differences_that_cancel_out_are_told() -> None:
    found = make({pick(): 1.0, pick(0): 3.0, pick(1): -1.0, pick(0, 1): 1.0})
    assert (found.is_equal, len(found.moving), found.interaction) == (True, 2, 0.0)
    assert found.sufficient == []


def test_rounding_is_no_interaction() -> None:
    found = make({pick(): 0.1, pick(0): 0.1 + 0.2, pick(1): 0.1 + 0.3, pick(0, 1): 0.6})
    assert found.interaction == 0.0
    assert not any(e.interacts for e in found.effects)


def test_what_is_no_number_is_told_as_such() -> None:
    found = make({pick(): 1.0, pick(0): math.nan, pick(1): 1.0, pick(0, 1): math.nan})
    assert [e.difference.name for e in found.sufficient] == ["p0"]
    assert found.interaction is None
    assert [e.difference.name for e in found.moving] == ["p0"]
    assert json.loads(json.dumps(to_plain(found.to_json()), allow_nan=False))["value_b"] == "NaN"


def test_the_shares_of_what_is_known_add_up() -> None:
    values = {pick(): 0.0, pick(0): None, pick(1): 5.0, pick(2): 1.0, pick(1, 2): 6.0, pick(0, 2): 7.0}
    found = make({**values, pick(0, 1): 8.0, pick(0, 1, 2): 10.0})
    (group,) = found.groups
    assert (group.members, group.effect, group.reason) == ((0, 1), 8.0, "it fails")
    shares = [group.share, *(e.share for e in found.effects)]
    assert math.fsum(s for s in shares if s is not None) == pytest.approx(1)
    assert (found.effects[0].from_a, found.effects[0].from_b) == (None, 4.0)
