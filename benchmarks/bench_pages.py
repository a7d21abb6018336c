"""Measures the pages in a browser over a catalog of 100,000 runs, against a bare Streamlit app."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from browser import browsing, read_memory_mb, serve_bare, serve_pages, serving, time_view
from pairs import Pairs, collect_pairs, make_result, run_benchmark
from places import find_free_port, own_home
from playwright.sync_api import Page
from side import measure_once

RUNS = 100_000
VIEWS, MORE_VIEWS = 200, 100
MEMORY_LIMIT_MB, GROWTH_LIMIT_MB = 600.0, 20.0
# Words for people, and the limit in seconds.
RUNS_PAGE = ("the list of runs to its first rows (p95)", 1.5)
FILTER = ("filter or sort", 1.0)
TURN = ("the next page", 0.7)
RUN_PAGE = ("a run with 100 nodes, its graph", 1.5)
COMPARE = ("comparison of 50 runs", 2.0)
SWEEP = ("a sweep with 2,000 trials", 2.5)


def measure(count: int) -> list[dict[str, Any]]:
    """Each view in turn with the bare page, in one browser; then memory after many views."""
    with own_home() as env:
        measure_once("full_catalog", str(RUNS), env=env)
        ids = _read_ids(env["FLOWLEARNER_HOME"])
        port, bare = find_free_port(), find_free_port()
        with (
            serving(serve_pages(port), env, port) as pid,
            serving(serve_bare(bare), env, bare),
            browsing() as page,
        ):
            return _measure(page, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bare}", pid, ids, count)


def _read_ids(home: str) -> dict[str, Any]:
    with sqlite3.connect(f"{home}/catalog.db") as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM run WHERE workflow = 'delays' LIMIT 50")]
        (run,) = connection.execute("SELECT id FROM run WHERE workflow = 'grid'").fetchone()
        (sweep,) = connection.execute("SELECT id FROM sweep").fetchone()
    return {"runs": ids, "run": run, "sweep": sweep}


def _measure(
    page: Page, ours: str, bare: str, pid: int, ids: dict[str, Any], count: int
) -> list[dict[str, Any]]:
    def visit(address: str, shows: str = "") -> float:
        return time_view(page, lambda: page.goto(address), shows)

    def compare(address: str, shows: str = "") -> Pairs:
        return _collect(lambda: visit(address, shows), lambda: visit(bare, "Runs"), count)

    listing = compare(f"{ours}/", "runs")
    results = [_judge(RUNS_PAGE, listing, _p95(listing.ours))]
    results.append(_judge(FILTER, _collect(lambda: _sort(page, ours), lambda: visit(bare, "Runs"), count)))
    results.append(_judge(TURN, _collect(lambda: _turn(page, ours), lambda: visit(bare, "Runs"), count)))
    results.append(_judge(RUN_PAGE, compare(f"{ours}/run?id={ids['run']}&part=Graph", "Choose a node")))
    results.append(_judge(COMPARE, compare(f"{ours}/compare?runs={','.join(ids['runs'])}", "Compare")))
    results.append(_judge(SWEEP, compare(f"{ours}/sweep?id={ids['sweep']}", "Sweep of")))
    for index in range(VIEWS if count > 3 else 20):
        visit((f"{ours}/", f"{ours}/run?id={ids['runs'][index % 50]}")[index % 2])
    first = read_memory_mb(pid)
    for index in range(MORE_VIEWS if count > 3 else 10):
        visit((f"{ours}/", f"{ours}/run?id={ids['runs'][index % 50]}")[index % 2])
    later = read_memory_mb(pid)
    ok = first < MEMORY_LIMIT_MB and later - first < GROWTH_LIMIT_MB
    target = f"< {MEMORY_LIMIT_MB:.0f} MB, then no growth (found {later - first:+.0f})"
    results.append(
        make_result("memory of the pages after 200 views", Pairs((later,), (first,)), target, ok, "MB", 1)
    )
    return results


def _collect(ours: Callable[[], float], peer: Callable[[], float], count: int) -> Pairs:
    return collect_pairs(ours, peer, count)


def _sort(page: Page, ours: str) -> float:
    page.goto(f"{ours}/")
    time_view(page, lambda: None, "runs")
    return time_view(page, lambda: _search(page, "metric.auc > 0.9"), f"{RUNS // 10 - 1:,} runs")


def _search(page: Page, text: str) -> None:
    box = page.locator("input[aria-label^='Search']").first
    box.fill(text)
    box.press("Enter")


def _turn(page: Page, ours: str) -> float:
    page.goto(f"{ours}/")
    time_view(page, lambda: None, "runs")
    number = page.locator("input[aria-label='Page']").first

    def act() -> None:
        number.fill("2")
        number.press("Enter")
        page.wait_for_url("**page=2**")

    return time_view(page, act)


def _p95(amounts: tuple[float, ...]) -> float:
    return max(amounts) if len(amounts) < 20 else quantiles(amounts, n=20)[-1]


def _judge(what: tuple[str, float], pairs: Pairs, found_s: float | None = None) -> dict[str, Any]:
    words, limit_s = what
    found = pairs.ours_median if found_s is None else found_s
    return make_result(words, pairs, f"<= {limit_s} s (found {found:.2f})", found <= limit_s)


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
