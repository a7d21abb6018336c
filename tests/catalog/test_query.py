"""The search language: what parses, and where what does not is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlearner.catalog.query import And, Comparison, Name, Not, Or, Value, list_comparisons, parse_query
from flowlearner.errors import QueryError


def parse_one(query: str) -> Comparison:
    tree = parse_query(query)
    assert isinstance(tree, Comparison)
    return tree


@pytest.mark.parametrize(
    ("query", "kind", "name", "operator", "value"),
    [
        ("metric.auc > 0.5", "metric", "auc", ">", "0.5"),
        ("metrics.auc>=0.5", "metric", "auc", ">=", "0.5"),
        ("PARAM.max_depth = 4", "param", "max_depth", "=", "4"),
        ("params.x != -1e-3", "param", "x", "!=", "-1e-3"),
        ("tags.team == 'ops'", "tag", "team", "=", "ops"),
        ("attributes.status <> FAILED", "attribute", "status", "!=", "FAILED"),
        ("auc < .5", "", "auc", "<", ".5"),
        ('metric."log loss" <= 1', "metric", "log loss", "<=", "1"),
        ("metric.`a b` < 1", "metric", "a b", "<", "1"),
        ("metric.train.auc < 1", "metric", "train.auc", "<", "1"),
        ("notes ~ 'it''s'", "", "notes", "~", "it's"),
        (r"notes !~ 'it\'s'", "", "notes", "!~", "it's"),
        ('notes like "its%"', "", "notes", "like", "its%"),
        ("notes = \"it''s\"", "", "notes", "=", "it''s"),
        (r"notes = 'a\\b'", "", "notes", "=", r"a\b"),
        ("created >= 2026-01-01", "", "created", ">=", "2026-01-01"),
        ("workflow = 漢字", "", "workflow", "=", "漢字"),
    ],
)
def test_a_comparison_has_a_name_an_operator_and_a_value(
    query: str, kind: str, name: str, operator: str, value: str
) -> None:
    found = parse_one(query)
    assert (found.name.kind, found.name.text, found.operator) == (kind, name, operator)
    assert found.values[0].text == value


def test_a_list_and_null_are_comparisons_too() -> None:
    assert parse_one("status IN (FAILED, 'CRASHED')").values == (
        Value("FAILED", False, 11),
        Value("CRASHED", True, 19),
    )
    assert parse_one("finished is null").operator == "null"
    assert isinstance(parse_query("finished IS NOT NULL"), Not)
    assert isinstance(parse_query("status not in ('A')"), Not)
    assert isinstance(parse_query("notes NOT LIKE 'A'"), Not)


def test_and_binds_closer_than_or_and_not_closest() -> None:
    tree = parse_query("a = 1 or b = 2 And not c = 3 AND d = 4")
    assert isinstance(tree, Or)
    left, right = tree.parts
    assert isinstance(left, Comparison)
    assert isinstance(right, And)
    assert isinstance(right.parts[1], Not)
    assert [c.name.text for c in list_comparisons(tree)] == ["a", "b", "c", "d"]


def test_parentheses_group() -> None:
    tree = parse_query("(a = 1 OR b = 2) AND NOT (c = 3)")
    assert isinstance(tree, And)
    assert isinstance(tree.parts[0], Or)


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_a_blank_query_says_nothing(query: str) -> None:
    assert parse_query(query) is None


def test_names_know_where_they_are() -> None:
    assert parse_one("   metric.auc > 1").name == Name("metric", "auc", 3)


@pytest.mark.parametrize(
    ("query", "position", "words"),
    [
        ("status", 6, "expected =, !="),
        ("status =", 8, "expected a value, found the end of the query"),
        ("status = FAILED AND", 19, "expected a comparison"),
        ("status = AND", 9, "expected a value, found 'AND'"),
        ("= 3", 0, "expected a comparison"),
        ("(status = FAILED", 0, "this '(' is never closed"),
        ("status = FAILED)", 15, "expected AND, OR or the end, found ')'"),
        ("status = 'FAILED", 9, "a text that begins with ' has no end"),
        ("status ! FAILED", 7, "unexpected '!'"),
        ("status = FAILED created > 7d", 16, "expected AND, OR or the end, found 'created'"),
        ("metric. > 3", 7, "expected the name of a metric"),
        ("status in FAILED", 10, "expected a list"),
        ("status in (FAILED", 10, "this '(' is never closed"),
        ("status in ()", 11, "expected a value, found ')'"),
        ("status in (FAILED CRASHED)", 18, "expected ',' or ')'"),
        ("finished is 3", 12, "expected NULL"),
        ("a = 1 AND NOT", 13, "expected a comparison"),
        ("a = 1 ; DROP TABLE run", 6, "expected AND, OR or the end"),
    ],
)
def test_a_mistake_is_shown_where_it_is(query: str, position: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert words in str(caught.value)
    assert caught.value.position == position
    assert caught.value.query == query
    assert str(caught.value).endswith(f"  {query}\n  {' ' * position}^")


@pytest.mark.parametrize("before", ["", "a = 1 and ", "a = 1\nand\t", "a\r\n= 1 and ", "a = 1 and " * 100])
def test_the_mark_of_a_mistake_stands_below_it(before: str) -> None:
    query = before + "b ! 2 or c = 3"
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    shown, mark = str(caught.value).split("\n")[-2:]
    assert caught.value.position == len(before) + 2
    assert shown[mark.index("^")] == "!"
    assert len(shown) <= 102


@pytest.mark.parametrize(
    "query",
    [
        "(" * 5000 + "a = 1",
        "NOT " * 2000 + "a = 1",
        " AND ".join(["a = 1"] * 500),
        "a = '" + "x" * 20_000 + "'",
    ],
)
def test_a_query_without_measure_is_refused(query: str) -> None:
    with pytest.raises(QueryError):
        parse_query(query)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab.'\"`()=<>!~, \\\n%漢0-", max_size=40))
def test_any_text_parses_or_says_where_it_is_wrong(query: str) -> None:
    position = 0
    try:
        parse_query(query)
    except QueryError as error:
        position = error.position
    assert 0 <= position <= len(query)
