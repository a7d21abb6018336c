"""The command that serves the catalog's pages in the foreground: ui."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from flowlearner.cli.options import make_command
from flowlearner.cli.output import get_out, say
from flowlearner.config import get_settings
from flowlearner.engine.background import HOST
from flowlearner.errors import ServerError
from flowlearner.pages import serving

SUMMARY = "Show the catalog in a browser, until Ctrl-C."


def _ui(
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P", min=1, max=65535, help="8501, or a free one, if left out.", show_default=False
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; others can reach the pages at any but the default.")
    ] = HOST,
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with serving(get_settings(), port, host) as (url, wait):
            get_out().print(url, highlight=False)
            say("Press Ctrl-C to stop.")
            status = wait()
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
    raise ServerError(f"the pages have ended with status {status}. Start them again: flowlearner ui")


ui = make_command("ui", SUMMARY, _ui)
