"""When a schedule fires: broken cron texts, intervals and time zones, each with what is wrong."""

from __future__ import annotations

import pytest

from flowlearner.errors import UsageError
from flowlearner.schedule.timing import check_cron, check_timezone, find_local_timezone, make_timing

BROKEN = {
    "61 2 * * *": "minute: found '61', allowed is 0-59",
    "0 24 * * *": "hour: found '24', allowed is 0-23",
    "0 2 0 * *": "day of month: found '0', allowed is 1-31 or L for the last day",
    "0 2 * 13 *": "month: found '13', allowed is 1-12 or jan-dec",
    "0 2 * january *": "month: found 'january', allowed is 1-12 or jan-dec",
    "0 2 * * 8": "day of week: found '8', allowed is 0-7 or sun-sat",
    "0 2 * * mom": "Did you mean 'mon'?",
    "a 2 * * *": "minute: found 'a'",
    "*/0 2 * * *": "minute: found '*/0', but after / comes a step from 1 to 59",
    "*/ 2 * * *": "minute: found '*/'",
    "0 22-2 * * *": "hour: found '22-2', which goes backwards; write 22-23,0-2",
    "0 2 * * 7-2": "Sunday is 0 at the beginning of a range",
    "0 2 *-3 * *": "day of month: found '*-3', but * already means all",
    "0 1,2, * * *": "hour: found ''",
    "0 H * * *": "hour: found 'h'",
    "-5 2 * * *": "minute: found '-5', expected numbers from 0-59",
    "٣ 2 * * *": "minute: found '٣'",
    "0 2 * *": "expected 5 fields (minute, hour, day of month, month, day of week)",
    "0 0 2 * * *": "found 6",
    "": "found 0",
    "@dayly": "no such word; there are @hourly, @daily",
    "@reboot": "no such word",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_cron_text_names_the_field_with_what_was_found_and_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_cron(text)
    assert BROKEN[text] in str(raised.value)


def test_every_broken_field_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"minute: found '99'.*month: found '0'.*day of week: found '9'"):
        check_cron("99 2 * 0 9")


@pytest.mark.parametrize(
    "text",
    [
        "0 2 * * *",
        "*/15 8-18 * * mon-fri",
        "0 0 1,15 * *",
        "0 0 L * *",
        "5/10 * * jan,JUL 0",
        "0 2 * * 7",
        "@daily",
    ],
)
def test_cron_texts_that_are_in_use_are_taken(text: str) -> None:
    check_cron(text)


@pytest.mark.parametrize(
    ("zone", "near"),
    [
        ("Europe/Pariss", "Europe/Paris"),
        ("Paris", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("America/New York", "America/New_York"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest(zone: str, near: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_timezone(zone)
    assert f"--timezone: no time zone '{zone}'" in str(raised.value)
    assert f"Did you mean '{near}'?" in str(raised.value)


@pytest.mark.parametrize("every_s", [0.0, -1.0, 0.5, float("nan"), float("inf"), 1e12])
def test_an_interval_that_is_none_is_refused(every_s: float) -> None:
    with pytest.raises(UsageError, match="--every: expected from 1 to"):
        make_timing(None, every_s, None)


def test_one_of_cron_and_interval_is_needed_and_no_more() -> None:
    for cron, every_s in ((None, None), ("0 2 * * *", 60.0)):
        with pytest.raises(UsageError, match="one of the two"):
            make_timing(cron, every_s, None)


def test_the_zone_is_this_machines_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert find_local_timezone() == "Asia/Tokyo"
    assert make_timing("0  2 * * *", None, None).timezone == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "nonsense")
    check_timezone(find_local_timezone())
