"""The command that tells where values came from and went, and what a change would touch: lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.show import make_table, print_heading
from flowlearner.cli.text import SHORT_ID, clean_line, count_of, show_number, show_time, show_value
from flowlearner.client import Client
from flowlearner.client.run import to_plain
from flowlearner.errors import UsageError
from flowlearner.lineage.downward import ModelUse, Use
from flowlearner.lineage.stale import BOUND, Staleness, StaleRun
from flowlearner.lineage.trace import Lineage
from flowlearner.lineage.upward import Origin

STALE = "stale"
SHOWN = 20
LONGEST_GIVEN = 30
_SAW = {
    "declared": "it declares that it takes it",
    "possible": "it may have used it",
    "derived": "not itself; ",
    "no": "no: ",
}


def _lineage(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT|RUN.OUTPUT|FILE|stale",
            help="An artifact's hash, an output of a run (RUN.model) or of a node (RUN.split.train), or a "
            "file; or the word stale with --if.",
            show_default=False,
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A column of the table: say which models saw it."),
    ] = None,
    if_: Annotated[
        str | None,
        typer.Option(
            "--if",
            metavar="FILE|OPERATOR",
            help="With stale: the file that runs were given, the module, or the operator that would change.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what made a value, up to files and parameters, and what used it, down to models.

    `lineage stale --if FILE|OPERATOR` lists the runs that would no longer be all cached if it changed.
    """
    if target == STALE and if_ is None:
        raise UsageError("lineage stale: say what would change, with --if FILE or --if OPERATOR")
    if if_ is not None and (target != STALE or column is not None):
        raise UsageError("--if belongs to `lineage stale --if FILE|OPERATOR` alone")
    with Client() as client:
        if if_ is not None:
            stale = client.list_stale(if_)
            if json:
                emit(to_plain(stale.to_json()))
            else:
                _print_stale(get_out(), stale)
            return
        found = client.trace_lineage(target, column)
    if json:
        emit(to_plain(found.to_json()))
        return
    _print(get_out(), found)


lineage = make_command("lineage", "Show what made a value, what used it, or what a change touches.", _lineage)


def _print(console: Console, found: Lineage) -> None:
    target = found.target
    kind = f"  {clean_line(target.type)}" if target.type else ""
    console.print(
        Text.assemble((clean_line(target.name), "bold"), f"{kind}  ", (target.hashes[0][:12], "cyan")),
        soft_wrap=True,
    )
    if target.kind == "file":
        _print_contents(console, found)
    else:
        print_heading(console, "Made by")
        if found.origin is None:
            console.print(Text("  no run that is kept", style="dim"))
        else:
            console.print(_make_origin_tree(found.origin))
            if found.made_in > 1:
                again = f"The same value came out in {count_of(found.made_in, 'run')}."
                console.print(Text(f"  {again}", style="dim"))
    print_heading(console, "Used by")
    if found.uses:
        console.print(_make_use_tree(found.uses, clean_line(target.name)))
    else:
        console.print(Text("  no step of a run that is kept", style="dim"))
    if found.models or found.column:
        _print_models(console, found)


def _print_contents(console: Console, found: Lineage) -> None:
    target = found.target
    if not any(target.is_current):
        console.print(Text("The file has changed since runs read it, or is gone.", style="yellow"))
    elif not all(target.is_current):
        older = sum(not c for c in target.is_current)
        console.print(Text(f"Among it runs that read {count_of(older, 'earlier content')}.", style="dim"))


# Up


def _make_origin_tree(origin: Origin) -> Tree:
    tree = Tree(_describe_origin("", origin, ""), guide_style="dim")
    _add_inputs(tree, origin)
    return tree


def _add_inputs(tree: Tree, origin: Origin) -> None:
    """Add what a node was made of; what the workflow's body gives it shares one line."""
    given = []
    for name, inner in origin.inputs.items():
        if inner.kind == "literal" and origin.kind == "node":
            given.append(f"{clean_line(name)}={show_value(inner.value, LONGEST_GIVEN)}")
        else:
            _add_inputs(tree.add(_describe_origin(name, inner, origin.made_by)), inner)
    if given:
        tree.add(Text(f"given in the workflow: {', '.join(given)}", style="dim"))


def _describe_origin(name: str, origin: Origin, made_by: str | None) -> Text:
    """Return a value in a line.

    Args:
        name: of the input that it is.
        made_by: the run that computed what took it, which need not be said again.
    """
    label = f"{clean_line(name)} = " if name else ""
    if origin.kind == "node":
        return Text.assemble(label, *_describe_step(origin, made_by))
    if origin.kind == "file":
        path = PurePath(str(origin.value))
        return Text.assemble(label, (clean_line(path.name), "bold"), (f"  {clean_line(path)}", "dim"))
    if origin.kind == "collection":
        return Text.assemble(label, (f"a {origin.name} of", "dim"))
    notes = {
        "param": f"parameter '{clean_line(origin.name)}'",
        "literal": "given in the workflow",
        "seed": "the run's seed",
    }
    if origin.kind not in notes:
        return Text.assemble(label, ("not known", "dim"))
    return Text.assemble(label, show_value(origin.value), (f"  {notes[origin.kind]}", "dim"))


def _describe_step(origin: Origin, made_by: str | None) -> Iterator[tuple[str, str]]:
    yield clean_line(origin.name), "bold"
    if isinstance(origin.value, (int, float)):
        yield f" {show_number(origin.value)}", ""
    if not origin.name.startswith(origin.operator or ""):
        yield f"  operator {clean_line(origin.operator)}", "dim"
    if origin.made_by and origin.made_by != made_by:
        at = f" of {show_time(origin.at)}" if origin.at else ""
        yield f"  run {origin.made_by[:SHORT_ID]}{at}", "dim"
    if origin.is_repeated:
        yield "  as above", "dim"
    elif origin.is_cut:
        yield "  …", "dim"


# Down

_Step = tuple[str, str]


def _make_use_tree(uses: Sequence[Use], name: str) -> Tree:
    """Return the steps that used something: a line for each step of a workflow, however often it ran."""
    groups: dict[_Step, list[Use]] = {}
    for use in uses:
        groups.setdefault((use.run.workflow, use.node.name), []).append(use)
    tree = Tree(Text(name, style="bold"), guide_style="dim")
    told: set[_Step] = set()
    behind = {(w, r) for (w, _), members in groups.items() for use in members for r in use.readers}
    for step, members in groups.items():
        if step not in told and (any(u.is_direct for u in members) or step not in behind):
            _add_step(tree, step, groups, told, "")
    return tree


def _add_step(
    tree: Tree, step: _Step, groups: Mapping[_Step, Sequence[Use]], told: set[_Step], above: str
) -> None:
    """Add a step with those that read it.

    Args:
        above: in which runs the step above was, which need not be said again.
    """
    workflow, node = step
    uses = groups[step]
    operator = uses[0].node.operator
    runs = list(dict.fromkeys(u.run.id for u in uses))
    where = f"run {runs[0][:SHORT_ID]}"
    if len(runs) > 1:
        where = f"{len(runs):,} runs, the latest {runs[0][:SHORT_ID]}"
    where = f"{clean_line(workflow)}, {where}"
    notes = [] if node.startswith(operator) else [f"operator {clean_line(operator)}"]
    notes += [] if where == above else [where]
    notes += ["as above"] if step in told else []
    branch = tree.add(Text.assemble((clean_line(node), "bold"), *((f"  {note}", "dim") for note in notes)))
    if step in told:
        return
    told.add(step)
    for reader in dict.fromkeys(r for use in uses for r in use.readers):
        if (workflow, reader) in groups:
            _add_step(branch, (workflow, reader), groups, told, where)


def _print_models(console: Console, found: Lineage) -> None:
    word = f"Models, and whether they saw '{clean_line(found.column)}'" if found.column else "Models"
    print_heading(console, word)
    if not found.models:
        console.print(Text("  none", style="dim"))
        return
    columns = ["Run", "Output", "Model", "Times", *(["Saw it"] if found.column else [])]
    table = make_table(console, *columns)
    groups = _group_models(found.models)
    for first, count in groups[:SHOWN]:
        cells = [
            Text(first.run.id[:SHORT_ID], style="cyan"),
            Text(f"{clean_line(first.node)}.{clean_line(first.output)}"),
            Text(first.hash[:12]),
            Text(str(count)),
        ]
        if found.column:
            cells.append(Text(clean_line(f"{_SAW[first.saw]}{first.why}")))
        table.add_row(*cells)
    console.print(table)
    if len(groups) > SHOWN:
        console.print(Text(f"{SHOWN} of {len(groups):,} models; --json shows all.", style="dim"))


def _group_models(models: Iterable[ModelUse]) -> list[tuple[ModelUse, int]]:
    """Return each model once, with in how many runs it came out."""
    groups: dict[tuple[str, str], list[ModelUse]] = {}
    for model in models:
        groups.setdefault((model.hash, model.saw), []).append(model)
    return [(members[0], len(members)) for members in groups.values()]


# Stale


def _print_stale(console: Console, found: Staleness) -> None:
    what = f"operator '{clean_line(found.name)}'" if found.kind == "operator" else clean_line(found.name)
    total = f"{len(found.runs):,} of {count_of(found.checked, 'run')}"
    console.print(Text.assemble("If ", (what, "bold"), f" changed, {total} would no longer be all cached."))
    if not found.runs:
        return
    console.print()
    table = make_table(console, "Run", "Workflow", "Would run", "May run", "Why")
    groups = _group_stale(found.runs)
    for name, members in groups[:SHOWN]:
        first = members[0]
        reasons = dict.fromkeys(first.nodes.values())
        table.add_row(
            Text(name, style="cyan"),
            Text(clean_line(first.run.workflow)),
            Text(_brief(first.nodes)),
            Text(_brief(first.behind)),
            Text(clean_line("; ".join(reasons)), style="dim"),
        )
    console.print(table)
    if len(groups) > SHOWN:
        console.print(Text(f"{SHOWN} of {len(groups):,} lines; --json shows all.", style="dim"))
    console.print()
    console.print(Text(BOUND, style="dim"), soft_wrap=not console.is_terminal)


def _group_stale(runs: Iterable[StaleRun]) -> list[tuple[str, list[StaleRun]]]:
    """Return runs one by one, and the trials of a sweep in which the same steps would run as one."""
    groups: dict[Any, list[StaleRun]] = {}
    for stale in runs:
        key = (stale.run.sweep_id, *stale.nodes) if stale.run.sweep_id else stale.run.id
        groups.setdefault(key, []).append(stale)
    found = []
    for members in groups.values():
        run = members[0].run
        sweep = f"sweep {(run.sweep_id or '')[:SHORT_ID]}, {count_of(len(members), 'trial')}"
        found.append((sweep if run.sweep_id else run.id[:SHORT_ID], members))
    return found


def _brief(names: Iterable[str]) -> str:
    found = [clean_line(n) for n in names]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
