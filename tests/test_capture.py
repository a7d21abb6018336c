"""What is captured around a run: the user's source, the commit, packages and machine."""

from __future__ import annotations

import io
import json
import linecache
import platform
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flowlearner import Client, Range, SweepFailed, capture
from flowlearner.artifacts import Source, get_codec
from flowlearner.capture import Snapshot, read_changes, read_commit, read_environment, take_snapshot
from flowlearner.engine.submit import get_user
from flowlearner.records import Environment
from flowlearner.sweep.resume import retry_sweep
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

LIMIT = 1 << 20


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable folder of the user; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def read(snapshot: Snapshot) -> dict[str, Any]:
    sink = io.BytesIO()
    snapshot.encode().write(sink)
    body: dict[str, Any] = json.loads(sink.getvalue())
    return body


def test_a_snapshot_holds_the_users_modules_with_packages_marked(project: Path) -> None:
    write(project / "snap_pkg" / "__init__.py", "")
    write(project / "snap_pkg" / "steps.py", "VALUE = 1\n")
    write(project / "snap_main.py", "import json\nfrom snap_pkg.steps import VALUE\n")
    __import__("snap_main")
    modules = read(take_snapshot("snap_main", LIMIT))["modules"]
    assert modules["snap_main"]["source"].startswith("import json")
    assert modules["snap_pkg"] == {"source": "", "package": True}
    assert modules["snap_pkg.steps"] == {"source": "VALUE = 1\n", "package": False}


def test_a_snapshot_holds_no_module_of_python_of_packages_or_of_flowlearner() -> None:
    modules = take_snapshot("tests.test_capture", LIMIT).modules
    tops = {name.partition(".")[0] for name in modules}
    assert tops.isdisjoint({"json", "pandas", "pytest", "sqlalchemy", "flowlearner"})
    assert "tests.test_capture" in modules


def test_a_snapshot_holds_what_was_loaded_though_the_file_was_edited_since(project: Path) -> None:
    text = """
        from flowlearner import operator
        @operator
        def step(x: int) -> int:
            return x
        """
    file = write(project / "snap_edited.py", text)
    module = __import__("snap_edited")
    file.write_text("broken(")
    assert "return x" in take_snapshot("snap_edited", LIMIT).modules["snap_edited"]["source"]
    assert module.step.fingerprint().source.endswith("return x\n")


@pytest.mark.parametrize("name", ["secrets_of_mine", "db_password", "api_key", "my_tokens"])
def test_a_module_whose_name_speaks_of_secrets_is_left_out(project: Path, name: str) -> None:
    write(project / f"{name}.py", "KEY = 'hush'\n")
    __import__(name)
    snapshot = take_snapshot(name, LIMIT)
    assert name not in snapshot.modules
    assert snapshot.left_out[name] == "its file name speaks of secrets"


def test_a_tokenizer_is_no_secret(project: Path) -> None:
    write(project / "tokenizer.py", "X = 1\n")
    __import__("tokenizer")
    assert "tokenizer" in take_snapshot("tokenizer", LIMIT).modules


def test_what_goes_beyond_the_limit_is_left_out_and_named(project: Path) -> None:
    write(project / "snap_large.py", "# " + "x" * 5000 + "\n")
    write(project / "snap_small.py", "X = 1\n")
    __import__("snap_large")
    __import__("snap_small")
    snapshot = take_snapshot("snap_small", 100)
    assert "snap_small" in snapshot.modules
    assert snapshot.left_out["snap_large"] == "above the limit of 100 bytes"


def test_a_notebook_is_captured_by_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("__main__")
    notebook.In = ["", "x = 1", "y = 2"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    assert take_snapshot("__main__", LIMIT).modules["__main__"]["source"] == "x = 1\n\ny = 2"


def test_equal_source_has_one_hash_and_an_edit_another(project: Path) -> None:
    first = Snapshot({"a": {"source": "x = 1", "package": False}}, {})
    again = Snapshot({"a": {"package": False, "source": "x = 1"}}, {})
    other = Snapshot({"a": {"source": "x = 2", "package": False}}, {})
    assert first.encode().hash == again.encode().hash != other.encode().hash


@pytest.mark.slow
def test_a_script_is_captured_with_the_run(tmp_path: Path) -> None:
    script = write(
        tmp_path / "script.py",
        """
        from flowlearner import operator, workflow

        @operator
        def one(n: int) -> int:
            return n

        @workflow(executor="local")
        def flow(n: int = 1) -> int:
            return one(n)

        flow.run()
        """,
    )
    subprocess.run([sys.executable, str(script)], check=True)
    client = Client()
    (run,) = client.list_runs()
    code = run.refresh().to_json()["code"]
    stored = client.load_artifact(code["snapshot"])
    assert stored["modules"]["__main__"]["source"] == script.read_text()


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_the_checkout_differs_are_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    assert read_commit(tmp_path).commit is None
    file = write(tmp_path / "a.py", "x = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "First")
    clean = read_commit(tmp_path)
    assert (clean.commit, clean.branch, clean.dirty) == (git(tmp_path, "rev-parse", "HEAD"), "trunk", False)
    file.write_text("x = 2\n")
    assert read_commit(tmp_path).dirty


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit, in whose subfolder the user's code lies."""
    git(tmp_path, "init", "-q", "-b", "trunk")
    write(tmp_path / "flows" / "tips.py", "x = 1\n")
    write(tmp_path / "data.csv", "a,b\n1,2\n")
    (tmp_path / "logo.png").write_bytes(b"\x00\x01")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "First")
    return tmp_path


def read_diff(folder: Path, limit: int = LIMIT, **options: Any) -> str:
    code, encoded = read_changes(folder, limit, **options)
    assert code.dirty
    assert encoded is not None
    sink = io.BytesIO()
    encoded.write(sink)
    stored = Source(sink.getvalue())
    text: str = get_codec(encoded.codec).decode(stored, str, "diff")
    assert get_codec(encoded.codec).encode(text, str).hash == encoded.hash
    return text


def test_a_clean_checkout_has_no_changes(checkout: Path) -> None:
    write(checkout / "new.py", "")
    code, encoded = read_changes(checkout, LIMIT)
    assert (code.commit, code.dirty, encoded) == (git(checkout, "rev-parse", "HEAD"), False, None)


def test_changes_of_the_whole_checkout_are_read_from_any_folder_of_it(checkout: Path) -> None:
    write(checkout / "flows" / "tips.py", "x = 2\n")
    write(checkout / "data.csv", "a,b\n1,3\n")
    write(checkout / "flows" / "new one.py", "")
    write(checkout / "other" / "helper.py", "")
    write(checkout / "notes.txt", "")
    (checkout / "logo.png").write_bytes(b"\x00\x02")
    write(checkout / ".gitignore", "ignored.py\n")
    write(checkout / "ignored.py", "")
    text = read_diff(checkout / "flows")
    head, _, diff = text.partition("diff --git")
    assert head.splitlines() == [
        f"# Changes to commit {git(checkout, 'rev-parse', 'HEAD')}",
        "# Untracked: flows/new one.py",
        "# Untracked: other/helper.py",
    ]
    assert "-x = 1\n+x = 2\n" in diff
    assert "-1,2\n+1,3\n" in diff
    assert "Binary files a/logo.png and b/logo.png differ" in diff


def test_changes_can_be_applied_to_the_commit(checkout: Path) -> None:
    git(checkout, "config", "diff.noprefix", "true")
    git(checkout, "config", "color.diff", "always")
    write(checkout / "flows" / "tips.py", "x = 2\n")
    git(checkout, "mv", "data.csv", "moved.csv")
    patch = write(checkout.parent / f"{checkout.name}.diff", read_diff(checkout))
    git(checkout, "reset", "-q", "--hard")
    git(checkout, "apply", str(patch))
    assert (checkout / "flows" / "tips.py").read_text() == "x = 2\n"
    assert (checkout / "moved.csv").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (".env", ".env"),
        ("deploy/.env.local", "deploy/.env.local"),
        ("deploy/prod.env", "deploy/prod.env"),
        ("keys/server.pem", "keys/server.pem"),
        ("id_rsa", "id_rsa"),
        ("my tokens.json", "my tokens.json"),
        ("flows/api_key.txt", "flows/api_key.txt"),
        ("flows/apikey", "flows/apikey"),
        ("secrets/of/mine.yaml", "secrets"),
        (".netrc", ".netrc"),
    ],
)
def test_files_whose_names_speak_of_secrets_are_left_out_and_named(
    checkout: Path, name: str, shown: str
) -> None:
    file = write(checkout / name, "first\n")
    write(checkout / "tokenizer.py", "first\n")
    git(checkout, "add", "-f", ".")
    git(checkout, "commit", "-qm", "More")
    file.write_text("hush\n")
    write(checkout / "tokenizer.py", "second\n")
    text = read_diff(checkout / "flows")
    assert f"# Left out, for its name speaks of secrets: {shown}\n" in text
    assert "hush" not in text
    assert "first" not in text.replace("-first\n+second", "")
    assert "+second" in text


def test_a_file_of_secrets_that_was_renamed_is_left_out_as_far_as_its_name_says(checkout: Path) -> None:
    write(checkout / ".env", "hush\n" * 20)
    git(checkout, "add", "-f", ".")
    git(checkout, "commit", "-qm", "More")
    git(checkout, "mv", ".env", "secrets.txt")
    assert "hush" not in read_diff(checkout)


def test_the_text_of_a_secret_is_taken_out_of_the_changes(checkout: Path) -> None:
    write(checkout / "flows" / "tips.py", "TOKEN = 'hunter2'\n")
    text = read_diff(checkout, hide=lambda t: t.replace("hunter2", "***"))
    assert "+TOKEN = '***'" in text


def test_changes_above_the_limit_are_cut_at_a_line_and_that_is_said(checkout: Path) -> None:
    write(checkout / "data.csv", "a,b\n" + "1,2\n" * 100_000)
    text = read_diff(checkout, 1000)
    assert "# Cut: above the limit of 1000 bytes\n" in text
    assert 900 < len(text.partition("diff --git")[2]) < 1000
    assert text.endswith("+1,2\n")
    _, encoded = read_changes(checkout, 1000)
    assert encoded is not None
    assert isinstance(encoded.preview, dict)
    assert encoded.preview["is_whole"] is False


def test_many_untracked_files_are_counted(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_UNTRACKED", 2)
    write(checkout / "data.csv", "")
    for name in "abcde":
        write(checkout / f"{name}.py", "")
    assert "# Untracked: b.py\n# Untracked: 3 more Python files\n" in read_diff(checkout)


def test_bytes_that_are_no_text_do_no_harm(checkout: Path) -> None:
    (checkout / "data.csv").write_bytes("Zürich\n".encode("latin-1"))
    _, encoded = read_changes(checkout, LIMIT)
    assert encoded is not None
    sink = io.BytesIO()
    encoded.write(sink)
    assert "+Zürich\n".encode("latin-1") in sink.getvalue()
    decoded = get_codec("diff/1").decode(Source(sink.getvalue()), str, "diff")
    assert "+Z�rich\n" in decoded


def test_a_git_that_hangs_holds_nobody_up(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "GIT_LIMIT_S", 0.3)
    write(checkout / "data.csv", "1\n")
    write(checkout / ".gitattributes", "*.csv filter=slow\n")
    # What git asks to read the file with.
    git(checkout, "config", "filter.slow.clean", "exec sleep 60")
    write(checkout / ".env", "hush\n")
    git(checkout, "add", "-f", ".env")
    start = time.perf_counter()
    code, _ = read_changes(checkout, LIMIT)
    assert time.perf_counter() - start < 10
    assert (code.commit, code.dirty) == (git(checkout, "rev-parse", "HEAD"), True)
    text = read_diff(checkout)
    assert "# The changes are not known: git failed or took too long\n" in text
    assert "hush" not in text


def test_before_the_first_commit_there_are_no_changes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path / "a.py", "")
    git(tmp_path, "add", "a.py")
    assert read_changes(tmp_path, LIMIT) == (capture.CodeInfo(branch="master", dirty=True), None)


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    assert read_changes(checkout, LIMIT) == (capture.CodeInfo(), None)


def test_to_read_changes_takes_little_time(checkout: Path) -> None:
    write(checkout / "flows" / "tips.py", "x = 2\n")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        read_changes(checkout, LIMIT)
        times.append(time.perf_counter() - start)
    # The best of a few: the machine may be busy.
    assert min(times) < 0.1


FLOW = """
    from flowlearner import Metric, Secret, operator, workflow

    @operator
    def judge(n: int, token: Secret = "") -> Metric:
        return float(n)

    @workflow(executor="local")
    def flow(n: int = 1, token: Secret = "") -> Metric:
        return judge(n, token)
    """


def test_a_run_and_a_sweep_name_the_changes_and_show_them(
    checkout: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(checkout / "flows")
    write(checkout / "flows" / "changed_flow.py", FLOW)
    word = "-".join(["open", "sesame"])
    write(checkout / "data.csv", f"a,b\n1,{word}\n")
    flow = __import__("changed_flow").flow
    with Client() as client:
        code = flow.run(token=word).to_json()["code"]
        assert (code["branch"], code["dirty"]) == ("trunk", True)
        text = client.load_artifact(code["diff"])
        assert "# Untracked: flows/changed_flow.py\n" in text
        assert "-1,2\n+1,***\n" in text
        preview = client.find_artifact(code["diff"]).preview
        assert preview is not None
        assert preview["changed"] == ["data.csv"]
        again = client.rerun(client.list_runs()[0].id, secrets={"token": word})
        assert again.record.code.diff == code["diff"]
        sweep = flow.sweep({"n": Range(1, 2)}, token=word, trials=2, search="grid", executor="local")
        assert sweep.record.code.diff == code["diff"]
        assert {client.get_run(t.run_id).record.code.diff for t in sweep.trial_records} == {code["diff"]}
        assert client.check_catalog() == []


def test_trials_that_begin_later_have_their_code_from_where_the_sweep_had_it(
    checkout: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(checkout / "flows")
    write(
        checkout / "flows" / "failing_flow.py",
        """
        from pathlib import Path
        from flowlearner import Metric, operator, workflow

        @operator
        def judge(n: int) -> Metric:
            if not Path("mended").exists():
                raise ValueError(n)
            return float(n)

        @workflow(executor="local")
        def flow(n: int = 1) -> Metric:
            return judge(n)
        """,
    )
    write(checkout / "data.csv", "a,b\n1,3\n")
    monkeypatch.chdir(project)
    flow = __import__("failing_flow").flow
    options = {"trials": 2, "search": "grid", "executor": "local"}
    with pytest.raises(SweepFailed) as caught:
        flow.sweep({"n": Range(1, 2)}, **options)
    sweep = caught.value.sweep
    write(project / "mended", "")
    git(checkout, "commit", "-aqm", "Second")
    with Client() as client:
        assert sweep.record.code.diff is not None
        # As if it had ended before the second trial began.
        client.delete_runs([sweep.trial_records[1].run_id])
        client.catalog.purge_runs()
        retry_sweep(sweep.id, client.settings)
        trials = sweep.refresh().trial_records
        assert [t.status for t in trials] == ["COMPLETED", "COMPLETED"]
        assert {client.get_run(t.run_id).record.code for t in trials} == {sweep.record.code}


def run_cells(monkeypatch: pytest.MonkeyPatch, *cells: str) -> ModuleType:
    """Run cells as a notebook does: in the module `__main__`, their texts known to linecache alone."""
    notebook = ModuleType("__main__")
    notebook.In = [""]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    for cell in map(textwrap.dedent, cells):
        notebook.In.append(cell)
        name = f"<ipython-input-{len(notebook.In)}-{id(notebook)}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
        exec(compile(cell, name, "exec"), vars(notebook))
    return notebook


def test_a_notebook_is_captured_with_the_checkout_that_it_runs_in(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout / "flows")
    write(checkout / "data.csv", "a,b\n1,3\n")
    word = "-".join(["open", "sesame"])
    cells = (FLOW, f"""run = flow.run(n=2, token="{word}")  # not {word}""")
    run = run_cells(monkeypatch, *cells).run
    with Client() as client:
        code = run.to_json()["code"]
        assert (code["commit"], code["branch"]) == (git(checkout, "rev-parse", "HEAD"), "trunk")
        assert "-1,2\n+1,3\n" in client.load_artifact(code["diff"])
        source = client.load_artifact(code["snapshot"])["modules"]["__main__"]["source"]
        assert "def judge(n: int, token: Secret" in source
        assert source.endswith('run = flow.run(n=2, token="***")  # not ***')
        run_cells(monkeypatch, "x = 1")
        again = client.rerun(run.id, secrets={"token": word})
        assert (again.outputs.result, again.nodes[0].cached) == (2.0, True)


def test_what_surrounds_a_run_is_shown_and_in_its_json(
    checkout: Path, project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(sys, "path", [str(checkout), *sys.path])
    read_environment.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write(
        checkout / "counting_flow.py",
        """
        import pandas as pd
        from flowlearner import Seed, operator, workflow

        @operator
        def count(rows: pd.DataFrame, seed: Seed = None) -> int:
            return len(rows)

        @workflow(executor="local")
        def flow(rows: pd.DataFrame) -> int:
            return count(rows)
        """,
    )
    write(checkout / "flows" / "tips.py", "x = 2\n")
    words = ["run", "counting_flow.py:flow", "-p", "rows=data.csv", "--run-seed", "7", "--json"]
    monkeypatch.setattr(sys, "argv", ["flowlearner", *words])
    answer = cli(*words)
    assert answer.status == 0, answer.out + answer.err
    document = answer.document
    read_environment.cache_clear()
    code, machine = document["code"], document["environment"]["machine"]
    table = document["params"]["rows"]["hash"]
    assert document["command"] == f"flowlearner {' '.join(words)}"
    assert (document["seed"], document["owner"]) == (7, get_user())
    assert document["created_at"]
    assert document["nodes"][0]["inputs"]["rows"] == table
    assert {"commit", "branch", "dirty", "snapshot", "diff"} == set(code)
    assert machine["settings"]["OMP_NUM_THREADS"] == "1"
    shown = " ".join(cli("runs", "show", document["id"]).out.split())
    for text in (
        f"commit {code['commit'][:12]} (trunk), with uncommitted changes: artifact {code['diff'][:12]}",
        f"Source artifact {code['snapshot'][:12]}",
        f"by {get_user()}",
        "seed 7",
        f"Command {document['command']}",
        "OMP_NUM_THREADS=1",
        document["environment"]["python"],
        f"data.csv artifact {table[:12]}",
    ):
        assert text in shown
    target = checkout.parent / f"{checkout.name}.diff"
    assert cli("artifacts", "get", code["diff"], "-o", str(target)).status == 0
    assert "+x = 2\n" in target.read_text()
    assert "flows/tips.py" in cli("artifacts", "show", code["diff"]).out


def test_outside_of_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_commit(tmp_path) == capture.CodeInfo()


def test_the_environment_names_packages_python_and_machine() -> None:
    import pandas

    found = read_environment()
    assert found.packages["pandas"] == pandas.__version__
    assert found.python == ".".join(str(n) for n in sys.version_info[:3])
    assert found.machine["cpus"] >= 1
    assert found.machine["memory_bytes"] > 1 << 20


def read_again() -> Environment:
    read_environment.cache_clear()
    try:
        return read_environment()
    finally:
        read_environment.cache_clear()


def test_what_numbers_may_depend_on_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in capture.SETTINGS_OF_RESULTS:
        monkeypatch.delenv(name, raising=False)
    plain = read_again()
    assert plain.machine["settings"] == {}
    assert plain.machine["implementation"] == platform.python_implementation()
    assert isinstance(plain.machine["cpu"], str)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    changed = read_again()
    assert changed.machine["settings"] == {"OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "0"}
    assert changed.id != plain.id


def test_the_environment_of_one_machine_and_process_has_one_id() -> None:
    assert read_again() == read_again()


def test_thread_pools_are_told_where_threadpoolctl_is_loaded_and_it_is_not_loaded_for_that() -> None:
    code = """
        import sys
        from flowlearner.capture import read_environment
        assert read_environment().machine["thread_pools"] == []
        assert "threadpoolctl" not in sys.modules
        import numpy, threadpoolctl
        read_environment.cache_clear()
        print(read_environment().machine["thread_pools"])
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "'num_threads'" in done.stdout
    assert "filepath" not in done.stdout


def test_the_environment_is_read_fast_and_once() -> None:
    times = []
    for _ in range(5):
        read_environment.cache_clear()
        start = time.perf_counter()
        first = read_environment()
        times.append(time.perf_counter() - start)
    # The best of a few: the machine may be busy.
    assert min(times) < 0.03
    assert read_environment() is first
