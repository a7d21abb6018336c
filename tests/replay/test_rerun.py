"""A run is run again from the catalog alone, as it was."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from flowlearner import Client, InputError, UsageError, Workflow
from flowlearner.engine.base import RunListener
from flowlearner.loading import load_workflow
from flowlearner.records import Status


def write(folder: Path, text: str, name: str = "other.py") -> Workflow[..., object]:
    (folder / name).write_text(textwrap.dedent(text))
    found = load_workflow(f"{name}:flow")
    assert isinstance(found, Workflow)
    return found


def test_a_rerun_has_the_code_parameters_and_options_of_then(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.with_options(seed=7, notes="mine").run(n=4)
    (project / "flow.py").unlink()
    (project / "helper.py").write_text("def scale(n):\n    return 1000 * n\n")
    again = client.rerun(first.id, cache=False)
    assert (again.status, again.outputs.total) == (Status.COMPLETED, 15)
    assert again.record.parent_id == first.id
    assert not any(n.cached for n in again.nodes)
    for name in (
        "experiment",
        "tags",
        "notes",
        "executor",
        "run_seed",
        "params",
        "code",
        "workflow_fingerprint",
    ):
        assert getattr(again.record, name) == getattr(first.record, name), name


def test_a_rerun_hits_what_is_cached(flow: Workflow[..., object], client: Client) -> None:
    first = flow.run()
    again = client.rerun(first.id)
    assert [n.name for n in again.nodes if not n.cached] == ["add_seed"]
    assert [n.fingerprint for n in again.nodes] == [n.fingerprint for n in first.nodes]


def test_a_rerun_of_a_rerun_has_the_same_code(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.run()
    (project / "flow.py").unlink()
    again = client.rerun(client.rerun(first.id).id, cache=False)
    assert again.record.code == first.record.code


def test_todays_code_is_run_where_it_is_asked_for(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.run(n=4)
    code = (project / "flow.py").read_text()
    (project / "flow.py").write_text(code.replace("return scale(n)", "return scale(n) + 100"))
    again = client.rerun(first.id, current=True)
    assert again.outputs.total == 108
    assert [(c.kind, c.name) for c in again.record.changes] == [("code", "double")]


def test_todays_code_that_is_gone_is_said_so(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.run()
    (project / "flow.py").unlink()
    sys.modules.pop("flow")
    with pytest.raises(
        UsageError, match=r"module 'flow' of workflow 'flow' is not found.*leave --current out"
    ):
        client.rerun(first.id, current=True)


def test_a_table_is_what_it_was_though_its_file_is_gone(project: Path, client: Client) -> None:
    pd.DataFrame({"a": [1, 2]}).to_csv("rows.csv", index=False)
    flow = write(
        project,
        """
        import pandas as pd
        from flowlearner import operator, workflow

        @operator(cache=False)
        def count(rows: pd.DataFrame) -> int:
            return int(rows["a"].sum())

        @workflow(executor="local")
        def flow(rows: pd.DataFrame) -> int:
            return count(rows)
        """,
    )
    first = flow.run(rows="rows.csv")
    Path("rows.csv").unlink()
    again = client.rerun(first.id)
    assert again.outputs.result == 3
    assert again.params["rows"]["hash"] == first.params["rows"]["hash"]


FILES = """
    from pathlib import Path
    from flowlearner import File, operator, workflow

    @operator(cache=False)
    def read(files: list[File]) -> str:
        return "".join(Path(f).read_text() for f in files)

    @workflow(executor="local")
    def flow(files: list[File]) -> str:
        return read(files)
"""


def test_files_of_a_list_are_what_they_were(project: Path, client: Client) -> None:
    flow = write(project, FILES)
    Path("a.txt").write_text("a")
    Path("b.txt").write_text("b")
    first = flow.run(files=["b.txt", "a.txt"])
    Path("a.txt").write_text("changed")
    Path("b.txt").unlink()
    assert client.rerun(first.id).outputs.result == "ba"


def test_a_file_by_reference_that_changed_is_an_error_before_anything_runs(
    project: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = write(project, FILES.replace("list[File]", "File").replace("for f in files", "for f in [files]"))
    monkeypatch.setenv("FLOWLEARNER_FILE_LIMIT_BYTES", "2")
    Path("a.txt").write_text("large")
    first = flow.run(files="a.txt")
    assert client.rerun(first.id).outputs.result == "large"
    Path("a.txt").write_text("other")
    with pytest.raises(InputError, match=r"parameter 'files': .*is kept by reference: bring back the file"):
        client.rerun(first.id)
    assert client.count_runs() == 2


def test_secrets_are_given_again(project: Path, client: Client) -> None:
    flow = write(
        project,
        """
        from flowlearner import Secret, operator, workflow

        @operator
        def login(key: Secret) -> int:
            return len(key)

        @workflow(executor="local")
        def flow(key: Secret, keys: dict[str, Secret], n: int = 1) -> int:
            return login(key)
        """,
    )
    first = flow.run(key="abc", keys={"a": "one"})
    with pytest.raises(UsageError, match=r"parameters are stored nowhere; give key, keys again: -p key="):
        client.rerun(first.id)
    # Not written out here: this file is a part of the snapshot.
    key, other = "-".join(["hush"] * 2), "-".join(["quiet"] * 2)
    secrets = {"key": key, "keys": {"a": other}}
    for again in (client.rerun(first.id, secrets=secrets), client.clone(first.id, {**secrets, "n": 2})):
        assert again.status is Status.COMPLETED
        assert key not in repr(again.to_json())
        assert other not in repr(again.to_json())
    home = client.settings.home_path
    client.close()
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert key.encode() not in data
            assert other.encode() not in data


def test_values_of_many_types_come_back_as_they_were(project: Path, client: Client) -> None:
    flow = write(
        project,
        """
        from datetime import date
        from enum import Enum
        from pathlib import Path
        from flowlearner import Operator, Static, operator, workflow

        class Colour(Enum):
            RED = "r"
            BLUE = "b"

        @operator
        def one(n: int) -> int:
            return n + 1

        @operator
        def two(n: int) -> int:
            return n + 2

        @operator(cache=False)
        def show(c: Colour, cs: list[Colour], d: date, s: set[int], t: tuple[int, str], m: dict[str, float],
                 o: int | None, p: Path, x: float, n: int) -> str:
            return repr((n, c, cs, d, sorted(s), t, m, o, p, x))

        @workflow(executor="local")
        def flow(c: Colour, cs: list[Colour], d: date, s: set[int], t: tuple[int, str], m: dict[str, float],
                 p: Path, step: Operator, times: Static[int] = 1, o: int | None = None,
                 x: float = float("inf")) -> str:
            n = step(1)
            for _ in range(times):
                n = step(n)
            return show(c, cs, d, s, t, m, o, p, x, n)
        """,
    )
    module = sys.modules["other"]
    first = flow.run(
        c=module.Colour.RED, cs=[module.Colour.BLUE], d=module.date(2026, 1, 2), s={3, 1}, t=(1, "x"),
        m={"a": 1.5}, p=Path("a/b"), step=module.two, times=2,
    )  # fmt: skip
    (project / "other.py").unlink()
    again = client.rerun(first.id)
    assert again.outputs.result == first.outputs.result
    assert [n.operator for n in again.nodes] == [n.operator for n in first.nodes]
    assert again.params == first.params
    assert [n.inputs for n in again.nodes] == [n.inputs for n in first.nodes]


def test_a_script_is_run_again_without_starting_it_once_more(tmp_path: Path, client: Client) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            from flowlearner import operator, workflow

            def plus(n): return n + 1

            @operator(isolate=True)
            def grow(n: int) -> int:
                return plus(n)

            @workflow(executor="local")
            def flow(n: int = 1) -> int:
                return grow(n)

            run = flow.run(n=5)
            print(run.outputs.result)
            """
        )
    )
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path)
    script.unlink()
    (first,) = client.list_runs()
    again = client.rerun(first.id, cache=False)
    assert (again.outputs.result, client.count_runs()) == (6, 2)
    assert client.catalog.get_workflow("flow").versions[0].module == "__main__"


def test_cells_of_a_notebook_are_run_again_though_some_had_failed(tmp_path: Path, client: Client) -> None:
    cells = [
        "from flowlearner import operator, workflow",
        "def plus(n):\n\n    return n + 1",
        "this is no Python",
        "1 / 0",
        "@operator\ndef grow(n: int) -> int:\n    return plus(n)",
        "@workflow(executor='local')\ndef flow(n: int = 1) -> int:\n    return grow(n)",
        "run = flow.run(n=5)",
    ]
    program = (
        "import linecache, sys, __main__\n"
        f"cells = {cells!r}\n"
        "__main__.In = ['', *cells]\n"
        "for i, cell in enumerate(cells):\n"
        "    name = f'<ipython-input-{i}>'\n"
        "    linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)\n"
        "    try:\n"
        "        exec(compile(cell, name, 'exec'), vars(__main__))\n"
        "    except (SyntaxError, ZeroDivisionError):\n"
        "        pass\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    (first,) = client.list_runs()
    again = client.rerun(first.id)
    assert again.outputs.result == 6
    assert [(n.cached, n.miss_reason) for n in again.nodes] == [(True, None)]


def test_a_process_holds_the_code_of_one_earlier_run_at_a_time(
    flow: Workflow[..., object], client: Client
) -> None:
    first = flow.run()

    class Nested(RunListener):
        said = ""

        def run_started(self, run_id: str, graph: object) -> None:
            with pytest.raises(UsageError) as caught:
                client.rerun(first.id)
            self.said = str(caught.value)

    listener = Nested()
    assert client.rerun(first.id, listener=listener).status is Status.COMPLETED
    assert "the code of an earlier run is in use in this process" in listener.said
