"""Workflow parameters on the command line: `--max-depth 4` beside the command's options, and their help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from flowlearner.cli.output import get_out
from flowlearner.cli.text import clean_line, count_of
from flowlearner.definition import Definition
from flowlearner.errors import ParameterError, UsageError, shorten, suggest
from flowlearner.interface import MISSING, Param, default_text
from flowlearner.loading import load_workflow
from flowlearner.params import read_param
from flowlearner.secrecy import conceal

META = "flowlearner.call"
_NUMBER = re.compile(r"-\.?\d")


@dataclass
class Call:
    """What the command line says of a workflow.

    Attributes:
        workflow: as loaded; None where the target is missing.
        given: names and texts of options that are parameters; None for one without a value.
    """

    workflow: Definition | None = None
    given: list[tuple[str, str | None]] = field(default_factory=list)


class WorkflowCommand(TyperCommand):
    """A command of one argument FILE:WORKFLOW that takes the workflow's parameters as options too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        call = Call()
        ctx.meta[META] = call
        takes_value = {
            name: not getattr(param, "is_flag", False)
            for param in self.get_params(ctx)
            for name in (*param.opts, *param.secondary_opts)
            if name.startswith("-")
        }
        rest, call.given, target = split_args(args, takes_value)
        if target is None:
            call.workflow = self.load_default(ctx, rest)
        else:
            call.workflow = load_workflow(target)
        return super().parse_args(ctx, rest)

    def load_default(self, ctx: Any, args: Sequence[str]) -> Definition | None:
        """Return the workflow that is meant where the arguments name none."""
        del ctx, args
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        call: Call | None = ctx.meta.get(META)
        if call is not None and call.workflow is not None:
            options = {name for param in self.get_params(ctx) for name in param.opts}
            print_parameters(call.workflow, options)


def split_args(
    args: Sequence[str], takes_value: Mapping[str, bool]
) -> tuple[list[str], list[tuple[str, str | None]], str | None]:
    """Take the options that the command does not know out of its arguments.

    Args:
        args: the command's arguments.
        takes_value: the command's own options, and whether each has a value.

    Returns:
        the arguments that are left, the unknown options with their values, and the first non-argument.
    """
    rest: list[str] = []
    given: list[tuple[str, str | None]] = []
    target: str | None = None
    position = 0
    while position < len(args):
        token = args[position]
        position += 1
        name, equals, value = token.partition("=")
        if token == "--":
            rest += [token, *args[position:]]
            target = target or next(iter(args[position:]), None)
            break
        if not token.startswith("--"):
            rest.append(token)
            if token in takes_value and takes_value[token] and position < len(args):
                rest.append(args[position])
                position += 1
            elif not token.startswith("-"):
                target = target or token
            continue
        if name in takes_value:
            rest.append(token)
            if takes_value[name] and not equals and position < len(args):
                rest.append(args[position])
                position += 1
        elif equals:
            given.append((name[2:], value))
        elif position < len(args) and _is_value(args[position]):
            given.append((name[2:], args[position]))
            position += 1
        else:
            given.append((name[2:], None))
    return rest, given, target


def _is_value(token: str) -> bool:
    return not token.startswith("-") or token == "-" or _NUMBER.match(token) is not None


def read_parameters(call: Call, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the workflow's parameters from `-p NAME=VALUE` and from options.

    Raises:
        UsageError: a text is no NAME=VALUE, or a name is given twice.
        ParameterError: a name is unknown, or a text is not of the parameter's type; all mistakes are listed.
    """
    workflow = call.workflow
    assert workflow is not None, "the target was loaded"
    texts: list[tuple[str, str | None, str]] = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"-p {assignment}: expected NAME=VALUE, for example -p max_depth=4")
        texts.append((name.strip(), value, f"-p {name.strip()}"))
    texts += [(name, value, f"--{name}") for name, value in call.given]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text, shown in texts:
        param, negated = _find_param(workflow, name, text)
        if param is None:
            problems.append(_explain_unknown(workflow, name, shown))
            continue
        if param.name in values:
            raise UsageError(f"parameter '{param.name}' is given twice; the second time as {shown}")
        if text is None and param.type.base is not bool:
            problems.append(f"{shown} needs a value ({param.type})")
            continue
        try:
            values[param.name] = _read_value(workflow, param, text, negated)
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError(f"workflow '{workflow.name}': " + "; ".join(problems))
    return values


def _find_param(workflow: Definition, name: str, text: str | None) -> tuple[Param | None, bool]:
    params = workflow.interface.by_name
    for candidate in (name, name.replace("-", "_")):
        if candidate in params:
            return params[candidate], False
    if text is None and name.startswith(("no-", "no_")):
        found = params.get(name[3:].replace("-", "_"))
        if found is not None and found.type.base is bool:
            return found, True
    return None, False


def _explain_unknown(workflow: Definition, name: str, shown: str) -> str:
    params = workflow.interface.by_name
    what = "neither an option nor a parameter" if shown.startswith("--") else "no parameter"
    return f"{shown}: {what}; it takes {shorten(params)}.{suggest(name.replace('-', '_'), params)}"


def _read_value(workflow: Definition, param: Param, text: str | None, negated: bool) -> Any:
    if text is None:
        return not negated
    return read_param(workflow, param, text)


# Help


def print_parameters(workflow: Definition, options: set[str]) -> None:
    """Print a workflow's parameters: how each is given, its type, range, default and text."""
    console = get_out()
    title = Text.assemble(("Parameters of ", ""), (workflow.name, "bold"))
    summary = workflow.interface.doc.partition("\n\n")[0]
    if summary:
        title.append(f": {clean_line(summary)}")
    console.print(title)
    console.print()
    if not workflow.interface.params:
        console.print(Text("It takes none.", style="dim"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Option", style="cyan", no_wrap=True)
    table.add_column("Type", style="yellow")
    table.add_column("Default", overflow="fold")
    table.add_column("Meaning", ratio=1)
    for param in workflow.interface.params:
        table.add_row(*describe_parameter(param, options))
    console.print(table)
    hidden = [p.name for p in workflow.interface.params if show_option(p.name) in options]
    if hidden:
        verb = "is" if len(hidden) == 1 else "are"
        console.print(
            Text(
                f"{shorten(hidden)} {verb} given by -p only: "
                f"the command has {count_of(len(hidden), 'option')} "
                f"of {'that name' if len(hidden) == 1 else 'those names'}.",
                style="dim",
            )
        )
    console.print(Text("Any of them may be given as -p NAME=VALUE too.", style="dim"))


def show_option(name: str) -> str:
    return "--" + name.replace("_", "-")


def describe_parameter(param: Param, options: set[str]) -> tuple[Text, Text, Text, Text]:
    """Return the cells of a parameter's row: option, type with its range, default, text."""
    option = show_option(param.name)
    if option in options:
        option = f"-p {param.name}="
    kind = clean_line(param.type)
    if param.type.bounds is not None:
        kind += f" {clean_line(param.type.bounds)}"
    elif isinstance(param.type.base, type) and issubclass(param.type.base, Enum):
        kind += f": {shorten(param.type.base.__members__)}"
    if param.required:
        default = Text("required", style="bold red")
    elif param.type.kind == "seed" and param.default in (MISSING, None):
        default = Text("the run's seed")
    else:
        default = Text(_show_default(param))
    return Text(option), Text(kind), default, Text(clean_line(param.doc))


def _show_default(param: Param) -> str:
    value = default_text(conceal(param.default, param.type))
    text = clean_line(value)
    if param.type.kind == "file" or param.type.is_table:
        # The end of a path tells more than its beginning.
        return text if len(text) <= 30 else "…/" + text.rpartition("/")[2]
    return text
