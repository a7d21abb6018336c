"""Owns the browser that measures pages, and the servers that it asks."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
LIMIT_S = 60.0
HERE = Path(__file__).resolve().parent
# The title is there, nothing is being computed, and nothing is shown that is not up to date or not drawn yet.
SETTLED = """() => document.querySelector('[data-testid="stHeading"]')
    && !document.querySelector('[data-testid="stStatusWidget"], [data-testid="stSkeleton"]')
    && !document.querySelector('[data-stale="true"]')
    && [...document.querySelectorAll('[data-testid="stDataFrame"]')].every(e => e.querySelector('canvas'))"""


@contextmanager
def serving(words: list[str], env: Mapping[str, str], port: int) -> Iterator[int]:
    """Run a server while this lasts, and wait until it answers; gives its pid."""
    process = subprocess.Popen(words, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_health(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def serve_pages(port: int) -> list[str]:
    """Return the command of our pages."""
    return [sys.executable, "-m", "flowlearner.cli.main", "ui", "--port", str(port)]


def serve_bare(port: int) -> list[str]:
    """Return the command of a bare Streamlit app."""
    options = ("--server.headless=true", "--server.address=127.0.0.1", "--browser.gatherUsageStats=false")
    app = str(HERE / "sides" / "bare_page.py")
    return [sys.executable, "-m", "streamlit", "run", app, f"--server.port={port}", *options]


def _await_health(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server does not answer")


@contextmanager
def browsing() -> Iterator[Page]:
    """Give a page of a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser.new_page(viewport={"width": 1400, "height": 900})
        finally:
            browser.close()


def time_view(page: Page, act: Callable[[], object], shows: str = "") -> float:
    """Seconds from an action until the page is drawn.

    Args:
        shows: a text that it has then, and not before.
    """
    start = perf_counter()
    act()
    if shows:
        page.get_by_text(shows, exact=False).first.wait_for(timeout=LIMIT_S * 1000)
    page.wait_for_function(SETTLED, timeout=LIMIT_S * 1000)
    return perf_counter() - start


def read_memory_mb(pid: int) -> float:
    """Memory of a process and its children that is theirs alone or shared, in MB."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if stat.parent.name == str(pid) or fields[1] == str(pid):
                status = (stat.parent / "status").read_text()
                total += int(status.partition("VmRSS:")[2].split()[0])
        except (OSError, ValueError, IndexError):
            continue
    return total / 1024
