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


def test_two_changes_that_interact_are_said_to(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "return n + by + seed / 1000", "return n * 10 + by + seed / 1000")
    edit("flow.py", "return n * weight", "return n * weight if n < 100 else 7.0")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    effects = by_label(found)
    assert (effects["code of shift"].from_a, effects["code of shift"].from_b) == (180.0, -14.0)
    assert (effects["code of judge"].from_a, effects["code of judge"].from_b) == (0.0, -194.0)
    assert all(e.interacts for e in found.effects)
    assert (found.change, found.interaction) == (-14.0, -194.0)
    assert [e.cumulative for e in found.effects] == [180.0, -194.0]
    assert found.sufficient == []


def test_a_file_is_a_difference_by_its_content(
    load: Load, project: Path, tmp_path: Path, client: Client
) -> None:
    first = load().run(numbers="numbers.txt")
    (project / "numbers.txt").write_text("12")
    second = load().with_options(seed=500).run(numbers="numbers.txt")
    (project / "numbers.txt").rename(tmp_path / "moved.txt")
    effects = by_label(client.bisect(first.id, second.id, "score"))
    assert list(effects) == ["parameter numbers", "seed"]
    assert [e.from_a for e in effects.values()] == [4.0, 0.5]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "numbers.txt").write_text("12")
    third = load().run(numbers=str(tmp_path / "other" / "numbers.txt"))
    assert list(by_label(client.bisect(second.id, third.id, "score"))) == ["seed"]


def test_a_file_that_the_workflow_names_is_a_difference_too(
    load: Load, edit: Edit, project: Path, client: Client
) -> None:
    edit("flow.py", "load(numbers)", "load('numbers.txt')")
    edit("flow.py", "numbers: File, by", "by")
    first = load().run()
    (project / "numbers.txt").write_text("12")
    second = load().run(by=2.0)
    (project / "numbers.txt").unlink()
    found = client.bisect(first.id, second.id, "score")
    assert [e.from_a for e in found.effects] == [4.0, 1.0]
    assert [e.difference.label for e in found.effects] == ["content of numbers.txt", "parameter by"]


def test_other_code_that_gives_the_same_is_no_cause(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "n + n")
    edit("flow.py", "return n * weight", "return weight * n")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    assert [e.from_a for e in found.effects] == [0.0, 0.0]
    assert [e.share for e in found.effects] == [None, None]
    assert (found.change, found.sufficient) == (0.0, [])


def test_mixtures_are_runs_that_can_be_found_and_run_again(
    load: Load, edit: Edit, project: Path, client: Client
) -> None:
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    edit("flow.py", "return n * weight", "return n * weight + 100")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    runs = {r.id: r for r in client.search(f"tag.bisect = '{found.id}'")}
    assert runs.keys() == {m.run_id for m in found.mixtures}
    assert {r.parent_id for r in (run.record for run in runs.values())} == {first.id, second.id}
    alone = next(m for m in found.mixtures if m.has == {1})
    note = f"bisect: run {first.id[:8]} with code of judge of run {second.id[:8]}"
    assert runs[str(alone.run_id)].notes == note
    (project / "flow.py").unlink()
    (project / "helper.py").unlink()
    for mixture in found.mixtures:
        again = client.rerun(str(mixture.run_id), cache=False)
        assert again.metrics["score"] == mixture.value
    # Nothing that one of the two had done was done again.
    assert (alone.cached, alone.nodes) == (3, 4)


def test_operators_of_both_runs_share_what_is_the_same(load: Load, edit: Edit, client: Client) -> None:
    edit("helper.py", "def", "class Box:\n    def __init__(self) -> None:\n        self.n = 1\n\ndef")
    edit("flow.py", "    return n * weight", "    from helper import Box\n    return n * weight * Box().n")
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "return scale(n)", "return scale(n) + 1")
    edit("flow.py", "* Box().n", "+ Box().n")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    assert [(e.alone, e.without) for e in found.effects] == [(22.0, 22.0), (22.0, 22.0)]
    assert found.groups == ()


def test_a_helper_imported_in_a_function_is_that_of_its_own_run(
    load: Load, edit: Edit, client: Client
) -> None:
    edit("flow.py", "from helper import scale\n", "")
    edit(
        "flow.py",
        "    return scale(n)",
        "    import helper\n    from helper import scale as s\n    return s(n)",
    )
    edit("flow.py", "return n + by", "import helper\n    return helper.scale(n) + by")
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    assert (found.value_a, found.value_b) == (41.0, 91.0)
    assert [(e.alone, e.without) for e in found.effects] == [(61.0, 61.0), (61.0, 61.0)]
    assert (found.groups, [e.reasons for e in found.effects]) == ((), [(), ()])


def test_the_workflow_is_one_difference_as_a_whole(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "double(load(numbers))", "double(double(load(numbers)))")
    edit("flow.py", "return n * weight", "return n * weight + 5")
    second = load().run(numbers="numbers.txt", by=3.0)
    found = client.bisect(first.id, second.id, "score")
    effects = by_label(found)
    assert list(effects) == ["workflow", "parameter by", "code of judge"]
    assert [e.from_a for e in found.effects] == [20.0, 2.0, 5.0]
    assert [e.from_b for e in found.effects] == [20.0, 2.0, 5.0]
    assert found.interaction == 0.0


def test_an_operator_that_took_the_place_of_another_is_a_difference(
    load: Load, edit: Edit, project: Path, client: Client
) -> None:
    edit(
        "flow.py",
        "@operator\ndef shift",
        "@operator\ndef triple(n: float) -> float:\n    return 3 * n\n\n@operator\ndef shift",
    )
    first = load().run(numbers="numbers.txt")
    second = client.clone(first.id, {"weight": 2.0}, replace={"double": "triple"})
    (project / "flow.py").unlink()
    found = client.bisect(first.id, second.id, "score")
    assert [e.difference.label for e in found.effects] == ["operator of double", "parameter weight"]
    assert [(e.alone, e.without) for e in found.effects] == [(31.0, 42.0), (42.0, 31.0)]


def test_values_of_classes_that_are_the_same_pass_between_operators_of_both_runs(
    load: Load, edit: Edit, client: Client
) -> None:
    edit("flow.py", "class Got", "class Item(BaseModel):\n    n: float\n\nclass Got")
    edit("flow.py", "from pathlib", "from pydantic import BaseModel\nfrom pathlib")
    edit(
        "flow.py",
        "def double(n: float) -> float:\n    return scale(n)",
        "def double(n: float) -> Item:\n    return Item(n=scale(n))",
    )
    edit("flow.py", "def shift(n: float,", "def shift(n: Item,")
    edit("flow.py", "return n + by", "return n.n + by")
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "Item(n=scale(n))", "Item(n=scale(n) + 1)")
    edit("flow.py", "return n.n + by", "return n.n * 10 + by")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    assert [(e.alone, e.without) for e in found.effects] == [(22.0, 201.0), (201.0, 22.0)]


def test_what_does_not_compile_together_is_told_as_one(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit(
        "flow.py",
        "def double(n: float) -> float:\n    return scale(n)",
        "def double(n: float) -> list[float]:\n    return [scale(n)]",
    )
    edit("flow.py", "def shift(n: float,", "def shift(n: list[float],")
    edit("flow.py", "return n + by", "return n[0] * 10 + by")
    second = load().run(numbers="numbers.txt", weight=2.0)
    found = client.bisect(first.id, second.id, "score")
    (group,) = found.groups
    assert [found.effects[i].difference.label for i in group.members] == ["code of double", "code of shift"]
    assert (group.effect, by_label(found)["parameter weight"].cumulative) == (180.0, 201.0)
    assert "the mixture does not compile: node 'shift': input 'n' expects" in group.reason
    assert by_label(found)["code of double"].from_a is None
    assert found.interaction is None
    assert found.to_json()["not_separated"][0]["effect"] == 180.0


def test_a_mixture_that_fails_is_told_with_the_reason(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "return scale(n)", "return scale(n) * 0")
    edit(
        "flow.py",
        "return n * weight",
        "if n > 10:\n        raise ValueError('too much')\n    return n * weight",
    )
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    judge = by_label(found)["code of judge"]
    assert (judge.alone, judge.reasons) == (None, ("'judge' fails: ValueError: too much",))
    assert [e.cumulative for e in found.effects] == [-20.0, 0.0]


JUDGE = "def judge(n: float, weight: float, label: str) -> Metric:\n    return n * weight"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (JUDGE.replace("judge", "_judge") + "\n\njudge = operator(cpus=1)(_judge)", ""),
        ("if True:\n    @operator(\n        cpus=1,\n    )\n    " + JUDGE.replace("\n", "\n    "), ""),
        (
            "def make():\n    @operator\n    " + JUDGE.replace("\n", "\n    ") + "\n    return judge\n\n"
            "judge = make()",
            "is not defined at the top level of module 'flow'",
        ),
    ],
)
def test_an_operator_is_found_however_it_is_made(
    load: Load, edit: Edit, client: Client, source: str, reason: str
) -> None:
    edit("flow.py", f"@operator\n{JUDGE}", source)
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "return n * weight", "return n * weight + 7")
    second = load().run(numbers="numbers.txt", by=2.0)
    judge = client.bisect(first.id, second.id, "score").effects[-1]
    assert judge.difference.kind == "operator"
    assert judge.alone == (None if reason else 28.0)
    assert reason in "".join(judge.reasons)


def test_code_that_only_one_run_reaches_is_not_taken_for_that_of_the_other(
    load: Load, edit: Edit, client: Client
) -> None:
    edit("flow.py", "@workflow", f"@operator\n{JUDGE.replace('judge', 'other')} + 1\n\n@workflow")
    edit("flow.py", 'label: str = "a")', 'label: str = "a", judging: Operator = judge)')
    edit("flow.py", "Got(judge(", "Got(judging(")
    edit("flow.py", "import File", "import Operator, File")
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "* weight + 1", "* weight + 50")
    flow = load()
    second = flow.run(numbers="numbers.txt", by=2.0, judging=flow.fn.__globals__["other"])
    effects = by_label(client.bisect(first.id, second.id, "score"))
    assert list(effects) == ["parameter by", "parameter judging", "code of other"]
    assert effects["parameter judging"].alone == 22.0
    assert effects["code of other"].alone == 21.0
    assert effects["code of other"].from_b == 49.0


def test_mixtures_can_be_bisected_too(load: Load, edit: Edit, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    edit("flow.py", "return n * weight", "return n * weight + 100")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    alone = {m.has: str(m.run_id) for m in found.mixtures}
    again = client.bisect(alone[frozenset({0})], alone[frozenset({1})], "score")
    assert [(e.alone, e.without) for e in again.effects] == [(21.0, 131.0), (131.0, 21.0)]
    assert [e.difference.label for e in again.effects] == ["code of double", "code of judge"]


def test_an_operator_that_moved_to_another_module_is_taken_from_there(
    load: Load, edit: Edit, project: Path, client: Client
) -> None:
    (project / "ops.py").write_text(
        "from flowlearner import Metric, operator\n\nK = 1\n\n@operator\n"
        + JUDGE
        + "\n\ndef one() -> int:\n    return K\n"
    )
    edit("flow.py", f"@operator\n{JUDGE}\n\n", "from ops import judge, one\n\n")
    edit("flow.py", "return scale(n)", "return scale(n) * one()")
    first = load().run(numbers="numbers.txt")
    edit("flow.py", "from ops import judge, one\n\n", f"from ops import one\n\n@operator\n{JUDGE} + 7\n\n")
    edit("flow.py", "return scale(n) * one()", "return scale(n) * one() + 1")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    assert [(e.alone, e.without) for e in found.effects] == [(22.0, 28.0), (28.0, 22.0)]


def test_an_operator_that_calls_another_one_keeps_that_of_its_own_run(
    load: Load, edit: Edit, client: Client
) -> None:
    edit("flow.py", "return n + by + seed / 1000", "return n + double(by) + seed / 1000")
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    edit("flow.py", "return n * weight", "return n * weight + 100")
    second = load().run(numbers="numbers.txt")
    found = client.bisect(first.id, second.id, "score")
    effects = by_label(found)
    assert (found.value_a, found.value_b) == (22.0, 133.0)
    assert {label: (e.alone, e.without) for label, e in effects.items()} == {
        "code of double": (32.0, 123.0),
        "code of shift": (23.0, 132.0),
        "code of judge": (122.0, 33.0),
    }
