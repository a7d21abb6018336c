"""What of the environment of `schedules add` the processes of a schedule have."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flowlearner.config import get_settings
from flowlearner.schedule.environment import forget_environment, keep_environment, restore_environment

REPOSITORY = Path(__file__).resolve().parents[2]
RESTORE = """
import json, os, subprocess, sys
from flowlearner.config import get_settings
from flowlearner.schedule.environment import restore_environment
restore_environment(get_settings(), "nightly")
import helper_of_mine
in_child = subprocess.run([sys.executable, "-c", "import helper_of_mine"]).returncode
names = ("FLOWLEARNER_CATALOG", "FLOWLEARNER_RAY_ADDRESS", "TOKEN")
print(json.dumps([in_child, str(get_settings().home), *(os.environ.get(name) for name in names)]))
"""


def test_settings_and_folders_of_modules_are_those_of_add_and_the_rest_is_of_the_process(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper_of_mine.py").touch()
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as at_add:
        at_add.setenv("PYTHONPATH", "lib")
        at_add.setenv("FLOWLEARNER_CATALOG", "postgresql://me:s3cr3t@db/team")
        at_add.setenv("TOKEN", "of add")
        keep_environment(get_settings(), "nightly")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "FLOWLEARNER_RAY_ADDRESS": "of up", "TOKEN": "of up"}
    command = [sys.executable, "-c", RESTORE]
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=True)
    expected = f'[0, "{own_home}", "postgresql://me:s3cr3t@db/team", null, "of up"]\n'
    assert (done.stdout, done.stderr) == (expected, "")


def test_what_is_kept_is_for_the_owners_eyes_only_and_goes_with_its_schedule(own_home: Path) -> None:
    settings = get_settings()
    keep_environment(settings, "nightly")
    files = [p for p in (own_home / "schedule").rglob("*") if p.is_file()]
    assert [stat.S_IMODE(p.stat().st_mode) for p in files] == [0o600]
    forget_environment(settings, "nightly")
    forget_environment(settings, "nightly")
    assert [p for p in (own_home / "schedule").rglob("*") if p.is_file()] == []


def test_without_a_note_a_process_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEARNER_RAY_ADDRESS", "of up")
    before = list(sys.path)
    restore_environment(get_settings(), "nightly")
    assert os.environ["FLOWLEARNER_RAY_ADDRESS"] == "of up"
    assert sys.path == before
