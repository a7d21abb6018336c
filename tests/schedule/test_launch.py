"""What a launch makes of the code and the parameters of an earlier run, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowlearner.config import get_settings
from flowlearner.errors import ParameterError, UsageError
from flowlearner.loading import load_workflow
from flowlearner.schedule.launch import Launch, aim, check_launch, opened_run_launch, opened_sweep_launch

FLOWS = """
from typing import Annotated

from flowlearner import File, Metric, Range, Seed, operator, workflow


@operator
def draw(n: int, seed: Seed) -> Metric:
    return float(n + seed)


@workflow(executor="local", tags={"of": "workflow"})
def drawn(n: Annotated[int, Range(1, 9)] = 1, seed: Seed = None, own: Seed = None) -> Metric:
    return draw(n, seed)


@operator
def size(file: File) -> int:
    return len(open(file).read())


@workflow
def sized(file: File) -> int:
    return size(file)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "drawn_flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("drawn_flows", None)


@pytest.fixture
def run(project: Path) -> Any:
    drawn: Any = load_workflow("drawn_flows.py:drawn")
    return drawn.with_options(seed=3, experiment="first", tags={"a": "b"}).run(n=2, own=5)


def test_a_clone_with_another_seed_gives_it_to_what_had_the_seed_of_the_run(run: Any) -> None:
    launch = Launch(run_id=run.id, is_clone=True, seed=7, params={"n": "4"}, notes="why")
    with opened_run_launch(launch, get_settings()) as submission:
        assert dict(submission.bound.values) == {"n": 4, "seed": 7, "own": 5}
        options = submission.options
        assert (options.seed, options.experiment, options.notes) == (7, "first", "why")
        assert (dict(options.tags), options.parent_id) == ({"of": "workflow", "a": "b"}, run.id)
    with opened_run_launch(replace(launch, seed=None), get_settings()) as submission:
        assert dict(submission.bound.values) == {"n": 4, "seed": 3, "own": 5}


def test_a_new_run_has_the_code_alone(run: Any) -> None:
    with opened_run_launch(Launch(run_id=run.id), get_settings()) as submission:
        assert dict(submission.bound.values) == {"n": 1, "seed": 0, "own": 0}
        assert (submission.options.experiment, submission.options.parent_id) == ("default", None)
        assert dict(submission.options.tags) == {"of": "workflow"}
        assert submission.origin.snapshot is not None
        assert submission.origin.snapshot.hash == run.record.code.snapshot


def test_a_sweep_around_a_run_keeps_what_does_not_vary(run: Any) -> None:
    sweep = {"space": {"n": "2..4"}, "search": "grid", "metric": ["result"], "stop": "none", "trials": None}
    launch = Launch(run_id=run.id, is_clone=True, sweep=sweep, experiment="swept", seed=1)
    with opened_sweep_launch(launch, get_settings()) as submission:
        assert dict(submission.fixed) == {"own": 5}
        assert (submission.total, submission.options.executor) == (3, "local")
        assert (submission.options.experiment, submission.options.run_seed) == ("swept", 1)


def test_a_file_is_aimed_at_from_every_folder(project: Path) -> None:
    (project / "a.txt").write_text("abc")
    launch = aim(Launch(params={"file": "a.txt"}), "drawn_flows.py:sized", get_settings())
    assert (launch.target, launch.folder) == (f"{project}/drawn_flows.py:sized", str(project))
    assert launch.params == {"file": str(project / "a.txt")}
    with pytest.raises(ParameterError, match="no parameter 'fil'"):
        aim(Launch(params={"fil": "a.txt"}), "drawn_flows.py:sized", get_settings())
    with pytest.raises(UsageError, match="no metric"):
        aim(Launch(params={"file": "a.txt"}, sweep={}), "drawn_flows.py:sized", get_settings())


def test_words_that_no_sweep_has_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no 'trails'.*Did you mean 'trials'\?"):
        check_launch(Launch(sweep={"trails": 3}))
