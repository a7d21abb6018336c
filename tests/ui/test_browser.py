"""The pages in a real browser, served as people serve them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from flowlearner import Client
from flowlearner.config import Settings
from flowlearner.engine.background import wait_until
from tests.ui.conftest import read_ids
from tests.ui.filling import Filled
from tests.ui.flows import HOSTILE

pytestmark = pytest.mark.slow
CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
LIMIT_MS = 20_000
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WAITING = Path(__file__).parent / "waiting.py"

# What Streamlit itself draws and no page can change: by rule of axe-core, what its HTML is like, and why.
OF_STREAMLIT = {
    "list": (r"stSidebarNavItems", "the headings of its groups stand among the items of the sidebar"),
    "listitem": (r"^<li", "the same, seen from the items"),
    "color-contrast": (r'class="(token|comment) ', "colours of its highlighted code"),
    "scrollable-region-focusable": (r"^<pre", "a block of code that scrolls takes no focus"),
}
# Streamlit asks for these below the address of the page before it finds them at the root.
PROBES = re.compile(r"/_stcore/(health|host-config)$")

PAGES = {
    "runs": "/",
    "query error": "/?q=metric.score+%3E%3E+1",
    "results": "/run?id={good}",
    "graph": "/run?id={good}&part=Graph&node=fit",
    "params": "/run?id={again}&part=Parameters",
    "logs": "/run?id={good}&part=Logs",
    "why": "/run?id={again}&part=Why",
    "code": "/run?id={again}&part=Code",
    "lineage": "/run?id={again}&part=Lineage",
    "hostile": "/run?id={failed}&part=Graph&node=refuse",
    "lost": "/run?id={lost}",
    "unknown": "/run?id=nobody",
    "compare": "/compare?runs={good},{again},{lost}",
    "sweeps": "/sweeps",
    "sweep": "/sweep?id={sweep}",
    "pareto": "/sweep?id={pair}",
    "launch": "/launch?workflow=line",
    "clone": "/launch?clone={good}",
    "schedules": "/schedules",
    "workflows": "/workflows?name=line",
    "operators": "/operators?name=fit",
}


@pytest.fixture(scope="module")
def home(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the filled home, which these tests change."""
    path = tmp_path_factory.mktemp("browser") / "home"
    shutil.copytree(filled_home, path)
    return path


@pytest.fixture(scope="module")
def ids(home: Path) -> Filled:
    return read_ids(home)


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[str]:
    """Where the pages are served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flowlearner.cli.main", "ui", "--port", str(port)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWLEARNER_", "PREFECT_"))}
    with subprocess.Popen(
        command, env={**env, "FLOWLEARNER_HOME": str(home)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{port}"
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go, for people to look at."""
    return tmp_path_factory.mktemp("shots")


class Viewer:
    """Somebody who looks at the pages, and what went wrong meanwhile."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._check_host)

    def _hear(self, message: Any) -> None:
        if message.type == "error" and not PROBES.search(message.location.get("url", "")):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _check_host(self, request: Any) -> None:
        if request.url.startswith("http") and not request.url.startswith(self.url):
            self.errors.append(f"asked for {request.url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        self.wait()
        return self.page

    def wait(self) -> None:
        """Wait until the page is drawn."""
        self.page.wait_for_selector('[data-testid="stHeading"], [data-testid="stAlert"]')
        self.page.wait_for_function(
            "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
            " && !document.querySelector('[data-stale=true]')"
        )


@pytest.fixture(scope="module")
def light(browser: Browser, served: str) -> Iterator[Viewer]:
    with browser.new_context(viewport={"width": 1400, "height": 1000}, timezone_id="Europe/Oslo") as context:
        yield Viewer(context, served)


@pytest.fixture(scope="module")
def dark(browser: Browser, served: str) -> Iterator[Viewer]:
    with browser.new_context(viewport={"width": 700, "height": 1000}, color_scheme="dark") as context:
        yield Viewer(context, served)


@pytest.fixture
def viewer(light: Viewer) -> Viewer:
    light.errors.clear()
    return light


def find_faults(page: Page) -> dict[str, list[str]]:
    """Return what axe-core takes for serious or critical and is of our making, by rule."""
    page.evaluate(AXE)
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    faults: dict[str, list[str]] = {}
    for violation in found["violations"]:
        if violation["impact"] in ("serious", "critical"):
            known, _ = OF_STREAMLIT.get(violation["id"], ("", ""))
            places = [
                n["html"][:200] for n in violation["nodes"] if not known or not re.search(known, n["html"])
            ]
            if places:
                faults[violation["id"]] = places
    return faults


def click_row(page: Page, row: int) -> None:
    """Select a row of the first table."""
    box = page.locator('[data-testid="stDataFrame"]').first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 17, box["y"] + 35 * (row + 1) + 17)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_error_and_no_serious_fault(
    viewer: Viewer, ids: Filled, shots: Path, name: str
) -> None:
    page = viewer.open(PAGES[name].format(**vars(ids)))
    page.screenshot(path=shots / f"{name}.png")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert viewer.errors == []
    assert find_faults(page) == {}
    assert page.evaluate("window.hacked") is None


def test_search_open_back_keeps_the_query(viewer: Viewer, ids: Filled) -> None:
    page = viewer.open("/")
    box = page.get_by_role("searchbox", name="Search")
    box.fill("metric.score > 0.8 and param.n = 20")
    box.press("Enter")
    expect(page.get_by_text("1 run", exact=True)).to_be_visible()
    address = page.evaluate("location.href")
    assert "q=metric.score" in address
    click_row(page, 0)
    page.get_by_role("link", name=f"Open {ids.good[:8]}").click()
    expect(page.get_by_role("heading", name="line")).to_be_visible()
    assert page.evaluate("location.href").endswith(f"/run?id={ids.good}")
    assert page.title() == f"line {ids.good[:8]} · flowlearner"
    page.go_back()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("metric.score > 0.8 and param.n = 20")
    expect(page.get_by_text("1 run", exact=True)).to_be_visible()
    assert page.evaluate("location.href") == address


def test_a_comparison_is_the_same_for_who_opens_its_link(
    viewer: Viewer, browser: Browser, served: str, ids: Filled
) -> None:
    page = viewer.open("/?q=param.n+%3D+20")
    click_row(page, 0)
    page.get_by_role("link", name=f"Open {ids.again[:8]}").wait_for()
    click_row(page, 1)
    page.locator('[data-testid="stMain"]').get_by_role("link", name="Compare").click()
    page.get_by_role("heading", name="Parameters").wait_for()
    page.get_by_role("radio", name="Difference").click()
    page.get_by_text(f"How far each run is from {ids.again[:8]}").wait_for()
    address = page.evaluate("location.href")
    with browser.new_context() as context:
        other = Viewer(context, served)
        other.open(address.removeprefix(served))
        expect(other.page.get_by_text(f"How far each run is from {ids.again[:8]}")).to_be_visible()
        for viewed in (page, other.page):
            assert viewed.title() == "Compare 2 runs · flowlearner"
        headings = [v.get_by_role("heading").all_inner_texts() for v in (page, other.page)]
        assert headings[0] == headings[1]
        assert other.errors == []


def test_hostile_texts_neither_run_nor_become_markup(viewer: Viewer, ids: Filled) -> None:
    for path in (
        "/",
        f"/run?id={ids.failed}",
        f"/run?id={ids.failed}&part=Parameters",
        f"/run?id={ids.failed}&part=Graph",
    ):
        page = viewer.open(path)
        main = page.locator('[data-testid="stMain"]')
        assert main.locator("img[onerror], strong, a[href='b'], .katex").count() == 0
        assert page.evaluate("window.hacked") is None
    page = viewer.open(f"/run?id={ids.failed}")
    expect(page.get_by_text(HOSTILE[:40]).first).to_be_visible()
    page.get_by_text("Tags and notes").click()
    expect(page.get_by_role("textbox", name="Notes")).to_have_value(re.compile(re.escape(HOSTILE)))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert viewer.errors == []


@pytest.mark.parametrize("name", ["runs", "graph", "compare", "sweep"])
def test_a_page_is_dark_where_that_is_wanted_and_fits_a_narrow_window(
    dark: Viewer, ids: Filled, shots: Path, name: str
) -> None:
    page = dark.open(PAGES[name].format(**vars(ids)))
    page.screenshot(path=shots / f"{name} dark.png")
    app = "document.querySelector('[data-testid=stApp]')"
    background = page.evaluate(f"getComputedStyle({app}).backgroundColor")
    assert max(int(n) for n in re.findall(r"\d+", background)[:3]) < 60
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert find_faults(page) == {}
    assert dark.errors == []


def test_a_node_of_the_graph_opens_by_keyboard_and_stays_in_the_address(viewer: Viewer, ids: Filled) -> None:
    page = viewer.open(f"/run?id={ids.good}&part=Graph")
    page.get_by_role("button", name=re.compile(r"^judge \(judge\)")).press("Enter")
    page.get_by_role("heading", name="judge").wait_for()
    assert "node=judge" in page.evaluate("location.href")
    page.reload()
    page.get_by_role("heading", name="judge").wait_for()
    assert viewer.errors == []


def test_delete_and_restore(viewer: Viewer, home: Path, ids: Filled) -> None:
    with Client(Settings(home=home)) as client:
        page = viewer.open("/?q=workflow+%3D+%27unbounded%27")
        click_row(page, 0)
        page.get_by_role("button", name="Delete").click()
        page.get_by_text("No run fits.").wait_for()
        assert client.get_run(ids.odd).record.deleted_at is not None
        viewer.open("/?which=Deleted&workflow=unbounded")
        click_row(page, 0)
        page.get_by_role("button", name="Restore").click()
        page.get_by_text("No run fits.").wait_for()
        assert client.get_run(ids.odd).record.deleted_at is None
    assert viewer.errors == []


def test_times_are_those_of_the_zone_of_the_viewer(viewer: Viewer, home: Path, ids: Filled) -> None:
    with Client(Settings(home=home)) as client:
        started = client.get_run(ids.good).record.started_at
    assert started is not None
    page = viewer.open(f"/run?id={ids.good}")
    text = started.astimezone(ZoneInfo("Europe/Oslo")).strftime("%Y-%m-%d %H:%M:%S")
    expect(page.get_by_text(text)).to_be_visible()


def test_the_page_of_a_running_sweep_goes_on_by_itself(
    viewer: Viewer, home: Path, tmp_path: Path, shots: Path
) -> None:
    command = [
        *(sys.executable, "-m", "flowlearner.cli.main", "sweep", f"{WAITING}:waiting"),
        *("--space", "number={0,1,2}", "--search", "grid", "--executor", "local", "--parallel", "1"),
        *("--mode", "max", "-p", f"folder={tmp_path}", "--json"),
    ]
    env = {**os.environ, "FLOWLEARNER_HOME": str(home)}
    with (
        Client(Settings(home=home)) as client,
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert wait_until(lambda: len(client.list_sweeps()) == 3, 30)
        sweep = client.list_sweeps()[0]
        page = viewer.open(f"/sweep?id={sweep.id}")
        page.get_by_text("Running").first.wait_for()
        (tmp_path / "0").touch()
        page.get_by_text("1 of 3 trials").wait_for()
        page.screenshot(path=shots / "running.png")
        (tmp_path / "1").touch()
        page.get_by_text("2 of 3 trials").wait_for()
        (tmp_path / "2").touch()
        out, _ = process.communicate(timeout=30)
        assert json.loads(out)["status"] == "COMPLETED"
        page.get_by_text("Completed").first.wait_for()
        expect(page.get_by_text("Stop")).to_have_count(0)
        assert viewer.errors == []
        assert page.locator('[data-testid="stException"]').count() == 0
