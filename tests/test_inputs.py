"""Files and tables given to a run: by path, by URL, by hash; keyed by what they contain."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import fsspec
import pandas as pd
import pyarrow as pa
import pytest

from flowlearner import Client, Columns, File, InputError, NotFoundError, RunFailed, operator, workflow
from flowlearner import inputs as inputs_module
from flowlearner.facade import Workflow
from flowlearner.records import Status

FRAME = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5], "s": ["a", "b", "c"]})


@operator
def total(rows: pd.DataFrame) -> float:
    return float(rows["y"].sum())


@operator
def count(rows: pa.Table) -> int:
    return int(rows.num_rows)


@operator
def size(path: File) -> int:
    return len(Path(path).read_bytes())


@workflow(executor="local")
def totals(rows: pd.DataFrame) -> float:
    return total(rows)


@workflow(executor="local")
def counts(rows: pa.Table) -> int:
    return count(rows)


@workflow(executor="local")
def sizes(path: File) -> int:
    return size(path)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that were parsed."""
    names: list[str] = []
    read = inputs_module.read_table

    def count_read(path: Path, where: str) -> Any:
        names.append(path.name)
        return read(path, where)

    monkeypatch.setattr(inputs_module, "read_table", count_read)
    return names


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        FRAME.to_parquet(path)
    elif name.endswith(".feather"):
        FRAME.to_feather(path)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.csv", FRAME.to_csv(index=False))
    elif name.endswith(".tsv"):
        FRAME.to_csv(path, index=False, sep="\t")
    else:
        FRAME.to_csv(path, index=False)
    return path


def hash_of(workflow: Workflow[..., Any], **params: Any) -> str:
    (value,) = workflow.run(**params).params.values()
    return str(value["hash"])


def test_one_table_has_one_hash_in_every_format(tmp_path: Path) -> None:
    names = ["a.csv", "a.csv.gz", "a.zip", "a.tsv", "a.parquet", "a.feather"]
    assert len({hash_of(totals, rows=write(tmp_path, n)) for n in names}) == 1


def test_a_table_given_as_a_value_has_the_hash_of_its_file(tmp_path: Path) -> None:
    assert hash_of(totals, rows=FRAME) == hash_of(totals, rows=str(write(tmp_path, "a.csv")))


def test_arrow_and_pandas_parameters_key_one_file_alike(tmp_path: Path) -> None:
    path = write(tmp_path, "a.parquet")
    assert hash_of(totals, rows=path) == hash_of(counts, rows=path)


def test_the_same_file_again_is_not_parsed(tmp_path: Path, parsed: list[str]) -> None:
    path = write(tmp_path, "a.csv")
    totals.run(rows=path)
    assert [n.cached for n in totals.run(rows=path).nodes] == [True]
    assert parsed == ["a.csv"]


def test_a_copy_of_a_file_is_not_parsed_either(tmp_path: Path, parsed: list[str]) -> None:
    totals.run(rows=write(tmp_path, "a.csv"))
    totals.run(rows=write(tmp_path, "b.csv"))
    assert parsed == ["a.csv"]


def test_a_changed_file_of_the_same_size_and_forged_mtime_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every stat may be remembered at once, as if the file had been lying there for long.
    monkeypatch.setattr(inputs_module, "SETTLED_NS", -(10**18))
    path = tmp_path / "a.csv"
    path.write_text("y\n1.0\n")
    before = path.stat()
    assert totals.run(rows=path).outputs.result == 1.0
    path.write_text("y\n2.0\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert totals.run(rows=path).outputs.result == 2.0


def test_a_file_is_not_hashed_again_while_its_stat_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "SETTLED_NS", -(10**18))
    path = write(tmp_path, "a.csv")
    totals.run(rows=path)
    with monkeypatch.context() as patched:
        patched.setattr(inputs_module, "hash_bytes", lambda path: pytest.fail("hashed again"))
        assert [r.action for r in totals.plan(rows=path)] == ["cached"]


def test_a_url_of_any_fsspec_file_system_is_read(tmp_path: Path) -> None:
    with fsspec.open("memory://inputs/a.csv", "wb") as sink:
        sink.write(FRAME.to_csv(index=False).encode())
    run = totals.run(rows="memory://inputs/a.csv")
    assert run.outputs.result == 4.5
    assert run.params["rows"]["source"] == "memory://inputs/a.csv"
    assert sizes.run(path="memory://inputs/a.csv").outputs.result == len(FRAME.to_csv(index=False))
    assert totals.run(rows=f"file://{write(tmp_path, 'a.csv')}").nodes[0].cached


def test_a_url_that_cannot_be_read_fails_the_run_with_the_reason() -> None:
    with pytest.raises(RunFailed, match=r"cannot read 'memory://inputs/none.csv'"):
        totals.run(rows="memory://inputs/none.csv")


def test_an_artifact_of_an_earlier_run_is_an_input_by_its_hash(tmp_path: Path) -> None:
    hash_ = hash_of(totals, rows=write(tmp_path, "a.csv"))
    run = counts.run(rows=f"artifact:{hash_}")
    assert run.outputs.result == 3
    assert run.params["rows"]["hash"] == hash_
    assert counts.run(rows=f"artifact:{hash_[:12]}").nodes[0].cached


def test_an_unknown_artifact_is_not_found_before_a_run_begins() -> None:
    with pytest.raises(NotFoundError, match=r"^parameter 'rows': no artifact '0123abcd'"):
        totals.run(rows="artifact:0123abcd")
    assert Client().list_runs() == []


def test_an_unknown_artifact_inside_of_a_list_fails_the_run_before_any_node() -> None:
    @operator
    def count(files: list[File]) -> int:
        return len(files)

    @workflow(executor="local")
    def flow(files: list[File]) -> int:
        return count(files)

    with pytest.raises(RunFailed, match=r"parameter 'files\[0\]': no artifact '0123abcd'") as caught:
        flow.run(files=["artifact:0123abcd"])
    assert caught.value.run.nodes == ()


def test_an_artifact_of_another_kind_is_refused(tmp_path: Path) -> None:
    hash_ = totals.run(rows=FRAME).record.outputs["result"].hash
    with pytest.raises(RunFailed, match=r"expected pyarrow\.Table, but .* is a float"):
        counts.run(rows=f"artifact:{hash_}")


def test_a_file_above_the_limit_is_kept_by_reference_and_must_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    monkeypatch.setenv("FLOWLEARNER_FILE_LIMIT_BYTES", "10")
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(200)))
    run = sizes.run(path=path)
    assert run.outputs.result == 200
    assert [f for f in (own_home / "artifacts").rglob("*.bin") if f.is_file()] == []
    path.write_bytes(bytes(reversed(range(200))))
    with pytest.raises(Exception, match="kept by reference"):
        sizes.run(path=f"artifact:{run.params['path']['hash']}")


def test_a_download_above_the_limit_is_stored_since_it_has_no_other_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWLEARNER_FILE_LIMIT_BYTES", "10")
    with fsspec.open("memory://inputs/big.bin", "wb") as sink:
        sink.write(b"x" * 100)
    first = sizes.run(path="memory://inputs/big.bin")
    assert sizes.run(path=f"artifact:{first.params['path']['hash']}").outputs.result == 100


def test_a_file_of_another_suffix_is_another_input(tmp_path: Path) -> None:
    @operator
    def read(file: File) -> str:
        return Path(file).suffix

    @workflow(executor="local")
    def flow(file: File) -> str:
        return read(file)

    names = ["rows.csv", "copy.csv", "rows.tsv"]
    for name in names:
        (tmp_path / name).write_text("a,b\n1,2\n")
    runs = [flow.run(file=tmp_path / name) for name in names]
    assert [run.outputs.result for run in runs] == [".csv", ".csv", ".tsv"]
    assert [run.nodes[0].cached for run in runs] == [False, True, False]


class Named(NamedTuple):
    file: File
    word: str


HOLDING_FILES = [
    (list[File], lambda path: [path]),
    (tuple[File, ...], lambda path: (path,)),
    (dict[str, File], lambda path: {"a": path}),
    (dict[str, list[File]], lambda path: {"a": [path]}),
    (File | int, lambda path: path),
    (list[File] | None, lambda path: [path]),
    (Named, lambda path: Named(path, "word")),
]


def _read_files(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "".join(_read_files(v) for v in value)
    if isinstance(value, dict):
        return _read_files(list(value.values()))
    return Path(value).read_text() if Path(value).exists() else str(value)


@pytest.mark.parametrize(("hint", "make"), HOLDING_FILES)
@pytest.mark.parametrize("where", ["parameter", "body"])
def test_files_inside_of_values_are_keyed_by_their_content(
    where: str, hint: Any, make: Any, tmp_path: Path
) -> None:
    file = tmp_path / "rows.txt"

    def read(value: hint) -> str:
        return _read_files(value)

    def given(value: hint) -> str:
        return step(value)

    def written() -> str:
        return step(make(str(file)))

    step = operator(read)
    flow = workflow(executor="local")(given if where == "parameter" else written)
    params = {"value": make(str(file))} if where == "parameter" else {}
    runs = []
    for text in ("one", "another", "one"):
        file.write_text(text)
        runs.append(flow.run(**params))
    assert [run.outputs.result.replace("word", "") for run in runs] == ["one", "another", "one"]
    assert [run.nodes[0].cached for run in runs] == [False, False, True]


@operator
def join_files(files: list[File]) -> str:
    return _read_files(list(files))


@workflow(executor="local")
def joined(files: list[File]) -> str:
    return join_files(files)


def test_files_inside_of_a_list_are_no_garbage_while_their_run_is_kept(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("one")
    run = joined.run(files=[str(tmp_path / "rows.txt")])
    assert Client().collect_garbage().artifacts == 0
    Client().delete_runs([run.id])
    assert Client().collect_garbage().artifacts > 1


def test_a_set_of_files_is_never_cached_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("one")

    @operator
    def read(files: set[File]) -> str:
        return _read_files(sorted(map(str, files)))

    @workflow(executor="local")
    def flow(files: set[File]) -> str:
        return read(files)

    flow.run(files={str(tmp_path / "rows.txt")})
    run = flow.run(files={str(tmp_path / "rows.txt")})
    assert not run.nodes[0].cached
    assert "it is a set of files. Give a list of them" in str(run.nodes[0].miss_reason)


def test_a_file_named_in_the_workflow_is_keyed_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv")
    name = str(path)

    @workflow(executor="local")
    def named() -> float:
        return total(name)  # type: ignore[arg-type]

    assert named.run().outputs.result == 4.5
    assert named.run().nodes[0].cached
    path.write_text("y\n7.0\n")
    assert named.run().outputs.result == 7.0


def test_a_file_named_in_the_workflow_that_does_not_read_fails_its_node() -> None:
    @workflow(executor="local")
    def named() -> float:
        return total("/nowhere/at/all.csv")  # type: ignore[arg-type]

    with pytest.raises(RunFailed, match=r"node 'total' failed: InputError: .*all.csv") as caught:
        named.run()
    assert caught.value.run.nodes[0].status is Status.FAILED


def test_a_column_that_the_workflow_declares_is_checked_before_any_node_runs(tmp_path: Path) -> None:
    @workflow(executor="local")
    def typed(rows: Annotated[pd.DataFrame, Columns(y=float, late=bool)]) -> float:
        return total(rows)

    with pytest.raises(
        RunFailed, match=r"parameter 'rows': expects columns y, late; .*missing late"
    ) as caught:
        typed.run(rows=write(tmp_path, "a.csv"))
    assert caught.value.run.nodes == ()


@pytest.mark.parametrize("name", ["nosuch.csv", "a.cs"])
def test_a_missing_file_is_refused_before_a_run_begins(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.csv")
    with pytest.raises(InputError, match=f"parameter 'rows': no file '.*{name}'") as caught:
        totals.run(rows=tmp_path / name)
    assert ("Did you mean 'a.csv'?" in str(caught.value)) == (name == "a.cs")
    assert Client().list_runs() == []


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, found the folder"):
        totals.run(rows=tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="found a pipe or device"):
        totals.run(rows=tmp_path / "pipe.csv")


@pytest.mark.skipif(sys.platform == "win32", reason="no home folders by ~")
def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert totals.run(rows="~/a.csv").outputs.result == 4.5


def test_a_lost_table_is_read_from_its_file_again(tmp_path: Path, own_home: Path, parsed: list[str]) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame({"y": [float(i) for i in range(20_000)]}).to_csv(path, index=False)
    totals.run(rows=path)
    for file in (own_home / "artifacts").rglob("*"):
        if file.is_file():
            file.unlink()
    run = totals.with_options(cache=False).run(rows=path)
    assert run.status is Status.COMPLETED
    assert parsed == ["a.csv", "a.csv"]


def test_lists_and_dates_are_recorded_as_they_are(tmp_path: Path) -> None:
    import datetime as dt

    @operator
    def take(layers: list[int], day: dt.date) -> int:
        return sum(layers) + day.day

    @workflow(executor="local")
    def flow(layers: list[int], day: dt.date = dt.date(2013, 1, 5)) -> int:
        return take(layers, day)

    run = flow.run(layers=[64, 32])
    assert run.outputs.result == 101
    assert dict(run.params) == {"layers": [64, 32], "day": "2013-01-05"}
    assert flow.run(layers=[64, 32]).nodes[0].cached


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "expected the path of a file, found an empty text"),
        ("/nowhere/a.csv", r"no file '/nowhere/a\.csv'\."),
        ("~/nowhere.csv", r"no file '/.*/nowhere\.csv'\."),
        ("nowhere.csv", r"no file 'nowhere\.csv' \(looked in /"),
    ],
)
def test_a_file_that_is_not_there_is_named_by_where_it_was_looked_for(value: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        totals.run(rows=value)


def test_a_table_without_rows_fits_any_types_of_columns(tmp_path: Path) -> None:
    @operator
    def count_tips(rows: Annotated[pd.DataFrame, Columns(tip=float, day=str)]) -> int:
        return len(rows)

    @workflow(executor="local")
    def tips(rows: pd.DataFrame) -> int:
        return count_tips(rows)

    path = tmp_path / "tips.csv"
    path.write_text("tip,day\n")
    assert tips.run(rows=str(path)).outputs.result == 0
