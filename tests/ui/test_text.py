"""Texts of users stay texts, and numbers and times are readable."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from tests.ui.flows import HOSTILE
from ui.components.text import (
    cut,
    plain,
    show_ago,
    show_duration,
    show_number,
    show_size,
    show_value,
    split_doc,
)


def test_every_sign_that_markdown_may_read_is_escaped() -> None:
    signs = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    assert plain(signs) == "".join(f"\\{sign}" for sign in signs)
    assert plain(HOSTILE).replace("\\", "") == HOSTILE


def test_a_text_becomes_one_line_of_limited_length() -> None:
    assert plain("a\n\n# b") == "a \\# b"
    assert plain("x" * 10_000, 5) == "xxxx…"
    assert cut("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"), (0.1234567891, "0.123457"), (1e-9, "1e-09"), (1_000_000, "1,000,000"),
        (math.nan, "nan"), (-math.inf, "-inf"), (True, "True"),
    ],
)  # fmt: skip
def test_numbers_have_six_digits(value: float | None, text: str) -> None:
    assert show_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (0.0123, "12 ms"), (59.94, "59.9 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float | None, text: str) -> None:
    assert show_duration(seconds) == text


def test_sizes_have_the_unit_that_suits_them() -> None:
    assert [show_size(n) for n in (12, 2048, 5 << 20, 3 << 40)] == ["12 B", "2.0 KiB", "5.0 MiB", "3.0 TiB"]


def test_a_stored_value_is_named_by_its_source_or_hash() -> None:
    assert show_value({"type": "File", "hash": "a" * 64, "source": "rows.csv"}) == "rows.csv"
    assert show_value({"type": "File", "hash": "a" * 64}) == "File aaaaaaaa"
    assert show_value({"depth": 3}) == "{'depth': 3}"


def test_what_was_is_told_from_now() -> None:
    now = datetime.now(UTC)
    times = [timedelta(seconds=3), timedelta(minutes=1), timedelta(hours=5), timedelta(days=2)]
    assert [show_ago(now - t) for t in times] == ["just now", "1 minute ago", "5 hours ago", "2 days ago"]


def test_a_docstring_is_what_it_says_and_its_example() -> None:
    doc = (
        "Fit a line.\n\nSlowly.\n\nArgs:\n    n: how many.\n\n"
        "Example:\n    >>> fit(1)\n    2\n\nRaises:\n    X: y."
    )
    assert split_doc(doc) == ("Fit a line.\n\nSlowly.", ">>> fit(1)\n2")
    assert split_doc("") == ("", "")
    assert split_doc("Fit.") == ("Fit.", "")
