"""Whose code it is: the user's, Python's, ours, or an installed package's in some version."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[1]
# What this distribution installs beside `flowlearner` and counts as user code, so that an upgrade which changes
# an operator changes the keys of those who use it.
STOCK = ("operators", "examples")
_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = tuple({os.path.realpath(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")})
_SCRIPTS = os.path.realpath(sysconfig.get_path("scripts"))


def is_user_module(module: ModuleType) -> bool:
    """Tell whether a module is the user's own code, whose source enters fingerprints and snapshots.

    That is any module but those of Python, of installed packages and of flowlearner itself. The stock operators
    and examples count as the user's even where they are installed, and so does an editable install.
    """
    file = getattr(module, "__file__", None)
    if file:
        return is_user_file(file)
    folders = list(getattr(module, "__path__", ()))
    if folders:
        return is_user_file(os.path.join(folders[0], "__init__.py"))
    name = module.__name__.partition(".")[0]
    return name not in sys.builtin_module_names and name not in sys.stdlib_module_names


@functools.lru_cache(maxsize=8192)
def is_user_file(file: str) -> bool:
    """Tell whether a source file, or the name of a notebook's cell, belongs to the user."""
    if file.startswith("<"):
        return not file.startswith("<frozen ")
    path = os.path.realpath(file)
    if path.startswith(str(PACKAGE) + os.sep):
        return False
    if any(path.startswith(str(PACKAGE.parent / name) + os.sep) for name in STOCK):
        return True
    parts = path.split(os.sep)
    if any(part in _INSTALLED for part in parts):
        return False
    return not path.startswith((*(f"{folder}{os.sep}" for folder in _PYTHON), _SCRIPTS + os.sep))
