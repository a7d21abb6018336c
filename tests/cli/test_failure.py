"""Failures as people read them: their own lines first."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from flowlearner.cli.failure import list_failure_lines
from flowlearner.engine.node import describe_error
from flowlearner.records import ErrorInfo


class Refused(Exception):
    pass


def fail_in_library() -> None:
    pd.DataFrame({"a": [1]})["missing"]


def fail_with_cause() -> None:
    try:
        [].pop()
    except IndexError as error:
        raise RuntimeError("nothing left") from error


def fail_with_note() -> None:
    error = Refused("no\n  more")
    error.add_note("it was late")
    raise error


def explain(fail: Callable[[], None], keep_links: bool = True) -> list[str]:
    """Return the lines for a failure of this function, recorded as it is."""
    try:
        fail()
    except (LookupError, RuntimeError, Refused) as error:
        text = traceback.format_exc()
        if not keep_links:
            text = text.replace(
                "\nThe above exception was the direct cause of the following exception:\n\n", ""
            )
        return list_failure_lines(
            ErrorInfo(type(error).__name__, f"node 'a' failed: {type(error).__name__}: {error}", text)
        )
    raise AssertionError("it did not fail")


def test_frames_of_libraries_behind_the_users_own_are_counted_only() -> None:
    lines = explain(fail_in_library)
    assert any('pd.DataFrame({"a": [1]})["missing"]' in line for line in lines)
    assert lines[-1] == "… and 2 more in libraries"
    assert not any("site-packages" in line or "Caused by" in line for line in lines)


@pytest.mark.parametrize("keep_links", [True, False])
def test_the_error_that_was_raised_stands_before_its_cause(keep_links: bool) -> None:
    lines = explain(fail_with_cause, keep_links)
    raised = next(i for i, line in enumerate(lines) if "raise RuntimeError" in line)
    cause = lines.index("Caused by IndexError: pop from empty list")
    popped = next(i for i, line in enumerate(lines) if "[].pop()" in line)
    assert raised < cause < popped
    assert not any("above exception" in line or line.startswith("RuntimeError") for line in lines)


def fail_while_handling() -> None:
    try:
        [].pop()
    except IndexError:
        raise RuntimeError("nothing left")  # noqa: B904 - what is not said is tested


@pytest.mark.parametrize("fail", [fail_with_cause, fail_while_handling])
def test_a_chain_is_shown_in_the_order_in_which_the_engine_stores_it(fail: Callable[[], None]) -> None:
    with pytest.raises(RuntimeError) as caught:
        fail()
    stored = replace(describe_error(caught.value), message="node 'a' failed: RuntimeError: nothing left")
    lines = list_failure_lines(stored)
    raised = next(i for i, line in enumerate(lines) if "raise RuntimeError" in line)
    cause = lines.index("Caused by IndexError: pop from empty list")
    popped = next(i for i, line in enumerate(lines) if "[].pop()" in line)
    assert raised < cause < popped
    assert not any("It was" in line or line.startswith("RuntimeError") for line in lines)


def test_the_message_is_not_told_twice_and_notes_are() -> None:
    lines = explain(fail_with_note)
    assert lines[-1] == "it was late"
    assert not any("Refused: no" in line for line in lines)


def fail_with_blanks() -> None:
    raise Refused("no more  ")


def test_blanks_at_the_end_of_a_message_do_not_repeat_it() -> None:
    assert not any("Refused: no" in line for line in explain(fail_with_blanks))


def test_a_message_without_a_traceback_has_no_lines() -> None:
    assert list_failure_lines(ErrorInfo("InputError", "no file 'a'", "no file 'a'")) == []
    assert list_failure_lines(ErrorInfo("InputError", "no file 'a'", "")) == []
