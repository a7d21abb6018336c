"""The commands about what the catalog holds and how it fares: experiments, workflows, operators, catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.options import AsJson, Limit, make_group
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.show import (
    WIDE,
    fit_columns,
    has_room,
    make_table,
    print_facts,
    print_heading,
    print_runs,
    show_when,
)
from flowlearner.cli.text import (
    clean,
    clean_line,
    count_of,
    shorten_line,
    show_duration,
    show_size,
    show_value,
)
from flowlearner.client import Client
from flowlearner.client.run import to_plain
from flowlearner.errors import CatalogError

SHORT_VERSION = 12
LONGEST_NAME = 32

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
WithSource = Annotated[bool, typer.Option("--source", help="Also the source of the newest version.")]


experiments = make_group("List and show experiments.")
workflows = make_group("List and show workflows that have run.")
operators = make_group("List and show operators that have run.")
app = make_group("Upgrade, check and clean up the catalog.")


def _to_json(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_plain(asdict(record))
    return found


def _print_list(
    items: Sequence[Any],
    limit: int,
    json: bool,
    columns: Mapping[str, Callable[[Any], str]],
    right: Sequence[str],
    noun: str,
) -> None:
    if json:
        emit([_to_json(i) for i in items[:limit]])
        return
    console = get_out()
    if not items:
        console.print(Text(f"No {noun}s yet. Make the first run: flowlearner run FILE:WORKFLOW"))
        return
    table = make_table(console, *columns, right=right, is_short=True)
    for item in items[:limit]:
        table.add_row(*(Text(show(item)) for show in columns.values()))
    fit_columns(console, table, "About", longest=LONGEST_NAME)
    console.print(table)
    if len(items) > limit:
        console.print(Text(f"{limit} of {count_of(len(items), noun)}; --limit shows more.", style="dim"))


@experiments.command("list")
def list_experiments(limit: Limit = 50, json: AsJson = False) -> None:
    """List experiments, the latest used first."""
    with Client() as client:
        found = client.list_experiments()
    columns = {
        "Experiment": lambda e: clean_line(e.name),
        "Runs": lambda e: f"{e.run_count:,}",
        "Trials": lambda e: f"{e.trial_count:,}",
        "Completed": lambda e: f"{e.completed_count:,}",
        "Failed": lambda e: f"{e.failed_count:,}",
        "Last run": lambda e: show_when(get_out(), e.last_run_at),
    }
    if not any(e.trial_count for e in found):
        del columns["Trials"]
    _print_list(found, limit, json, columns, ["Runs", "Trials", "Completed", "Failed"], "experiment")


@experiments.command("show")
def show_experiment(name: Name, limit: Limit = 50, json: AsJson = False) -> None:
    """Show an experiment and its runs, the newest first."""
    with Client() as client:
        found = client.get_experiment(name)
        runs = client.list_runs(experiment=name, limit=limit)
        if json:
            emit({**_to_json(found), "runs": [r.summary_json() for r in runs]})
            return
        console = get_out()
        counts = f"{found.completed_count} completed, {found.failed_count} failed"
        console.print(
            Text.assemble(
                (clean_line(found.name), "bold"), f": {count_of(found.run_count, 'run')} ({counts})"
            )
        )
        console.print()
        print_runs(console, runs, found.run_count)


@workflows.command("list")
def list_workflows(limit: Limit = 50, json: AsJson = False) -> None:
    """List workflows, the latest used first."""
    with Client() as client:
        found = client.list_workflows()
    columns = {
        "Workflow": lambda w: clean_line(w.name),
        "Versions": lambda w: f"{w.version_count:,}",
        "Runs": lambda w: f"{w.run_count:,}",
        "Failed": lambda w: f"{w.failed_count:,}",
        "Last run": lambda w: show_when(get_out(), w.last_run_at),
        "About": lambda w: _first_line(w.doc),
    }
    _print_list(found, limit, json, columns, ["Versions", "Runs", "Failed"], "workflow")


@workflows.command("show")
def show_workflow(name: Name, source: WithSource = False, json: AsJson = False) -> None:
    """Show a workflow: docs, parameters, outputs, versions and the operators that it calls."""
    with Client() as client:
        found = client.get_workflow(name)
    if json:
        emit(_to_json(found))
        return
    summary = found.summary
    facts = [
        (
            "Runs",
            f"{summary.run_count:,} ({summary.completed_count:,} completed, {summary.failed_count:,} failed)",
        ),
        ("Last run", show_when(get_out(), summary.last_run_at)),
        ("Operators", ", ".join(clean_line(o) for o in found.operators)),
    ]
    _print_detail(summary.name, found.versions, facts, source)


@operators.command("list")
def list_operators(limit: Limit = 50, json: AsJson = False) -> None:
    """List operators by name."""
    with Client() as client:
        found = client.list_operators()
    columns = {
        "Operator": lambda o: clean_line(o.name),
        "Versions": lambda o: f"{o.version_count:,}",
        "Ran": lambda o: f"{o.executed_count:,}",
        "Cached": lambda o: f"{o.cached_count:,}",
        "Success": lambda o: "" if o.success_rate is None else f"{o.success_rate:.0%}",
        "Mean time": lambda o: show_duration(o.mean_duration_s),
        "About": lambda o: _first_line(o.doc),
    }
    console = get_out()
    if not has_room(console, WIDE):
        # What an operator does says more than how many versions of it there are.
        del columns["Versions"], columns["Success"]
    _print_list(
        found, limit, json, columns, ["Versions", "Ran", "Cached", "Success", "Mean time"], "operator"
    )


@operators.command("show")
def show_operator(name: Name, source: WithSource = False, json: AsJson = False) -> None:
    """Show an operator: docs, parameters, outputs, versions and the workflows that use it."""
    with Client() as client:
        found = client.get_operator(name)
    if json:
        emit(_to_json(found))
        return
    summary = found.summary
    success = "" if summary.success_rate is None else f", {summary.success_rate:.0%} of them completed"
    facts = [
        ("Ran", f"{count_of(summary.executed_count, 'time')}{success}"),
        ("Cached", count_of(summary.cached_count, "time")),
        ("Mean time", show_duration(summary.mean_duration_s)),
        ("Workflows", ", ".join(clean_line(w) for w in found.workflows)),
    ]
    _print_detail(summary.name, found.versions, facts, source)


def _first_line(doc: str) -> str:
    return shorten_line(doc.strip().split("\n", 1)[0], 200)


def _print_detail(name: str, versions: Sequence[Any], facts: Sequence[tuple[str, str]], source: bool) -> None:
    console = get_out()
    console.print(Text(clean_line(name), style="bold"))
    newest = versions[0] if versions else None
    if newest is not None and newest.doc:
        console.print(Text(clean(newest.doc)))
    console.print()
    print_facts(console, facts)
    if newest is None:
        return
    for title, key in (("Parameters", "params"), ("Outputs", "outputs")):
        rows = newest.interface.get(key) or []
        if rows:
            print_heading(console, title)
            print_facts(console, [(clean_line(r["name"]), _describe_slot(r)) for r in rows])
    print_heading(console, "Versions")
    print_facts(
        console,
        [(v.fingerprint[:SHORT_VERSION], f"first seen {show_when(console, v.first_seen)}") for v in versions],
    )
    if source:
        print_heading(console, "Source")
        console.print(Text(clean(newest.source)), soft_wrap=True)


def _describe_slot(slot: Mapping[str, Any]) -> str:
    """Return a parameter or output in a line: its type, range, default, columns and text."""
    kind = f"{slot['type']} {slot['bounds']}" if slot.get("bounds") else str(slot["type"])
    if slot.get("required") is False:
        kind += " = the run's seed" if slot["type"] == "Seed" else f" = {show_value(slot['default'])}"
    parts = [kind, "required" if slot.get("required") else ""]
    parts.append(f"columns {', '.join(slot['columns'])}" if slot.get("columns") else "")
    parts.append(str(slot.get("doc") or ""))
    return "; ".join(clean_line(p) for p in parts if p)


@app.command("upgrade")
def upgrade_catalog(json: AsJson = False) -> None:
    """Bring the tables of an older catalog up to date; a copy of a SQLite file is kept."""
    with Client() as client:
        before, now = client.upgrade_catalog()
    if json:
        emit({"upgraded": before != now, "before": before or None, "now": now})
        return
    if before == now:
        get_out().print(Text(f"The catalog is up to date: its tables have version {now}."))
    else:
        get_out().print(Text(f"Upgraded the catalog's tables from version {before or '0'} to {now}."))


@app.command("check")
def check_catalog(json: AsJson = False) -> None:
    """Check that the catalog and every stored value are whole; exit status 3 where they are not."""
    with Client() as client:
        problems = client.check_catalog()
    if json:
        emit({"ok": not problems, "problems": problems})
        if problems:
            raise typer.Exit(CatalogError.exit_status)
        return
    console = get_out()
    for problem in problems:
        console.print(Text(clean(problem), style="red"), soft_wrap=True)
    if problems:
        console.print(Text(f"{count_of(len(problems), 'problem')}. A run computes lost values again."))
        raise typer.Exit(CatalogError.exit_status)
    console.print(Text("The catalog and all stored values are whole."))


@app.command("gc")
def collect_garbage(
    yes: Annotated[bool, typer.Option("--yes", help="Really remove it; without, it is only shown.")] = False,
    json: AsJson = False,
) -> None:
    """Remove what no kept run needs: deleted runs for good, and their own stored values."""
    with Client() as client:
        report = client.collect_garbage(dry_run=not yes)
    if json:
        emit(report.to_json())
        return
    console = get_out()
    what = ", ".join(
        [
            count_of(report.runs, "deleted run"),
            count_of(report.artifacts, "stored value"),
            count_of(report.files, "unknown file"),
        ]
    )
    size = show_size(report.size_bytes)
    if report.removed:
        console.print(Text(f"Removed {what}: {size}."))
    elif report.runs or report.artifacts or report.files:
        console.print(Text(f"Would remove {what}: {size}. Nothing was removed; --yes removes it."))
    else:
        console.print(Text("Nothing to remove: every stored value belongs to a kept run."))
