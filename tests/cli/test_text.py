"""Values, times and sizes as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from flowlearner.cli.text import (
    align_numbers,
    clean,
    clean_line,
    count_of,
    shorten_line,
    show_age,
    show_duration,
    show_number,
    show_size,
    show_value,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("zwölf Grüße 木", "zwölf Grüße 木"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07", "]0;title"),
        ("\u202eturned", "turned"),
        ("half a pair \ud800", "half a pair "),
        ("\x9b2J", "2J"),
        ("carriage\r\nreturn\r", "carriage\nreturn"),
    ],
)
def test_control_characters_never_reach_a_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_line_stays_one_line() -> None:
    assert clean_line("a\n b\t c") == "a b c"
    assert shorten_line("abcdefgh", 5) == "abcd…"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.70823, "0.7082"),
        (0.1, "0.1000"),
        (12.3456, "12.35"),
        (1234.5678, "1,235"),
        (0.00012345, "0.0001234"),
        (1.2345e-7, "1.235e-07"),
        (1.2345e9, "1,234,500,000"),
        (-0.5, "-0.5000"),
        (2.0, "2.0"),
        (0.0, "0.0"),
        (250000.0, "250,000"),
        (336776, "336,776"),
        (4, "4"),
        (True, "True"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_have_four_digits(value: float, shown: str) -> None:
    assert show_number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0.0031, "3 ms"),
        (0.84, "0.84 s"),
        (12.34, "12.3 s"),
        (59.99, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3840, "1 h 04 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_fitting_units(seconds: float | None, shown: str) -> None:
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(3, "just now"), (42, "42 s ago"), (300, "5 min ago"), (3 * 3600 + 5, "3 h ago")],
)
def test_recent_times_are_relative(seconds: int, shown: str) -> None:
    assert show_age(datetime.now(UTC) - timedelta(seconds=seconds)) == shown


def test_old_times_are_dates() -> None:
    at = datetime.now(UTC) - timedelta(days=3)
    assert show_age(at) == at.astimezone().strftime("%Y-%m-%d")


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12 B"), (3482, "3.4 KiB"), (1 << 30, "1.0 GiB"), (1 << 50, "1024.0 TiB")]
)
def test_sizes_have_fitting_units(count: int, shown: str) -> None:
    assert show_size(count) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1, "0.1"),
        (1e-05, "1e-05"),
        (7, "7"),
        (None, "None"),
        ("", "''"),
        ("text", "text"),
        ({"type": "pandas.DataFrame", "hash": "ab" * 32, "source": "/data/tips.csv"}, "/data/tips.csv"),
        ({"type": "pandas.DataFrame", "hash": "ab" * 32}, "pandas.DataFrame abababababab"),
    ],
)
def test_values_are_shown_so_that_they_can_be_given_again(value: object, shown: str) -> None:
    assert show_value(value) == shown


def test_decimal_points_stand_below_each_other() -> None:
    assert align_numbers(["0.7082", "12.35", "1,235", "nan"]) == [
        "    0.7082",
        "   12.35  ",
        "1,235     ",
        "  nan     ",
    ]
    assert align_numbers([]) == []


def test_one_is_not_many() -> None:
    assert (count_of(1, "node"), count_of(2, "node")) == ("1 node", "2 nodes")
    assert count_of(2, "value is", "values are") == "2 values are"
