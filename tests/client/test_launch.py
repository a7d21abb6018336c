"""Runs and sweeps that are launched: made by the runner of a home, and found in the catalog by their ids."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from flowlearner import Client
from flowlearner.cli.main import main
from flowlearner.config import Settings
from flowlearner.errors import NotFoundError, ParameterError, ServerError, SweepFailed, UsageError
from flowlearner.loading import load_workflow
from flowlearner.records import Status
from flowlearner.schedule.runner import RunnerFiles, ensure_runner, stop_runner
from tests.schedule.project import await_that, write_project

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 150.0
wait_until = partial(await_that, limit_s=LIMIT_S)
# Each of what is launched starts a process that takes seconds, more on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# In pieces: this text is in the snapshot of a run.
SECRET = "wh1sp" + "ered!"
MINE = """
from pathlib import Path
from typing import Annotated

from flowlearner import Metric, Range, operator, workflow

@operator
def double(n: int) -> int:
    return 2 * n

@workflow
def doubled(n: int) -> int:
    return double(n)

@operator
def ask(n: int, until: str) -> Metric:
    if not Path(until).exists():
        raise ValueError("not yet")
    return float(n)

@workflow(executor="local")
def fussy(until: str, n: Annotated[int, Range(1, 2)] = 1) -> Metric:
    return ask(n, until)
"""


@dataclass(frozen=True)
class Place:
    """A home with a runner, a user's folder, a run that has ended, and what was launched."""

    settings: Settings
    folder: Path
    url: str
    run_id: str
    launched: dict[str, str]

    @property
    def log(self) -> str:
        return RunnerFiles(self.settings).log_path.read_text()[-10_000:]

    def wait_for(self, find: Callable[[str], Any], launched: str) -> Any:
        """Return the run or sweep once it has ended."""

        def look() -> Any:
            with contextlib.suppress(NotFoundError):
                found = find(launched)
                return found if found.status.is_final else None
            return None

        return wait_until(look, f"{launched} ends; {self.log}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Place]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    write_project(folder)
    settings = Settings(home=home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWLEARNER_HOME", str(home))
        patch.setenv("PREFECT_API_URL", server)
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "0.5")
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        first: Any = load_workflow("sched_flows.py:mean")
        run = first.with_options(executor="local", tags={"team": "ops"}, notes="first").run(rows="rows.csv")
        load_workflow("sched_flows.py:guarded").with_options(executor="local").run(token="old")  # type: ignore[attr-defined]
        sys.modules.pop("sched_flows")
        # What is launched has its code from the snapshot.
        (folder / "sched_flows.py").unlink()
        try:
            ensure_runner(settings, server)
            # What takes seconds to begin does so while others are tested.
            yield Place(settings, folder, server, run.id, _launch_all(settings, folder, run.id))
        finally:
            stop_runner(settings)


def _launch_all(settings: Settings, folder: Path, run_id: str) -> dict[str, str]:
    sweep = {"space": {"smallest": "0..3"}, "search": "random", "trials": 2, "executor": "local"}
    (folder / "mine.py").write_text(MINE)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["run", "mine.py:doubled", "--n", "4", "--tag", "a=b", "--detach", "--json"]) == 0
    fussy: Any = load_workflow("mine.py:fussy")
    enough = folder / "enough"
    failed = fussy.submit(until=str(enough))
    with pytest.raises(SweepFailed) as swept:
        fussy.sweep({"n": None}, until=str(enough), metric="result", search="grid")
    sys.modules.pop("mine")
    enough.touch()
    with Client(settings) as client:
        return {
            "failed": failed.id,
            "resumed": client.launch_resume(failed.id),
            "swept": swept.value.sweep.id,
            "retried": client.launch_resume(swept.value.sweep.id, retry=True),
            "clone": client.launch(clone=run_id, params={"smallest": "3"}, seed=7, notes="again"),
            "sweep": client.launch("mean", {"rows": "rows.csv"}, sweep=sweep, experiment="swept"),
            "guarded": client.launch(
                "guarded", {"token": SECRET}, cache=False, experiment="launched", command=f"me {SECRET}"
            ),
            "lost": client.launch("mean", {"rows": "artifact:00ff", "smallest": "1"}),
            "command line": json.loads(out.getvalue())["id"],
        }


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PREFECT_API_URL", made.url)
    monkeypatch.chdir(made.folder)
    return made


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with Client(place.settings) as opened:
        yield opened


def test_a_clone_keeps_what_is_not_given(place: Place, client: Client) -> None:
    clone = place.wait_for(client.get_run, place.launched["clone"])
    assert clone.status is Status.COMPLETED, place.log
    assert (clone.record.parent_id, clone.record.run_seed, clone.notes) == (place.run_id, 7, "again")
    assert dict(clone.tags) == {"team": "ops"}
    assert [(c.name, c.before, c.after) for c in clone.record.changes] == [("smallest", 1.0, 3.0)]


def test_a_sweep_has_the_code_of_the_latest_run(place: Place, client: Client) -> None:
    sweep = place.wait_for(client.get_sweep, place.launched["sweep"])
    assert sweep.status is Status.COMPLETED, place.log
    assert (sweep.experiment, len(sweep.trial_records)) == ("swept", 2)
    state = client.find_launch(sweep.id)
    assert state is not None
    assert state.is_sweep


def test_a_workflow_of_the_catalog_runs_from_its_snapshot_under_the_id_that_is_returned(
    place: Place, client: Client
) -> None:
    run = place.wait_for(client.get_run, place.launched["guarded"])
    assert run.status is Status.COMPLETED, place.log
    assert (run.experiment, run.record.parent_id, dict(run.tags)) == ("launched", None, {})
    assert run.record.code.snapshot is not None
    assert run.record.prefect_flow_run_id is not None


def test_a_secret_reaches_the_run_and_neither_the_server_nor_the_catalog(
    place: Place, client: Client
) -> None:
    run = place.wait_for(client.get_run, place.launched["guarded"])
    assert run.outputs.result == len(SECRET)
    assert (run.params["token"], run.record.command) == ("***", "me ***")
    flow_run = httpx.get(f"{place.url}/flow_runs/{run.record.prefect_flow_run_id}").text
    assert run.id in flow_run
    assert SECRET not in flow_run
    for path in place.settings.home_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_what_cannot_begin_says_why(place: Place, client: Client) -> None:
    def look() -> Any:
        state = client.find_launch(place.launched["lost"])
        return state if state is not None and state.has_ended else None

    state = wait_until(look, "it ends")
    assert state.state == "FAILED"
    assert "00ff" in state.message
    with pytest.raises(NotFoundError):
        client.get_run(state.id)
    assert client.find_launch("0123456789abcdef") is None


def test_the_command_line_launches_a_file_and_returns_at_once(place: Place, client: Client) -> None:
    run = place.wait_for(client.get_run, place.launched["command line"])
    assert run.status is Status.COMPLETED, place.log
    assert run.outputs.result == 8
    assert dict(run.tags) == {"a": "b"}


def test_what_did_not_complete_goes_on(place: Place, client: Client) -> None:
    run = place.wait_for(client.get_run, place.launched["resumed"])
    assert run.status is Status.COMPLETED, place.log
    assert run.record.parent_id == place.launched["failed"]
    with pytest.raises(UsageError, match="nothing is missing"):
        client.launch_resume(run.id)

    def look() -> Any:
        state = client.find_launch(place.launched["retried"])
        return state if state is not None and state.has_ended else None

    state = wait_until(look, "the sweep ends")
    assert (state.state, state.is_sweep) == ("COMPLETED", True), state.message
    sweep = client.get_sweep(place.launched["swept"])
    assert {t.status for t in sweep.trial_records} == {Status.COMPLETED}


def test_one_that_has_not_begun_is_taken_back(place: Place, client: Client) -> None:
    run_id = client.launch("guarded", {"token": "never read"})
    client.cancel_launch(run_id)

    def look() -> Any:
        state = client.find_launch(run_id)
        return state if state is not None and state.has_ended else None

    assert wait_until(look, "it ends").state == "CANCELLED"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"params": {"rows": "/nope.csv"}}, "there is no file '/nope.csv'"),
        ({"params": {"smallest": "101"}}, "expected a value in 0..100, found 101"),
        ({"params": {"small": "1"}}, "no parameter 'small'"),
        ({"params": {}}, "parameter 'rows': needs a value"),
        ({"sweep": {"space": {"smallest": "9..x"}}}, "no domain"),
        ({"params": {"smallest": "1"}, "sweep": {"space": {"smallest": None}}}, "is fixed and varies"),
        ({"sweep": {"trails": 4}}, "Did you mean 'trials'?"),
        ({"seed": -1}, "run seed"),
        ({"experiment": " "}, "experiment: expected a name"),
        ({"clone": "1234"}, "one of the two"),
    ],
)
def test_what_shows_without_the_code_is_refused_at_once(
    client: Client, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        client.launch("mean", **given)


def test_without_services_it_says_how_they_are_started(own_home: Path) -> None:
    client = Client()
    with pytest.raises(ServerError, match="flowlearner up"):
        client.launch("mean")
    with pytest.raises(ServerError, match="flowlearner up"):
        client.list_schedules()
    assert not os.listdir(own_home)


def test_a_form_begins_as_the_run_was_and_a_value_that_does_not_fit_says_so(
    place: Place, client: Client
) -> None:
    form = client.make_form(clone=place.run_id)
    rows, smallest = form.fields
    assert (form.workflow, form.tags, form.notes, form.seed) == ("mean", {"team": "ops"}, "first", 0)
    assert form.metrics == ("mean",)
    assert rows.value is not None
    assert rows.value.startswith("artifact:")
    assert (smallest.kind, smallest.value, smallest.bounds) == ("float", "1.0", "0..100")
    assert smallest.check("-1") == "expected a value in 0..100, found -1.0"
    assert smallest.check_domain("1..101") == "expected a value in 0..100, found 101.0"
    again = client.make_form("mean").fields[0]
    assert (again.value, again.kept) == (rows.value, None)
    # The latest run may be the clone, which was given it by its hash.
    assert rows.source == str(place.folder / "rows.csv")
    assert again.source in (rows.source, "")
    with pytest.raises(ParameterError):
        client.launch("guarded", {"token": 1, "other": 2})


def test_a_secret_of_the_run_that_is_cloned_is_asked_for_again(place: Place, client: Client) -> None:
    run = client.list_runs(workflow="guarded", limit=None)[-1]
    token = client.make_form(clone=run.id).fields[0]
    assert (token.kind, token.value, token.check("")) == ("secret", None, "needs a value")
    with pytest.raises(ParameterError, match="'token': needs a value"):
        client.launch(clone=run.id)


def test_an_upload_is_kept_once_under_its_name(client: Client) -> None:
    first = client.keep_upload("../a/rows.csv", b"a,b\n1,2\n")
    assert first == client.keep_upload("rows.csv", b"a,b\n1,2\n")
    assert first.is_relative_to(client.settings.home_path)
    assert (first.name, first.read_bytes()) == ("rows.csv", b"a,b\n1,2\n")
