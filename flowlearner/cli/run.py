"""The commands that compile and run workflows: check, run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowlearner.cli.detach import Detach, launch_and_print, show_texts
from flowlearner.cli.display import RunDisplay
from flowlearner.cli.options import AsJson, make_command, read_assignments
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.parameters import META, Call, WorkflowCommand, read_parameters
from flowlearner.cli.show import print_result, show_source
from flowlearner.cli.text import clean_line, count_of, show_value
from flowlearner.client import Client, Run
from flowlearner.engine.base import RunListener
from flowlearner.engine.submit import PlanRow
from flowlearner.errors import FlowLearnerError, UsageError
from flowlearner.facade import Workflow
from flowlearner.graph import Binding, Collection, Graph, Literal, Node, NodeRef, ParamRef, RunSeed
from flowlearner.interface import RESULT
from flowlearner.records import Status

INTERRUPTED = 130
EPILOG = "--help after FILE:WORKFLOW lists the workflow's own parameters."

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE:WORKFLOW",
        help="A Python file or module and the workflow in it, such as flights.py:delays.",
        show_default=False,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="Set a parameter; --NAME VALUE does too.",
        show_default=False,
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What runs the graph: prefect (default) or local.", show_default=False),
]


def _check(
    ctx: typer.Context,
    target: Target,  # noqa: ARG001 - read by WorkflowCommand
    param: Assignments = None,
    json: AsJson = False,
) -> None:
    call: Call = ctx.meta[META]
    workflow = _get_workflow(call)
    graph = workflow.compile(**read_parameters(call, param or []))
    if json:
        emit(graph.to_json())
        return
    print_graph(graph)


def _run(
    ctx: typer.Context,
    target: Target,
    param: Assignments = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", metavar="NAME", help="Group that the run belongs to.", show_default=False
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="Tag the run; may be repeated.", show_default=False),
    ] = None,
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="TEXT", help="Free text about the run.", show_default=False),
    ] = None,
    executor: Executor = None,
    run_seed: Annotated[
        int | None,
        typer.Option(
            "--run-seed", metavar="N", help="Seed of unbound Seed parameters; else 0.", show_default=False
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Take nothing from the cache.")] = False,
    refresh: Annotated[
        list[str] | None,
        typer.Option(
            "--refresh",
            metavar="NODE",
            help="Run this node in any case; may be repeated.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would run and what the cache has; run nothing.")
    ] = False,
    detach: Detach = False,
    json: AsJson = False,
) -> None:
    call: Call = ctx.meta[META]
    params = read_parameters(call, param or [])
    if detach:
        if plan or refresh or executor:
            raise UsageError("--detach goes without --plan, --refresh and --executor: it runs on Prefect")
        launch_and_print(
            "run",
            json,
            target,
            params=show_texts(params),
            experiment=experiment,
            tags=read_assignments(tag or [], "--tag"),
            notes=note,
            seed=run_seed,
            cache=False if no_cache else None,
            command=show_command(),
        )
        return
    configured = _get_workflow(call).with_options(
        experiment=experiment,
        tags=read_assignments(tag or [], "--tag") or None,
        notes=note,
        executor=executor,
        seed=run_seed,
        cache=False if no_cache else None,
        refresh=refresh,
        command=show_command(),
    )
    if plan:
        print_plan(configured.name, configured.plan(**params), json)
        return
    run_and_print(configured, params, json)


_TAKES_PARAMETERS: dict[str, Any] = {"cls": WorkflowCommand, "epilog": EPILOG}
check = make_command(
    "check", "Compile a workflow and show its graph; nothing runs.", _check, **_TAKES_PARAMETERS
)
run = make_command("run", "Run a workflow.", _run, **_TAKES_PARAMETERS)


def _get_workflow(call: Call) -> Workflow[..., Any]:
    if not isinstance(call.workflow, Workflow):
        raise UsageError("expected FILE:WORKFLOW, for example flights.py:delays")
    return call.workflow


def show_command() -> str:
    """Return this process's command line."""
    return shlex.join(["flowlearner", *sys.argv[1:]])


def run_and_print(workflow: Workflow[..., Any], params: dict[str, Any], as_json: bool) -> None:
    """Run a workflow, follow it, print its result, and end with the contract's exit status."""
    follow_and_print(lambda display: workflow.with_options(listener=display).submit(**params), as_json)


def follow_and_print(make: Callable[[RunListener], Run], as_json: bool) -> None:
    """Make a run, follow it, print its result, and end with the contract's exit status.

    Args:
        make: makes it and waits for it; what happens to it goes to the listener.
    """
    display = RunDisplay(live=not as_json and sys.stdout.isatty())
    try:
        run = make(display)
    except KeyboardInterrupt:
        display.close()
        if display.run_id is None:
            raise
        with Client() as client:
            _print_run(client.get_run(display.run_id), as_json)
        raise typer.Exit(INTERRUPTED) from None
    except FlowLearnerError:
        display.close()
        if display.run_id is not None and not as_json:
            with contextlib.suppress(FlowLearnerError), Client() as client:
                _print_run(client.get_run(display.run_id), as_json)
        raise
    _print_run(run, as_json)
    if run.status is not Status.COMPLETED:
        raise typer.Exit(INTERRUPTED if run.status is Status.CANCELLED else 1)


def _print_run(run: Run, as_json: bool) -> None:
    if as_json:
        emit(run.to_json())
        return
    with Client() as client:
        artifacts = client.find_artifacts([o.hash for o in run.record.outputs.values()])
    print_result(get_out(), run, artifacts)


# Graphs and plans


def print_graph(graph: Graph) -> None:
    """Print a compiled workflow: each node with what it reads, then the outputs."""
    console = get_out()
    console.print(
        Text.assemble(
            (clean_line(graph.workflow), "bold"),
            f" compiles: {count_of(len(graph.nodes), 'node')}, "
            f"{count_of(len(graph.interface.params), 'parameter')}, "
            f"{count_of(len(graph.outputs), 'output')}",
        )
    )
    for title, rows in (
        ("Parameters", [_describe_param(p) for p in graph.interface.params]),
        ("Nodes", [_describe_node(graph, n) for n in graph.nodes]),
        ("Outputs", [_describe_output(graph, name, b) for name, b in graph.outputs.items()]),
    ):
        if not rows:
            continue
        console.print()
        console.print(Text(title, style="bold"))
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(
            no_wrap=True, style="cyan", overflow="ellipsis", max_width=max(20, console.width // 2)
        )
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(Text(name), text)
        console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _describe_param(param: Any) -> tuple[str, Text]:
    bounds = f" {clean_line(param.type.bounds)}" if param.type.bounds else ""
    text = Text(f"{clean_line(param.type)}{bounds}")
    if param.required:
        text.append("  required", style="dim")
    elif param.type.kind == "seed":
        text.append("  the run's seed", style="dim")
    else:
        text.append(f" = {show_value(getattr(param.default, 'name', param.default))}", style="dim")
    return clean_line(param.name), text


def _describe_node(graph: Graph, node: Node) -> tuple[str, Text]:
    text = Text()
    shown = {name: b for name, b in node.inputs.items() if not _is_default(node, name, b)}
    for i, (name, binding) in enumerate(shown.items()):
        text.append(", " if i else "")
        text.append(f"{clean_line(name)}=", style="dim")
        text.append(show_binding(graph, binding))
    outputs = node.operator.interface.outputs
    if outputs:
        gives = (
            clean_line(outputs[0].type)
            if len(outputs) == 1 and outputs[0].name == RESULT
            else ", ".join(f"{clean_line(o.name)}: {clean_line(o.type)}" for o in outputs)
        )
        text.append(f" -> {gives}", style="dim")
    need = node.operator.resources
    notes = [
        f"{need.cpus:g} cpus" if need.cpus != 1 else "",
        f"{need.gpus:g} gpus" if need.gpus else "",
        f"retries {need.retries}" if need.retries else "",
        f"timeout {need.timeout_s:g} s" if need.timeout_s is not None else "",
        "own process" if need.in_child else "",
        "not cached" if not node.operator.cache else "",
    ]
    if any(notes):
        text.append(f"  [{', '.join(n for n in notes if n)}]", style="yellow")
    if node.name in graph.unused:
        text.append("  nothing reads it", style="yellow")
    return clean_line(node.name), text


def _is_default(node: Node, name: str, binding: Binding) -> bool:
    """Tell whether an input has its parameter's own default, which says nothing about the workflow."""
    if isinstance(binding, RunSeed):
        return False
    default = node.operator.interface.by_name[name].default
    return isinstance(binding, Literal) and (binding.value is default or repr(binding.value) == repr(default))


def _describe_output(graph: Graph, name: str, binding: Binding) -> tuple[str, Text]:
    types = {o.name: o.type for o in graph.interface.outputs}
    text = Text(show_binding(graph, binding))
    if name in types:
        text.append(f": {clean_line(types[name])}", style="dim")
    return clean_line(name), text


def show_binding(graph: Graph, binding: Binding) -> str:
    """Return where an input comes from: a node's output, a parameter, or a value."""
    if isinstance(binding, NodeRef):
        outputs = graph.by_name[binding.node].operator.interface.outputs
        single = len(outputs) == 1 and outputs[0].name == RESULT
        return clean_line(binding.node if single else f"{binding.node}.{binding.output}")
    if isinstance(binding, ParamRef):
        return clean_line(binding.name)
    if isinstance(binding, RunSeed):
        return "the run's seed"
    if isinstance(binding, Collection):
        parts = [show_binding(graph, b) for b in binding.items]
        if binding.make is dict:
            return (
                "{"
                + ", ".join(f"{clean_line(k)}: {p}" for k, p in zip(binding.keys, parts, strict=True))
                + "}"
            )
        return f"[{', '.join(parts)}]" if binding.make is list else f"({', '.join(parts)})"
    value = getattr(binding.value, "name", binding.value)
    return repr(show_value(value)) if isinstance(value, str) else show_value(value)


def print_plan(workflow: str, rows: Sequence[PlanRow], as_json: bool) -> None:
    """Print which nodes would hit and which would run, and why."""
    if as_json:
        emit(
            {
                "workflow": workflow,
                "nodes": [
                    {
                        "node": r.node,
                        "operator": r.operator,
                        "action": r.action,
                        "reason": r.reason,
                        "cached_from": r.cached_from,
                    }
                    for r in rows
                ],
            }
        )
        return
    console = get_out()
    styles = {"cached": "cyan", "run": "yellow", "unknown": "dim"}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        why = show_source(row.cached_from) if row.action == "cached" else clean_line(row.reason)
        table.add_row(
            Text(clean_line(row.node)),
            Text(row.action, style=styles.get(row.action, "")),
            Text(why, style="dim"),
        )
    counts = [
        f"{sum(r.action == a for r in rows)} {word}" for a, word in (("cached", "cached"), ("run", "to run"))
    ]
    open_count = sum(r.action == "unknown" for r in rows)
    if open_count:
        counts.append(f"{open_count} unknown until then")
    console.print(Text.assemble((clean_line(workflow), "bold"), f": {', '.join(counts)}; nothing was run"))
    console.print()
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
