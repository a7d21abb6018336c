"""Arguments and options that several commands take, and how commands and their groups are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from flowlearner.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")]
RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The id of a run, or any unique beginning of it.", show_default=False),
]
RunIds = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Ids of runs, or unique beginnings of them.", show_default=False),
]
Trials = Annotated[bool, typer.Option("--trials", help="Trials of sweeps too.")]

SETTINGS = {"help_option_names": ["-h", "--help"]}


def make_group(summary: str) -> typer.Typer:
    """Return a command that has commands of its own."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help=summary,
        context_settings=SETTINGS,
    )


def make_command(name: str, summary: str, function: Callable[..., None], **options: Any) -> typer.Typer:
    """Return a command of the first level.

    Args:
        options: further options of `typer.Typer.command`.
    """
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    made.command(name, help=summary, context_settings=SETTINGS, **options)(function)
    return made


def read_assignments(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return names and values of NAME=VALUE texts.

    Raises:
        UsageError: a text is none.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"{option} {text}: expected NAME=VALUE, for example {option} team=ops".replace("  ", " ")
            )
        found[name.strip()] = value
    return found
