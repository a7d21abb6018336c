"""Owns the project whose code is hashed: an operator that reaches fifty helpers in five modules."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

MODULES, HELPERS = 5, 10
HEAD = '''"""Module {module} of five."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
{imports}
log = logging.getLogger(__name__)
LIMIT = {module}.5
NAMES = {{"late": "dep_delay", "far": "distance"}}


@dataclass(frozen=True)
class Rule:
    """What a value is held against."""

    column: str
    low: float = 0.0
    high: float = LIMIT

    def holds(self, rows: pd.DataFrame) -> pd.Series:
        """Say which rows keep to it."""
        return rows[self.column].between(self.low, self.high)


RULE = Rule("dep_delay")
'''
HELPER = '''

def helper_{module}_{number}(rows: pd.DataFrame, scale: float = {number}.0) -> pd.DataFrame:
    """Clean a column and add another one; helper {number} of module {module}."""
    column = NAMES["late"]
    kept = rows[RULE.holds(rows)].copy()
    for name in ("hour", "minute"):
        if name in kept:
            # A comment that does not count.
            kept[name] = np.clip(kept[name] * scale, 0, LIMIT)
    kept[column] = [value + {number} if value > LIMIT else value - {module} for value in kept[column]]
    log.debug("%s rows are left", len(kept))
    return {calls}
'''
OPERATOR = """
from flowlearner import operator


@operator
def step(rows: pd.DataFrame) -> pd.DataFrame:
    return helper_0_0(rows)
"""


def load_project() -> ModuleType:
    """Write the project to a new folder and import the module of the operator."""
    folder = Path(tempfile.mkdtemp(dir=os.environ["FLOWLEARNER_HOME"]))
    for module in range(MODULES):
        after = module + 1
        imports = f"\nfrom part_{after} import helper_{after}_0\n" if after < MODULES else ""
        text = HEAD.format(module=module, imports=imports)
        for number in range(HELPERS):
            # Each calls the next one of its module, the first also that of the next module.
            calls = f"helper_{module}_{number + 1}(kept, scale + 1)" if number + 1 < HELPERS else "kept"
            if number == 0 and imports:
                calls = f"helper_{after}_0({calls})"
            text += HELPER.format(module=module, number=number, calls=calls)
        (folder / f"part_{module}.py").write_text(text + (OPERATOR if module == 0 else ""))
    sys.path.insert(0, str(folder))
    return importlib.import_module("part_0")
