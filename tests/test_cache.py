"""When a node hits, when it misses, and what it says about it."""

from __future__ import annotations

import sqlite3
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowlearner import Client, operator, register_codec, workflow
from flowlearner.artifacts import Codec, Encoded, registry
from flowlearner.cache import BoundValue, compute_key, explain_miss
from flowlearner.facade import Workflow
from flowlearner.loading import load_workflow
from flowlearner.records import NodeRun, Status
from tests.engine.calls import called, counted

FLOW = """
    from flowlearner import operator, workflow

    def scale(x: int) -> int:
        return x * {factor}

    @operator
    def grow(x: int) -> int:
        # {comment}
        return scale(x)

    @workflow(executor="local")
    def flow(x: int = 2) -> int:
        return grow(x)
"""


class Source:
    """A user's file that is edited between runs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "edited_flow.py"
        self._edits = 0

    def load(self, **words: Any) -> Workflow[..., Any]:
        self._edits += 1
        # Python keeps compiled files by size and second: another length each time.
        text = textwrap.dedent(FLOW).format(**words) + "\n" * self._edits
        self.path.write_text(text)
        loaded = load_workflow(f"{self.path}:flow")
        assert isinstance(loaded, Workflow)
        return loaded


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@operator
def load(n: int) -> pd.DataFrame:
    called("load")
    return pd.DataFrame({"x": range(n)})


@operator
def count(rows: pd.DataFrame) -> int:
    called("count")
    return len(rows)


@operator(cache=False)
def draw(n: int) -> int:
    called("draw")
    return n % 2


@operator
def double(n: int) -> int:
    called("double")
    return 2 * n


@workflow(executor="local")
def counts(n: int = 3) -> int:
    return count(load(n))


def test_the_digest_of_a_key_is_pinned() -> None:
    """Keys are stored for years; a change of their format must be meant, and gets a new kind."""
    assert compute_key("f" * 64, {"b": "2" * 64, "a": "1" * 64}) == PINNED
    assert compute_key("f" * 64, {"a": "1" * 64, "b": "2" * 64}) == PINNED


PINNED = "7fa9ab23e5a03e9ed54c9c5c7f89a47679f808ec1d461b300df8a09b17bfb950"


def test_an_edited_comment_hits_and_an_edited_helper_misses(source: Source) -> None:
    assert source.load(factor=2, comment="one").run().outputs.result == 4
    assert source.load(factor=2, comment="another").run().nodes[0].cached
    run = source.load(factor=3, comment="another").run()
    assert run.outputs.result == 6
    assert run.nodes[0].miss_reason == "the operator's code changed"
    assert source.load(factor=2, comment="back").run().nodes[0].cached


METHODS = """
    from typing import Any

    from sklearn.base import BaseEstimator, TransformerMixin

    from flowlearner import Model, operator, workflow
    {import_}

    class Scale(TransformerMixin, BaseEstimator):
        def fit(self, rows: Any, y: Any = None) -> "Scale":
            self.fitted_ = True
            return self

        def transform(self, rows: Any) -> Any:
            return rows * {factor}

    @operator
    def fit(n: int) -> Model:
        return Scale().fit(None)

    @operator
    def use(model: Model, n: int) -> int:
        return model.transform(n)

    @workflow(executor="local")
    def flow(n: int = 2) -> int:
        return use(fit(n), n)
"""


def test_an_edited_method_of_what_an_operator_receives_misses(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "FLOW", METHODS)
    assert source.load(factor=2, import_="").run().outputs.result == 4
    assert [n.cached for n in source.load(factor=2, import_="import json").run().nodes] == [True, True]
    run = source.load(factor=3, import_="").run()
    assert run.outputs.result == 6
    assert [n.cached for n in run.nodes] == [False, False]


class Thing:
    pass


class ThingCodec(Codec):
    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def handles(self, declared: Any) -> bool:
        return declared is Thing

    def encode(self, value: Any, declared: Any) -> Encoded:
        return Encoded("0" * 64, self.name, "Thing", lambda sink: None, 0)

    def decode(self, source: Any, declared: Any, type_name: str) -> Any:
        return Thing()


def test_a_result_of_a_codec_that_is_gone_runs_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_own", [])
    monkeypatch.setattr(registry, "_found", {})

    @operator
    def make(n: int) -> Thing:
        return Thing()

    @operator
    def read(thing: Thing, n: int) -> int:
        return n

    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return read(make(1), n)

    register_codec(ThingCodec("thing/1"))
    flow.run()
    registry._own.clear()
    register_codec(ThingCodec("thing/2"))
    run = flow.run(n=2)
    assert run.outputs.result == 2
    assert "no codec 'thing/1' is known here" in str(run.nodes[0].miss_reason)


def test_a_value_without_stable_encoding_is_never_cached_and_says_so() -> None:
    class Unstable:
        pass

    @operator
    def use(thing: Any, n: int) -> int:
        called("use")
        return n

    thing = Unstable()

    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return use(thing, n)

    with counted([]) as calls:
        flow.run()
        run = flow.run()
    assert calls == ["use", "use"]
    assert run.nodes[0].cache_key is None
    assert str(run.nodes[0].miss_reason).startswith("input 'thing' has no stable encoding")


def test_consumers_of_an_uncached_node_are_keyed_by_what_it_produced() -> None:
    @workflow(executor="local")
    def flow(n: int) -> int:
        return double(draw(n))

    with counted([]) as calls:
        flow.run(n=2)
        run = flow.run(n=4)
        flow.run(n=5)
    assert calls == ["draw", "double", "draw", "draw", "double"]
    assert run.nodes[0].miss_reason == "cache=False"
    assert run.nodes[1].cached


def test_a_refreshed_result_replaces_the_stored_one() -> None:
    counts.run()
    refreshed = counts.with_options(refresh=["load"]).run()
    assert counts.run().nodes[0].cached_from == refreshed.id


def test_a_run_without_cache_stores_for_the_next() -> None:
    counts.with_options(cache=False).run()
    assert [n.cached for n in counts.run().nodes] == [True, True]


def test_a_lost_entry_of_the_catalog_is_only_a_miss(own_home: Path) -> None:
    counts.run()
    connection = sqlite3.connect(own_home / "catalog.db")
    with connection:
        connection.execute("DELETE FROM cache_entry")
    connection.close()
    run = counts.run()
    assert run.nodes[0].miss_reason == "no stored result for this key"
    assert run.status is Status.COMPLETED


def test_a_damaged_artifact_in_the_middle_runs_its_node_and_what_is_equal_hits(own_home: Path) -> None:
    (output,) = counts.run(n=50_000).nodes[0].outputs
    (file,) = (own_home / "artifacts").rglob(f"{output.hash}-*")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with counted([]) as calls:
        run = counts.run(n=50_000)
    assert calls == ["load"]
    assert [n.cached for n in run.nodes] == [False, True]
    assert "artifact lost" in str(run.nodes[0].miss_reason)


def test_a_plan_writes_nothing(own_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x\n1\n2\n")

    @workflow(executor="local")
    def from_file(rows: pd.DataFrame, n: int) -> int:
        return double(count(rows))

    def snapshot() -> dict[str, Any]:
        connection = sqlite3.connect(own_home / "catalog.db")
        tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
        connection.close()
        files = sorted(str(f) for f in (own_home / "artifacts").rglob("*") if f.is_file())
        return {"rows": rows, "files": files}

    counts.run()
    before = snapshot()
    assert [(r.node, r.action) for r in from_file.plan(rows=path, n=1)] == [
        ("count", "run"),
        ("double", "unknown"),
    ]
    assert next(r.action for r in from_file.plan(rows=pd.DataFrame({"x": range(100_000)}), n=1)) == "run"
    assert snapshot() == before
    from_file.run(rows=path, n=1)
    assert [r.action for r in from_file.plan(rows=path, n=1)] == ["cached", "cached"]


def test_equal_runs_end_with_equal_keys_and_outputs() -> None:
    first, second = counts.run(), counts.with_options(cache=False).run()
    assert [n.cache_key for n in first.nodes] == [n.cache_key for n in second.nodes]
    assert [n.outputs for n in first.nodes] == [n.outputs for n in second.nodes]


def test_the_reason_of_a_miss_is_stored_at_the_time() -> None:
    counts.run(n=3)
    run = counts.run(n=4)
    counts.run(n=5)
    stored = Client().get_run(run.id)
    assert [n.miss_reason for n in stored.nodes] == ["input 'n' changed", "input 'rows' changed"]


@pytest.mark.parametrize(
    ("previous", "reason"),
    [
        (None, "first run of this node"),
        (NodeRun("a", "a", 0, Status.COMPLETED, "f2", inputs={"x": "1"}), "the operator's code changed"),
        (NodeRun("a", "a", 0, Status.COMPLETED, "f1", inputs={"x": "2"}), "input 'x' changed"),
        (NodeRun("a", "a", 0, Status.COMPLETED, "f1", inputs={}), "input 'x' changed"),
        (NodeRun("a", "a", 0, Status.COMPLETED, "f1", inputs={"x": "1"}), "no stored result for this key"),
    ],
)
def test_a_miss_names_what_differs_from_the_latest_run(previous: NodeRun | None, reason: str) -> None:
    assert explain_miss(previous, "f1", {"x": "1"}) == reason


def test_a_secret_is_not_a_part_of_the_key() -> None:
    assert BoundValue(None, value="s", secret=True).hash is None
