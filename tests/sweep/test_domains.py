"""The text form of domains: what it means, that `str` writes what `parse_domain` reads, and its refusals."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlearner import Choice, LogRange, Range
from flowlearner.interface import Param
from flowlearner.spec import make_spec
from flowlearner.sweep.domains import parse_domain


class Booster(Enum):
    TREE = 1
    DART = 2


def make_param(hint: Any) -> Param:
    return Param("x", make_spec(hint))


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("2..10", int, Range(2, 10)),
        ("2 .. 10 : 2", int, Range(2, 10, 2)),
        ("-5..-1", int, Range(-5, -1)),
        ("1_000..2_000", int, Range(1000, 2000)),
        ("0.1..0.9", float, Range(0.1, 0.9)),
        ("1e-3..1E2:1e-3", float, Range(0.001, 100.0, 0.001)),
        ("0...5", float, Range(0, 0.5)),
        ("3..3", int, Range(3, 3)),
        ("log(0.01,0.5)", float, LogRange(0.01, 0.5)),
        ("log( 1 , 100 )", int, LogRange(1, 100)),
        ("{gbtree, dart}", str, Choice(["gbtree", "dart"])),
        ("{1,2}", int, Choice([1, 2])),
        ("{true,false}", bool, Choice([True, False])),
        ("{0.1,1}", float, Choice([0.1, 1.0])),
        ("{TREE,DART}", Booster, Choice([Booster.TREE, Booster.DART])),
        ("{None,a}", str | None, Choice([None, "a"])),
        ("{None,3}", int | None, Choice([None, 3])),
        ("{'None',a}", str | None, Choice(["None", "a"])),
        ("{1,'1'}", int | str, Choice([1, "1"])),
        ("{a,b}", Literal["a", "b"], Choice(["a", "b"])),
        ("{[1,2],[3]}", list[int], Choice([[1, 2], [3]])),
        ('{["a,b"],["c\\"]"]}', list[str], Choice([["a,b"], ['c"]']])),
        ("{'a,b',\"it's\",'it''s too',don't}", str, Choice(["a,b", "it's", "it's too", "don't"])),
        ("{'',' a ',''''}", str, Choice(["", " a ", "'"])),
        ("{'''(',a}", str, Choice(["'(", "a"])),
        ("{'C:\\',b\\}", str, Choice(["C:\\", "b\\"])),
        ("{x when y=z,(a,b)}", str, Choice(["x when y=z", "(a,b)"])),
        ("0..1 when b=dart", float, Range(0, 1, when={"b": "dart"})),
        ("{a} when b = dart | tree and c=1", str, Choice(["a"], when={"b": ["dart", "tree"], "c": "1"})),
        ("log(1,2) when b='x and y'|'z|'", float, LogRange(1, 2, when={"b": ["x and y", "z|"]})),
    ],
)
def test_a_text_means_a_domain(text: str, hint: Any, expected: Any) -> None:
    found = parse_domain(text, make_param(hint))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("text", "hint", "message"),
    [
        ("", int, "'' is no domain; expected 2..10"),
        ("5", int, "'..' is expected after '5'"),
        ("1.", float, "'..' is expected after '1'"),
        ("a,b", str, "a list stands in braces"),
        ("log(1)", float, "log takes two numbers"),
        ("log(1,2", float, r"the \( at character 4 is not closed"),
        ("{a,b", str, "the { at character 1 is not closed"),
        ("{'a,b}", str, "the ' at character 2 is not closed"),
        ("{a(,b}", str, r"the \( at character 3 is not closed"),
        ("{}", str, "has no value in it"),
        ("{a,,b}", str, "empty place between two commas"),
        ("{1,x,y}", int, "found 'x'; expected int, found 'y'"),
        ("10..2", int, r"Range\(10, 2\): low is above high"),
        ("0..1e999", float, "high must be a finite number"),
        ("1..5:0", int, "step must be above 0"),
        ("log(0,1)", float, "low must be above 0"),
        ("1..2 when a", int, "expected NAME=VALUE"),
        ("1..2 when =a", int, "expected NAME=VALUE"),
        ("1..2 when a=1 and a=2", int, "names 'a' twice; join its values by |: a=a|b"),
        ("1..2 when a=1 when b=2", int, "has 'when' twice"),
    ],
)
def test_a_text_that_is_no_domain_is_refused_with_the_place(text: str, hint: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_domain(text, make_param(hint))


numbers = st.integers(-(10**20), 10**20) | st.floats(-1e200, 1e200)
words = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
whens = st.dictionaries(
    st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.lists(words, min_size=1, max_size=3), max_size=2
)


@given(numbers, numbers, st.none() | st.floats(1e-9, 1e9) | st.integers(1, 10**9), whens)
def test_what_str_writes_of_a_range_is_read_as_the_same(a: float, b: float, step: Any, when: Any) -> None:
    domain = Range(min(a, b), max(a, b), step, when=when)
    assert parse_domain(str(domain), make_param(float)) == domain


@given(st.floats(1e-300, 1e200), st.floats(1e-300, 1e200), whens)
def test_what_str_writes_of_a_log_range_is_read_as_the_same(a: float, b: float, when: Any) -> None:
    domain = LogRange(min(a, b), max(a, b), when=when)
    assert parse_domain(str(domain), make_param(float)) == domain


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (str, words),
        (str | None, st.none() | words),
        (int | str, st.integers() | words),
        (bool, st.booleans()),
        (bool | int, st.booleans() | st.integers()),
        (float, st.floats(allow_nan=False)),
        (Booster, st.sampled_from(Booster)),
        (date, st.dates()),
        (list[str], st.lists(words, max_size=3)),
        (dict[str, int], st.dictionaries(words, st.integers(), max_size=3)),
    ],
)
@given(data=st.data())
def test_what_str_writes_of_a_list_is_read_as_the_same(hint: Any, values: Any, data: Any) -> None:
    domain = Choice(data.draw(st.lists(values, min_size=1, max_size=4)), when=data.draw(whens))
    found = parse_domain(str(domain), make_param(hint))
    assert repr(found) == repr(domain)
