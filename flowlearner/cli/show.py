"""Runs, their results and their lists, printed for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from flowlearner.cli.display import STYLES, show_node_time, sign_of
from flowlearner.cli.failure import list_failure_lines
from flowlearner.cli.text import (
    SHORT_HASH,
    SHORT_ID,
    align_numbers,
    clean,
    clean_line,
    count_of,
    shorten_line,
    show_age,
    show_command,
    show_duration,
    show_number,
    show_size,
    show_time,
    show_value,
)
from flowlearner.cli.verdict import describe_changes, describe_reproduction
from flowlearner.client import Run
from flowlearner.records import Artifact, ErrorInfo, NodeRun, OutputRecord, Status

METRICS_IN_LIST = 3
NODES_SHOWN = 100
TAG_SHOWN = 100
PREVIEW_SHOWN = 60
FAILURE_SHOWN = 200
FULL_WIDTH = 80
WIDE = 100
# Of the box that lists have on a terminal.
SEPARATOR_WIDTH = 3


def has_room(console: Console, width: int) -> bool:
    """Tell whether lines of this width fit; what is no terminal has no edge."""
    return not console.is_terminal or console.width >= width


def make_table(console: Console, *columns: str, right: Iterable[str] = (), is_short: bool = False) -> Table:
    """Return an empty table in the style of all lists: with a rule below its head on a terminal only.

    Args:
        right: columns of numbers.
        is_short: rows stay one line; what does not fit on a terminal is cut.
    """
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1) if console.is_terminal else (0, 2, 0, 0),
        header_style="bold",
    )
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="ellipsis" if is_short else "fold",
            no_wrap=is_short,
        )
    return table


def fit_columns(console: Console, table: Table, *flexible: str, longest: int = 24, indent: int = 0) -> None:
    """Let only some columns of a filled table shrink where a terminal is too narrow for all.

    Args:
        flexible: columns that share what the others leave.
        longest: what is longer in the others is cut.
        indent: how far from the left the table stands.
    """
    if not console.is_terminal:
        return
    room = console.width - indent - SEPARATOR_WIDTH * (len(table.columns) - 1)
    shrinking: list[tuple[int, Column]] = []
    for column in table.columns:
        cells = [cell.plain if isinstance(cell, Text) else str(cell) for cell in column.cells]
        needed = max(map(len, (str(column.header), *cells)))
        if column.header in flexible:
            shrinking.append((needed, column))
        else:
            column.max_width = min(longest, needed)
            room -= column.max_width
    # The shortest first, so that what it does not need is left for the others.
    shrinking.sort(key=lambda pair: pair[0])
    for count, (needed, column) in enumerate(shrinking):
        share = max(len(str(column.header)), room // (len(shrinking) - count))
        column.max_width = min(needed, share)
        room -= column.max_width


def show_when(console: Console, at: datetime | None) -> str:
    """Return how long ago something was, for a terminal; the time itself for a file, which is read later."""
    return show_age(at) if console.is_terminal else show_time(at)


def status_text(status: Status) -> Text:
    return Text(status.value, style=STYLES[status])


def print_runs(console: Console, runs: Sequence[Run], total: int | None = None) -> None:
    """Print a list of runs, one a line.

    Args:
        total: how many there are where the list was cut.
    """
    if not runs:
        console.print(Text("No runs."))
        return
    experiments = {r.experiment for r in runs}
    shown = ["Experiment"] if experiments != {"default"} and has_room(console, FULL_WIDTH) else []
    columns = ["Run", "Workflow", "Status", *shown, "Created", "Took", "Metrics"]
    table = make_table(console, *columns, right=("Took",), is_short=True)
    for run in runs:
        cells: list[Text] = [
            Text(run.id[:SHORT_ID], style="cyan"),
            Text(clean_line(run.workflow)),
            status_text(run.status),
            *([Text(clean_line(run.experiment))] if shown else []),
            Text(show_when(console, run.record.created_at)),
            Text(show_duration(run.duration_s)),
            _brief_metrics(run.metrics),
        ]
        deleted = "dim strike" if run.record.deleted_at else ""
        table.add_row(*cells, style=deleted)
    fit_columns(console, table, "Workflow", "Experiment", "Metrics")
    console.print(table)
    if total is not None and total > len(runs):
        console.print(Text(f"{len(runs)} of {total:,} runs; --limit shows more.", style="dim"))


def _brief_metrics(metrics: Mapping[str, float]) -> Text:
    shown = [f"{clean_line(n)}={show_number(v)}" for n, v in list(metrics.items())[:METRICS_IN_LIST]]
    rest = len(metrics) - METRICS_IN_LIST
    return Text("  ".join(shown) + (f"  +{rest}" if rest > 0 else ""))


def print_result(console: Console, run: Run, artifacts: Mapping[str, Artifact]) -> None:
    """Print how a run ended, what it gave, and how to see it again."""
    # Whoever has followed a run to its end and finds it open: the end could not be written.
    status = run.status if run.status.is_final else Status.CRASHED
    words, rest = status.value.capitalize(), f" in {show_duration(run.duration_s)}: {_count_nodes(run.nodes)}"
    if status is not run.status:
        count = sum(n.status is Status.COMPLETED for n in run.nodes)
        kept = count_of(count, "finished node is", "finished nodes are")
        words, rest = "Broke off", f": its end could not be recorded; {kept} kept"
    console.print()
    console.print(
        Text.assemble(sign_of(status, console.options.ascii_only), " ", (words, STYLES[status]), rest),
        soft_wrap=not console.is_terminal,
    )
    print_failures(console, run)
    print_outputs(console, run, artifacts)
    console.print()
    experiment = f" in experiment {clean_line(run.experiment)}" if run.experiment != "default" else ""
    console.print(Text.assemble("Run ", (run.id, "cyan"), f" of {clean_line(run.workflow)}{experiment}"))
    again = show_command(f"runs show {run.id[:SHORT_ID]}")
    console.print(Text.assemble("See it again: ", (again, "bold")), soft_wrap=True)


def _count_nodes(nodes: Sequence[NodeRun]) -> str:
    if not nodes:
        return "no node has run"
    ran = sum(not n.cached and n.started_at is not None for n in nodes)
    counts = [f"{ran} run", f"{sum(n.cached for n in nodes)} cached"]
    counts += [
        f"{count} {status.value.lower()}"
        for status in (Status.FAILED, Status.SKIPPED, Status.CANCELLED)
        if (count := sum(n.status is status for n in nodes))
    ]
    return f"{count_of(len(nodes), 'node')} ({', '.join(counts)})"


def print_outputs(console: Console, run: Run, artifacts: Mapping[str, Artifact]) -> None:
    """Print outputs and metrics; an output that is a metric stands among the metrics."""
    plain = {n: o for n, o in run.record.outputs.items() if n not in run.metrics}
    if plain:
        print_heading(console, "Outputs")
        table = _make_pairs(console)
        for name, output in plain.items():
            table.add_row(Text(clean_line(name)), describe_output(output, artifacts.get(output.hash)))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if run.metrics:
        print_heading(console, "Metrics")
        table = _make_pairs(console)
        numbers = align_numbers([show_number(v) for v in run.metrics.values()])
        for name, number in zip(run.metrics, numbers, strict=True):
            table.add_row(Text(clean_line(name)), Text(number, style="bold"))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _make_pairs(console: Console) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=max(16, console.width // 2), overflow="ellipsis")
    table.add_column(overflow="fold")
    return table


def print_heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def describe_output(output: OutputRecord, artifact: Artifact | None) -> Text:
    """Return a scalar's value, a table's shape, the beginning of a structure, or the type."""
    if output.value is not None:
        value = output.value
        text = show_number(value) if isinstance(value, float) else show_value(value, 200)
        return Text(text)
    if artifact is None:
        return Text(clean_line(output.type))
    preview = artifact.preview or {}
    text = f" {shorten_line(preview.get('text', ''), PREVIEW_SHOWN)}" if preview.get("kind") == "json" else ""
    return Text(describe_artifact(artifact) + text)


def describe_artifact(artifact: Artifact) -> str:
    """Return a stored value in a few words: its type, and the shape of a table."""
    preview = artifact.preview or {}
    kind = clean_line(artifact.type)
    if preview.get("kind") == "table":
        columns = preview.get("columns") or []
        rows = preview.get("rows")
        rows_text = count_of(rows, "row") if isinstance(rows, int) else "rows unknown"
        return f"{kind}, {rows_text} x {count_of(len(columns), 'column')}"
    shape = preview.get("shape")
    if isinstance(shape, (list, tuple)):
        return f"{kind}, {' x '.join(str(n) for n in shape)} {clean_line(preview.get('dtype', ''))}".rstrip()
    return kind


def print_failures(console: Console, run: Run) -> None:
    """Print why a run did not complete: its error whole, then each other node that failed in a line."""
    if run.error is None:
        return
    print_error(console, run.error)
    failed = {f"node '{n.name}' failed": n.error for n in run.nodes if n.error is not None}
    others = {words: e for words, e in failed.items() if not run.error.message.startswith(f"{words}:")}
    if others:
        console.print()
    for words, error in others.items():
        text = shorten_line(f"{words}: {error.type}: {error.message}", FAILURE_SHOWN)
        console.print(Text(text, style="red"), soft_wrap=not console.is_terminal)


def print_error(console: Console, error: ErrorInfo) -> None:
    """Print the message of a failure, then the user's own frames."""
    wrap = not console.is_terminal
    console.print()
    console.print(Text(clean(error.message), style="red"), soft_wrap=wrap)
    for line in list_failure_lines(error):
        console.print(Text(f"  {line}", style="dim"), soft_wrap=wrap)


def print_run(console: Console, run: Run, artifacts: Mapping[str, Artifact]) -> None:
    """Print all that is known of a run."""
    record = run.record
    console.print(
        Text.assemble(
            sign_of(run.status, console.options.ascii_only),
            " ",
            (clean_line(run.workflow), "bold"),
            "  run ",
            (run.id, "cyan"),
            "  ",
            status_text(run.status),
        )
    )
    console.print()
    facts = [
        ("Experiment", clean_line(run.experiment)),
        ("Created", f"{show_time(record.created_at)} by {clean_line(record.owner)}"),
        ("Took", show_duration(run.duration_s)),
        ("Executor", f"{clean_line(record.executor)}, seed {record.run_seed}"),
        ("Code", _describe_code(run)),
        ("Source", _name_artifact(record.code.snapshot)),
        ("Python", _describe_environment(run)),
        ("Machine", _describe_machine(run)),
        ("Tags", show_tags(run.tags)),
        ("Notes", clean(run.notes)),
        ("Parent", record.parent_id or ""),
        ("Changes", describe_changes(record.changes)),
        ("Reproduced", "" if record.reproduction is None else describe_reproduction(record.reproduction)),
        ("Sweep", f"{record.sweep_id}, trial {record.trial_number}" if record.sweep_id else ""),
        ("Command", clean_line(record.command)),
        ("Prefect", _describe_prefect(run)),
        ("Deleted", show_time(record.deleted_at)),
    ]
    print_facts(console, facts)
    if run.params:
        print_heading(console, "Params")
        table = _make_pairs(console)
        for name, value in run.params.items():
            table.add_row(Text(clean_line(name)), _describe_param(value))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if run.nodes:
        print_heading(console, "Nodes")
        _print_nodes(console, run.nodes)
    print_outputs(console, run, artifacts)
    print_failures(console, run)


def show_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{shorten_line(k, TAG_SHOWN)}={shorten_line(v, TAG_SHOWN)}" for k, v in tags.items())


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value:
            table.add_row(Text(name), Text(value))
    console.print(table)


def _describe_code(run: Run) -> str:
    code = run.record.code
    if code.commit is None:
        return "no git commit"
    branch = f" ({clean_line(code.branch)})" if code.branch else ""
    named = f": {_name_artifact(code.diff)}" if code.diff else ""
    return f"commit {code.commit[:12]}{branch}{f', with uncommitted changes{named}' if code.dirty else ''}"


def _describe_param(value: Any) -> Text:
    """Return a parameter's value; of a table or file from somewhere, what it contained too."""
    stored = value.get("hash") if isinstance(value, dict) and value.get("source") else None
    return Text.assemble(show_value(value, 200), (f"  {_name_artifact(stored)}" if stored else "", "dim"))


def _name_artifact(hash_: str | None) -> str:
    return f"artifact {hash_[:SHORT_HASH]}" if hash_ else ""


def _describe_environment(run: Run) -> str:
    found = run.record.environment
    if found is None:
        return ""
    machine = found.machine
    system = f"{machine.get('system', '')} {machine.get('architecture', '')}".strip()
    return clean_line(f"{found.python} on {system}, {count_of(len(found.packages), 'package')}")


def _describe_machine(run: Run) -> str:
    machine = run.record.environment.machine if run.record.environment else {}
    cpus, memory = machine.get("cpus"), machine.get("memory_bytes")
    facts = [
        machine.get("cpu", ""),
        count_of(cpus, "processor") if isinstance(cpus, int) else "",
        show_size(memory) if isinstance(memory, int) else "",
        *(f"{name}={value}" for name, value in machine.get("settings", {}).items()),
    ]
    return clean_line(", ".join(fact for fact in facts if fact))


def _describe_prefect(run: Run) -> str:
    record = run.record
    if not record.prefect_flow_run_id or not record.prefect_api_url:
        return ""
    pages = clean_line(record.prefect_api_url).removesuffix("/api")
    return f"{pages}/runs/flow-run/{record.prefect_flow_run_id}"


def _print_nodes(console: Console, nodes: Sequence[NodeRun]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column(no_wrap=True, justify="right", min_width=8)
    table.add_column(overflow="fold", ratio=1 if console.is_terminal else None)
    for node in nodes[:NODES_SHOWN]:
        table.add_row(
            sign_of(node.status, console.options.ascii_only),
            Text(clean_line(node.name)),
            show_node_time(node),
            describe_node(node),
        )
    console.print(Padding(table, (0, 0, 0, 1), expand=False))
    if len(nodes) > NODES_SHOWN:
        console.print(Text(f"  … {len(nodes) - NODES_SHOWN} more; --json shows all", style="dim"))


def describe_node(node: NodeRun) -> Text:
    """Return what is worth knowing of a node besides its time: why it ran or whence it came, its error."""
    notes: list[str] = []
    if node.operator != node.name and not node.name.startswith(node.operator):
        notes.append(clean_line(node.operator))
    if node.attempt > 1:
        notes.append(f"attempt {node.attempt}")
    if node.error is not None:
        notes.append(shorten_line(f"{node.error.type}: {node.error.message}", 200))
        return Text(", ".join(notes), style="red")
    if node.status is not Status.COMPLETED:
        notes.append(node.status.value.lower())
    elif node.cached:
        notes.append(show_source(node.cached_from))
    elif node.miss_reason:
        notes.append(clean_line(node.miss_reason))
    return Text(", ".join(notes), style="dim")


def show_source(run_id: str | None) -> str:
    """Return whence a cached result comes; None stands for a run that is gone."""
    return "from a deleted run" if run_id is None else f"from run {run_id[:SHORT_ID]}"


def show_plain(value: Any) -> str:
    """Return any JSON value in one line, as comparisons show it; of a number, four digits."""
    return show_number(value) if isinstance(value, float) else show_exactly(value)


def show_exactly(value: Any) -> str:
    return "-" if value is None else show_value(value, 60)
