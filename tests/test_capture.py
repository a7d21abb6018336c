"""What is captured around a run: the user's source, the commit, packages and machine."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flowlearner import Client, capture
from flowlearner.capture import Snapshot, read_commit, read_environment, take_snapshot

LIMIT = 1 << 20


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable folder of the user; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def read(snapshot: Snapshot) -> dict[str, Any]:
    import io

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
