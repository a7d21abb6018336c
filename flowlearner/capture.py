"""What surrounds a run: commit, source of the user's modules, packages, machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from flowlearner.artifacts import Encoded
from flowlearner.canonical import digest, digest_parts
from flowlearner.fingerprint import is_user_module, read_loaded
from flowlearner.records import CodeInfo, Environment

SNAPSHOT_CODEC = "snapshot/1"
_SECRET_WORDS = frozenset(
    ("secret", "secrets", "credential", "credentials", "password", "passwords", "passwd", "token", "tokens")
)


@dataclass(frozen=True)
class Snapshot:
    """Source text of the user's modules.

    Attributes:
        modules: module name to its source and whether it is a package.
        left_out: names of modules that were not captured, with the reason.
    """

    modules: dict[str, dict[str, Any]]
    left_out: dict[str, str]

    def encode(self) -> Encoded:
        body = {"format": 1, "modules": self.modules, "left_out": self.left_out}
        data = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()

        def write(sink: BinaryIO) -> None:
            sink.write(data)

        preview = {"kind": "snapshot", "modules": sorted(self.modules), "left_out": self.left_out}
        return Encoded(
            hash=digest_parts(SNAPSHOT_CODEC, digest(body)),
            codec=SNAPSHOT_CODEC,
            type="snapshot",
            write=write,
            size_hint=len(data),
            preview=preview,
        )


def take_snapshot(main_module: str, limit_bytes: int) -> Snapshot:
    """Capture the source of every loaded module of the user's code.

    Files whose names speak of secrets are left out, and modules beyond `limit_bytes` in total.

    Args:
        main_module: name of the workflow's module, captured first.
        limit_bytes: bound on the total size of the source.
    """
    modules: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    total = 0
    for name in sorted(_user_modules(), key=lambda n: (n != main_module, n)):
        source = _read_source(sys.modules[name])
        if source is None:
            left_out[name] = "no source"
            continue
        file = str(getattr(sys.modules[name], "__file__", "") or "")
        if _speaks_of_secrets(Path(file).stem):
            left_out[name] = "its file name speaks of secrets"
            continue
        total += len(source.encode())
        if total > limit_bytes:
            left_out[name] = f"above the limit of {limit_bytes} bytes"
            continue
        modules[name] = {"source": source, "package": hasattr(sys.modules[name], "__path__")}
    return Snapshot(modules, left_out)


def _speaks_of_secrets(stem: str) -> bool:
    """Tell by whole words: tokenizer.py is no secret, api_key.py and my_tokens.py are."""
    words = re.findall(r"[a-z]+", stem.lower())
    return not _SECRET_WORDS.isdisjoint(words) or (
        "key" in words and not {"api", "private"}.isdisjoint(words)
    )


def _user_modules() -> Iterable[str]:
    for name, module in list(sys.modules.items()):
        # Anything may lie in sys.modules; what has no spec was not imported, but for the script itself.
        found: object = module
        imported = name == "__main__" or getattr(found, "__spec__", None) is not None
        if isinstance(found, ModuleType) and imported and is_user_module(found):
            yield name


def _read_source(module: ModuleType) -> str | None:
    cells = getattr(module, "In", None)
    if module.__name__ == "__main__" and isinstance(cells, list):
        return "\n\n".join(str(cell) for cell in cells if cell)
    return read_loaded(vars(module))


def read_commit(folder: Path) -> CodeInfo:
    """Return commit, branch and dirty flag of the git checkout around `folder`, empty outside of one."""
    if shutil.which("git") is None:
        return CodeInfo()
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return CodeInfo()
    if done.returncode != 0:
        return CodeInfo()
    commit = branch = None
    dirty = False
    for line in done.stdout.splitlines():
        if line.startswith("# branch.oid "):
            commit = None if line.endswith("(initial)") else line.split()[-1]
        elif line.startswith("# branch.head "):
            branch = line.split(maxsplit=2)[-1]
        elif not line.startswith("#"):
            dirty = True
    return CodeInfo(commit=commit, branch=branch, dirty=dirty)


@lru_cache(maxsize=1)
def read_environment() -> Environment:
    """Return packages by version, Python and machine of this process."""
    packages = _list_packages(tuple(sys.path))
    machine = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cpus": count_cpus(),
        "memory_bytes": total_memory_bytes(),
        "threads": {k: os.environ[k] for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if k in os.environ},
    }
    python = platform.python_version()
    return Environment(
        id=digest({"python": python, "packages": packages, "machine": machine}),
        python=python,
        packages=packages,
        machine=machine,
    )


_DIST = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist|egg)-info$")


def _list_packages(path: tuple[str, ...]) -> dict[str, str]:
    """Read names and versions from the folders' names, which is 20 times as fast as reading each METADATA."""
    found: dict[str, str] = {}
    for folder in path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            match = _DIST.match(name)
            if match:
                found.setdefault(match["name"].lower().replace("_", "-"), match["version"])
    return dict(sorted(found.items()))


def count_cpus() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory_bytes() -> int:
    """Return the memory of this machine, or of its container where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
