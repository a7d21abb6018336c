"""Sweeps, their results and their lists, printed for people; and the commands that go on from there."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowlearner.cli.display import STYLES, sign_of
from flowlearner.cli.failure import list_failure_lines
from flowlearner.cli.output import PIPE_WIDTH
from flowlearner.cli.show import (
    fit_columns,
    make_table,
    print_facts,
    print_heading,
    show_tags,
    show_when,
    status_text,
)
from flowlearner.cli.sweep_display import describe_counts, show_setting
from flowlearner.cli.text import (
    SHORT_ID,
    align_numbers,
    clean,
    clean_line,
    count_of,
    show_command,
    show_duration,
    show_number,
    show_time,
    show_value,
)
from flowlearner.client import Sweep
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Status, TrialRecord

TRIALS_SHOWN = 10
FRONT_SHOWN = 20
OPERATORS_SHOWN = 30
# Narrower terminals show fewer columns of a list.
FULL_WIDTH = 100
# Of the box that tables have on a terminal.
SEPARATOR_WIDTH = 3
LONGEST_SETTING = 20
INDENT = 2
GOES_ON = (Status.CANCELLED, Status.CRASHED, Status.FAILED)


def print_sweep_result(
    console: Console, sweep: Sweep, target: str | None = None, took_s: float | None = None
) -> None:
    """Print how a sweep ended, what it found, what it took, and how to go on.

    Args:
        target: FILE:WORKFLOW as it was given.
        took_s: how long it took this time, where it went on from an earlier one.
    """
    took_s = _find_duration_s(sweep) if took_s is None else took_s
    console.print()
    console.print(
        Text.assemble(
            sign_of(sweep.status, console.options.ascii_only),
            " ",
            (sweep.status.value.capitalize(), STYLES[sweep.status]),
            f" in {show_duration(took_s)}: {_count_trials(sweep)}",
        ),
        soft_wrap=not console.is_terminal,
    )
    _print_error(console, sweep)
    _print_best(console, sweep)
    _print_operators(console, sweep)
    _print_failures(console, sweep)
    console.print()
    experiment = f" in experiment {clean_line(sweep.experiment)}" if sweep.experiment != "default" else ""
    console.print(
        Text.assemble("Sweep ", (sweep.id, "cyan"), f" of {clean_line(sweep.workflow)}{experiment}")
    )
    _print_commands(console, sweep, target, with_show=True)


def print_sweep(console: Console, sweep: Sweep, trials: int) -> None:
    """Print all that is known of a sweep, with a table of its best trials.

    Args:
        trials: how many of them.
    """
    record, spec = sweep.record, sweep.record.spec
    console.print(
        Text.assemble(
            sign_of(sweep.status, console.options.ascii_only),
            " ",
            (clean_line(sweep.workflow), "bold"),
            "  sweep ",
            (sweep.id, "cyan"),
            "  ",
            status_text(sweep.status),
        )
    )
    console.print()
    stop = f", stopped early by {spec['stop']}" if spec.get("stop") else ""
    objective = ", ".join(f"{clean_line(n)} ({m})" for n, m in zip(record.metrics, record.modes, strict=True))
    print_facts(
        console,
        [
            ("Experiment", clean_line(sweep.experiment)),
            ("Created", f"{show_time(record.created_at)} by {clean_line(record.owner)}"),
            ("Took", _show_took(sweep)),
            ("Trials", _count_trials(sweep)),
            ("Metric" if len(record.metrics) == 1 else "Metrics", objective),
            ("Search", f"{spec.get('search', '')}, seed {spec.get('seed', 0)}{stop}"),
            ("Executor", f"{spec.get('executor', '')}, trials' seed {spec.get('run_seed', 0)}"),
            ("Tags", show_tags(record.tags)),
            ("Notes", clean(record.notes)),
            ("Command", clean_line(record.command)),
        ],
    )
    for title, values in (("Space", spec.get("space", {})), ("Params", spec.get("params", {}))):
        if values:
            print_heading(console, title)
            _print_pairs(console, [(n, Text(show_value(v, 200))) for n, v in values.items()])
    _print_error(console, sweep)
    _print_best(console, sweep, with_front=False)
    _print_trials(console, sweep, trials)
    _print_operators(console, sweep)
    _print_failures(console, sweep)
    console.print()
    _print_commands(console, sweep, None, with_show=False)


def _find_duration_s(sweep: Sweep) -> float | None:
    record = sweep.record
    if record.started_at is None or record.finished_at is None:
        return None
    return (record.finished_at - record.started_at).total_seconds()


def _show_took(sweep: Sweep) -> str:
    record = sweep.record
    if sweep.status.is_final or record.started_at is None:
        return show_duration(_find_duration_s(sweep))
    return f"{show_duration((datetime.now(UTC) - record.started_at).total_seconds())} so far"


def _count_trials(sweep: Sweep) -> str:
    counts = {Status(name): n for name, n in sweep.counts.items()}
    total, begun = sweep.record.spec.get("trials"), sum(counts.values())
    described = describe_counts(counts)
    if total is not None and begun < total:
        rest = f", {total - begun:,} not begun" if sweep.status.is_final else ""
        return f"{begun:,} of {count_of(total, 'trial')} ({described or 'none'}{rest})"
    return count_of(begun, "trial") + (f" ({described})" if described else "")


def _print_pairs(console: Console, pairs: Sequence[tuple[str, Text]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=max(16, console.width // 2), overflow="ellipsis")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(clean_line(name)), value)
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))


def _print_error(console: Console, sweep: Sweep) -> None:
    error = sweep.record.error
    if error is None:
        return
    console.print()
    message = clean(error.message)
    console.print(Text(message[:1].upper() + message[1:], style="red"), soft_wrap=not console.is_terminal)


# What it found


def _print_best(console: Console, sweep: Sweep, with_front: bool = True) -> None:
    best = sweep.find_best()
    if best is not None:
        metric = sweep.record.metrics[0]
        print_heading(console, "Best")
        value = show_number(best.values[0] if best.values[0] is not None else float("nan"))
        facts = [(metric, Text(value, style="bold"))]
        facts += [(name, Text(show_value(v))) for name, v in best.point.items()]
        facts.append(("trial", Text(f"{best.number}, run {best.run_id}", style="dim")))
        _print_pairs(console, facts)
    elif with_front and len(sweep.record.metrics) > 1:
        front = sweep.find_pareto()
        if front:
            title = f"Pareto front: {count_of(len(front), 'trial')} that no other beats in every metric"
            print_heading(console, title)
            _print_table(console, sweep, front[:FRONT_SHOWN])
            _say_rest(console, len(front) - FRONT_SHOWN)


def _print_trials(console: Console, sweep: Sweep, limit: int) -> None:
    """Print the best trials; of a sweep with several metrics, those of its Pareto front first."""
    completed = [t for t in sweep.trial_records if t.status is Status.COMPLETED and None not in t.values]
    if not completed or not limit:
        return
    if len(sweep.record.metrics) == 1:
        sign = -1 if sweep.record.modes[0] == "max" else 1
        ranked = sorted(completed, key=lambda t: (sign * (t.values[0] or 0.0), t.number))
        title = "Best trials"
    else:
        ranked = sweep.find_pareto()
        title = f"Pareto front: {count_of(len(ranked), 'trial')} that no other beats in every metric"
    print_heading(console, title)
    _print_table(console, sweep, ranked[:limit])
    _say_rest(console, len(ranked) - limit, "; --trials N shows more")


def _say_rest(console: Console, rest: int, cure: str = "; --json shows all") -> None:
    if rest > 0:
        console.print(Text(f"  … {rest:,} more{cure}", style="dim"))


def _print_table(console: Console, sweep: Sweep, trials: Sequence[TrialRecord]) -> None:
    metrics, names = list(sweep.record.metrics), list(sweep.record.spec.get("space", {}))
    columns: dict[str, list[str]] = {
        clean_line(m): align_numbers([_show_metric(t.values[i]) for t in trials])
        for i, m in enumerate(metrics)
    }
    settings = {clean_line(n): _align([show_setting(t.point.get(n, "")) for t in trials]) for n in names}
    room = (console.width if console.is_terminal else PIPE_WIDTH) - INDENT
    room -= sum(_width_of(n, v) for n, v in columns.items()) + len("Trial") + SHORT_ID + 2 * SEPARATOR_WIDTH
    shown: list[str] = []
    for name, texts in settings.items():
        needed = min(_width_of(name, texts), LONGEST_SETTING + SEPARATOR_WIDTH)
        if shown and needed > room:
            break
        room -= needed
        shown.append(name)
    table = make_table(console, "Trial", "Run", *columns, *shown, right=("Trial",), is_short=True)
    for i, trial in enumerate(trials):
        cells = [Text(texts[i], style="bold") for texts in columns.values()]
        cells += [Text(settings[name][i]) for name in shown]
        table.add_row(str(trial.number), Text(trial.run_id[:SHORT_ID], style="cyan"), *cells)
    fit_columns(console, table, *columns, *shown, indent=INDENT)
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))
    hidden = [n for n in settings if n not in shown]
    if hidden:
        console.print(Text(f"  Too narrow for {', '.join(hidden)}; --json has all.", style="dim"))


def _show_metric(value: float | None) -> str:
    return "-" if value is None else show_number(value)


def _align(texts: Sequence[str]) -> list[str]:
    """Return numbers with their decimal points below each other; other texts stay."""
    return align_numbers(texts) if all(t[:1].isdigit() or t[:1] == "-" for t in texts) else list(texts)


def _width_of(header: str, texts: Sequence[str]) -> int:
    return max(map(len, (header, *texts))) + SEPARATOR_WIDTH


# What it took


def _print_operators(console: Console, sweep: Sweep) -> None:
    executed, saved = sweep.node_executions, sweep.node_savings
    names = list(dict.fromkeys([*saved, *executed]))
    if not names:
        return
    shared = {n: saved.get(n, {}).get("shared", 0) for n in names}
    reused = {n: saved.get(n, {}).get("reused", 0) for n in names}
    print_heading(console, "Operator calls")
    columns = ["ran", *(["shared"] if any(shared.values()) else [])]
    columns += ["from earlier runs"] if any(reused.values()) else []
    table = make_table(console, "", *columns, right=columns)
    for name in names[:OPERATORS_SHOWN]:
        counts = {"ran": executed.get(name, 0), "shared": shared[name], "from earlier runs": reused[name]}
        table.add_row(Text(clean_line(name)), *(f"{counts[c]:,}" for c in columns))
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))
    _say_rest(console, len(names) - OPERATORS_SHOWN)
    ran, spared = sum(executed.values()), sum(shared.values()) + sum(reused.values())
    if spared:
        share = round(100 * spared / (ran + spared))
        console.print(Text(f"  {spared:,} of {ran + spared:,} calls ({share} %) did not have to run."))


def _print_failures(console: Console, sweep: Sweep) -> None:
    failed = [t for t in sweep.trial_records if t.status is Status.FAILED]
    if not failed:
        return
    first = failed[0]
    count = "1 trial failed" if len(failed) == 1 else f"{len(failed):,} trials failed; the first"
    print_heading(console, f"{count}: trial {first.number}, run {first.run_id[:SHORT_ID]}")
    wrap = not console.is_terminal
    if first.error is not None:
        console.print(
            Padding(Text(clean(first.error.message), style="red"), (0, 0, 0, INDENT)), soft_wrap=wrap
        )
        for line in list_failure_lines(first.error):
            console.print(Text(f"    {line}", style="dim"), soft_wrap=wrap)
    kinds = {t.error.type for t in failed if t.error is not None}
    if len(kinds) > 1:
        console.print(Text(f"  Kinds of errors: {', '.join(sorted(map(clean_line, kinds)))}", style="dim"))


# How to go on


def _print_commands(console: Console, sweep: Sweep, target: str | None, with_show: bool) -> None:
    short, counts = sweep.id[:SHORT_ID], sweep.counts
    commands: list[tuple[str, str]] = []
    if with_show:
        commands.append(("See it again", show_command(f"sweeps show {short}")))
    if not sweep.status.is_final:
        commands.append(("Stop it", show_command(f"sweeps stop {short}")))
    best = sweep.find_best() or next(iter(sweep.find_pareto()), None)
    if best is not None:
        commands.append(
            (
                "Its best trial" if len(sweep.record.metrics) == 1 else "A trial of the front",
                show_command(f"runs show {best.run_id[:SHORT_ID]}"),
            )
        )
        commands.append(("Run that alone", show_command(make_run_arguments(sweep, best, target))))
    total, begun = sweep.record.spec.get("trials"), sum(counts.values())
    unfinished = (total is not None and begun < total) or counts.get("CANCELLED") or counts.get("CRASHED")
    if sweep.status in GOES_ON and unfinished:
        commands.append(("Go on with it", show_command(f"sweeps resume {short}")))
    if counts.get("FAILED") and sweep.status.is_final:
        commands.append(("Run failed trials again", show_command(f"sweeps retry {short}")))
    for what, command in commands:
        console.print(Text.assemble(f"{what}: ", (command, "bold")), soft_wrap=True)


def make_run_arguments(sweep: Sweep, trial: TrialRecord, target: str | None = None) -> str:
    """Return the arguments of the command that runs a trial alone."""
    spec = sweep.record.spec
    target = target or find_target(sweep)
    operators = _list_operators(spec, Path(target.rpartition(":")[0] or target).stem)
    arguments = ["run", target]
    # Where text is wanted, `none` is text: nothing is said of it, as where a condition does not hold.
    unsaid = {
        d["name"]
        for d in spec.get("dimensions", ())
        if d.get("when") or any(isinstance(v, str) for v in d.get("values", ()))
    }
    values = {**spec.get("params", {}), **trial.point}
    for name, value in values.items():
        if value is None and name in unsaid:
            continue
        text = operators.get(name, {}).get(value) if isinstance(value, str) else None
        arguments += ["-p", f"{name}={text or _write_value(value)}"]
    for name in spec.get("secret_params", ()):
        arguments += ["-p", f"{name}=..."]
    if spec.get("run_seed"):
        arguments += ["--run-seed", str(spec["run_seed"])]
    if spec.get("executor") == "local":
        arguments += ["--executor", "local"]
    return shlex.join(map(clean, arguments))


def find_target(sweep: Sweep) -> str:
    """Return FILE:WORKFLOW as the sweep was called with it; else its module, as far as that is known."""
    try:
        tokens = shlex.split(sweep.record.command)
    except ValueError:
        tokens = []
    words = tokens[tokens.index("sweep") + 1 :] if "sweep" in tokens else []
    found = [t for t in words if t.endswith((f":{sweep.workflow}", ".py")) and "=" not in t]
    return found[0] if found else f"FILE:{sweep.workflow}"


def _list_operators(spec: Mapping[str, Any], module: str) -> dict[str, dict[str, str]]:
    """Return by parameter the names of operators in the space, with what the command line calls them.

    Args:
        module: of the workflow; its own operators need no more than their name.
    """
    found: dict[str, dict[str, str]] = {}
    for dimension in spec.get("dimensions", ()):
        for value in dimension.get("values", ()):
            if isinstance(value, Mapping) and "operator" in value:
                home, _, name = str(value["operator"]).partition(":")
                found.setdefault(dimension["name"], {})[name] = name if home == module else f"{home}.{name}"
    return found


def _write_value(value: Any) -> str:
    """Return a recorded parameter as the command line takes it."""
    if isinstance(value, Mapping) and value.get("hash"):
        source = value.get("source")
        return _show_path(str(source)) if source else f"{ARTIFACT_PREFIX}{value['hash']}"
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else json.dumps(value)


def _show_path(source: str) -> str:
    here = Path.cwd()
    is_below = os.path.isabs(source) and Path(source).is_relative_to(here)
    return str(Path(source).relative_to(here)) if is_below else source


# Lists


def print_sweeps(console: Console, sweeps: Sequence[Sweep], is_cut: bool) -> None:
    """Print a list of sweeps, one a line."""
    has_room = not console.is_terminal or console.width >= FULL_WIDTH
    experiments = {s.experiment for s in sweeps}
    extra = ["Took", *(["Experiment"] if experiments != {"default"} else [])] if has_room else []
    columns = ["Sweep", "Workflow", "Status", "Trials", "Best", "Created", *extra]
    table = make_table(console, *columns, right=("Trials", "Took"), is_short=True)
    for sweep in sweeps:
        cells = {
            "Sweep": Text(sweep.id[:SHORT_ID], style="cyan"),
            "Workflow": Text(clean_line(sweep.workflow)),
            "Status": status_text(sweep.status),
            "Trials": Text(_brief_trials(sweep)),
            "Best": _brief_best(sweep),
            "Created": Text(show_when(console, sweep.record.created_at)),
            "Took": Text(show_duration(_find_duration_s(sweep))),
            "Experiment": Text(clean_line(sweep.experiment)),
        }
        table.add_row(*(cells[c] for c in columns))
    fit_columns(console, table, "Workflow", "Experiment", "Best")
    console.print(table)
    if is_cut:
        console.print(Text(f"The latest {count_of(len(sweeps), 'sweep')}; --limit shows more.", style="dim"))


def _brief_trials(sweep: Sweep) -> str:
    ended = sum(n for name, n in sweep.counts.items() if Status(name).is_final)
    total = sweep.record.spec.get("trials")
    return f"{ended:,}/{total:,}" if total is not None else f"{ended:,}"


def _brief_best(sweep: Sweep) -> Text:
    metrics = [clean_line(m) for m in sweep.record.metrics]
    if len(metrics) > 1:
        # Their front would take all trials of each sweep.
        return Text(f"of {', '.join(metrics)}")
    best = sweep.find_best()
    return Text(f"{metrics[0]}={'-' if best is None else _show_metric(best.values[0])}")
