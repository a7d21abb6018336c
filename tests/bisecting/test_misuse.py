"""What cannot be bisected is told with the reason, before or instead of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowlearner import Client, NotFoundError, OperatorError, UsageError, Workflow
from flowlearner.loading import load_workflow
from tests.bisecting.conftest import Edit
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

Load = Callable[[], Workflow[..., object]]


def test_mistakes_are_told_before_anything_runs(
    load: Load, edit: Edit, project: Path, cli: Cli, client: Client
) -> None:
    first, second = load().run(numbers="numbers.txt"), load().run(numbers="numbers.txt", by=2.0)
    same = load().run(numbers="numbers.txt")
    (project / "numbers.txt").write_text("no number")
    broken = load().submit(numbers="numbers.txt")
    (project / "other.py").write_text((project / "flow.py").read_text().replace("def flow(", "def other("))
    (project / "numbers.txt").write_text("1")
    other = load_workflow("other.py:other")
    assert isinstance(other, Workflow)
    apart = other.run(numbers="numbers.txt")
    count = client.count_runs()
    for a, b, metric, said in (
        (first.id, second.id, "scor", "has no metric 'scor'; it has score. Did you mean 'score'?"),
        (first.id, first.id[:6], "score", f"both are run {first.id}"),
        (first.id, apart.id, "score", f"of workflow 'flow' and run {apart.id} of 'other'"),
        (first.id, broken.id, "score", f"run {broken.id} is FAILED: only runs that completed"),
        (first.id, same.id, "score", "code, parameters, inputs and seed are the same"),
        (first.id, "nosuch", "score", "no run 'nosuch'"),
    ):
        answer = cli("bisect", a, b, "--metric", metric)
        assert (answer.status, answer.out) == (2, ""), answer.err
        assert said in answer.err
    answer = cli("bisect", first.id, second.id, "--metric", "score", "-p", "by=3")
    assert "parameter 'by' is no secret" in answer.err
    answer = cli("bisect", first.id, second.id)
    assert (answer.status, "--metric" in answer.err) == (2, True)
    assert client.count_runs() == count


def test_a_lost_snapshot_is_told(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEARNER_INLINE_LIMIT_BYTES", "10")
    client = Client()
    first, second = load().run(numbers="numbers.txt"), load().run(numbers="numbers.txt", by=2.0)
    artifact = client.catalog.get_artifact(str(first.record.code.snapshot))
    Path(str(client.store.open(artifact).path)).unlink()
    with pytest.raises(UsageError, match=f"run {first.id}: its code cannot be mixed.*lost"):
        client.bisect(first.id, second.id, "score")
    client.close()


def test_a_run_that_fails_now_is_told_with_why(load: Load, edit: Edit, project: Path, client: Client) -> None:
    edit("flow.py", "@operator\ndef judge", "@operator(cache=False)\ndef judge")
    edit("flow.py", "return n * weight", "return n * weight / len(Path('here').read_text())")
    (project / "here").write_text("1")
    first, second = load().run(numbers="numbers.txt"), load().run(numbers="numbers.txt", by=2.0)
    (project / "here").unlink()
    with pytest.raises(
        OperatorError, match=f"run {first.id} cannot be compared, since it does not .*'judge' fails: FileNot"
    ):
        client.bisect(first.id, second.id, "score")


def test_a_metric_that_drifts_is_told(
    load: Load, edit: Edit, project: Path, cli: Cli, client: Client
) -> None:
    edit("flow.py", "@operator\ndef judge", "@operator(cache=False)\ndef judge")
    edit("flow.py", "return n * weight", "return n * weight * len(Path('here').read_text())")
    (project / "here").write_text("1")
    first, second = load().run(numbers="numbers.txt"), load().run(numbers="numbers.txt", by=2.0)
    (project / "here").write_text("22")
    answer = cli("bisect", first.id, second.id, "--metric", "score")
    assert answer.status == 0, answer.err
    assert "A gave 21.0 then and gives 42.0 today" in answer.out
    found = client.bisect(first.id, second.id, "score")
    assert (found.drifted, found.recorded, found.change) == (["a", "b"], (21.0, 22.0), 2.0)


def test_secrets_are_given_again(load: Load, edit: Edit, client: Client, cli: Cli) -> None:
    edit("flow.py", "label: str) -> Metric", "label: str, key: Secret) -> Metric")
    edit("flow.py", 'label: str = "a")', 'label: str = "a", key: Secret = Secret("k"))')
    edit("flow.py", "weight, label))", "weight, label, key))")
    edit("flow.py", "import File", "import Secret, File")
    first = load().run(numbers="numbers.txt", key="hidden-one")
    second = load().run(numbers="numbers.txt", key="hidden-two", by=2.0)
    with pytest.raises(UsageError, match="Secret parameters are stored nowhere; give key again"):
        client.bisect(first.id, second.id, "score")
    found = client.bisect(first.id, second.id, "score", secrets={"key": "hidden-one"})
    assert [e.difference.label for e in found.effects] == ["parameter by"]
    answer = cli("bisect", first.id, second.id, "--metric", "score", "-p", "key=hidden-one")
    assert answer.status == 0, answer.err
    assert "It is the only difference: parameter by makes the whole change." in answer.out


def test_only_what_is_unstable_is_said_to_be(load: Load, edit: Edit, client: Client) -> None:
    edit("flow.py", "@operator\ndef judge", "@operator(cache=False)\ndef judge")
    edit("flow.py", "return n * weight", "import time\n    return n * weight + time.time()")
    flow = load()
    first, second = flow.run(numbers="numbers.txt"), flow.run(numbers="numbers.txt")
    with pytest.raises(UsageError, match=r"do not differ in what can be mixed.*runs reproduce"):
        client.bisect(first.id, second.id, "score")
    with pytest.raises(NotFoundError):
        client.bisect(first.id, second.id, "auc")
