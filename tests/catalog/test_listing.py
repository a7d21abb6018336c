"""Lists of runs: filters, queries, order, pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowlearner.catalog import Catalog, listing
from flowlearner.errors import ParameterError, QueryError
from flowlearner.records import CodeInfo, ErrorInfo, MetricPoint, Status
from tests.catalog.make import CODE, ENVIRONMENT, NOW, begin, complete, make_node, sqlite_only


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def some(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog of runs a to f, one a minute; t1 and t2 are trials, z is deleted."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('some')}/c.db"
        else:
            url = stack.enter_context(request.getfixturevalue("postgresql").lend())
        catalog = stack.enter_context(Catalog(url))
        complete(
            catalog, "a", 0, {"auc": 0.7, "loss": 3.0}, [make_node("n", cached=True), make_node("m", 1)],
            params={"depth": 4, "eta": 0.1, "booster": "dart", "flag": True}, tags={"team": "ops", "n": "10"},
            notes="The best so far: 100%", code=CODE, seconds=30,
        )  # fmt: skip
        complete(
            catalog, "b", 1, {"auc": 0.8}, params={"depth": 10, "booster": "gbtree"}, tags={"team": "web"}
        )
        complete(catalog, "c", 2, {"auc": math.nan}, params={"depth": "4"}, workflow="iris", owner="bob")
        complete(
            catalog, "d", 3, {"auc": math.inf}, experiment="nightly", parent_id="a", params={"depth": None}
        )
        complete(
            catalog, "e", 4, {"auc": -math.inf}, status=Status.FAILED, error=ErrorInfo("ValueError", "no")
        )
        begin(catalog, "f", 5, executor="local", run_seed=7)
        for number in (1, 2):
            complete(catalog, f"t{number}", 6, {"auc": 0.5}, sweep_id="sweep1", trial_number=number)
        complete(catalog, "z", 7, {"auc": 0.99}, tags={"team": "ops"})
        catalog.delete_runs(["z"])
        yield catalog


def ids(catalog: Catalog, **arguments: Any) -> str:
    return " ".join(r.id for r in catalog.list_runs(**arguments))


def found(catalog: Catalog, query: str) -> str:
    """Ids of what a query finds, oldest first; each way to find them finds the same."""
    result = ids(catalog, query=query, descending=False)
    newest_first = ids(catalog, query=query, limit=None).split()
    assert sorted(newest_first) == sorted(result.split())
    assert catalog.count_runs(query=query) == len(newest_first)
    with pytest.MonkeyPatch.context() as patch:
        for looked_at in (0, 2, 4):
            patch.setattr(listing, "NEWEST_LOOKED_AT", looked_at)
            for limit in (1, 2):
                pages = [ids(catalog, query=query, limit=limit, offset=o).split() for o in (0, 1)]
                assert pages == [newest_first[:limit], newest_first[1 : 1 + limit]]
    return result


def test_a_list_is_newest_first_without_trials_and_deleted_runs(some: Catalog) -> None:
    assert ids(some) == "f e d c b a"
    assert ids(some, include_trials=True) == "t1 t2 f e d c b a"
    assert ids(some, include_deleted=True) == "z f e d c b a"
    assert ids(some, deleted_only=True) == "z"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"workflow": "iris"}, "c"),
        ({"experiment": "nightly"}, "d"),
        ({"owner": "bob"}, "c"),
        ({"status": "failed"}, "e"),
        ({"status": [Status.FAILED, Status.RUNNING]}, "f e"),
        ({"tags": {"team": "ops"}}, "a"),
        ({"tags": {"team": "ops", "n": "11"}}, ""),
        ({"tags": {"team": "ops"}, "include_deleted": True}, "z a"),
        ({"parent_id": "a"}, "d"),
        ({"sweep_id": "sweep1"}, "t1 t2"),
        ({"workflow": "delays", "query": "auc > 0.75"}, "d b"),
        ({"workflow": "' OR 1=1 --"}, ""),
    ],
)
def test_filters_narrow_a_list(some: Catalog, arguments: dict[str, Any], expected: str) -> None:
    assert ids(some, **arguments) == expected
    assert some.count_runs(**arguments) == len(expected.split())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("metric.auc >= 0.7", "a b d"),
        ("auc < 0.7", "e"),
        ("metric.auc = 0.7", "a"),
        ("metric.auc != 0.7", "b c d e"),
        ("NOT metric.auc = 0.7", "b c d e f"),
        ("metric.auc IN (0.7, 0.8)", "a b"),
        ("metric.auc = nan", "c"),
        ("metric.auc != nan", "a b d e"),
        ("metric.auc > nan", ""),
        ("metric.auc = inf", "d"),
        ("metric.auc = -inf", "e"),
        ("metric.auc IS NULL", "f"),
        ("metric.auc IS NOT NULL", "a b c d e"),
        ("metric.never > 3", ""),
        ("param.depth = 4", "a c"),
        ("param.depth = '4'", "a c"),
        ("param.depth != 4", "b"),
        ("depth > 4", "b"),
        ("param.depth IN (4, 10)", "a b c"),
        ("param.depth = null", "d e f"),
        ("param.depth IS NOT NULL", "a b c"),
        ("param.booster = dart", "a"),
        ("booster ~ 'D'", "a"),
        ("booster !~ 'D'", "b"),
        ("booster LIKE 'gb%'", "b"),
        ("param.flag = TRUE", "a"),
        ("param.flag = true", "a"),
        ("tag.team = ops", "a"),
        ("tag.team != ops", "b"),
        ("NOT tag.team = ops", "b c d e f"),
        ("tag.n = 10", "a"),
        ("tag.team IN ('ops', 'web')", "a b"),
        ("tag.team IS NULL", "c d e f"),
        ("status = failed OR status = running", "e f"),
        ("status IN (FAILED, RUNNING)", "e f"),
        ("status != COMPLETED", "e f"),
        ("workflow = iris", "c"),
        ("experiment = 'nightly'", "d"),
        ("owner = bob", "c"),
        ("user = bob", "c"),
        ("id = a", "a"),
        ("parent = a", "d"),
        ("parent IS NULL", "a b c e f"),
        ("parent != a", "a b c e f"),
        ("sweep = sweep", "t1 t2"),
        ("trial >= 2", "t2"),
        ("commit = c0ffee", "a"),
        ("commit IS NULL", "b c d e f"),
        ("branch = main", "a"),
        ("dirty = true", "a"),
        ("dirty = no", "b c d e f"),
        ("executor = local", "f"),
        ("seed = 7", "f"),
        ("error = ValueError", "e"),
        ("error ~ value", "e"),
        ("error != ValueError", "a b c d f"),
        ("duration < 60", "a"),
        ("duration = 1m", "b c d e"),
        ("duration IS NULL", "f"),
        ("NOT duration < 60", "b c d e f"),
        ("cached = 1", "a"),
        ("nodes = 2", "a"),
        ("notes ~ '100%'", "a"),
        ("notes ~ '00_'", ""),
        ("notes LIKE 'the best%'", "a"),
        ("deleted = true", "z"),
        ("deleted = true OR id = a", "a z"),
        ("created >= 2026-03-01 and created < 2026-03-02", "a b c d e f"),
        ("created = 2026-03-01", "a b c d e f"),
        ("created != 2026-03-01", ""),
        ("created <= 2026-03-01", "a b c d e f"),
        ("created > 2026-03-01", ""),
        ("created < '2026-03-01 12:32'", "a b"),
        ("created < '2026-03-01T13:32:00+01:00'", "a b"),
        ("finished IS NULL", "f"),
        ("finished > 2030-01-01", ""),
        ("(auc > 0.6 AND team = 1) OR tag.team = web", None),
        ("auc > 0.6 AND (tag.team = ops OR workflow = delays) AND NOT id = b", "a d"),
        ("notes = 'x'' OR 1=1 --'", ""),
        ("tag.`'); DROP TABLE run; --` = 1", ""),
        ('"auc" > 0.7', "b d"),
    ],
)
def test_a_query_finds(some: Catalog, query: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(QueryError, match="'team' is no attribute, and no run has a metric or parameter"):
            some.list_runs(query=query)
    else:
        assert found(some, query) == expected


def test_relative_times_count_from_now(catalog: Catalog) -> None:
    now = datetime.now(UTC)
    for run_id, days in (("old", 10), ("new", 1)):
        begin(catalog, run_id, int((now - NOW) / timedelta(minutes=1)) - days * 24 * 60)
    assert ids(catalog, query="created > 7d") == "new"
    assert ids(catalog, query="created < -7d") == "old"
    assert ids(catalog, query="created >= yesterday") in ("", "new")
    assert ids(catalog, query="created > 2w AND created < now") == "new old"
    assert ids(catalog, query="created >= today") == ""


@pytest.mark.parametrize(
    ("query", "position", "words"),
    [
        ("stauts = FAILED", 0, "metric or parameter of that name. Did you mean 'status'?"),
        ("a = 1 OR acu > 1", 0, "'a' is no attribute"),
        ("auc > 1 OR acu > 1", 11, "Did you mean 'auc'?"),
        ("metirc.auc > 1", 0, "Did you mean 'metric.auc'?"),
        ("attribute.stat = x", 0, "no attribute 'stat'. Did you mean 'status'?"),
        ("status = FAILD", 9, "no status 'FAILD'. Did you mean 'FAILED'?"),
        ("status > FAILED", 7, "compare 'status' with =, != or IN"),
        ("metric.auc > high", 13, "'metric.auc' is a metric: expected a number, found 'high'"),
        ("metric.auc > '0.5'", 13, "'metric.auc' is a metric: expected a number, found '0.5'"),
        ("metric.auc ~ 0.5", 11, "'metric.auc' is no text"),
        ("created > soon", 10, "'created' is a time: expected 2026-01-31"),
        ("created ~ 2026", 8, "'created' is no text"),
        ("created > 2026-13-01", 10, "'created' is a time"),
        ("created > 999999w", 10, "'created' is a time"),
        ("duration > long", 11, "'duration' is a number of seconds, or 90s, 5m, 2h: found 'long'"),
        ("seed = x", 7, "'seed' is a number: found 'x'"),
        ("deleted = maybe", 10, "'deleted' is true or false"),
        ("id = ''", 5, "expected an id or its beginning"),
        ("notes LIKE '%a%a%a%a%a%a%a%a%a%a%a%'", 11, "a LIKE pattern has at most 10 signs %"),
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_says_where(some: Catalog, query: str, position: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        some.list_runs(query=query)
    assert words in str(caught.value)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("order_by", "down", "up"),
    [
        ("metric.auc", "b a d e c f", "a b d e c f"),
        ("param.depth", "b a c f e d", "a b c f e d"),
        ("tag.team", "b a f e d c", "a b f e d c"),
        ("created_at", "f e d c b a", "a b c d e f"),
        ("created", "f e d c b a", "a b c d e f"),
        ("workflow", "c f e d b a", "f e d b a c"),
        ("duration", "e d c b a f", "a e d c b f"),
        ("finished_at", "e d c b a f", "a b c d e f"),
        ("metric.never", "f e d c b a", "f e d c b a"),
    ],
)
def test_runs_without_a_number_come_last_in_either_direction(
    some: Catalog, order_by: str, down: str, up: str
) -> None:
    def shown(text: str) -> list[str]:
        # NaN and infinities among themselves are in no promised order.
        return text.split()

    for descending, expected in ((True, down), (False, up)):
        result = ids(some, order_by=order_by, descending=descending).split()
        if order_by == "metric.auc":
            assert result[:2] == shown(expected)[:2]
            assert set(result[2:5]) == {"c", "d", "e"}
            assert result[5] == "f"
        else:
            assert result == shown(expected)


@pytest.mark.parametrize(
    "order_by", ["created", "metric.auc", "param.depth", "tag.team", "duration", "metric.never"]
)
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("size", [1, 2, 4, 5, 100])
def test_pages_put_together_are_the_list(some: Catalog, order_by: str, descending: bool, size: int) -> None:
    whole = ids(some, order_by=order_by, descending=descending, limit=None).split()
    assert sorted(whole) == list("abcdef")
    pages: list[str] = []
    for offset in range(0, 8, size):
        page = ids(some, order_by=order_by, descending=descending, limit=size, offset=offset).split()
        assert len(page) == max(0, min(size, 6 - offset))
        pages += page
    assert pages == whole


@pytest.mark.parametrize("order_by", ["stauts", "metric.", "", "tagged.x", "created; DROP TABLE run"])
def test_an_unknown_order_is_refused(some: Catalog, order_by: str) -> None:
    with pytest.raises(ParameterError, match="cannot order by"):
        some.list_runs(order_by=order_by)


def test_an_unknown_status_is_refused(some: Catalog) -> None:
    with pytest.raises(ParameterError, match="no status 'done'"):
        some.list_runs(status="done")


def test_a_listed_run_is_whole_but_for_its_nodes(catalog: Catalog) -> None:
    complete(
        catalog, "a", 0, {"auc": math.nan, "b": 1.0}, [make_node("n")], params={"x": [1, 2]},
        tags={"t": "v"}, environment=ENVIRONMENT, code=CodeInfo("c"),
    )  # fmt: skip
    (listed,) = catalog.list_runs()
    whole = catalog.get_run("a")
    assert str(listed.metrics) == str(whole.metrics)
    assert (listed.params, listed.tags, listed.environment) == (whole.params, whole.tags, whole.environment)
    assert listed.nodes == ()


def count_selects(catalog: Catalog, **arguments: Any) -> int:
    seen: list[str] = []
    with catalog.database.read() as connection:
        connection.connection.driver_connection.set_trace_callback(seen.append)  # type: ignore[union-attr]
    catalog.list_runs(**arguments)
    with catalog.database.read() as connection:
        connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
    return len([s for s in seen if s.startswith("SELECT")])


@sqlite_only
@pytest.mark.parametrize("order_by", ["created", "metric.auc"])
def test_a_page_costs_the_same_number_of_statements_however_long_it_is(
    catalog: Catalog, order_by: str
) -> None:
    for i in range(300):
        complete(catalog, f"r{i}", i, {"auc": float(i), "loss": 1.0}, tags={"a": "b"})
    short = count_selects(catalog, limit=2, order_by=order_by, query="auc >= 0")
    assert count_selects(catalog, limit=250, order_by=order_by, query="auc >= 0") == short <= 8


@pytest.mark.parametrize(
    "query", ["metric.auc >= 0", "param.depth = 1", "tag.a = b", "auc >= 0 and tag.a = b"]
)
def test_a_page_that_the_newest_runs_fill_looks_at_no_others(catalog: Catalog, query: str) -> None:
    for i in range(40):
        complete(catalog, f"r{i:02}", i, {"auc": float(i)}, params={"depth": 1}, tags={"a": "b"})
    for i in range(30):
        complete(catalog, f"t{i}", 50 + i, {"auc": 1.0}, sweep_id="s", trial_number=i)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "NEWEST_LOOKED_AT", 20)
        patch.setattr(listing, "_list_ids", None)
        assert ids(catalog, query=query, limit=3) == "r39 r38 r37"
        assert ids(catalog, query=query, limit=3, offset=15) == "r24 r23 r22"


@sqlite_only
def test_a_parameter_orders_from_its_index(catalog: Catalog) -> None:
    begin(catalog, "a", params={"depth": 1})
    for stage in listing._list_stages([], "param", "depth", True)[:-1]:
        with catalog.database.read() as connection:
            text = stage.limit(1).compile(catalog.database.engine, compile_kwargs={"literal_binds": True})
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
        assert not [line for line in plan if line.startswith("SCAN")], plan


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (r"notes LIKE 'a\\_b'", r"a\xb"),
        (r"notes LIKE 'a\\%'", r"a\xb"),
        (r"notes ~ '\\'", r"a\xb"),
        ("notes LIKE 'a_b'", "a_b"),
        ("notes ~ 'a_'", "a_b"),
        ("notes ~ 'É'", "É"),
        ("notes ~ 'é'", "é"),
        ("notes LIKE 'é'", "é"),
        ("notes LIKE 'Z'", "Z z"),
        ("notes = 'z'", "z"),
        ("notes >= 'Z' AND notes < 'b'", r"Z a\xb a_b"),
        ("notes > 'z'", "É é"),
    ],
)
def test_texts_compare_by_their_characters_on_every_database(
    catalog: Catalog, query: str, result: str
) -> None:
    for text in ("z", "é", "a_b", "Z", "É", r"a\xb"):
        begin(catalog, text, notes=text)
    assert ids(catalog, query=query, order_by="notes", descending=False) == result


@pytest.mark.parametrize("order_by", ["owner", "param.p", "tag.t"])
def test_texts_are_sorted_by_their_characters_on_every_database(catalog: Catalog, order_by: str) -> None:
    for text in ("b", "a_b", "B", "é", "ab", "a b", "_"):
        begin(catalog, text, owner=text, params={"p": text}, tags={"t": text})
    runs = catalog.list_runs(order_by=order_by, descending=False)
    assert [r.id for r in runs] == ["B", "_", "a b", "a_b", "ab", "b", "é"]


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("nodes > 0.5", "a"),
        ("nodes = 1.0", "a"),
        ("nodes = 1.5", ""),
        ("nodes < 1e300", "a b"),
        ("seed < inf", "a b"),
        ("seed >= 2e18", "b"),
        ("param.big > 1e29", "b"),
        ("duration > 59.5", "a"),
    ],
)
def test_numbers_compare_by_their_values_on_every_database(catalog: Catalog, query: str, result: str) -> None:
    complete(catalog, "a", 0, {}, [make_node("n")], params={"big": 1})
    begin(catalog, "b", 1, run_seed=2**62, params={"big": 10**30})
    assert ids(catalog, query=query, descending=False) == result


def test_all_ids_of_a_search_can_be_listed(some: Catalog) -> None:
    assert some.list_run_ids(query="auc > 0.6") == ["d", "b", "a"]
    assert some.list_run_ids(workflow="delays", include_trials=True) == ["t1", "t2", "f", "e", "d", "b", "a"]


def test_a_long_parameter_is_found_by_its_whole_text(catalog: Catalog) -> None:
    long = "x" * 5000
    begin(catalog, "a", params={"p": long})
    assert ids(catalog, query=f"param.p = '{long}'") == "a"


def test_the_last_value_of_a_curve_is_what_a_query_compares(catalog: Catalog) -> None:
    begin(catalog, "a")
    catalog.append_metrics("a", [MetricPoint("loss", v, i) for i, v in enumerate([3.0, 2.0, 1.0])])
    assert ids(catalog, query="loss = 1") == "a"
    assert ids(catalog, query="loss = 3") == ""


@pytest.mark.parametrize("order_by", ["metric.auc", "param.depth", "tag.team"])
@pytest.mark.parametrize("descending", [True, False])
def test_a_page_in_the_order_of_a_value_is_the_same_however_few_runs_were_looked_at(
    catalog: Catalog, order_by: str, descending: bool
) -> None:
    for i in range(40):
        # Many are equal, some have none, and some are NaN.
        metrics = {"auc": float("nan") if i % 11 == 0 else (i * 7 % 5) / 5} if i % 6 else {}
        params, tags = {"depth": i % 4} if i % 3 else {}, {"team": "ab"[i % 2]} if i % 4 else {}
        complete(catalog, f"r{i:02}", i, metrics, params=params, tags=tags)
    for query in (None, "param.depth = 2", "auc > 0.1 and not tag.team = 'a'"):
        asked: dict[str, Any] = {"query": query, "order_by": order_by, "descending": descending}
        whole = ids(catalog, limit=None, **asked).split()
        with pytest.MonkeyPatch.context() as patch:
            for looked_at in (0, 3, 10, 25):
                patch.setattr(listing, "FIRST_LOOKED_AT", looked_at)
                for limit, offset in ((1, 0), (5, 0), (5, 3), (20, 10)):
                    found = ids(catalog, limit=limit, offset=offset, **asked).split()
                    assert found == whole[offset : offset + limit]


def test_the_best_runs_are_found_without_looking_at_the_others(catalog: Catalog) -> None:
    for i in range(30):
        complete(catalog, f"r{i:02}", i, {"auc": i / 30}, params={"depth": i % 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "FIRST_LOOKED_AT", 10)
        patch.setattr(listing, "_list_ids", None)
        assert ids(catalog, query="param.depth = 1", order_by="metric.auc", limit=3) == "r29 r27 r25"
