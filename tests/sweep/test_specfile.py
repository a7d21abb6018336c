"""Spec files of sweeps: what they say, and where their mistakes stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest

from flowlearner import (
    Choice,
    LogRange,
    Metric,
    NotFoundError,
    Operator,
    Range,
    UsageError,
    operator,
    workflow,
)
from flowlearner.sweep.space import make_space
from flowlearner.sweep.specfile import bind_spec, read_spec


@operator
def plain(x: float) -> float:
    return x


@operator
def squared(x: float) -> float:
    return x * x


@operator
def score(rows: pd.DataFrame, x: float, depth: int) -> Metric:
    return float(len(rows) + x + depth)


@workflow
def search(
    rows: pd.DataFrame,
    depth: Annotated[int, Range(1, 12)] = 6,
    eta: Annotated[float, LogRange(0.01, 0.5)] = 0.1,
    booster: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    drop: float = 0.0,
    train: Operator = plain,
    label: str = "late",
    sizes: list[float] | None = None,
) -> Metric:
    return score(rows, train(eta), depth)


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a spec into a folder `specs` of the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    for name in ("specs/a.parquet", "b.parquet"):
        (tmp_path / name).touch()

    def write_spec(text: str) -> Path:
        path = Path("specs/sweep.yaml")
        path.write_text(text)
        return path

    return write_spec


def describe_space(path: Path) -> dict[str, str]:
    bound = bind_spec(read_spec(path), search)
    return make_space(search, bound.space, bound.params).describe()


def test_a_spec_says_all_that_the_command_line_says(write: Write) -> None:
    spec = read_spec(
        write(
            "workflow: flights.py:delays\nmetric: auc\nmode: max\ntrials: 64\nsearch: tpe\nstop: asha\n"
            "seed: 1\nrun_seed: 2\nparallel: 3\nmax_failures: 0\nexecutor: local\nexperiment: nightly\n"
            "notes: by night\ntags: {team: ops, night: 1}\n"
        )
    )
    assert spec.workflow == "specs/flights.py:delays"
    assert (spec.metric, spec.mode, spec.trials, spec.search, spec.stop) == (
        ("auc",),
        ("max",),
        64,
        "tpe",
        "asha",
    )
    assert (spec.seed, spec.run_seed, spec.parallel, spec.max_failures) == (1, 2, 3, 0)
    assert (spec.executor, spec.experiment, spec.notes) == ("local", "nightly", "by night")
    assert spec.tags == {"team": "ops", "night": "1"}


def test_what_a_spec_leaves_out_is_left_to_the_command_line(write: Write) -> None:
    spec = read_spec(write("workflow: flights.py:delays\n"))
    assert (spec.space, spec.trials, spec.search, spec.seed, spec.metric) == (None, None, None, None, ())


def test_several_metrics_are_lists(write: Write) -> None:
    spec = read_spec(write("metric: [auc, loss]\nmode: [max, min]\n"))
    assert (spec.metric, spec.mode) == (("auc", "loss"), ("max", "min"))


def test_a_module_stays_a_module_and_an_absolute_path_stays_one(write: Write) -> None:
    assert read_spec(write("workflow: examples.flights:delays")).workflow == "examples.flights:delays"
    assert (
        read_spec(write("workflow: /somewhere/flights.py:delays")).workflow == "/somewhere/flights.py:delays"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depth: 2..10", "2..10"),
        ("depth: 2..10:2", "2..10:2"),
        ("eta: 'log(0.02,0.3)'", "log(0.02,0.3)"),
        ("eta: log(0.02,0.3)", "log(0.02,0.3)"),
        ("eta: [1e-2, 0.1]", "{0.01,0.1}"),
        ("depth: [2, '3']", "{2,3}"),
        ("booster: '{gbtree,dart}'", "{gbtree,dart}"),
        ("booster: {gbtree,dart}", "{gbtree,dart}"),
        ("booster: [dart]", "{dart}"),
        ("train: [plain, squared]", "{plain,squared}"),
        ("train: '{plain,operators.train.train_tree}'", "{plain,train_tree}"),
        ("label: [no, late, 1]", "{no,late,'1'}"),
        ("depth:", "1..12"),
        ("rows: [a.parquet, ../b.parquet]", "{specs/a.parquet,b.parquet}"),
    ],
)
def test_a_domain_may_be_text_a_list_or_a_bare_name(write: Write, text: str, expected: str) -> None:
    assert describe_space(write(f"space:\n  {text}\n")) == {text.partition(":")[0]: expected}


@pytest.mark.parametrize("inner", ["0..0.5", "[0.0, 0.5]", "'{0.0,0.5}'", "'log(0.1,0.5)'"])
def test_a_domain_may_have_a_condition(write: Write, inner: str) -> None:
    drop = f"{{space: {inner}, when: {{booster: dart}}}}"
    space = describe_space(write(f"space:\n  booster: {{gbtree,dart}}\n  drop: {drop}\n"))
    assert space["drop"].endswith(" when booster=dart")


def test_a_condition_may_name_an_operator_and_may_be_text(write: Write) -> None:
    path = write(
        "space:\n  train: [plain, squared]\n  depth: {when: {train: [squared]}}\n"
        "  drop: 0..1 when train=plain\n"
    )
    assert describe_space(path) == {
        "train": "{plain,squared}",
        "depth": "1..12 when train=squared",
        "drop": "0..1 when train=plain",
    }


def test_names_alone_take_the_ranges_that_the_workflow_declares(write: Write) -> None:
    assert describe_space(write("space: [depth, eta]")) == {"depth": "1..12", "eta": "log(0.01,0.5)"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depth: 4", 4),
        ("eta: 1e-1", 0.1),
        ("label: no", "no"),
        ("label: 12", "12"),
        ("label: 'null'", "null"),
        ("sizes: [1, 2.5, 1e-3]", [1.0, 2.5, 0.001]),
        ("sizes: null", None),
        ("rows: flights.parquet", "specs/flights.parquet"),
        ("rows: ../flights.parquet", "flights.parquet"),
        ("rows: s3://bucket/flights.parquet", "s3://bucket/flights.parquet"),
        ("rows: artifact:abc", "artifact:abc"),
        ("rows: /data/flights.parquet", "/data/flights.parquet"),
    ],
)
def test_a_fixed_value_is_read_as_the_workflow_declares_it(write: Write, text: str, expected: Any) -> None:
    found = bind_spec(read_spec(write(f"params:\n  {text}\n")), search).params
    assert found == {text.partition(":")[0]: expected}


def test_a_fixed_operator_is_named(write: Write) -> None:
    assert bind_spec(read_spec(write("params: {train: squared}")), search).params["train"] is squared


def test_what_was_given_otherwise_is_not_read(write: Write) -> None:
    spec = read_spec(write("params: {depth: many}\nspace: {eta: 7..8}\n"))
    bound = bind_spec(spec, search, without=["depth", "eta"])
    assert (bound.params, bound.space) == ({}, {})


# Mistakes that need no workflow


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "specs/sweep.yaml is empty; a spec names at least a workflow and a space"),
        ("- a", "specs/sweep.yaml:1:1: expected keys such as 'workflow: flights.py:delays', found a list"),
        (
            "workflow: a.py:b\nspace: {k: 1..4",
            "specs/sweep.yaml:2:16: this is no YAML (while parsing a flow mapping): ",
        ),
        ("workflow: a.py:b\n\tspace: 1", "specs/sweep.yaml:2:1: this is no YAML"),
        ("a: *b", "specs/sweep.yaml:1:4: this is no YAML: found undefined alias 'b'"),
        ("notes: a: b", "specs/sweep.yaml:1:9: this is no YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 1", "specs/sweep.yaml:2:1: this is no YAML"),
        ("notes: \x01", "specs/sweep.yaml:1:8: this is no YAML: the character '\\x01' may not stand in it"),
        (
            "trials: 3\nspcae: {}",
            "specs/sweep.yaml:2:1: unknown key 'spcae'; there are workflow, params, space",
        ),
        ("trials: 3\nspcae: {}", "Did you mean 'space'?"),
        ("trials: 3\ntrials: 4", "specs/sweep.yaml:2:1: 'trials' is given twice"),
        ("trials: many", "specs/sweep.yaml:1:9: trials: expected a whole number of at least 1, found 'many'"),
        ("trials: 0", "trials: expected a whole number of at least 1, found '0'"),
        ("trials: 1.5", "found '1.5'"),
        ("trials:", "trials: expected a whole number of at least 1, found nothing"),
        ("seed: -1", "specs/sweep.yaml:1:7: seed: expected a whole number of at least 0, found '-1'"),
        ("mode: up", "specs/sweep.yaml:1:7: mode: expected one of max, min, found 'up'"),
        ("search: grd", "specs/sweep.yaml:1:9: search: expected one of random, grid"),
        ("search: grd", "found 'grd'. Did you mean 'grid'?"),
        ("stop: asah", "stop: expected one of asha, median, none, found 'asah'. Did you mean 'asha'?"),
        ("executor: dask", "executor: expected one of ray, local, found 'dask'"),
        ("metric: {a: b}", "specs/sweep.yaml:1:9: metric: expected text, found a mapping"),
        ("experiment: [a]", "specs/sweep.yaml:1:13: experiment: expected text, found a list"),
        (
            "workflow: [a]",
            "specs/sweep.yaml:1:11: workflow: expected FILE:WORKFLOW, such as flights.py:delays",
        ),
        (
            "tags: [a]",
            "specs/sweep.yaml:1:7: tags: expected texts by name, such as {team: ops}, found a list",
        ),
        ("tags: {team: [a]}", "specs/sweep.yaml:1:14: tags: team: expected text, found a list"),
        ("params: 3", "specs/sweep.yaml:1:9: params: expected values by name"),
        ("params: {a: 1, a: 2}", "specs/sweep.yaml:1:16: 'a' is given twice"),
        ("params: {[a]: 1}", "specs/sweep.yaml:1:10: expected a name, found a list"),
        (
            "space: 3",
            "specs/sweep.yaml:1:8: space: expected domains by name, such as {max_depth: 2..10}, found '3'",
        ),
    ],
)
def test_a_broken_spec_is_told_by_line_and_column(write: Write, text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_spec(write(text))
    assert message in str(raised.value)


def test_every_mistake_is_listed_in_the_order_of_the_file(write: Write) -> None:
    with pytest.raises(UsageError) as raised:
        read_spec(write("trials: many\nspcae: {}\nmode: up\n"))
    lines = str(raised.value).splitlines()
    assert lines[0] == "specs/sweep.yaml has 3 problems:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == [
        f"specs/sweep.yaml:{p}" for p in ("1:9", "2:1", "3:7")
    ]


def test_a_spec_that_is_not_there_is_not_found(write: Write) -> None:
    write("trials: 3")
    with pytest.raises(NotFoundError, match=r"no spec file 'specs/swep.yaml'. Did you mean 'sweep.yaml'\?"):
        read_spec("specs/swep.yaml")
    with pytest.raises(UsageError, match="'specs' is a folder"):
        read_spec("specs")


def test_bytes_that_are_no_text_are_refused(write: Write) -> None:
    path = write("")
    path.write_bytes(b"notes: \xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        read_spec(path)


# Mistakes that the workflow shows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "params:\n  dept: 3",
            "specs/sweep.yaml:2:9: no parameter 'dept'; workflow 'search' takes rows, depth",
        ),
        ("params:\n  dept: 3", "Did you mean 'depth'?"),
        ("params:\n  depth: many", "specs/sweep.yaml:2:10: 'depth': expected int, found 'many'"),
        ("params:\n  depth: 13", "specs/sweep.yaml:2:10: 'depth': expected a value in 1..12, found 13"),
        ("params:\n  depth: [1]", "specs/sweep.yaml:2:10: 'depth': expected int, found list"),
        ("params:\n  depth:", "specs/sweep.yaml:2:9: 'depth': expected int, found None"),
        ("params:\n  train: squarred", "Did you mean 'squared'?"),
        ("params: {sizes: &a [*a]}", "specs/sweep.yaml:1:17: it is nested too deeply, or holds itself"),
        ("space:\n  dept: 1..3", "specs/sweep.yaml:2:3: no parameter 'dept'"),
        ("space: [dept]", "specs/sweep.yaml:1:9: no parameter 'dept'"),
        ("space:\n  depth: 0..3", "specs/sweep.yaml:2:10: 'depth': expected a value in 1..12, found 0"),
        (
            "space:\n  depth: 3",
            "specs/sweep.yaml:2:10: 'depth': '3' is no domain: '..' is expected after '3'",
        ),
        (
            "space:\n  depth: [2, 3, 13]",
            "specs/sweep.yaml:2:17: 'depth': expected a value in 1..12, found 13",
        ),
        ("space:\n  depth: [2, deep]", "specs/sweep.yaml:2:14: 'depth': expected int, found 'deep'"),
        ("space:\n  depth: []", "specs/sweep.yaml:2:10: 'depth': a list of values is needed"),
        ("space:\n  drop:", "specs/sweep.yaml:2:3: 'drop': the workflow declares no range for it"),
        (
            "space: {eta: log(0.01,0.5)}",
            "specs/sweep.yaml:1:14: 'eta': put a domain with a comma between quotes",
        ),
        ("space:\n  eta: log(0,1)", "specs/sweep.yaml:2:8: 'eta': LogRange(0, 1): low must be above 0"),
        ("space:\n  drop: 3..1", "specs/sweep.yaml:2:9: 'drop': Range(3, 1): low is above high"),
        ("space:\n  rows: a.csv", "specs/sweep.yaml:2:9: 'rows': expected a list of files, found 'a.csv'"),
        ("space:\n  drop: {space: 0..1, whn: {a: b}}", "specs/sweep.yaml:2:23: unknown key 'whn'"),
        ("space:\n  drop: {space: 0..1, when: dart}", "'drop': when: expected values by name, found 'dart'"),
        ("space:\n  drop: {space: 0..1}", "'drop': when: expected values by name, found nothing"),
        ("space:\n  drop: {when: {booster: dart}}", "'drop': the workflow declares no range for it"),
        (
            "space:\n  drop: {space: 0..1, when: {booster: dart}}",
            "specs/sweep.yaml:2:3: 'drop': its condition 'booster'",
        ),
        (
            "space:\n  booster:\n  drop: {space: 0..1, when: {booster: drat}}",
            "specs/sweep.yaml:3:3: 'drop': its",
        ),
        ("params: {depth: 3}\nspace: {depth: 1..2}", "specs/sweep.yaml:2:9: 'depth' is among params too"),
        (
            "metric: auc",
            "specs/sweep.yaml:1:9: metric: workflow 'search' returns no metric 'auc'; it returns result.",
        ),
    ],
)
def test_what_does_not_fit_the_workflow_is_told_by_line_and_column(
    write: Write, text: str, message: str
) -> None:
    spec = read_spec(write(text))
    with pytest.raises(UsageError) as raised:
        bind_spec(spec, search)
    assert message in str(raised.value)
