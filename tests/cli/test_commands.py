"""The commands, one after the other, as a person would use them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowlearner import Client
from flowlearner.catalog.tables import SCHEMA
from flowlearner.cli.main import COMMANDS
from tests.cli.conftest import Cli

Run = Callable[..., dict[str, Any]]


def test_check_compiles_and_runs_nothing(cli: Cli, project: Path) -> None:
    answer = cli("check", "tips.py:tips")
    assert answer.status == 0
    assert "tips compiles: 2 nodes, 3 parameters, 2 outputs" in answer.out
    assert Client().list_runs() == []


def test_check_prints_the_graph_as_json(cli: Cli, project: Path) -> None:
    graph = cli("check", "tips.py:tips", "--json").document
    assert [n["name"] for n in graph["nodes"]] == ["clean", "judge"]


def test_a_run_prints_its_result_and_how_to_see_it_again(cli: Cli, project: Path) -> None:
    answer = cli("run", "tips.py:tips", "--executor", "local", "-p", "rows=tips.csv")
    assert answer.status == 0
    run = Client().list_runs()[0]
    assert "2 nodes (2 run, 0 cached)" in answer.out
    assert f"flowlearner runs show {run.id[:8]}" in answer.out
    assert "mean" in answer.out


def test_a_program_that_path_does_not_find_is_named_by_its_path(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = project / "my env" / "flowlearner"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    command = ["run", "tips.py:tips", "--executor", "local", "-p", "rows=tips.csv"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"See it again: '{program}' runs show" in cli(*command).out
    monkeypatch.setenv("PATH", str(program.parent))
    assert "See it again: flowlearner runs show" in cli(*command).out


def test_lines_in_a_pipe_are_not_padded_to_the_width_of_a_page(cli: Cli, project: Path) -> None:
    answer = cli("run", "tips.py:tips", "--executor", "local", "-p", "rows=tips.csv")
    assert max(map(len, answer.out.splitlines())) < 120


def test_the_json_of_a_run_has_all_that_is_promised(run_tips: Run) -> None:
    run = run_tips("--tag", "team=ops", "--experiment", "dinner", "--note", "hello", "--smallest", "1")
    assert run["status"] == "COMPLETED"
    assert (run["workflow"], run["experiment"], run["tags"]) == ("tips", "dinner", {"team": "ops"})
    assert run["notes"] == "hello"
    assert run["params"]["smallest"] == 1.0
    assert run["params"]["rows"]["type"] == "pandas.DataFrame"
    assert run["metrics"] == {"mean": 2.5}
    assert run["outputs"]["mean"]["value"] == 2.5
    assert run["outputs"]["rows"]["preview"]["rows"] == 2
    node = run["nodes"][0]
    assert set(node) >= {
        "name", "operator", "status", "cached", "attempt", "started_at", "finished_at", "cache_key", "inputs",
        "outputs", "error",
    }  # fmt: skip
    assert set(run) >= {
        "id", "owner", "created_at", "started_at", "finished_at", "parent_id", "sweep_id", "trial_number",
        "environment",
    }  # fmt: skip
    assert set(run["code"]) >= {"commit", "dirty", "snapshot"}


def test_the_same_run_again_is_all_cached_and_calls_nothing(run_tips: Run) -> None:
    first, second = run_tips(), run_tips()
    assert [n["cached"] for n in first["nodes"]] == [False, False]
    assert [n["cached"] for n in second["nodes"]] == [True, True]
    assert second["outputs"] == first["outputs"]


def test_a_plan_says_what_would_hit_and_records_nothing(cli: Cli, run_tips: Run) -> None:
    run_tips()
    rows = ("-p", "rows=tips.csv", "--plan", "--json", "--executor", "local")
    assert [n["action"] for n in cli("run", "tips.py:tips", *rows).document["nodes"]] == ["cached", "cached"]
    changed = cli("run", "tips.py:tips", *rows, "--smallest", "2").document
    assert [n["action"] for n in changed["nodes"]] == ["run", "unknown"]
    assert len(Client().list_runs()) == 1


def test_refresh_runs_one_node_again(run_tips: Run) -> None:
    run_tips()
    again = run_tips("--refresh", "clean")
    assert [(n["name"], n["cached"]) for n in again["nodes"]] == [("clean", False), ("judge", True)]


def test_no_cache_runs_everything(run_tips: Run) -> None:
    run_tips()
    assert [n["cached"] for n in run_tips("--no-cache")["nodes"]] == [False, False]


def test_help_after_a_workflow_lists_its_own_parameters(cli: Cli, project: Path) -> None:
    answer = cli("run", "tips.py:tips", "--help")
    assert answer.status == 0
    for text in ("--smallest", "0..100", "smaller tips are left out", "one row a guest", "Average the tips"):
        assert text in answer.out


def test_an_option_of_the_command_wins_and_p_still_sets_the_parameter(run_tips: Run) -> None:
    run = run_tips("--note", "of the run", "-p", "note=of the workflow")
    assert (run["notes"], run["params"]["note"]) == ("of the run", "of the workflow")


def test_lists_are_newest_first_and_take_a_limit(cli: Cli, run_tips: Run) -> None:
    ids = [run_tips("--smallest", str(n))["id"] for n in range(3)]
    assert [r["id"] for r in cli("runs", "list", "--json").document] == ids[::-1]
    assert [r["id"] for r in cli("runs", "list", "--json", "--limit", "1").document] == [ids[2]]
    assert "1 of 3 runs" in cli("runs", "list", "--limit", "1").out


def test_lists_can_be_narrowed_and_sorted(cli: Cli, run_tips: Run) -> None:
    low = run_tips("--smallest", "0", "--experiment", "one", "--tag", "a=b")["id"]
    high = run_tips("--smallest", "2")["id"]

    def ids(*args: str) -> list[str]:
        return [r["id"] for r in cli("runs", "list", "--json", *args).document]

    assert ids("--experiment", "one") == [low]
    assert ids("--tag", "a=b") == [low]
    assert ids("--status", "failed") == []
    assert ids("--workflow", "tips", "--sort", "metric.mean") == [high, low]
    assert ids("--sort", "metric.mean", "--ascending") == [low, high]


@pytest.mark.parametrize(
    ("sort", "said"),
    [
        ("metric.meen", "No run has a metric 'meen'. Did you mean 'metric.mean'?"),
        ("params.smalest", "No run has a param 'smalest'. Did you mean 'param.smallest'?"),
        ("tag.team", "No run has a tag 'team'."),
    ],
)
def test_an_order_that_no_run_has_is_refused_once_there_are_runs(
    cli: Cli, run_tips: Run, sort: str, said: str
) -> None:
    assert cli("runs", "list", "--sort", sort, "--json").document == []
    run_tips()
    answer = cli("runs", "list", "--sort", sort)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == f"Error: cannot sort by '{sort}'. {said}\n"


def test_search_finds_by_metric_param_and_tag(cli: Cli, run_tips: Run) -> None:
    run_tips("--smallest", "0")
    wanted = run_tips("--smallest", "2", "--tag", "team=ops")["id"]
    found = cli(
        "search", "metrics.mean > 3 AND param.smallest <= 2 and not tag.team = 'dev'", "--json"
    ).document
    assert [r["id"] for r in found] == [wanted]
    assert "No run fits" in cli("search", "metric.mean > 99").out


def test_a_search_for_a_name_that_no_run_has_suggests_the_nearest(cli: Cli, run_tips: Run) -> None:
    run_tips("--tag", "team=ops")
    answer = cli("search", "metric.maen > 0 or params.smalest = 1 or not tag.team != 'x' and metric.mean < 0")
    assert answer.out == "No run fits.\n"
    assert answer.err.splitlines() == [
        "No run has a metric 'maen'. Did you mean 'metric.mean'?",
        "No run has a param 'smalest'. Did you mean 'param.smallest'?",
    ]
    assert cli("search", "metric.mean > 99").err == ""
    answer = cli("runs", "list", "--workflow", "tipz", "--experiment", "default")
    assert (answer.out, answer.err) == (
        "No run fits.\n",
        "There is no workflow 'tipz'. Did you mean 'tips'?\n",
    )
    assert cli("search", "tag.nothing = 'x'", "--json").document == []


def test_any_unique_beginning_of_an_id_will_do(cli: Cli, run_tips: Run) -> None:
    run = run_tips()
    assert cli("runs", "show", run["id"][:6], "--json").document["id"] == run["id"]


def test_show_prints_params_nodes_outputs_and_metrics(cli: Cli, run_tips: Run) -> None:
    run = run_tips("--tag", "team=ops")
    shown = cli("runs", "show", run["id"]).out
    for text in (
        "COMPLETED",
        "team=ops",
        "smallest",
        "clean",
        "judge",
        "mean",
        "2 rows x 2 columns",
        "first run of this node",
    ):
        assert text in shown


def test_what_a_removed_run_computed_is_said_to_be_of_a_deleted_run(cli: Cli, run_tips: Run) -> None:
    first, _ = run_tips(), run_tips()
    cli("runs", "delete", first["id"])
    assert cli("catalog", "gc", "--yes").status == 0
    plan = cli("run", "tips.py:tips", "-p", "rows=tips.csv", "--executor", "local", "--plan").out
    shown = cli("runs", "show", run_tips()["id"]).out
    for text in (plan, shown):
        assert "from a deleted run" in text
        assert first["id"][:8] not in text


def test_logs_have_what_operators_print(cli: Cli, run_tips: Run) -> None:
    run = run_tips()
    lines = cli("runs", "logs", run["id"], "--json").document
    assert [(line["node"], line["message"]) for line in lines] == [("clean", "cleaning")]
    assert "clean: cleaning" in cli("runs", "logs", run["id"], "--follow").out
    assert "No lines" in cli("runs", "logs", run["id"], "--node", "judge").out


def test_logs_point_to_the_run_that_computed_what_was_cached(cli: Cli, run_tips: Run) -> None:
    first, again = run_tips(), run_tips()
    answer = cli("runs", "logs", again["id"])
    assert "No lines" in answer.out
    assert answer.err.endswith(f"flowlearner runs logs {first['id'][:8]}\n")
    assert cli("runs", "logs", first["id"]).err == ""


def test_logs_do_not_point_to_the_run_that_they_are_of(cli: Cli, project: Path) -> None:
    (project / "twins.py").write_text(
        "from flowlearner import operator, workflow\n"
        "@operator\ndef work(a: int) -> int:\n    print('working')\n    return a\n"
        "@workflow\ndef flow(a: int = 1) -> list[int]:\n    return [work(a), work(a)]\n"
    )
    cli("run", "twins.py:flow", "--executor", "local")
    run = Client().list_runs()[0].refresh()
    assert [n.cached_from for n in run.nodes] == [None, run.id]
    assert cli("runs", "logs", run.id).err == ""
    shared = cli("runs", "logs", run.id, "--node", run.nodes[1].name)
    assert shared.err.endswith(f"flowlearner runs logs {run.id[:8]}\n")


def test_logs_of_a_failed_run_point_to_its_error(cli: Cli, run_tips: Run, project: Path) -> None:
    (project / "tips.csv").write_text("tip\nmuch\n")
    cli("run", "tips.py:tips", "-p", "rows=tips.csv", "--executor", "local")
    run = Client().list_runs()[0]
    answer = cli("runs", "logs", run.id)
    assert answer.err == f"The run is FAILED. Why: flowlearner runs show {run.id[:8]}\n"


def test_compare_shows_only_what_differs(cli: Cli, run_tips: Run) -> None:
    one, two = run_tips("--smallest", "0"), run_tips("--smallest", "2")
    document = cli("runs", "compare", one["id"], two["id"], "--json").document
    assert document["params"]["smallest"]["values"] == {one["id"]: 0.0, two["id"]: 2.0}
    assert "note" not in document["params"]
    assert document["nodes"]["clean"]["changed"] == ["input 'smallest'", "result"]
    shown = cli("runs", "compare", one["id"], two["id"]).out
    assert "+1.667" in shown
    near = run_tips("--smallest", "2.00001")
    assert "2.00001" in cli("runs", "compare", two["id"], near["id"]).out
    everything = cli("runs", "compare", one["id"], two["id"], "--all", "--json").document
    assert everything["params"]["note"]["differs"] is False


def test_tags_are_set_and_removed(cli: Cli, run_tips: Run) -> None:
    run = run_tips("--tag", "a=1")
    changed = cli("runs", "tag", run["id"], "b=2", "--remove", "a", "--note", "good", "--json").document
    assert (changed["tags"], changed["notes"]) == ({"b": "2"}, "good")
    assert cli("runs", "tag", run["id"]).status == 2
    long = "x" * 10_000
    assert len(cli("runs", "tag", run["id"], f"long={long}").out) < 200
    assert len(cli("runs", "show", run["id"]).out) < 2_000
    assert cli("runs", "show", run["id"], "--json").document["tags"]["long"] == long


def test_a_deleted_run_is_hidden_and_can_be_restored(cli: Cli, run_tips: Run) -> None:
    run = run_tips()
    assert cli("runs", "delete", run["id"], "--json").document == {"deleted": [run["id"]]}
    assert cli("runs", "list", "--json").document == []
    assert [r["id"] for r in cli("runs", "list", "--deleted", "--json").document] == [run["id"]]
    assert cli("runs", "restore", run["id"]).status == 0
    assert len(cli("runs", "list", "--json").document) == 1


def test_an_ended_run_cannot_be_cancelled(cli: Cli, run_tips: Run) -> None:
    answer = cli("runs", "cancel", run_tips()["id"])
    assert answer.status == 2
    assert "only a run that has not ended can be cancelled" in answer.err


def test_garbage_is_shown_first_and_then_removed(cli: Cli, run_tips: Run) -> None:
    kept = run_tips()
    gone = run_tips("--smallest", "2")
    cli("runs", "delete", gone["id"])
    shown = cli("catalog", "gc", "--json").document
    assert shown["removed"] is False
    assert shown["runs"] == 1
    assert shown["artifacts"] > 0
    removed = cli("catalog", "gc", "--yes", "--json").document
    assert removed == {**shown, "removed": True}
    assert cli("runs", "restore", gone["id"]).status == 2
    assert cli("catalog", "check", "--json").document == {"ok": True, "problems": []}
    assert [n["cached"] for n in run_tips()["nodes"]] == [True, True]
    assert cli("runs", "show", kept["id"]).status == 0


def test_artifacts_are_shown_without_loading_and_written_to_files(
    cli: Cli, run_tips: Run, tmp_path: Path
) -> None:
    run = run_tips()
    shown = cli("artifacts", "show", f"{run['id'][:8]}.rows", "--json").document
    assert shown["preview"]["rows"] == 2
    assert {"judge", "clean"} <= {p["node"] for p in shown["producers"]}
    assert "tip" in cli("artifacts", "show", shown["hash"][:12]).out
    target = tmp_path / "rows.csv"
    assert cli("artifacts", "get", f"{run['id']}.rows", "-o", str(target)).status == 0
    assert pd.read_csv(target)["tip"].tolist() == [1.5, 3.5]


def test_experiments_workflows_and_operators_are_listed_and_shown(cli: Cli, run_tips: Run) -> None:
    run_tips("--experiment", "dinner")
    assert [e["name"] for e in cli("experiments", "list", "--json").document] == ["dinner"]
    assert len(cli("experiments", "show", "dinner", "--json").document["runs"]) == 1
    assert "Average the tips" in cli("workflows", "show", "tips").out
    assert {o["name"] for o in cli("operators", "list", "--json").document} == {"clean", "judge"}
    assert "rows[rows[" in cli("operators", "show", "clean", "--source").out


@pytest.mark.parametrize("group", ["runs", "experiments", "workflows", "operators"])
def test_an_empty_catalog_says_how_to_make_the_first_run(cli: Cli, group: str) -> None:
    answer = cli(group, "list")
    assert answer.status == 0
    assert "flowlearner run FILE:WORKFLOW" in answer.out
    assert cli(group, "list", "--json").document == []


def test_doctor_finds_a_sound_installation_well(cli: Cli) -> None:
    answer = cli("doctor", "--json")
    assert answer.document["ok"], answer.document
    assert answer.status == 0


def test_doctor_says_whether_the_folder_has_a_commit(cli: Cli, project: Path) -> None:
    def look() -> str:
        return next(c["message"] for c in cli("doctor", "--json").document["checks"] if c["name"] == "git")

    assert look().startswith("this folder has no commit")
    for command in ("init -q", "add tips.py", "-c user.name=a -c user.email=a@b.c commit -qm first"):
        subprocess.run(["git", *command.split()], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert look().endswith(f"commit {commit[:12]}")


def test_an_upgrade_says_from_which_version_to_which(cli: Cli, run_tips: Run) -> None:
    run_tips()
    found = {"upgraded": False, "before": SCHEMA, "now": SCHEMA}
    assert cli("catalog", "upgrade", "--json").document == found
    assert f"version {SCHEMA}" in cli("catalog", "upgrade").out


def test_a_value_says_how_python_loads_it(cli: Cli, run_tips: Run, tmp_path: Path) -> None:
    run = run_tips()
    shown = cli("artifacts", "show", f"{run['id']}.rows").out
    call = shown.rpartition("Load it in Python: flowlearner.")[2].strip()
    assert len(eval(call, {"Client": Client})) == 2


def test_status_tells_of_services_that_do_not_run(cli: Cli) -> None:
    answer = cli("status", "--json")
    assert [(s["name"], s["state"], s["pid"]) for s in answer.document] == [
        ("prefect", "stopped", None),
        ("ray", "stopped", None),
        ("schedules", "stopped", None),
        ("ui", "stopped", None),
    ]
    assert answer.err == "Not running: prefect, ray, schedules, ui. Start them: flowlearner up\n"
    assert cli("down").status == 0


def test_status_tells_of_configured_services_that_do_not_answer(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLEARNER_RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    answer = cli("status", "--json")
    assert [s["state"] for s in answer.document] == ["unhealthy", "unhealthy", "stopped", "stopped"]
    for text in (
        "prefect: nothing answers at http://127.0.0.1:9. Start it, or correct or remove PREFECT_API_URL",
        "ray: nothing answers at 127.0.0.1:9. Start it, or correct or remove FLOWLEARNER_RAY_ADDRESS",
    ):
        assert text in answer.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(cli: Cli, command: str) -> None:
    answer = cli(command, "--help")
    assert answer.status == 0
    assert COMMANDS[command][3].split(";")[0][:40] in " ".join(answer.out.split())


def test_metrics_that_are_not_numbers_are_still_json(cli: Cli, project: Path) -> None:
    (project / "odd.py").write_text(
        "from flowlearner import Metric, operator, workflow\n"
        "@operator\ndef odd() -> Metric:\n    return float('nan')\n"
        "@workflow\ndef flow() -> Metric:\n    return odd()\n"
    )
    answer = cli("run", "odd.py:flow", "--executor", "local", "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(answer.out, parse_constant=refuse)["metrics"] == {"result": "NaN"}


def test_views_are_saved_listed_and_removed(cli: Cli) -> None:
    assert "No views yet" in cli("views", "list").out
    assert "Saved view 'late'" in cli("views", "save", "late", "?workflow=dinner&order=metric.tip").err
    (view,) = cli("views", "list", "--json").document
    assert (view["name"], view["query"]) == ("late", "workflow=dinner&order=metric.tip")
    assert "/?workflow=dinner" in cli("views", "list").out
    assert cli("views", "remove", "lat").status == 2
    cli("views", "remove", "late")
    assert cli("views", "list", "--json").document == []
