"""Which difference between two runs moved a metric is found by runs that have some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowlearner import Client, Workflow
from flowlearner.bisecting.result import Bisection, Effect
from tests.bisecting.conftest import Edit

Load = Callable[[], Workflow[..., object]]


def by_label(found: Bisection) -> dict[str, Effect]:
    return {e.difference.label: e for e in found.effects}


def test_of_three_changed_params_the_one_that_matters_is_named(load: Load, client: Client) -> None:
    flow = load()
    first = flow.run(numbers="numbers.txt")
    second = flow.with_options(seed=0).run(numbers="numbers.txt", by=1.5, weight=2.0, label="b")
    found = client.bisect(first.id, second.id, "score")
    effects = by_label(found)
    assert (found.value_a, found.value_b) == (21.0, 43.0)
    assert list(effects) == ["parameter by", "parameter label", "parameter weight"]
    assert (effects["parameter label"].from_a, effects["parameter label"].from_b) == (0.0, 0.0)
    assert (effects["parameter by"].from_a, effects["parameter by"].from_b) == (0.5, 1.0)
    assert effects["parameter by"].interacts
    assert sum(e.share or 0.0 for e in found.effects) == pytest.approx(1)
    assert found.sufficient == []


def test_a_changed_helper_is_taken_with_the_operator_that_reaches_it(
    load: Load, edit: Edit, project: Path, client: Client
) -> None:
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    edit("flow.py", "return n * weight", "return n * weight * 1.0")
    second = load().run(numbers="numbers.txt")
    (project / "helper.py").unlink()
    (project / "flow.py").unlink()
    found = client.bisect(first.id, second.id, "score")
    effects = by_label(found)
    assert list(effects) == ["code of double", "code of judge"]
    assert (effects["code of double"].alone, effects["code of double"].from_b) == (31.0, 10.0)
    assert (effects["code of judge"].from_a, effects["code of judge"].share) == (0.0, 0.0)
    assert [e.difference.label for e in found.sufficient] == ["code of double"]
    assert "scale" in effects["code of double"].difference.text
    assert (found.interaction, found.groups) == (0.0, ())
