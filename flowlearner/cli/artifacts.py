"""The commands about stored values: artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from flowlearner.cli.options import AsJson, make_group
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.show import (
    SEPARATOR_WIDTH,
    WIDE,
    describe_artifact,
    fit_columns,
    has_room,
    make_table,
    print_facts,
    print_heading,
)
from flowlearner.cli.text import (
    SHORT_HASH,
    SHORT_ID,
    clean,
    clean_line,
    count_of,
    shorten_line,
    show_command,
    show_number,
    show_size,
    show_value,
)
from flowlearner.client import Client
from flowlearner.client.run import to_plain
from flowlearner.errors import UsageError
from flowlearner.records import Artifact, ArtifactUse

ROWS_SHOWN = 10
COLUMNS_SHOWN = 10
LONGEST_NAME = 32
PART_SHOWN = 40
USES_SHOWN = 10
TEXT_SHOWN = 2000
# Plain values without a preview are small.
SCALARS = "json/"
# Everybody knows how to read these files.
SELF_EXPLAINING = ("table/", "json/", "figure/", "file/", "diff/")
_HASH = re.compile(r"[0-9a-f]{6,64}")

app = make_group("Show stored values and write them to files.")

Which = Annotated[
    str,
    typer.Argument(
        metavar="RUN.OUTPUT",
        help="An output of a run (RUN.auc) or of one of its nodes (RUN.train.model), or an artifact's hash.",
        show_default=False,
    ),
]


def _find(client: Client, which: str) -> Artifact:
    run, dot, output = which.partition(".")
    if dot:
        if not run or not output:
            raise UsageError(f"'{which}': expected RUN.OUTPUT, for example 1f3a.auc, or an artifact's hash")
        return client.get_artifact(run, output)
    text = which.removeprefix("artifact:")
    if not _HASH.fullmatch(text):
        raise UsageError(f"'{which}': expected RUN.OUTPUT, for example 1f3a.auc, or an artifact's hash")
    return client.find_artifact(text)


@app.command("show")
def show_artifact(which: Which, json: AsJson = False) -> None:
    """Show a stored value without loading it: type, size, preview, where it came from and went."""
    with Client() as client:
        artifact = _find(client, which)
        producers = client.find_producers(artifact.hash, USES_SHOWN)
        consumers = client.find_consumers(artifact.hash, USES_SHOWN)
        is_scalar = artifact.preview is None and artifact.codec.startswith(SCALARS)
        value = client.load_artifact(artifact.hash) if is_scalar else None
    if json:
        emit(
            {
                "hash": artifact.hash,
                "type": artifact.type,
                "codec": artifact.codec,
                "size_bytes": artifact.size_bytes,
                "checksum": artifact.checksum,
                "value": to_plain(value),
                "preview": to_plain(artifact.preview),
                "producers": [_use_json(u) for u in producers],
                "consumers": [_use_json(u) for u in consumers],
            }
        )
        return
    console = get_out()
    facts = [
        ("Artifact", artifact.hash),
        ("Type", describe_artifact(artifact)),
        ("Value", clean(show_value(value, TEXT_SHOWN)) if is_scalar else ""),
        ("Stored", f"{show_size(artifact.size_bytes)} as {clean_line(artifact.codec)}"),
        ("Made by", _describe_uses(producers)),
        ("Used by", _describe_uses(consumers)),
    ]
    print_facts(console, facts)
    print_preview(console, artifact.preview or {})
    console.print()
    console.print(
        Text(f"Write it to a file: {show_command(f'artifacts get {clean_line(which)} -o FILE')}", style="dim")
    )
    console.print(Text(_show_loading(artifact), style="dim"))


def _show_loading(artifact: Artifact) -> str:
    return f"Load it in Python: flowlearner.Client().load_artifact('{artifact.hash[:SHORT_HASH]}')"


def _use_json(use: ArtifactUse) -> dict[str, Any]:
    return {
        "run_id": use.run_id,
        "workflow": use.workflow,
        "node": use.node,
        "operator": use.operator,
        "role": use.role,
        "name": use.name,
        "cached": use.cached,
    }


def _describe_uses(uses: list[ArtifactUse]) -> str:
    found = [f"{u.run_id[:SHORT_ID]} {u.node or u.workflow}.{u.name}" for u in uses]
    more = " ..." if len(uses) == USES_SHOWN else ""
    return clean_line(", ".join(found) + more) or "-"


def print_preview(console: Console, preview: Mapping[str, Any]) -> None:
    columns = preview.get("columns")
    if preview.get("kind") == "table" and isinstance(columns, list):
        print_heading(console, "Columns")
        _print_columns(console, columns)
        _print_head(console, columns, preview.get("head") or [])
        return
    shown = {k: v for k, v in preview.items() if k != "kind"}
    if shown:
        print_heading(console, "Preview")
        print_facts(console, [(clean_line(k), clean(_show_part(v))[:TEXT_SHOWN]) for k, v in shown.items()])


def _print_columns(console: Console, columns: Sequence[Mapping[str, Any]]) -> None:
    facts = {"type": "type", "missing": "nulls", "least": "min", "mean": "mean", "greatest": "max"}
    if has_room(console, WIDE):
        facts |= {"distinct": "distinct", "commonest": "top"}
    table = make_table(console, "", *facts, right=[f for f in facts if f not in ("type", "commonest")])
    for column in columns:
        # Of a number the range tells more than one value of it.
        commonest = (column.get("top") or [[None]])[0][0] if "mean" not in column else None
        cells = [commonest if key == "top" else column.get(key) for key in facts.values()]
        table.add_row(Text(clean_line(column.get("name", ""))), *(Text(_show_cell(c)) for c in cells))
    fit_columns(console, table, "type", "commonest", longest=LONGEST_NAME)
    console.print(table)


def _print_head(
    console: Console, columns: Sequence[Mapping[str, Any]], head: Sequence[Sequence[Any]]
) -> None:
    """Print the first rows, and of a wide table the first columns."""
    if not head:
        return
    names = [shorten_line(c.get("name", ""), LONGEST_NAME) for c in columns[:COLUMNS_SHOWN]]
    rows = [[_show_cell(v) for v in row[: len(names)]] for row in head[:ROWS_SHOWN]]
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    count = _count_fitting(widths, console.width)
    rest = len(columns) - count
    print_heading(
        console, f"First rows, without the last {count_of(rest, 'column')}" if rest else "First rows"
    )
    right = [n for n, c in zip(names[:count], columns, strict=False) if "mean" in c]
    table = make_table(console, *names[:count], right=right)
    for row in rows:
        table.add_row(*map(Text, row[:count]))
    console.print(table)


def _count_fitting(widths: Sequence[int], room: int) -> int:
    """Return how many columns stand beside each other without being folded; at least one."""
    ends = list(accumulate(width + SEPARATOR_WIDTH for width in widths))
    return max(1, sum(end - SEPARATOR_WIDTH <= room for end in ends))


def _show_part(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={shorten_line(v, PART_SHOWN)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(": ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)


def _show_cell(value: Any) -> str:
    if value is None:
        return ""
    return show_number(value) if isinstance(value, float) else shorten_line(value, 24)


@app.command("get")
def get_artifact(
    which: Which,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write it; a table by suffix: .parquet .csv .json ...",
        ),
    ],
    json: AsJson = False,
) -> None:
    """Write a stored value to a file."""
    with Client() as client:
        artifact = _find(client, which)
        path = client.save_artifact(artifact, output)
    size = path.stat().st_size
    if json:
        emit({"hash": artifact.hash, "type": artifact.type, "path": str(path), "size_bytes": size})
        return
    get_out().print(
        Text(f"Wrote {describe_artifact(artifact)} to {path} ({show_size(size)})."), soft_wrap=True
    )
    if not artifact.codec.startswith(SELF_EXPLAINING):
        get_out().print(Text(_show_loading(artifact), style="dim"))
