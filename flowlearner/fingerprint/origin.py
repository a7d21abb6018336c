"""Whose code it is: the user's, Python's, ours, or an installed package's in some version."""

from __future__ import annotations

import contextlib
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
# What this distribution installs beside `flowlearner` and counts as user code, so that an upgrade which
# changes an operator changes the keys of those who use it.
STOCK = ("operators", "examples")
_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = tuple({os.path.realpath(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")})
# Well-known packages that are named otherwise; for any other a search through what is installed takes 50 ms.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
_SCRIPTS = os.path.realpath(sysconfig.get_path("scripts"))


def is_user_module(module: ModuleType) -> bool:
    """Tell whether a module is the user's own code, whose source enters fingerprints and snapshots.

    That is any module but those of Python, of installed packages and of flowlearner itself. The stock
    operators and examples count as the user's even where they are installed, and so does an editable install.
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


def classify_module(name: str | ModuleType) -> str:
    """Return whose a module is: "user", "python", "flowlearner", "package", or "absent" where there is none.

    A module that is not loaded stays so.
    """
    module = sys.modules.get(name) if isinstance(name, str) else name
    if isinstance(module, ModuleType):
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
        if is_user_module(module):
            return "user"
        return "python" if file is None else _classify_file(file)
    return _classify_name(str(name).partition(".")[0])


@functools.lru_cache(maxsize=4096)
def _classify_file(file: str) -> str:
    path = os.path.realpath(file)
    if path.startswith(str(PACKAGE) + os.sep) or path == str(PACKAGE):
        return "flowlearner"
    return "package" if any(part in _INSTALLED for part in path.split(os.sep)) else "python"


def _classify_name(top: str) -> str:
    if top in sys.modules:
        return classify_module(top)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return "absent"
    file = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    if file is None or file in ("built-in", "frozen"):
        return "python"
    return "user" if is_user_file(file) else _classify_file(file)


@functools.lru_cache(maxsize=1024)
def find_package_version(top: str) -> str:
    """Return the version of the distribution that a top-level module belongs to, empty where none is known.

    Of a namespace that several distributions share it is the versions of all.
    """
    for name in (top, _DISTRIBUTIONS.get(top)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if name:
                return _read_version(importlib.metadata.distribution(name))
    found = {
        d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions() if _provides(d, top)
    }
    versions = [found[name] for name in sorted(found)]
    return versions[0] if len(set(versions)) == 1 else ", ".join(versions)


def _read_version(distribution: importlib.metadata.Distribution) -> str:
    # Python's own function parses all of a text that may hold licenses and a whole description.
    text = distribution.read_text("METADATA") or ""
    found = re.search(r"^Version:(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else distribution.version


def list_distribution_names(top: str) -> list[str]:
    """Return the names, in lower case with dashes, under which a top-level module may be installed."""
    names = [top, *filter(None, [_DISTRIBUTIONS.get(top)])]
    names += importlib.metadata.packages_distributions().get(top, [])
    return list(dict.fromkeys(name.lower().replace("_", "-") for name in names))


def _provides(distribution: importlib.metadata.Distribution, top: str) -> bool:
    record = distribution.read_text("RECORD") or distribution.read_text("top_level.txt") or ""
    return re.search(rf"^{re.escape(top)}(/|\.|$)", record, re.MULTILINE) is not None
