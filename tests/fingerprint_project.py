"""A small project of a user, written to a folder and imported afresh, so that tests can edit it."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

FILES = {
    "flow.py": '''
        """A module."""
        import functools
        import logging
        import threading
        from typing import Annotated, Literal, NamedTuple

        import numpy as np
        import pandas as pd
        from pydantic import BaseModel

        import helpers
        from deep.inner import constants
        from flowlearner import Range, operator
        from helpers import Base, clean as tidy, log as shared_log, traced

        RATE = 0.1
        NAMES = {"a": 1, "b": 2}
        TAGS = {"x", "y"}
        UNUSED = 1
        log = logging.getLogger("flow")
        lock = threading.Lock()
        double = lambda x: x * 2
        halve = functools.partial(helpers.scale, by=0.5)
        STEPS = {"first": helpers.first, "second": helpers.second}
        Task = Literal["fit", "score"]
        Depth = Annotated[int, Range(1, 12)]
        heavy = functools.partial(operator, cpus=2)

        class Out(NamedTuple):
            rows: float
            count: int = 0

        class Config(BaseModel):
            depth: int = 3

        class Model(Base):
            """A model."""
            size = 4

            def fit(self, x):
                """Fit."""
                return self.prepare(x) * self.size

            @property
            def half(self):
                return self.size / 2

            @staticmethod
            def shift(x):
                return x + 1

        settings = helpers.Settings(0.5)

        def make(factor):
            def inner(x):
                return x * factor
            return inner

        triple = make(3)

        @functools.lru_cache
        def cached(x):
            return x + 1

        @traced
        def wrapped(x):
            return x - 1

        @operator(cpus=1)
        def step(x: float, depth: Depth = 2, task: Task = "fit") -> Out:
            """Do the step."""
            # A comment.
            from deep.late import lately
            import deep.other
            from sklearn.linear_model import Ridge

            def nested(y):
                return y + RATE

            total = [nested(i) for i in range(3)]
            log.info("here")
            with lock:
                shared_log.info("there")
            value = tidy(x) + helpers.scale(x) + constants.LIMIT + triple(x) + double(x) + halve(x)
            value += STEPS["first"](x) + len(TAGS) + NAMES["a"] + settings.rate
            value += lately(x) + deep.other.more(x) + Model().fit(x) + cached(x) + wrapped(x)
            value += Config().depth + np.log1p(value) + Ridge().alpha
            return Out(value + sum(total))

        @heavy()
        def lone(x: int) -> int:
            return x + 1
        ''',
    "helpers.py": """
        import dataclasses
        import functools
        import logging
        from deep.inner import polish

        log = logging.getLogger("helpers")

        def traced(fn):
            @functools.wraps(fn)
            def call(*args):
                return fn(*args)
            return call

        def clean(x):
            return polish(x) + 1

        def scale(x, by=2.0):
            return x * by

        def first(x):
            return second(x - 1) if x > 0 else 0

        def second(x):
            return first(x - 1) if x > 0 else 1

        def unused(x):
            return x

        class Root:
            def prepare(self, x):
                return x

        class Base(Root):
            kind = "base"

        @dataclasses.dataclass
        class Settings:
            rate: float
            def double(self):
                return self.rate * 2
        """,
    "deep/__init__.py": "",
    "deep/inner/__init__.py": "from .work import polish",
    "deep/inner/work.py": """
        from . import constants

        def polish(x):
            return x * constants.SCALE
        """,
    "deep/inner/constants.py": "LIMIT = 10\nSCALE = 3\nOTHER = 1\n",
    "deep/late.py": """
        from .inner.constants import SCALE
        def lately(x):
            return x + SCALE
        """,
    "deep/other.py": "def more(x):\n    return x\n\ndef less(x):\n    return x\n",
}


def edit(*edits: tuple[str, str, str], files: Mapping[str, str] = FILES) -> dict[str, str]:
    """Return the files with texts replaced; each text must be there."""
    changed = dict(files)
    for file, old, new in edits:
        assert old in changed[file], f"{old!r} is not in {file}"
        changed[file] = changed[file].replace(old, new)
    return changed


@contextmanager
def imported(folder: Path, files: Mapping[str, str] = FILES, name: str = "flow") -> Iterator[ModuleType]:
    """Write files to a folder and import one of them; all are forgotten afterwards."""
    write(folder, files)
    tops = {Path(file).parts[0].removesuffix(".py") for file in files}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for module in [m for m in sys.modules if m.partition(".")[0] in tops]:
            del sys.modules[module]


def write(folder: Path, files: Mapping[str, str]) -> None:
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
