"""The commands that look at runs and manage them: runs, search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli import replay
from flowlearner.cli.display import STYLES
from flowlearner.cli.explain import explain_run
from flowlearner.cli.options import (
    AsJson,
    Limit,
    RunId,
    RunIds,
    Trials,
    make_command,
    make_group,
    read_assignments,
)
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import (
    make_table,
    print_heading,
    print_run,
    print_runs,
    show_exactly,
    show_plain,
    show_tags,
    show_when,
)
from flowlearner.cli.text import (
    SHORT_ID,
    align_numbers,
    clean,
    clean_line,
    count_of,
    show_command,
    show_duration,
    show_number,
)
from flowlearner.client import Client, Comparison, Row, Run
from flowlearner.errors import ParameterError, PlatformError, UsageError, suggest
from flowlearner.records import LogLine

FOLLOW_POLL_S = 0.3
SHORT_VERSION = 12
SOURCES_SHOWN = 3
FIRST_RUN = "Make the first one: flowlearner run FILE:WORKFLOW, or flowlearner demo."

app = make_group("List, show, compare, run again, tag, cancel and delete runs.")
app.command("explain")(explain_run)


@app.command("list")
def list_runs(
    workflow: Annotated[str | None, typer.Option(metavar="NAME", help="Only this workflow.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this experiment.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Only this status, such as FAILED; may be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this tag; may be repeated.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this person.")] = None,
    sort: Annotated[
        str,
        typer.Option(metavar="KEY", help="Sort by an attribute, metric.x, param.x or tag.x, highest first."),
    ] = "created",
    ascending: Annotated[bool, typer.Option("--ascending", help="Sort lowest first.")] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Only deleted ones, which can be restored.")
    ] = False,
    sweep: Annotated[str | None, typer.Option(metavar="ID", help="Only the trials of this sweep.")] = None,
    trials: Trials = False,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    filters: dict[str, Any] = {
        "workflow": workflow,
        "experiment": experiment,
        "status": status or None,
        "tags": read_assignments(tag or [], "--tag") or None,
        "owner": owner,
        "deleted_only": deleted,
        "sweep_id": sweep,
        "include_trials": trials,
    }
    _list_and_print(filters, {"order_by": sort, "descending": not ascending}, limit, json)


def _search(
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help="Such as \"metric.auc > 0.7 and param.max_depth <= 6 and not tag.team = 'ops'\".",
            show_default=False,
        ),
    ],
    trials: Trials = False,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    _list_and_print({"query": query, "include_trials": trials}, {}, limit, json)


search = make_command("search", "Find runs by their params, metrics, tags and more.", _search)


def _list_and_print(filters: dict[str, Any], order: dict[str, Any], limit: int, json: bool) -> None:
    with Client() as client:
        if filters.get("sweep_id") is not None:
            filters["sweep_id"] = client.get_sweep(filters["sweep_id"]).id
        runs = client.list_runs(limit=limit, **filters, **order)
        unknown = client.explain_names(order_by=order.get("order_by", ""))
        if unknown and client.count_runs(include_trials=True, include_deleted=True):
            raise ParameterError(f"cannot sort by '{order['order_by']}'. {unknown[0]}")
        if not runs:
            say_unknown_names(client, filters)
        if json:
            emit([r.summary_json() for r in runs])
            return
        total = len(runs) if len(runs) < limit else client.count_runs(**filters)
        console = get_out()
        if not runs:
            narrowed = any(v for v in filters.values())
            console.print(Text("No run fits." if narrowed else f"No runs yet. {FIRST_RUN}"))
            return
        print_runs(console, runs, total)


def say_unknown_names(client: Client, filters: Mapping[str, Any]) -> None:
    """Say which of the names that were asked for nothing has, with the nearest that something has."""
    for kind, list_all in (("workflow", client.list_workflows), ("experiment", client.list_experiments)):
        name = filters.get(kind)
        known = [found.name for found in list_all()] if name is not None else []
        if name is not None and name not in known:
            say(f"There is no {kind} '{name}'.{suggest(name, known)}")
    for sentence in client.explain_names(filters.get("query") or ""):
        say(sentence)


@app.command("show")
def show_run(run: RunId, json: AsJson = False) -> None:
    """Show all that is known of a run."""
    with Client() as client:
        found = client.get_run(run)
        if json:
            emit(found.to_json())
            return
        artifacts = client.find_artifacts([o.hash for o in found.record.outputs.values()])
        print_run(get_out(), found, artifacts)


@app.command("logs")
def show_logs(
    run: RunId,
    node: Annotated[str | None, typer.Option(metavar="NODE", help="Only the lines of this node.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the last so many lines.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what a run logged and printed."""
    if follow and json:
        raise UsageError(
            "--follow prints lines as they come; --json prints one document. Leave one of them out"
        )
    with Client() as client:
        lines = client.list_logs(run, node, limit)
        if json:
            emit([_line_json(line) for line in lines])
            return
        _print_lines(lines)
        shown = len(lines) if limit is None else len(client.list_logs(run, node))
        found = client.get_run(run)
        while follow:
            found = client.get_run(run)
            lines = client.list_logs(run, node)
            _print_lines(lines[shown:])
            shown = len(lines)
            if found.status.is_final:
                break
            time.sleep(FOLLOW_POLL_S)
    if not shown:
        get_out().print(Text("No lines: nothing was logged or printed.", style="dim"))
    _point_onward(found, node)


def _point_onward(run: Run, node: str | None) -> None:
    """Say where more is: in the runs that computed what was cached, and in the error of one that failed."""
    nodes = [n for n in run.nodes if node is None or n.name == node]
    sources = dict.fromkeys(n.cached_from for n in nodes if n.cached_from)
    if node is None:
        # What nodes shared within the run is above already.
        sources.pop(run.id, None)
    for source in list(sources)[:SOURCES_SHOWN]:
        command = show_command(f"runs logs {source[:SHORT_ID]}")
        say(f"What nodes that were cached said when they ran: {command}")
    if run.error is not None:
        say(f"The run is {run.status.value}. Why: {show_command(f'runs show {run.id[:SHORT_ID]}')}")


def _line_json(line: LogLine) -> dict[str, Any]:
    at = line.at.isoformat(timespec="microseconds")
    return {"at": at, "level": line.level, "node": line.node, "message": line.message}


def _print_lines(lines: Sequence[LogLine]) -> None:
    console = get_out()
    styles = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
    for line in lines:
        console.print(
            Text.assemble(
                (line.at.astimezone().strftime("%H:%M:%S.%f")[:-3], "dim"),
                " ",
                (f"{clean_line(line.level):<7}", styles.get(line.level, "dim")),
                " ",
                (f"{clean_line(line.node)}: " if line.node else "", "cyan"),
                clean(line.message),
            ),
            soft_wrap=True,
        )


@app.command("compare")
def compare_runs(
    runs: RunIds,
    everything: Annotated[bool, typer.Option("--all", help="Also what is the same in all of them.")] = False,
    json: AsJson = False,
) -> None:
    """Put runs side by side: what differs in params, metrics, outputs, nodes, code and environment."""
    with Client() as client:
        comparison = client.compare(runs)
    if json:
        emit(comparison.to_json(include_equal=everything))
        return
    _print_comparison(comparison, everything)


def _print_comparison(comparison: Comparison, everything: bool) -> None:
    console = get_out()
    table = make_table(console, "", *(r.id[:SHORT_ID] for r in comparison.runs))
    facts = {
        "workflow": [Text(clean_line(r.workflow)) for r in comparison.runs],
        "status": [Text(r.status.value, style=STYLES[r.status]) for r in comparison.runs],
        "created": [Text(show_when(console, r.record.created_at)) for r in comparison.runs],
        "took": [Text(show_duration(r.duration_s)) for r in comparison.runs],
    }
    for name, cells in facts.items():
        table.add_row(Text(name, style="dim"), *cells)
    console.print(table)
    hidden = 0
    for section, found in comparison.sections.items():
        rows: Sequence[Row] = found
        if section == "outputs":
            # They stand among the metrics.
            rows = [row for row in rows if row.name not in {m.name for m in comparison.metrics}]
        shown = [row for row in rows if everything or row.differs]
        hidden += len(rows) - len(shown)
        if not shown:
            continue
        print_heading(console, section.capitalize())
        numeric = section == "metrics"
        names = [r.id[:SHORT_ID] for r in comparison.runs]
        columns = [
            *names,
            *(["change"] if numeric and len(names) == 2 else []),
            *(["differs in"] if section == "nodes" else []),
        ]
        inner = make_table(console, "", *columns, right=columns if numeric else ())
        values = [_show_row(section, row, comparison.runs) for row in shown]
        for row, shown_values in zip(shown, _align_columns(values) if numeric else values, strict=True):
            inner.add_row(Text(clean_line(row.name)), *shown_values)
        console.print(inner)
    if hidden:
        console.print()
        same = count_of(hidden, "value is", "values are")
        console.print(Text(f"{same} the same in all of them; --all shows them.", style="dim"))


def _show_row(section: str, row: Row, runs: Sequence[Run]) -> list[Text]:
    style = "bold" if row.differs else "dim"
    if section == "nodes":
        cells = [Text("-" if v is None else _brief_node(v), style=style) for v in row.values]
        return [*cells, Text(", ".join(clean_line(c) for c in row.changed), style="yellow")]
    if section == "outputs":
        return [Text("-" if v is None else _brief_output(v), style=style) for v in row.values]
    is_version = section == "code" and row.name in ("workflow_version", "commit")
    values = [v[:SHORT_VERSION] if is_version and v else v for v in row.values]
    # What was given is shown as it was; of what came out four digits tell enough.
    show = show_plain if section == "metrics" else show_exactly
    cells = [Text(show(v), style=style) for v in values]
    if section == "metrics" and len(runs) == 2:
        cells.append(Text(_show_change(*row.values), style="cyan"))
    return cells


def _align_columns(rows: Sequence[Sequence[Text]]) -> list[list[Text]]:
    """Return the rows of a table with the decimal points of each column below each other."""
    columns = [align_numbers([cell.plain for cell in column]) for column in zip(*rows, strict=True)]
    return [
        [Text(text, style=cell.style) for text, cell in zip(texts, row, strict=True)]
        for texts, row in zip(zip(*columns, strict=True), rows, strict=True)
    ]


def _show_change(before: Any, after: Any) -> str:
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)) or before == after:
        return ""
    return ("+" if after > before else "") + show_number(float(after - before))


def _brief_node(value: Mapping[str, Any]) -> str:
    if value["cached"]:
        return "cached"
    return f"{str(value['status']).lower()} {show_duration(value['duration_s'])}".strip()


def _brief_output(value: Mapping[str, Any]) -> str:
    return show_plain(value["value"]) if value["value"] is not None else str(value["hash"])[:12]


@app.command("cancel")
def cancel_run(
    run: RunId,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for its end.")
    ] = 30.0,
    json: AsJson = False,
) -> None:
    """Stop a run that is going on, and wait until it has stopped."""
    with Client() as client:
        found = client.cancel_run(run, wait_s)
        if json and found.status.is_final:
            emit(found.to_json())
            return
    if not found.status.is_final:
        raise PlatformError(
            f"run {found.id} was asked to stop, and after {wait_s:g} s its process has not ended it. "
            f"See how it goes on: flowlearner runs show {found.id[:SHORT_ID]}"
        )
    get_out().print(Text(f"Run {found.id[:SHORT_ID]} is {found.status.value}."))


@app.command("tag")
def tag_run(
    run: RunId,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE...", help="Tags to set; other tags stay.", show_default=False),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="Remove this tag; may be repeated.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Replace the notes.")] = None,
    json: AsJson = False,
) -> None:
    """Set and remove tags of a run, and its notes."""
    wanted = read_assignments(tags or [], "")
    if not wanted and not remove and note is None:
        raise UsageError("nothing to do: give NAME=VALUE, --remove NAME or --note TEXT")
    with Client() as client:
        if wanted:
            client.set_tags(run, wanted)
        if remove:
            client.remove_tags(run, remove)
        if note is not None:
            client.set_notes(run, note)
        found = client.get_run(run)
        if json:
            emit(found.summary_json())
            return
    get_out().print(Text(f"Run {found.id[:SHORT_ID]}: {show_tags(found.tags) or 'no tags'}"))


@app.command("delete")
def delete_runs(runs: RunIds, json: AsJson = False) -> None:
    """Mark runs as deleted; `runs restore` brings them back until `catalog gc` has removed them."""
    with Client() as client:
        ids = client.delete_runs(runs)
    if json:
        emit({"deleted": ids})
        return
    restore = show_command(f"runs restore {' '.join(i[:SHORT_ID] for i in ids)}")
    get_out().print(Text(f"Deleted {count_of(len(ids), 'run')}. Bring back: {restore}"), soft_wrap=True)


@app.command("restore")
def restore_runs(runs: RunIds, json: AsJson = False) -> None:
    """Bring deleted runs back."""
    with Client() as client:
        ids = client.restore_runs(runs)
    if json:
        emit({"restored": ids})
        return
    get_out().print(Text(f"Restored {count_of(len(ids), 'run')}."))


replay.add_commands(app)
