"""Owns the table that both sides store: a million rows of the kinds of columns that tables have."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pairs import time_once
from sides.memory import read_memory

ROWS = 1_000_000
CARRIERS = ("9E", "AA", "B6", "DL", "EV", "UA", "US", "WN")


def make_table(rows: int = ROWS) -> pd.DataFrame:
    """Twelve columns of floats, four of integers, two of text, one of booleans, one of times."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {f"float_{i}": random.standard_normal(rows) for i in range(12)}
    columns |= {f"int_{i}": random.integers(0, 1_000_000, rows) for i in range(4)}
    for i in range(2):
        columns[f"text_{i}"] = pd.array(
            np.array(CARRIERS)[random.integers(0, len(CARRIERS), rows)], dtype="str"
        )
    columns["flag"] = random.random(rows) < 0.5
    columns["at"] = pd.Timestamp("2013-01-01") + pd.to_timedelta(
        random.integers(0, 525_600, rows), unit="min"
    )
    return pd.DataFrame(columns)


def make_rounds(round_trip: Callable[[pd.DataFrame, Path], pd.DataFrame], what: str) -> Callable[[], float]:
    """Return what measures a round trip: its seconds ("time"), or its memory at the peak ("memory").

    Memory is measured once in a process: what a first round leaves to the allocator would hide that a second
    one needs it. A small table comes first, so that loading code does not count.

    Args:
        round_trip: stores a table in an empty folder and loads it from there.
        what: "time" or "memory".
    """
    table = make_table()
    small = table.head(1000)
    pd.testing.assert_frame_equal(round_trip(small, make_folder()), small)

    def measure_time() -> float:
        folder = make_folder()
        loaded: list[pd.DataFrame] = []
        seconds = time_once(lambda: loaded.append(round_trip(table, folder)))
        pd.testing.assert_frame_equal(loaded.pop(), table)
        shutil.rmtree(folder)
        return seconds

    def measure_memory() -> float:
        folder = make_folder()
        loaded, sizes = measure_peak(lambda: read_numbers(round_trip(table, folder)), table)
        pd.testing.assert_frame_equal(loaded, table)
        return sizes

    return measure_memory if what == "memory" else measure_time


def read_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Read through a table and return it: a mapped file is in memory only as far as somebody reads it."""
    for name in table.columns[:16]:
        table[name].sum()
    return table


def make_folder() -> Path:
    """Make an empty folder where benchmarks keep their files."""
    return Path(tempfile.mkdtemp(dir=os.environ["FLOWLEARNER_HOME"]))


def measure_peak(call: Callable[[], pd.DataFrame], table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return what a call gives and the memory that it took at its peak, in sizes of the table.

    What was there before, such as the table itself, does not count; mapped files do, as far as they
    are in memory.
    """
    gc.collect()
    # Linux: the peak so far is forgotten.
    Path("/proc/self/clear_refs").write_text("5")
    before = read_memory("VmRSS")
    given = call()
    peak = read_memory("VmHWM") - before
    return given, peak / int(table.memory_usage(deep=True).sum())
