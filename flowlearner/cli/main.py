"""The entry point: which commands there are, and how a failure becomes a message and an exit status."""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from flowlearner import __version__
from flowlearner.cli.output import OutputLost, complain, drop, emit, get_out, prepare_streams, reserved_stdout
from flowlearner.errors import FlowLearnerError, PlatformError, QueryError, UsageError, suggest

INTERRUPTED = 130
# What a shell reports of a process that SIGPIPE ended.
PIPE_CLOSED = 141

HELP = """Typed workflows whose every run is remembered.

Begin with `flowlearner demo`, or with a workflow of your own: `flowlearner run FILE:WORKFLOW`.

Every command that prints records takes --json. Exit statuses: 0 done, 1 your operator or input failed, \
2 wrong usage, 3 the platform failed, 130 Ctrl-C.
"""

# name: (module below flowlearner.cli, what it holds, panel, help). A module is imported when its command is
# called; a test compares the help with the command's own.
COMMANDS = {
    "demo": (
        "demo",
        "demo",
        "Run",
        "Run the flights example, whole, then a small sweep over it, and print what came out.",
    ),
    "check": ("run", "check", "Run", "Compile a workflow and show its graph; nothing runs."),
    "run": ("run", "run", "Run", "Run a workflow."),
    "sweep": ("sweep", "sweep", "Run", "Run a workflow at many points of a space, and find the best."),
    "runs": ("runs", "app", "Look", "List, show, compare, run again, tag, cancel and delete runs."),
    "sweeps": ("sweeps", "app", "Look", "List, show, stop, resume and retry sweeps."),
    "schedules": ("schedules", "app", "Run", "Run workflows and sweeps again and again, at certain times."),
    "search": ("runs", "search", "Look", "Find runs by their params, metrics, tags and more."),
    "views": ("views", "app", "Look", "List, save and remove views of the page of runs."),
    "experiments": ("catalog", "experiments", "Look", "List and show experiments."),
    "workflows": ("catalog", "workflows", "Look", "List and show workflows that have run."),
    "operators": ("catalog", "operators", "Look", "List and show operators that have run."),
    "artifacts": ("artifacts", "app", "Look", "Show stored values and write them to files."),
    "lineage": (
        "lineage",
        "lineage",
        "Look",
        "Show what made a value, what used it, or what a change touches.",
    ),
    "bisect": (
        "bisect",
        "command",
        "Look",
        "Say which of the changes between two runs moved a metric, and by how much.",
    ),
    "ui": ("pages", "ui", "Look", "Show the catalog in a browser, until Ctrl-C."),
    "up": ("services", "up", "Services", "Start the services in the background and wait for them."),
    "down": ("services", "down", "Services", "Stop the services."),
    "status": ("services", "status", "Services", "Show which services run, and where."),
    "catalog": ("catalog", "app", "Services", "Upgrade, check and clean up the catalog."),
    "doctor": ("doctor", "doctor", "Services", "Check this installation and say how to mend it."),
}


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is called, so that `--help` need not import them all."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            hint = suggest(cmd_name, COMMANDS)
            raise UsageError(f"no command '{cmd_name}'.{hint} See all of them: flowlearner --help")
        module, attribute, panel, text = COMMANDS[cmd_name]
        if self._listing:
            return _make_stub(cmd_name, panel, text)
        found = getattr(importlib.import_module(f"flowlearner.cli.{module}"), attribute)
        command: Any = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _make_stub(name: str, panel: str, text: str) -> Any:
    stub = typer.Typer(add_completion=False)
    stub.command(name, help=text, rich_help_panel=panel)(lambda: None)
    return typer.main.get_command(stub)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        get_out().print(f"flowlearner {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Take the options of the program itself."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        args: without the program's name; from the command line if left out.
    """
    status = _run_command(list(sys.argv[1:] if args is None else args))
    if args is None:
        _leave_quietly()
    return status


def _leave_quietly() -> None:
    """Let Ctrl-C say nothing any more, now that only the process's own end is left.

    Prefect's client still sends then what its server does not know yet, which Ctrl-C ends at once.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    # Python gives up its handlers before it frees its modules: what can no longer be ended is soon over.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _run_command(arguments: list[str]) -> int:
    prepare_streams()
    as_json = wants_json(arguments)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_plain_warnings())
        if as_json:
            stack.enter_context(reserved_stdout())
        try:
            return _invoke(arguments, as_json)
        except OutputLost as lost:
            if lost.reader_is_gone:
                return PIPE_CLOSED
            complain(f"the output cannot be written: {lost}")
            return PlatformError.exit_status


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether `--json` is among the options, before they are parsed: mistakes in them are JSON too."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _invoke(arguments: list[str], as_json: bool) -> int:
    command: Any = typer.main.get_command(app)
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        # Its own `main` would turn interrupts and broken pipes into bare exit statuses.
        with command.make_context("flowlearner", arguments) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except FlowLearnerError as error:
        return _fail(error.exit_status, type(error).__name__, str(error), as_json, _find_details(error))
    except usage_error as error:
        # An empty message means that help was printed in place of an error.
        message = error.format_message()
        if message and not as_json and error.ctx is not None:
            sys.stderr.write(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help'.\n")
        return _fail(2, "UsageError", message, as_json) if message else 2
    except (KeyboardInterrupt, typer.Abort):
        return _fail(INTERRUPTED, "KeyboardInterrupt", "interrupted", as_json)
    except OutputLost:
        raise
    except SystemExit as ended:
        # How Rich ends where nobody reads the help any more.
        if isinstance(ended.__context__, BrokenPipeError):
            raise OutputLost(ended.__context__) from ended
        raise
    # The last place where a failure can still become a message.
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
            # Help does not go through our consoles.
            drop(sys.stdout)
            raise OutputLost(error) from error
        if getattr(error, "title", None) == "Settings":
            return _fail(UsageError.exit_status, "UsageError", _describe_settings(error), as_json)
        if not as_json:
            traceback.print_exc()
        text = f"{type(error).__name__}: {error}\nThis is a bug in flowlearner; please report it."
        return _fail(3, type(error).__name__, text, as_json)
    return 0


def _describe_settings(error: Any) -> str:
    """Return which environment variables pydantic refuses, and why."""
    found = []
    for problem in error.errors():
        reason = problem["msg"].removeprefix("Value error, ")
        name = f"FLOWLEARNER_{str(problem['loc'][0]).upper()}"
        found.append(f"{name}: {reason[0].lower()}{reason[1:]}; found {problem['input']!r}")
    return "; ".join(found)


def _fail(status: int, kind: str, message: str, as_json: bool, details: Any = None) -> int:
    if as_json:
        emit({"error": {"type": kind, "message": message, **(details or {})}})
    elif status == INTERRUPTED:
        complain("interrupted", "Stopped")
    else:
        complain(message)
    return status


def _find_details(error: FlowLearnerError) -> dict[str, Any] | None:
    if isinstance(error, QueryError):
        return {"query": error.query, "position": error.position}
    if error.run_id is not None:
        return {"run_id": error.run_id}
    problems = getattr(error, "problems", None)
    if problems is None:
        return None
    return {
        "problems": [
            {
                "kind": p.kind,
                "workflow": p.workflow,
                "node": p.node,
                "location": p.location,
                "message": p.message,
            }
            for p in problems
        ]
    }


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show our own warnings as one line without the source line that raised them."""
    show = warnings.showwarning

    def show_plain(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__module__.startswith("flowlearner."):
            complain(str(message), "Warning")
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_plain
    try:
        yield
    finally:
        warnings.showwarning = show


if __name__ == "__main__":
    sys.exit(main())
