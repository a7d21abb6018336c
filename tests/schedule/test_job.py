"""What a schedule keeps of a run or a sweep, and what it refuses before anything is stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner.config import get_settings
from flowlearner.errors import CompileError, InputError, NotFoundError, ParameterError, UsageError
from flowlearner.schedule.job import (
    Job,
    check_job,
    load_run,
    make_run_job,
    make_sweep_job,
    prepare_sweep_job,
)
from tests.schedule.project import SPEC, write_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, the current one; its modules are forgotten afterwards."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("sched_flows", None)


def test_what_is_stored_holds_wherever_it_is_read(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_run_job(Job("nightly"), "sched_flows.py:mean", {"rows": "rows.csv", "smallest": "2"})
    assert job.target == f"{project}/sched_flows.py:mean"
    assert job.params == {"rows": str(project / "rows.csv"), "smallest": "2"}
    assert job.folder == str(project)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert check_job(Job(**job.to_parameters() | {"schedule": "nightly"}), get_settings()) == "mean"


def test_a_run_has_its_schedules_name_as_a_tag_and_the_command_that_does_the_same(project: Path) -> None:
    given = Job("nightly", tags={"team": "ops"}, experiment="nights", seed=7, cache=False)
    _, options, params = load_run(make_run_job(given, "sched_flows.py:mean", {"rows": "rows.csv"}))
    assert dict(options.tags) == {"team": "ops", "schedule": "nightly"}
    assert (options.experiment, options.seed, options.cache) == ("nights", 7, False)
    assert options.executor == "prefect"
    assert options.command == (f"flowlearner run {project}/sched_flows.py:mean -p rows={project}/rows.csv")
    assert params == {"rows": str(project / "rows.csv")}


def test_a_text_is_read_as_on_the_command_line_and_json_is_taken_as_it_is(project: Path) -> None:
    job = make_run_job(Job("nightly"), "sched_flows.py:mean", {"rows": "rows.csv", "smallest": "2"})
    assert load_run(job)[2]["smallest"] == 2.0
    changed = Job(**{**job.to_parameters(), "params": {**job.params, "smallest": 3.5}})
    assert load_run(changed)[2]["smallest"] == 3.5


def test_the_workflows_file_counts_as_it_is_when_it_runs(project: Path) -> None:
    job = make_run_job(Job("nightly"), "sched_flows.py:mean", {"rows": "rows.csv"})
    (project / "sched_flows.py").write_text("def mean(: broken")
    with pytest.raises(UsageError, match=r"sched_flows\.py does not import"):
        check_job(job, get_settings())


@pytest.mark.parametrize(
    ("target", "params", "kind", "text"),
    [
        ("nowhere.py:mean", {}, NotFoundError, "no file 'nowhere.py'"),
        ("sched_flows.py:meen", {}, NotFoundError, "Did you mean 'mean'?"),
        ("sched_flows.py:mean", {}, ParameterError, "parameter 'rows' (pandas.DataFrame) needs a value"),
        (
            "sched_flows.py:mean",
            {"rows": "rows.csv", "smalest": "1"},
            ParameterError,
            "Did you mean 'smallest'?",
        ),
        ("sched_flows.py:mean", {"rows": "rows.csv", "smallest": "x"}, ParameterError, "found 'x'"),
        ("sched_flows.py:mean", {"rows": "rows.csv", "smallest": "-1"}, ParameterError, "smallest"),
        ("sched_flows.py:mean", {"rows": "none.csv"}, InputError, "none.csv"),
        ("sched_flows.py:broken", {}, CompileError, "does not compile"),
        ("sched_flows.py:guarded", {"token": "s3cr3t"}, UsageError, "'token' is secret"),
    ],
)
def test_a_job_that_cannot_run_is_refused(
    project: Path, target: str, params: dict[str, str], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as raised:
        check_job(make_run_job(Job("nightly"), target, params), get_settings())
    assert text in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_a_sweep_is_made_from_its_spec_file_and_the_schedules_options_win(project: Path) -> None:
    job = make_sweep_job(Job("weekly", tags={"team": "ops"}, experiment="mine", seed=3), "sweep.yaml")
    submission = prepare_sweep_job(job, get_settings())
    options = submission.options
    assert (options.experiment, options.run_seed, options.trials) == ("mine", 3, 3)
    assert dict(options.tags) == {"from": "spec", "team": "ops", "schedule": "weekly"}
    assert options.command == f"flowlearner sweep --spec {project}/sweep.yaml"
    assert submission.fixed == {"rows": f"{project}/rows.csv"}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (None, "--spec: no file 'swep.yaml'. Did you mean 'sweep.yaml'?"),
        (SPEC.replace("sched_flows.py:mean", "nowhere.py:mean"), "swep.yaml:2:11: workflow: no file"),
        (SPEC.replace("workflow:", "# workflow:"), "names no workflow"),
        (SPEC.replace("smallest: 0..3", "smalest: 0..3"), "Did you mean 'smallest'?"),
        (SPEC.replace("metric: mean", "metric: meen"), "no metric 'meen'"),
    ],
)
def test_a_spec_file_that_cannot_run_is_refused(project: Path, spec: str | None, text: str) -> None:
    if spec is not None:
        (project / "swep.yaml").write_text(spec)
    with pytest.raises(UsageError) as raised:
        check_job(make_sweep_job(Job("weekly"), "swep.yaml"), get_settings())
    assert text in str(raised.value)
