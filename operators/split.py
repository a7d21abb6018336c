"""Operators that part a table into rows to learn from and rows to judge by."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd

from flowlearner import InputError, Range, Seed, operator
from operators.tables import require_columns, require_label, require_rows


class Parts(NamedTuple):
    """The rows to learn from and the rows to judge by; both numbered from 0."""

    train: pd.DataFrame
    test: pd.DataFrame


@operator
def split_random(
    rows: pd.DataFrame, test_size: Annotated[float, Range(0.001, 0.999)] = 0.2, seed: Seed = None
) -> Parts:
    """Draw the test rows at random, each row with the same chance.

    Rows that belong together (one customer, one day) land on both sides: split those by time or by group.

    Args:
        rows: the table.
        test_size: the share of rows to judge by.
        seed: of the draw; the run's seed by default.

    Returns:
        Both parts, in the order of the table.

    Example:
        >>> parts = split_random(pd.DataFrame({"x": range(10)}), test_size=0.3, seed=1)
        >>> len(parts.train), len(parts.test)
        (7, 3)
    """
    require_rows(rows, "split_random", 2)
    count = _count_test_rows(len(rows), test_size)
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[_generator(seed).permutation(len(rows))[:count]] = True
    return _part(rows, chosen)


@operator
def split_stratified(
    rows: pd.DataFrame,
    label: str,
    test_size: Annotated[float, Range(0.001, 0.999)] = 0.2,
    seed: Seed = None,
) -> Parts:
    """Draw the test rows at random within each class, so that both parts have the classes in like shares.

    Args:
        rows: the table.
        label: the column of the classes.
        test_size: the share of rows of each class to judge by; each class has at least one row on each side.
        seed: of the draw; the run's seed by default.

    Returns:
        Both parts, in the order of the table.

    Raises:
        InputError: a label is missing, or a class has a single row.

    Example:
        >>> rows = pd.DataFrame({"late": [0] * 8 + [1] * 2})
        >>> split_stratified(rows, "late", test_size=0.5).test["late"].tolist()
        [0, 0, 0, 0, 1]
    """
    values = require_label(rows, label, "split_stratified")
    generator = _generator(seed)
    chosen = np.zeros(len(rows), dtype=bool)
    codes, classes = pd.factorize(values, sort=True)
    for code, name in enumerate(classes):
        places = np.flatnonzero(codes == code)
        if len(places) < 2:
            raise InputError(
                f"split_stratified: class {name!r} of label '{label}' has a single row; "
                "two are needed, one for each part. Drop the class or use split_random"
            )
        chosen[generator.permutation(places)[: _count_test_rows(len(places), test_size)]] = True
    return _part(rows, chosen)


@operator
def split_by_time(
    rows: pd.DataFrame, time: str, test_size: Annotated[float, Range(0.001, 0.999)] = 0.2
) -> Parts:
    """Keep the latest rows for judging: nothing that is learned from happened after what it is judged by.

    Rows of one moment stay together, so the test part may be a little larger than asked.

    Args:
        rows: the table, in any order.
        time: the column of moments: timestamps or numbers.
        test_size: the share of rows to judge by.

    Returns:
        Both parts, each in the order of time; rows of one moment in the order of the table.

    Raises:
        InputError: a time is missing, is text, or all rows are of one moment.

    Example:
        >>> parts = split_by_time(pd.DataFrame({"day": [3, 1, 2, 3]}), "day", test_size=0.25)
        >>> parts.train["day"].tolist(), parts.test["day"].tolist()
        ([1, 2], [3, 3])
    """
    require_columns(rows, [time], "split_by_time")
    require_rows(rows, "split_by_time", 2)
    moments = rows[time]
    if not (pd.api.types.is_datetime64_any_dtype(moments) or pd.api.types.is_numeric_dtype(moments)):
        raise InputError(
            f"split_by_time: column '{time}' holds {moments.dtype}, expected timestamps or numbers; "
            f"read it as times, for example load_csv(path, dates=['{time}'])"
        )
    if moments.isna().any():
        raise InputError(f"split_by_time: column '{time}' is missing in {int(moments.isna().sum())} rows")
    ordered = rows.sort_values(time, kind="stable", ignore_index=True)
    first = ordered[time].iloc[len(ordered) - _count_test_rows(len(ordered), test_size)]
    is_test = (ordered[time] >= first).to_numpy()
    if is_test.all():
        raise InputError(
            f"split_by_time: no row is left to learn from, as {len(rows)} rows are at {first} or later. "
            "Choose a smaller test_size, or a finer time column"
        )
    return _part(ordered, is_test)


def _part(rows: pd.DataFrame, is_test: np.ndarray[Any, np.dtype[np.bool_]]) -> Parts:
    return Parts(
        train=rows[~is_test].reset_index(drop=True),
        test=rows[is_test].reset_index(drop=True),
    )


def _count_test_rows(rows: int, test_size: float) -> int:
    return min(max(round(rows * test_size), 1), rows - 1)


def _generator(seed: int | None) -> np.random.Generator:
    return np.random.default_rng(0 if seed is None else seed)
