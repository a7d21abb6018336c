"""Searches: what depends on the seed alone, what learns, what is known after a restart, who stops early."""

from __future__ import annotations

import importlib.util
import itertools
import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlearner import Choice, LogRange, Range
from flowlearner.errors import ParameterError, UsageError
from flowlearner.records import Status
from flowlearner.sweep.search import ADAPTIVE, SEARCHES, Objective, Searcher, make_searcher
from flowlearner.sweep.space import Dimension, Point, Space

ONE = Objective(("loss",), ("min",))
TWO = Objective(("a", "b"), ("max", "min"))
HERE = tuple(s for s in SEARCHES if s != "gp" or importlib.util.find_spec("torch"))
# The same in every search: each kind of domain, a condition, and a condition behind it.
MIXED = Space(
    (
        Dimension("booster", Choice(["gbtree", "dart"])),
        Dimension("depth", Range(2, 9, 3), True),
        Dimension("eta", LogRange(0.01, 1)),
        Dimension("trees", LogRange(10, 1000), True),
        Dimension("share", Range(0.1, 0.9, 0.2)),
        Dimension("x", Range(-1, 1)),
        Dimension("drop", Choice([0.1, 0.2, None]), False, (("booster", ("dart",)),)),
        Dimension("skip", Range(0, 5), True, (("drop", (0.1, 0.2)),)),
    )
)
FINITE = Space((Dimension("a", Range(1, 3), True), Dimension("b", Choice(["x", "y"]))))
BOWL = Space((Dimension("x", Range(-5, 5)), Dimension("y", Range(-5, 5))))


def make(search: str, space: Space = MIXED, seed: int = 0, trials: int = 20, **more: Any) -> Searcher:
    objective = more.pop("objective", ONE)
    return make_searcher(
        space, objective, search=search, stop=more.pop("stop", None), seed=seed, trials=trials
    )


def compute_bowl(point: Point) -> float:
    return float((point["x"] - 2) ** 2 + (point["y"] + 1) ** 2)


def compute_mixed(point: Point) -> float:
    return abs(math.log(point["eta"] / 0.1)) + point["x"] ** 2 + point["depth"] / 10 + len(point) / 20


def run(searcher: Searcher, compute: Any, trials: int, start: int = 0) -> list[Point]:
    points = []
    for number in range(start, start + trials):
        point = searcher.ask(number)
        assert point is not None
        value = compute(point)
        searcher.tell(number, Status.COMPLETED, value if isinstance(value, list) else [value])
        points.append(point)
    return points


# Points by seed and number alone


def test_a_grid_gives_every_point_in_the_order_of_the_space() -> None:
    searcher = make("grid", FINITE)
    points = [searcher.ask(n) for n in range(7)]
    expected: list[Any] = [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y")]
    assert points == [*expected, None]


def test_a_grid_of_a_thousand_million_points_needs_no_list() -> None:
    searcher = make("grid", Space(tuple(Dimension(n, Range(0, 999), True) for n in "abc")))
    assert searcher.ask(10**9 - 1) == {"a": 999, "b": 999, "c": 999}
    assert searcher.ask(10**9) is None


def test_a_grid_refuses_a_continuous_range_with_the_cure() -> None:
    with pytest.raises(ParameterError, match=r"'eta' \(log\(0.01,1\)\).* is continuous. Give it a step"):
        make("grid")


@pytest.mark.parametrize(
    ("search", "space", "points"),
    [
        ("grid", FINITE, [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}]),
        (
            "random",
            FINITE,
            [
                {"a": 3, "b": "y"},
                {"a": 1, "b": "x"},
                {"a": 2, "b": "y"},
                {"a": 2, "b": "x"},
                {"a": 1, "b": "y"},
                {"a": 3, "b": "x"},
            ],
        ),
        (
            "random",
            MIXED,
            [
                {
                    "booster": "gbtree",
                    "depth": 2,
                    "eta": 0.047499030936812195,
                    "trees": 250,
                    "share": 0.7,
                    "x": -0.6104901234593312,
                },
                {
                    "booster": "dart",
                    "depth": 5,
                    "eta": 0.9435172903579107,
                    "trees": 142,
                    "share": 0.5,
                    "x": -0.663299149999516,
                    "drop": 0.2,
                    "skip": 5,
                },
                {
                    "booster": "dart",
                    "depth": 5,
                    "eta": 0.14479813240619602,
                    "trees": 58,
                    "share": 0.3,
                    "x": 0.8568976879737329,
                    "drop": 0.2,
                    "skip": 2,
                },
            ],
        ),
        ("qmc", FINITE, [{"a": 2, "b": "y"}, {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 3, "b": "x"}]),
        (
            "qmc",
            MIXED,
            [
                {
                    "booster": "dart",
                    "depth": 8,
                    "eta": 0.015882283537592006,
                    "trees": 730,
                    "share": 0.7,
                    "x": -0.5887575224041939,
                    "drop": None,
                },
                {
                    "booster": "gbtree",
                    "depth": 2,
                    "eta": 0.4603192409898818,
                    "trees": 39,
                    "share": 0.3,
                    "x": 0.6071210894733667,
                },
                {
                    "booster": "gbtree",
                    "depth": 8,
                    "eta": 0.03504300388577916,
                    "trees": 182,
                    "share": 0.1,
                    "x": 0.42113737016916275,
                },
            ],
        ),
    ],
)
def test_a_seed_gives_the_same_points_for_all_time(search: str, space: Space, points: list[Point]) -> None:
    found = [make(search, space, seed=7).ask(n) or {} for n in range(len(points))]
    # The last bits of a logarithm are those of the machine.
    assert [{k: round(v, 12) if isinstance(v, float) else v for k, v in p.items()} for p in found] == [
        {k: round(v, 12) if isinstance(v, float) else v for k, v in p.items()} for p in points
    ]


@pytest.mark.parametrize("search", ["random", "qmc"])
@pytest.mark.parametrize("space", [MIXED, FINITE, BOWL])
def test_points_depend_on_seed_and_number_alone(search: str, space: Space) -> None:
    straight = [make(search, space, seed=3).ask(n) for n in range(6)]
    searcher = make(search, space, seed=3, trials=1000)
    order = [5, 0, 3, 3, 1, 4, 2]
    assert [searcher.ask(n) for n in order] == [straight[n] for n in order]
    assert straight != [make(search, space, seed=4).ask(n) for n in range(6)]


def test_random_gives_each_point_of_a_finite_space_once() -> None:
    searcher = make("random", FINITE)
    points = [searcher.ask(n) for n in range(7)]
    assert points[6] is None
    assert sorted(map(str, points[:6])) == sorted(map(str, FINITE.iter_points()))


def test_random_covers_its_domains_evenly() -> None:
    searcher = make("random", trials=4000)
    points = [searcher.ask(n) or {} for n in range(4000)]
    assert statistics.fmean(p["x"] for p in points) == pytest.approx(0, abs=0.04)
    assert statistics.fmean(math.log10(p["eta"]) for p in points) == pytest.approx(-1, abs=0.04)
    assert sum(p["booster"] == "dart" for p in points) == pytest.approx(2000, abs=130)
    assert {p["depth"] for p in points} == {2, 5, 8}
    # The ends of an int range are as likely as the rest.
    skips = [p["skip"] for p in points if "skip" in p]
    assert [skips.count(i) / len(skips) for i in range(6)] == pytest.approx([1 / 6] * 6, abs=0.04)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_qmc_spreads_more_evenly_than_random(count: int) -> None:
    space = Space(tuple(Dimension(f"x{i}", Range(0, 1)) for i in range(count)))

    def find_worst(search: str) -> float:
        searcher = make(search, space, trials=64)
        points = [searcher.ask(n) or {} for n in range(64)]
        return max(abs(statistics.fmean(p[f"x{i}"] for p in points) - 0.5) for i in range(count))

    assert find_worst("qmc") < 0.02 < find_worst("random")


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["random", "qmc"]), st.integers(0, 2**63 - 1), st.integers(0, 10**5))
def test_any_seed_and_number_gives_a_point_of_the_space(search: str, seed: int, number: int) -> None:
    check_point(make(search, MIXED, seed=seed).ask(number))


def check_point(point: Point | None) -> None:
    assert point is not None
    for dimension in MIXED.dimensions:
        assert (dimension.name in point) == dimension.is_active(point)
        if dimension.name in point:
            value = point[dimension.name]
            assert dimension.domain.contains(value)
            if dimension.count is not None:
                assert dimension.value_at(dimension.index_of(value)) == value


# What learns


@pytest.mark.parametrize("search", [s for s in HERE if s != "grid"])
def test_every_search_keeps_to_domains_and_conditions(search: str) -> None:
    points = run(make(search, trials=40), compute_mixed, 40)
    for point in points:
        check_point(point)
    assert {p["booster"] for p in points} == {"gbtree", "dart"}


@pytest.mark.parametrize("search", [s for s in HERE if s in ADAPTIVE])
def test_an_adaptive_search_gives_the_same_points_for_the_same_seed(search: str) -> None:
    first, second = (run(make(search, trials=30, seed=5), compute_mixed, 30) for _ in range(2))
    assert first == second
    assert first != run(make(search, trials=30, seed=6), compute_mixed, 30)


@pytest.mark.parametrize("search", ["tpe", "cmaes", "nsga2"])
def test_an_adaptive_search_ends_nearer_to_the_optimum_than_random(search: str) -> None:
    def find_median(name: str) -> float:
        ends = []
        for seed in range(5):
            points = run(make(name, BOWL, seed=seed, trials=80), compute_bowl, 80)
            ends.append(statistics.fmean(sorted(map(compute_bowl, points[-20:]))))
        return statistics.median(ends)

    assert find_median(search) < 0.7 * find_median("random")


def test_nsga2_searches_for_several_metrics() -> None:
    def compute(point: Point) -> list[float]:
        return [point["x"], point["y"] ** 2]

    def find_gain(seed: int) -> float:
        points = run(make("nsga2", BOWL, seed=seed, trials=200, objective=TWO), compute, 200)
        early, late = ([p["x"] - p["y"] ** 2 for p in some] for some in (points[:50], points[-50:]))
        return statistics.fmean(late) - statistics.fmean(early)

    assert statistics.median(map(find_gain, range(5))) > 2


def test_a_curve_is_no_matter_where_several_metrics_count() -> None:
    searcher = make("nsga2", BOWL, objective=TWO)
    searcher.ask(0)
    assert searcher.report(0, 1, 0.5) is False


@pytest.mark.parametrize("search", [s for s in HERE if s in ADAPTIVE])
def test_failed_trials_and_infinite_values_do_not_end_a_search(search: str) -> None:
    searcher = make(search, BOWL, trials=30)
    ends = itertools.cycle(
        [
            (Status.COMPLETED, [math.inf]),
            (Status.FAILED, None),
            (Status.COMPLETED, [1.0]),
            (Status.COMPLETED, [-math.inf]),
            (Status.CANCELLED, None),
        ]
    )
    for number, (status, values) in zip(range(30), ends, strict=False):
        assert searcher.ask(number) is not None
        searcher.tell(number, status, values)


@pytest.mark.parametrize("search", [s for s in HERE if s in ADAPTIVE])
def test_trials_in_flight_differ(search: str) -> None:
    searcher = make(search, BOWL, trials=40)
    run(searcher, compute_bowl, 20)
    together = [searcher.ask(n) for n in range(20, 28)]
    assert len(set(map(str, together))) == 8


@pytest.mark.parametrize("search", [s for s in HERE if s != "grid"])
def test_domains_as_large_as_they_come_are_searched(search: str) -> None:
    space = Space(
        (
            Dimension("seed", Range(0, 2**63 - 1), True),
            Dimension("x", Range(0, 1e300, 1e-300)),
            Dimension("n", LogRange(1, 10**12), True),
        )
    )
    searcher = make(search, space, trials=60)
    points = run(searcher, lambda p: float(p["seed"]), 30)
    for number, point in enumerate(points, 30):
        assert all(d.domain.contains(point[d.name]) for d in space.dimensions)
        searcher.restore(number, point, Status.COMPLETED, [float(point["seed"])])
    if search in ADAPTIVE:
        late = run(searcher, lambda p: float(p["seed"]), 20, start=60)
        assert statistics.median(p["seed"] for p in late) < 2**62


# What is known after a restart


@pytest.mark.parametrize("search", [s for s in HERE if s in ADAPTIVE])
def test_a_restored_search_knows_the_trials_before_it(search: str) -> None:
    space, compute = (MIXED, compute_mixed) if search == "tpe" else (BOWL, compute_bowl)
    before = run(make(search, space, trials=60), compute, 40)
    restored = make(search, space, trials=60, seed=1)
    for number, point in enumerate(before):
        restored.restore(number, point, Status.COMPLETED, [compute(point)])
    after = run(restored, compute, 20, start=40)
    fresh = run(make(search, space, trials=60, seed=1), compute, 20)
    assert after != fresh
    assert statistics.median(map(compute, after)) < statistics.median(map(compute, fresh))


def test_a_restored_trial_has_the_point_that_it_had() -> None:
    points = run(make("tpe", trials=30), compute_mixed, 30)
    restored = make("tpe", trials=30)
    for number, point in enumerate(points):
        restored.restore(number, point, Status.COMPLETED, [compute_mixed(point)])
    # Nothing but the points and values decides how it goes on.
    again = make("tpe", trials=30)
    for number, point in enumerate(points):
        again.restore(number, point, Status.COMPLETED, [compute_mixed(point)])
    assert run(restored, compute_mixed, 5, start=30) == run(again, compute_mixed, 5, start=30)


def test_values_that_are_equal_and_of_different_types_are_restored_apart() -> None:
    space = Space((Dimension("v", Choice([1, True, 1.0])), Dimension("x", Range(0, 1))))
    scores = {int: 5.0, bool: 0.0, float: 5.0}
    searcher = make("tpe", space, trials=40)
    for number in range(30):
        value = [1, True, 1.0][number % 3]
        point = {"v": value, "x": number / 30}
        searcher.restore(number, point, Status.COMPLETED, [scores[type(value)]])
    found = [type(p["v"]) for p in run(searcher, lambda p: scores[type(p["v"])], 10, start=30)]
    assert found.count(bool) >= 7


def test_a_restored_trial_that_goes_on_reports_and_ends_as_another() -> None:
    searcher = make("random", BOWL, stop="asha")
    for number in range(9):
        searcher.restore(number, {"x": 0.0, "y": 0.0}, Status.COMPLETED, [1.0], [(8, 1.0)])
    searcher.restore(9, {"x": 0.0, "y": 0.0}, Status.RUNNING, None)
    assert searcher.report(9, 8, 100.0) is True
    searcher.tell(9, Status.PRUNED, None)


# Early stopping


@pytest.mark.parametrize("stop", ["asha", "median"])
@pytest.mark.parametrize("search", ["random", "tpe"])
def test_a_bad_trial_is_stopped_and_a_good_one_is_not(search: str, stop: str) -> None:
    searcher = make(search, BOWL, stop=stop, trials=20)
    for number in range(9):
        searcher.ask(number)
        for step in range(1, 10):
            searcher.report(number, step, 5.0 - number / 10)
        searcher.tell(number, Status.COMPLETED, [5.0])
    searcher.ask(9)
    assert not any(searcher.report(9, step, 1.0) for step in range(1, 10))
    searcher.tell(9, Status.COMPLETED, [1.0])
    searcher.ask(10)
    assert any(searcher.report(10, step, 50.0) for step in range(1, 10))
    searcher.tell(10, Status.PRUNED, None)


def test_what_is_better_depends_on_the_mode() -> None:
    searcher = make("random", BOWL, stop="asha", objective=Objective(("auc",), ("max",)))
    for number in range(9):
        searcher.ask(number)
        searcher.report(number, 8, 0.5)
    searcher.ask(9)
    searcher.ask(10)
    assert searcher.report(9, 8, 0.1) is True
    assert searcher.report(10, 8, 0.9) is False


def test_asha_stops_nobody_in_the_first_steps() -> None:
    searcher = make("random", BOWL, stop="asha")
    for number in range(20):
        searcher.ask(number)
        assert not any(searcher.report(number, step, float(number)) for step in range(1, 8))


def test_the_first_trials_are_not_stopped_by_the_median() -> None:
    searcher = make("random", BOWL, stop="median")
    for number in range(5):
        searcher.ask(number)
        assert not any(searcher.report(number, step, 10.0**number) for step in range(1, 20))
        searcher.tell(number, Status.COMPLETED, [10.0**number])


def test_the_rungs_of_asha_are_known_after_a_restart() -> None:
    def tell_earlier(searcher: Searcher) -> None:
        for number in range(9):
            curve = [(step, 1.0 + number) for step in range(1, 10)]
            searcher.restore(number, {"x": 0.0, "y": 0.0}, Status.COMPLETED, [1.0 + number], curve)

    searcher, fresh = make("random", BOWL, stop="asha"), make("random", BOWL, stop="asha")
    tell_earlier(searcher)
    for s in (searcher, fresh):
        s.ask(9)
    assert searcher.report(9, 8, 8.5) is True
    assert fresh.report(9, 8, 8.5) is False


@pytest.mark.parametrize("stop", ["asha", "median"])
def test_reports_that_compare_nothing_change_nothing(stop: str) -> None:
    searcher = make("random", BOWL, stop=stop)
    for number in range(9):
        searcher.ask(number)
        for step in range(1, 10):
            searcher.report(number, step, 1.0)
        searcher.tell(number, Status.COMPLETED, [1.0])
    searcher.ask(9)
    assert not any(searcher.report(9, step, math.nan) for step in range(1, 10))
    assert not any(searcher.report(9, step, math.inf) for step in range(1, 10))
    assert not searcher.report(9, -1, 100.0)
    # An operator that is tried again reports again; its first values stand.
    assert not searcher.report(9, 1, 0.5)
    assert not searcher.report(9, 1, 100.0)
    assert not searcher.report(77, 1, 100.0)


def test_without_early_stopping_reports_are_not_kept() -> None:
    searcher = make("tpe", BOWL)
    searcher.ask(0)
    assert searcher.stops_early is False
    assert searcher.report(0, 1, 1.0) is False


# Wrong usage


@pytest.mark.parametrize(
    ("search", "stop", "objective", "message"),
    [
        ("tpee", None, ONE, "no search 'tpee'; there are random, .* Did you mean 'tpe'"),
        ("tpe", "ahsa", ONE, "no early stopping 'ahsa'; there are asha, median. Did you mean 'asha'"),
        ("tpe", "asha", TWO, "early stopping compares one metric"),
        ("cmaes", None, TWO, "search 'cmaes' takes one metric; take nsga2 or tpe"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    search: str, stop: str | None, objective: Objective, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_searcher(BOWL, objective, search=search, stop=stop, seed=0, trials=10)


def test_cmaes_says_what_it_cannot_search() -> None:
    space = Space(
        (Dimension("x", Range(0, 1)), Dimension("b", Choice([1, 2])), Dimension("n", Range(1, 1), True))
    )
    with pytest.raises(UsageError, match=r"'cmaes' needs at least two ranges .* found x; take tpe"):
        make("cmaes", space)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_gp_without_torch_says_what_to_install() -> None:
    with pytest.raises(UsageError, match="search 'gp' needs torch, which is not installed: pip install"):
        make("gp")
