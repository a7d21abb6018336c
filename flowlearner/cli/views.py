"""The commands about lists of runs that have a name: views."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from flowlearner.cli.options import AsJson, make_group
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import make_table, show_when
from flowlearner.cli.text import clean_line
from flowlearner.client import Client
from flowlearner.client.run import time_json

app = make_group("List, save and remove views of the page of runs.")


@app.command("list")
def list_views(json: AsJson = False) -> None:
    """List the views that there are."""
    with Client() as client:
        found = client.list_views()
    if json:
        emit([{"name": v.name, "query": v.query, "created_at": time_json(v.created_at)} for v in found])
        return
    console = get_out()
    if not found:
        console.print(Text("No views yet. Save one on the page of runs: flowlearner ui"))
        return
    table = make_table(console, "View", "Address", "Saved", is_short=True)
    for view in found:
        texts = (clean_line(view.name), clean_line(f"/?{view.query}"), show_when(console, view.created_at))
        table.add_row(*(Text(text) for text in texts))
    console.print(table)


@app.command("save")
def save_view(
    name: Annotated[str, typer.Argument(help="One of the same name is replaced.")],
    query: Annotated[
        str, typer.Argument(help="What the address of the list has behind its ?: workflow=delays&q=auc>0.7")
    ],
) -> None:
    """Give a list of runs a name."""
    with Client() as client:
        client.save_view(name, query.removeprefix("/").removeprefix("?"))
    say(f"Saved view '{clean_line(name)}'.")


@app.command("remove")
def remove_view(name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Remove a view; the runs stay."""
    with Client() as client:
        client.delete_view(name)
    say(f"Removed view '{clean_line(name)}'.")
