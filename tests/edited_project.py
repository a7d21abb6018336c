"""A user's project on disk that tests edit and run, each time as a new process would."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowlearner.loading import load_workflow


class Project:
    """A folder of modules; each run loads them afresh, as a new process would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: str) -> None:
        """Write modules by name; a dot in the name is written as two underscores."""
        for name, text in files.items():
            path = self.folder.joinpath(*f"{name}.py".split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"))

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    def forget(self) -> None:
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]

    def load(self, target: str = "flow.py") -> Any:
        self.forget()
        return load_workflow(target)

    def run(self, target: str = "flow.py", /, cache: bool = True, **params: Any) -> Any:
        return self.load(target).with_options(executor="local", cache=cache).run(**params)


@contextmanager
def opened_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Make the folder the current one; its modules are forgotten afterwards."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = Project(folder)
    yield found
    found.forget()
