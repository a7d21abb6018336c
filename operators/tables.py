"""Checks of the tables that operators are given, with messages that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import pandas as pd

from flowlearner import InputError

NAMES_SHOWN = 20


def require_columns(rows: pd.DataFrame, names: Iterable[str], where: str) -> None:
    """Refuse a table that lacks one of the named columns.

    Args:
        rows: the table.
        names: the columns that are needed.
        where: operator and input, for the message.

    Raises:
        InputError: a column is missing; the message lists those that are and those that exist.

    Example:
        >>> require_columns(pd.DataFrame({"late": [0]}), ["lat"], "train")
        Traceback (most recent call last):
        ...
        flowlearner.errors.InputError: train: the table has no column 'lat'. Did you mean 'late'? It has: late
    """
    known = [str(c) for c in rows.columns]
    missing = [n for n in dict.fromkeys(names) if n not in rows.columns]
    if not missing:
        return
    word = "column" if len(missing) == 1 else "columns"
    listed = ", ".join(f"'{n}'" for n in missing)
    close = get_close_matches(missing[0], known, n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise InputError(f"{where}: the table has no {word} {listed}.{hint} It has: {join_names(known)}")


def require_rows(rows: pd.DataFrame, where: str, least: int = 1) -> None:
    """Refuse a table with fewer than `least` rows.

    Raises:
        InputError: the table is too short.
    """
    if len(rows) < least:
        raise InputError(f"{where}: expected at least {least} rows, found {len(rows)}")


def require_label(rows: pd.DataFrame, label: str, where: str) -> pd.Series[Any]:
    """Return the label column of a table that has one without gaps.

    Raises:
        InputError: there is no such column, or some of its values are missing.
    """
    require_columns(rows, [label], where)
    require_rows(rows, where)
    values = rows[label]
    gaps = int(values.isna().sum())
    if gaps:
        raise InputError(
            f"{where}: label '{label}' is missing in {gaps} of {len(rows)} rows, the first at row "
            f"{int(values.isna().to_numpy().argmax())}. Drop these rows or fill them before"
        )
    return values


def require_classes(values: pd.Series[Any], where: str) -> list[Any]:
    """Return the sorted classes of a label that has at least two.

    Raises:
        InputError: only one class occurs.
    """
    classes = sorted(values.unique().tolist())
    if len(classes) < 2:
        raise InputError(
            f"{where}: label '{values.name}' has the one class {classes[0]!r} in all {len(values)} rows; "
            "at least two are needed. Is the split by time or by group?"
        )
    return classes


def choose_features(rows: pd.DataFrame, label: str, features: Sequence[str] | None, where: str) -> list[str]:
    """Return the columns that a model uses: those asked for, else all but the label.

    Raises:
        InputError: a column is missing, none is left, or the label is among them.
    """
    if features is None:
        chosen = [str(c) for c in rows.columns if c != label]
    else:
        chosen = list(dict.fromkeys(features))
        require_columns(rows, chosen, where)
    if label in chosen:
        raise InputError(
            f"{where}: the label '{label}' is among the features, so the model would read the answer"
        )
    if not chosen:
        raise InputError(f"{where}: no feature is left beside the label '{label}'")
    return chosen


def list_text_columns(rows: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return those of the named columns that hold text or categories."""
    return [n for n in names if is_text(rows[n])]


def list_number_columns(rows: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return those of the named columns that hold numbers; truth values do not count."""
    types = pd.api.types
    return [n for n in names if types.is_numeric_dtype(rows[n]) and not types.is_bool_dtype(rows[n])]


def is_text(values: pd.Series[Any]) -> bool:
    dtype = values.dtype
    return (
        isinstance(dtype, pd.CategoricalDtype)
        or pd.api.types.is_string_dtype(dtype)
        or pd.api.types.is_object_dtype(dtype)
    )


def join_names(names: Sequence[object]) -> str:
    """Join names by commas; a long list is cut and says how many are left."""
    rest = len(names) - NAMES_SHOWN
    text = ", ".join(str(n) for n in names[:NAMES_SHOWN]) or "(none)"
    return f"{text} and {rest} more" if rest > 0 else text
