"""What a person may get wrong: each has a message that says what to do, and the promised exit status."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowlearner
from flowlearner import Client
from flowlearner.catalog import Catalog
from flowlearner.config import get_settings
from flowlearner.errors import CatalogError
from tests.cli.conftest import Cli

Run = Callable[..., dict[str, Any]]
PACKAGE = Path(flowlearner.__file__).parent

SOURCES = {
    "raising.py": "@operator\ndef work(a: int) -> int:\n    return a // 0\n"
    "@workflow\ndef flow(a: int = 1) -> int:\n    return work(a)\n",
    "other_type.py": "@operator\ndef work(a: int) -> int:\n    return 'text'\n"
    "@workflow\ndef flow(a: int = 1) -> int:\n    return work(a)\n",
    "no_codec.py": "class Thing:\n    pass\n@operator\ndef work(a: int) -> Thing:\n    return Thing()\n"
    "@workflow\ndef flow(a: int = 1) -> Thing:\n    return work(a)\n",
    "mistyped.py": "@operator\ndef work(a: int) -> str:\n    return 'x'\n"
    "@workflow\ndef flow(a: int = 1) -> int:\n    return work(work(a))\n",
    "broken_import.py": "import helper_that_breaks\n",
    "helper_that_breaks.py": "import no_such_package_anywhere\n",
    "broken_syntax.py": "def flow(:\n    pass\n",
    "ends.py": "import sys\nsys.exit(3)\n",
    "unspeakable.py": "class Unspeakable(Exception):\n    def __str__(self):\n        return 1 / 0\n"
    "raise Unspeakable\n",
    "greedy.py": "@operator(cpus=4096)\ndef work(a: int) -> int:\n    return a\n"
    "@workflow\ndef flow(a: int = 1) -> int:\n    return work(a)\n",
    "no_types.py": "@operator\ndef work(a):\n    return a\n",
}
RUN = ["run", "tips.py:tips", "-p", "rows=tips.csv", "--executor", "local"]
HEAD = "from flowlearner import operator, workflow\n"

# name: (arguments after `run`, exit status, parts of the message)
CASES: dict[str, tuple[list[str], int, list[str]]] = {
    "no such file": (["nowhere.py:flow"], 2, ["no file 'nowhere.py'"]),
    "a file of nearly that name": (["tip.py:tips"], 2, ["Did you mean 'tips.py'?"]),
    "no such workflow": (["tips.py:tipz"], 2, ["no workflow 'tipz'", "Did you mean 'tips'?"]),
    "an operator in place of a workflow": (["tips.py:clean"], 2, ["'clean' is an operator, not a workflow"]),
    "an import error": (
        ["broken_import.py:flow"],
        2,
        ["does not import", "no_such_package_anywhere", "helper_that_breaks.py, line 2"],
    ),
    "a syntax error": (["broken_syntax.py:flow"], 2, ["does not import", "line 2", "^"]),
    "a script that ends Python": (["ends.py:flow"], 2, ["it ends Python while it is imported", "__main__"]),
    "an operator without types": (["no_types.py:flow"], 2, ["parameter 'a' has no type"]),
    "a mistake of types": (
        ["mistyped.py:flow"],
        2,
        ["does not compile, 2 problems", "expects int but gets str"],
    ),
    "a value without a codec": (["no_codec.py:flow"], 2, ["no codec stores Thing", "register_codec"]),
    "an import that raises what cannot be shown": (
        ["unspeakable.py:flow"],
        2,
        ["unspeakable.py does not import: Unspeakable", "line 5, in <module>", "raise Unspeakable"],
    ),
    "resources that nothing has": (["greedy.py:flow"], 2, ["asks for 4096 cpus (this machine has"]),
    "a missing table": (
        ["tips.py:tips", "-p", "rows=nowhere.csv"],
        1,
        ["parameter 'rows': no file 'nowhere.csv'"],
    ),
    "an empty table": (["tips.py:tips", "-p", "rows=empty.csv"], 1, ["is empty"]),
    "an unreadable table": (["tips.py:tips", "-p", "rows=binary.parquet"], 1, ["does not read as a table"]),
    "a table of unequal rows": (
        ["tips.py:tips", "-p", "rows=ragged.csv"],
        1,
        ["'ragged.csv' does not read as a table", "Expected 2 fields in line 3, saw 4"],
    ),
    "a table that is no text": (["tips.py:tips", "-p", "rows=binary.csv"], 1, ["does not read as a table"]),
    "a table of an unknown form": (["tips.py:tips", "-p", "rows=tips.xyz"], 1, ["expected .csv"]),
    "a column of another type": (
        ["tips.py:tips", "-p", "rows=text.csv"],
        1,
        ["node 'clean' failed", "column 'tip' is str, expected float"],
    ),
    "an artifact that is not there": (
        ["tips.py:tips", "-p", "rows=artifact:00ff"],
        2,
        ["parameter 'rows': no artifact '00ff'"],
    ),
    "a folder as a table": (["tips.py:tips", "-p", "rows=."], 1, ["expected a file, found the folder"]),
    "a missing column": (["tips.py:tips", "-p", "rows=other.csv"], 1, ["expects columns tip", "missing tip"]),
    "a missing parameter": (["tips.py:tips"], 2, ["parameter 'rows' (pandas.DataFrame) needs a value"]),
    "an unknown parameter": (
        ["tips.py:tips", "-p", "rows=tips.csv", "-p", "smalest=1"],
        2,
        ["-p smalest: no parameter", "Did you mean 'smallest'?"],
    ),
    "an unknown option": (
        ["tips.py:tips", "-p", "rows=tips.csv", "--smalest", "1"],
        2,
        ["smalest", "Did you mean", "smallest"],
    ),
    "a value of another type": (
        ["tips.py:tips", "-p", "rows=tips.csv", "--smallest", "low"],
        2,
        ["parameter 'smallest': expected float, found 'low'"],
    ),
    "a value out of range": (
        ["tips.py:tips", "-p", "rows=tips.csv", "--smallest", "101"],
        2,
        ["expected a value in 0..100, found 101.0"],
    ),
    "an assignment without a value": (["tips.py:tips", "-p", "rows"], 2, ["NAME=VALUE"]),
    "an assignment without a name": (["tips.py:tips", "-p", "=3"], 2, ["NAME=VALUE"]),
    "an unknown node to refresh": (
        ["tips.py:tips", "-p", "rows=tips.csv", "--refresh", "claen"],
        2,
        ["no node 'claen'", "Did you mean 'clean'?"],
    ),
    "an unknown executor": (
        ["tips.py:tips", "-p", "rows=tips.csv", "--executor", "locale"],
        2,
        ["no executor 'locale'", "Did you mean 'local'?"],
    ),
    "an operator that raises": (
        ["raising.py:flow"],
        1,
        ["node 'work' failed: ZeroDivisionError", "return a // 0"],
    ),
    "an operator that returns another type": (
        ["other_type.py:flow"],
        1,
        ["returned another type than it declares", "expected int, found str 'text'"],
    ),
}


@pytest.fixture
def sources(project: Path) -> Path:
    for name, text in SOURCES.items():
        (project / name).write_text(HEAD + text)
    (project / "empty.csv").write_text("")
    (project / "binary.parquet").write_bytes(b"\x00\x01" * 50)
    (project / "binary.csv").write_bytes(b"\xff\xfe\x00\x81" * 50)
    (project / "ragged.csv").write_text("tip,bill\n1,2\n1,2,3,4\n")
    (project / "text.csv").write_text("tip\nmuch\n")
    (project / "tips.xyz").write_text("tip\n1\n")
    (project / "other.csv").write_text("bill\n10\n")
    return project


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_has_a_message_and_an_exit_status(cli: Cli, sources: Path, name: str) -> None:
    arguments, status, parts = CASES[name]
    if "--executor" not in arguments:
        arguments = [*arguments, "--executor", "local"]
    answer = cli("run", *arguments)
    said = " ".join((answer.out + answer.err).split())
    assert answer.status == status, said
    for part in parts:
        assert part in said
    assert "Traceback" not in said
    assert "site-packages" not in said
    assert f"{PACKAGE}/" not in said


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_json_document_too(cli: Cli, sources: Path, name: str) -> None:
    arguments, status, _ = CASES[name]
    if "--executor" not in arguments:
        arguments = [*arguments, "--executor", "local"]
    answer = cli("run", *arguments, "--json")
    assert answer.status == status
    document = answer.document
    message = (document.get("error") or {}).get("message")
    assert message


def test_a_run_that_had_begun_is_recorded_with_its_error(cli: Cli, sources: Path) -> None:
    cli("run", "raising.py:flow", "--executor", "local")
    run = Client().list_runs()[0]
    assert run.status == "FAILED"
    assert run.error is not None
    assert "ZeroDivisionError" in run.error.message
    # Only the user's own frames.
    assert "flowlearner/engine" not in run.error.traceback


def test_a_mistake_before_the_run_leaves_nothing_behind(cli: Cli, sources: Path) -> None:
    for arguments in (["mistyped.py:flow"], ["tips.py:tips", "-p", "rows=nowhere.csv"], ["greedy.py:flow"]):
        cli("run", *arguments, "--executor", "local")
    assert Client().list_runs() == []


def test_all_mistakes_in_parameters_are_told_at_once(cli: Cli, project: Path) -> None:
    answer = cli("run", "tips.py:tips", "-p", "smallest=500")
    assert "0..100" in answer.err
    assert "'rows'" in answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["runs", "show", "feedbeef"], 2, "no run"),
        (["runs", "logs", "feedbeef"], 2, "no run"),
        (["runs", "compare", "a"], 2, "no run"),
        (["search", "metric.auc >"], 2, "expected a value"),
        (["search", "colour = 'red'; drop table runs"], 2, "^"),
        (["runs", "list", "--status", "faild"], 2, "Did you mean 'FAILED'?"),
        (["runs", "list", "--limit", "0"], 2, "limit"),
        (["experiments", "show", "nothing"], 2, "no experiment 'nothing'"),
        (["workflows", "show", "nothing"], 2, "nothing"),
        (["operators", "show", "nothing"], 2, "nothing"),
        (["artifacts", "show", "nothing"], 2, "expected RUN.OUTPUT"),
        (["artifacts", "show", "0123456789abcdef"], 2, "0123456789abcdef"),
        (["run"], 2, "FILE:WORKFLOW"),
        (["rum"], 2, "rum"),
    ],
)
def test_what_does_not_exist_is_said(cli: Cli, arguments: list[str], status: int, part: str) -> None:
    answer = cli(*arguments)
    assert answer.status == status
    assert part in answer.err


def test_an_interrupt_while_a_workflow_is_imported_is_said(cli: Cli, project: Path) -> None:
    (project / "interrupted.py").write_text("raise KeyboardInterrupt")
    answer = cli("check", "interrupted.py:flow")
    assert (answer.status, answer.out, answer.err) == (130, "", "Stopped: interrupted\n")
    answer = cli("check", "interrupted.py:flow", "--json")
    assert answer.status == 130
    assert answer.document == {"error": {"type": "KeyboardInterrupt", "message": "interrupted"}}


def test_a_limit_of_any_size_lists_all(cli: Cli, run_tips: Run) -> None:
    run = run_tips()
    assert [r["id"] for r in cli("runs", "list", "--limit", "9" * 30, "--json").document] == [run["id"]]


def test_an_ambiguous_beginning_of_an_id_is_refused(cli: Cli, run_tips: Run) -> None:
    for _ in range(2):
        run_tips()
    answer = cli("runs", "show", "")
    assert answer.status == 2


def test_an_unknown_output_names_the_nearest(cli: Cli, run_tips: Run) -> None:
    answer = cli("artifacts", "show", f"{run_tips()['id']}.maen")
    assert answer.status == 2
    assert "Did you mean 'mean'?" in answer.err


@pytest.mark.parametrize("command", [["runs", "list"], ["up"], ["catalog", "check"], ["doctor"], RUN])
@pytest.mark.parametrize("home", ["file/home", "file", "/proc/nowhere"])
def test_a_home_that_cannot_be_written_is_a_failure_of_the_platform(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch, home: str, command: list[str]
) -> None:
    # A folder without permissions would not do: the administrator may write there all the same.
    (project / "file").write_text("")
    monkeypatch.setenv("FLOWLEARNER_HOME", str(project / home))
    answer = cli(*command)
    said = answer.out + answer.err
    assert answer.status == 3, said
    assert "FLOWLEARNER_HOME" in said
    assert str(project / home) in said
    assert "Traceback" not in said
    assert "[Errno" not in said


def test_a_home_that_no_url_can_name_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEARNER_HOME", "/tmp/what?")
    answer = cli("runs", "list")
    assert answer.status == 2
    assert "FLOWLEARNER_HOME: a '?' would end the path" in answer.err


def test_a_setting_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HOME", "CATALOG", "ARTIFACTS", "FILE_LIMIT_BYTES"):
        monkeypatch.setenv(f"FLOWLEARNER_{name}", "")
    settings = get_settings()
    assert settings.home_path == tmp_path / ".flowlearner"
    assert settings.file_limit_bytes == 1 << 30


def test_artifacts_in_memory_are_refused(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEARNER_ARTIFACTS", "memory://store")
    answer = cli(*RUN)
    assert answer.status == 2
    assert "FLOWLEARNER_ARTIFACTS: values in memory would be lost" in answer.err


def test_a_setting_that_is_no_value_is_named(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLEARNER_FILE_LIMIT_BYTES", "much")
    answer = cli("runs", "list")
    assert answer.status == 2
    assert answer.err.startswith("Error: FLOWLEARNER_FILE_LIMIT_BYTES: ")
    assert "found 'much'" in answer.err


@pytest.mark.parametrize(
    ("url", "part"), [("mysql://host/x", "SQLite or PostgreSQL"), ("nonsense", "expected a URL such as")]
)
def test_a_catalog_of_no_known_kind_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, part: str
) -> None:
    monkeypatch.setenv("FLOWLEARNER_CATALOG", url)
    answer = cli("runs", "list")
    assert answer.status == 2
    assert part in answer.err


def test_a_catalog_that_another_process_holds_can_be_read_and_says_who_locks_it(
    cli: Cli, run_tips: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tips()
    defaults = Catalog.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "busy_timeout_s", 0.2)
    holder = sqlite3.connect(own_home / "catalog.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        assert len(cli("runs", "list", "--json").document) == 1
        answer = cli(*RUN)
    finally:
        holder.close()
    assert answer.status == 3, answer.err
    assert "locked" in answer.err
    assert "fuser" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_a_failure_of_the_platform(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    answer = cli("run", "tips.py:tips", "-p", "rows=tips.csv")
    assert answer.status == 3
    assert "http://127.0.0.1:9/api (from PREFECT_API_URL) does not answer" in answer.err
    states = {s["name"]: s["state"] for s in cli("status", "--json").document}
    assert states == {"prefect": "unhealthy", "ray": "stopped", "schedules": "stopped", "ui": "stopped"}
    checks = {c["name"]: c["state"] for c in cli("doctor", "--json").document["checks"]}
    assert checks["prefect"] == "broken"


def test_a_corrupt_catalog_is_named(cli: Cli, run_tips: Run, own_home: Path) -> None:
    run_tips()
    for file in own_home.glob("catalog.db*"):
        file.unlink()
    (own_home / "catalog.db").write_bytes(b"this is no database" * 1000)
    answer = cli("runs", "list")
    assert answer.status == 3
    assert "catalog.db" in answer.err


def test_doctor_finds_what_the_check_of_the_catalog_finds(cli: Cli, run_tips: Run, own_home: Path) -> None:
    run_tips()
    with (own_home / "catalog.db").open("r+b") as file:
        file.seek(4096)
        file.write(bytes(range(256)) * 240)
    assert cli("catalog", "check").status == 3
    answer = cli("doctor", "--json")
    assert answer.status == 3
    (found,) = [c for c in answer.document["checks"] if c["name"] == "catalog"]
    assert found["state"] == "broken"
    assert "corrupt" in found["message"] or "damaged" in found["message"]


def test_doctor_finds_a_damaged_stored_value(cli: Cli, run_tips: Run, own_home: Path) -> None:
    run_tips()
    with contextlib.closing(sqlite3.connect(own_home / "catalog.db")) as database, database:
        database.execute("UPDATE artifact SET inline = x'00'")
    assert cli("catalog", "check").status == 3
    answer = cli("doctor")
    assert answer.status == 3
    assert "flowlearner catalog check" in answer.out


def test_a_catalog_of_a_newer_schema_is_refused_with_the_cure(
    cli: Cli, run_tips: Run, own_home: Path
) -> None:
    run_tips()
    with sqlite3.connect(own_home / "catalog.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    answer = cli("runs", "list")
    assert answer.status == 3
    assert "Upgrade flowlearner" in answer.err


def test_a_lost_artifact_is_named_and_the_run_can_be_made_again(
    cli: Cli, run_tips: Run, own_home: Path
) -> None:
    run = run_tips()
    with sqlite3.connect(own_home / "catalog.db") as connection:
        connection.execute("UPDATE artifact SET inline = zeroblob(length(inline)) WHERE inline IS NOT NULL")
    connection.close()
    answer = cli("artifacts", "get", f"{run['id']}.rows", "-o", "rows.csv")
    assert answer.status == 3
    assert cli("catalog", "check").status == 3
    again = run_tips()
    assert again["status"] == "COMPLETED"
    assert "artifact lost" in again["nodes"][0]["miss_reason"]
    assert cli("catalog", "check").status == 0


def test_text_of_users_never_moves_the_cursor(cli: Cli, run_tips: Run) -> None:
    run = run_tips("--note", "\x1b[2J[bold]hello[/bold]\x07", "--tag", "a=[red]\x1b]0;title\x07")
    shown = cli("runs", "show", run["id"]).out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[bold]hello[/bold]" in shown
    assert json.loads(cli("runs", "show", run["id"], "--json").out)["notes"].startswith("\x1b")


STORE_LOST = """
import os
import shutil
from pathlib import Path

import numpy as np
from flowlearner import operator, workflow


@operator
def lose(n: int) -> np.ndarray:
    store = Path(os.environ["FLOWLEARNER_HOME"], "artifacts")
    shutil.rmtree(store, ignore_errors=True)
    store.touch()
    return np.ones(n)


@workflow(executor="local")
def lost(n: int = 100_000) -> np.ndarray:
    return lose(n)
"""


def fail_to_store(_: pytest.MonkeyPatch) -> None:
    """Nothing is left to do: the operator has lost the store."""


def fail_to_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def record_nodes(*_: object) -> None:
        raise CatalogError("the catalog is gone")

    monkeypatch.setattr(Catalog, "record_nodes", record_nodes)


@pytest.mark.parametrize("fail", [fail_to_store, fail_to_record])
def test_the_json_of_a_failure_of_the_platform_names_the_run_that_had_begun(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[pytest.MonkeyPatch], None]
) -> None:
    (project / "lost.py").write_text(STORE_LOST)
    fail(monkeypatch)
    answer = cli("run", "lost.py:lost", "--json")
    assert answer.status == 3, answer.err
    assert answer.document["error"]["run_id"] == Client().list_runs()[0].id
