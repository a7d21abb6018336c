"""The schedules commands where nothing is stored: mistakes, and a home without schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

CRON = ["--cron", "0 2 * * *"]
RUN = ["tips.py:tips", "-p", "rows=tips.csv"]
SPEC = "workflow: tips.py:tips\nparams: {rows: tips.csv}\nspace: {smallest: 0..1}\nmetric: mean\n"
GUARDED = """
from flowlearner import Secret, operator, workflow


@operator
def call(token: Secret) -> int:
    return len(token)


@workflow
def guarded(token: Secret) -> int:
    return call(token)
"""

# name: (arguments after `schedules add`, exit status, parts of the message)
CASES: dict[str, tuple[list[str], int, list[str]]] = {
    "no time": (["nightly", *RUN], 2, ["--cron '0 2 * * *' or --every SECONDS"]),
    "two times": (["nightly", *CRON, "--every", "60", *RUN], 2, ["one of the two"]),
    "a broken hour": (["nightly", "--cron", "0 25 * * *", *RUN], 2, ["hour: found '25', allowed is 0-23"]),
    "a day that never comes": (["nightly", "--cron", "0 0 31 2 *", *RUN], 2, ["that day never comes"]),
    "four fields": (["nightly", "--cron", "0 2 * *", *RUN], 2, ["expected 5 fields", "found 4"]),
    "an interval of nothing": (["nightly", "--every", "0", *RUN], 2, ["--every: expected from 1"]),
    "a time zone": (
        ["nightly", *CRON, "--timezone", "Europe/Pariss", *RUN],
        2,
        ["Did you mean 'Europe/Paris'?"],
    ),
    "a name": (["night/ly", *CRON, *RUN], 2, ["'night/ly' is no name for a schedule"]),
    "nothing to run": (["nightly", *CRON], 2, ["FILE:WORKFLOW, such as flights.py:delays, or --spec FILE"]),
    "two things to run": (["nightly", *CRON, *RUN, "--spec", "sweep.yaml"], 2, ["one of the two"]),
    "no file": (["nightly", *CRON, "tip.py:tips"], 2, ["no file 'tip.py'", "Did you mean 'tips.py'?"]),
    "no workflow": (["nightly", *CRON, "tips.py:tipz"], 2, ["Did you mean 'tips'?"]),
    "a missing parameter": (["nightly", *CRON, "tips.py:tips"], 2, ["parameter 'rows'", "needs a value"]),
    "an unknown parameter": (["nightly", *CRON, *RUN, "-p", "smalest=1"], 2, ["Did you mean 'smallest'?"]),
    "a parameter out of range": (["nightly", *CRON, *RUN, "-p", "smallest=-1"], 2, ["smallest"]),
    "a parameter twice": (["nightly", *CRON, *RUN, "-p", "rows=tips.csv"], 2, ["given twice"]),
    "a parameter without a value": (["nightly", *CRON, *RUN, "-p", "smallest"], 2, ["expected NAME=VALUE"]),
    "a missing table": (
        ["nightly", *CRON, "tips.py:tips", "-p", "rows=no.csv"],
        1,
        ["parameter 'rows': no file"],
    ),
    "a secret": (["nightly", *CRON, "guarded.py:guarded", "-p", "token=s3cr3t"], 2, ["'token' is secret"]),
    "no spec file": (["nightly", *CRON, "--spec", "swep.yaml"], 2, ["Did you mean 'sweep.yaml'?"]),
    "a broken spec file": (["nightly", *CRON, "--spec", "broken.yaml"], 2, ["broken.yaml:4:9", "'meen'"]),
    "a parameter beside a spec": (
        ["nightly", *CRON, "--spec", "sweep.yaml", "-p", "a=1"],
        2,
        ["-p goes with"],
    ),
    "a tag": (["nightly", *CRON, *RUN, "--tag", "ops"], 2, ["--tag ops: expected NAME=VALUE"]),
    "a seed": (["nightly", *CRON, *RUN, "--run-seed", "-1"], 2, ["seed: expected a whole number"]),
    "an experiment": (["nightly", *CRON, *RUN, "--experiment", ""], 2, ["experiment: expected a name"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_before_anything_is_stored(
    name: str, cli: Cli, project: Path, own_home: Path
) -> None:
    (project / "guarded.py").write_text(GUARDED)
    (project / "sweep.yaml").write_text(SPEC)
    (project / "broken.yaml").write_text(SPEC.replace("metric: mean", "metric: meen"))
    args, status, texts = CASES[name]
    answer = cli("schedules", "add", *args)
    assert answer.status == status, answer.err
    for text in texts:
        assert text in answer.err
    assert "Traceback" not in answer.err
    assert "s3cr3t" not in answer.err
    assert not (own_home / "prefect").exists()


@pytest.mark.parametrize("command", ["pause", "resume", "trigger", "remove"])
def test_where_nothing_was_ever_scheduled_no_server_is_started_to_say_so(
    command: str, cli: Cli, own_home: Path
) -> None:
    answer = cli("schedules", command, "nightly", "--json")
    assert (answer.status, answer.document["error"]["message"]) == (2, "no schedule 'nightly'; there is none")
    assert not (own_home / "prefect").exists()


def test_a_list_of_nothing_is_empty(cli: Cli, own_home: Path) -> None:
    assert cli("schedules", "list", "--json").document == []
    assert "No schedules" in cli("schedules", "list").out
    assert not (own_home / "prefect").exists()
