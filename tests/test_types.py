"""The words that annotate parameters and outputs: what they allow, and what they refuse to be."""

from __future__ import annotations

import math
import pickle
from datetime import datetime
from typing import Any

import pytest

from flowlearner import Choice, Columns, LogRange, Range


@pytest.mark.parametrize(
    ("bounds", "value", "is_inside"),
    [
        (Range(1, 12), 1, True),
        (Range(1, 12), 12, True),
        (Range(1, 12), 13, False),
        (Range(0.1, 0.9), 0.5, True),
        (Range(0, 1), True, False),
        (Range(0, 1), math.nan, False),
        (Range(0, 1), "0.5", False),
        (Range(0, 1), 10**400, False),
        (Range(0, 0.5, when={"booster": "dart"}), 0.5, True),
        (Range(0, 0.5, when={"booster": "dart"}), 0.6, False),
        (LogRange(0.01, 0.5), 0.01, True),
        (LogRange(0.01, 0.5), 0.009, False),
        (Choice(["a", "b"]), "b", True),
        (Choice(["a", "b"]), "c", False),
        (Choice([1, None]), None, True),
    ],
)
def test_both_ends_of_a_range_and_each_value_of_a_choice_are_inside(
    bounds: Any, value: Any, is_inside: bool
) -> None:
    assert bounds.contains(value) is is_inside


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range(3, 1), "low is above high"),
        (lambda: Range(0, math.inf), "high must be a finite number"),
        (lambda: Range(0, "1"), "high must be a finite number"),  # type: ignore[arg-type]
        (lambda: Range(0, 10**400), "high must be a finite number"),
        (lambda: Range(-1.7e308, 1.7e308), "wider than any number"),
        (lambda: Range(0, 1, step=0), "step must be above 0"),
        (lambda: Range(0, 1, step="a"), "step must be above 0, found 'a'"),  # type: ignore[arg-type]
        (lambda: Range(0, 1, when=["a"]), "when takes values by name"),  # type: ignore[arg-type]
        (lambda: LogRange(1, 2, when={1: "a"}), "when takes values by name"),  # type: ignore[dict-item]
        (lambda: Choice([1], when={"a": []}), "never holds; give at least one value"),
        (lambda: LogRange(0, 1), "low must be above 0"),
        (lambda: Choice([]), "at least one value"),
        (lambda: Choice("abc"), "takes a list of values"),
        (lambda: Choice("a", "b"), r"write Choice\(\['a', 'b'\]\)"),  # type: ignore[arg-type]
        (lambda: Columns("age", age=float), "'age' is named twice"),
        (lambda: Columns(age=list), "column 'age' is of type"),
        (lambda: Columns(age="number"), "expected one of float, int"),
        (lambda: Columns(3), "expected the name of a column"),  # type: ignore[arg-type]
    ],
)
def test_a_word_that_makes_no_sense_is_refused_with_the_reason(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_ranges_and_choices_read_as_on_the_command_line() -> None:
    texts = [str(Range(2, 10)), str(Range(2, 10, 2)), str(LogRange(0.01, 0.5)), str(Choice(["a", "b"]))]
    assert texts == ["2..10", "2..10:2", "log(0.01,0.5)", "{a,b}"]


def test_a_condition_is_a_part_of_what_a_domain_is_and_says() -> None:
    for domain in (Range(0, 1), LogRange(1, 2), Choice(["a"])):
        given = {"booster": "dart", "n": [1, 2]}
        if isinstance(domain, Choice):
            conditional: Any = Choice(domain.values, when=given)
        else:
            conditional = type(domain)(domain.low, domain.high, when=given)
        assert conditional != domain
        assert hash(conditional) == hash(domain)
        assert repr(conditional) == repr(domain)[:-1] + ", when={'booster': 'dart', 'n': [1, 2]})"
        assert eval(repr(conditional)) == conditional
        assert pickle.loads(pickle.dumps(conditional)) == conditional
        assert str(conditional) == f"{domain} when booster=dart and n=1|2"
    assert Range(0, 1, when={"a": "x"}) == Range(0, 1, when={"a": ["x"]})
    assert Range(0, 1, when={}) == Range(0, 1)


def test_a_text_that_would_read_as_something_else_is_quoted() -> None:
    texts = ["a", "a,b", "it's", "", " a", "1", "None", "a when b", "x=y"]
    assert str(Choice(texts)) == "{a,'a,b','it''s','',' a','1','None','a when b','x=y'}"
    assert str(Choice([1, None, True, 0.5])) == "{1,None,True,0.5}"


def test_columns_keep_their_order_and_a_bare_name_has_any_type() -> None:
    columns = Columns("carrier", delay=float, at=datetime)
    assert columns.types == (("carrier", Any), ("delay", float), ("at", datetime))


def test_a_column_may_name_its_builtin_type_by_text() -> None:
    assert Columns(age="int", city="str") == Columns(age=int, city=str)
