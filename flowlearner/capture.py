"""What surrounds a run: commit, source of the user's modules, packages, machine."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, BinaryIO

from flowlearner.artifacts import Encoded
from flowlearner.canonical import digest, digest_parts
from flowlearner.fingerprint import is_user_module, read_loaded
from flowlearner.records import CodeInfo, Environment

SNAPSHOT_CODEC = "snapshot/1"
DIFF_CODEC = "diff/1"
# A run does not wait longer for what git says of a huge checkout.
GIT_LIMIT_S = 3.0
MAX_UNTRACKED = 1000
MAX_NAMES = 100
# Renames would hide which file a change is in; what a person has set up for reading diffs does not count.
_STATUS = ("status", "--porcelain=v2", "-z", "--branch", "--untracked-files=no", "--no-renames")
_DIFF_OPTIONS = (
    *("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--no-relative"),
    *("--submodule=short", "--src-prefix=a/", "--dst-prefix=b/"),
)
_LIST_UNTRACKED = (
    *("ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ":(top,glob)**/*.py"),
)
# Numbers are summed in another order with another number of threads, and sets are read by the hash seed.
SETTINGS_OF_RESULTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PYTHONHASHSEED",
)
_SECRET_WORDS = frozenset(
    ("secret", "secrets", "credential", "credentials", "password", "passwords", "passwd", "token", "tokens")
)
_SECRET_FILE = re.compile(
    r"\.env(rc|\..*)?|.*\.(env|key|pem|ppk|p12|pfx|jks|keystore|kdbx|gpg)|id_(rsa|dsa|ecdsa|ed25519)"
    r"|\.(netrc|pgpass|pypirc|npmrc|htpasswd)|\.?apikey.*",
    re.IGNORECASE,
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


def take_snapshot(main_module: str, limit_bytes: int, hide: Callable[[str], str] = str) -> Snapshot:
    """Capture the source of every loaded module of the user's code.

    Files whose names speak of secrets are left out, and modules beyond `limit_bytes` in total.

    Args:
        main_module: name of the workflow's module, captured first.
        limit_bytes: bound on the total size of the source.
        hide: takes secrets out of a source.
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
        modules[name] = {"source": hide(source), "package": hasattr(sys.modules[name], "__path__")}
    return Snapshot(modules, left_out)


def _speaks_of_secrets(stem: str) -> bool:
    """Tell by whole words: tokenizer.py is no secret, api_key.py and my_tokens.py are."""
    words = re.findall(r"[a-z]+", stem.lower())
    return not _SECRET_WORDS.isdisjoint(words) or (
        "key" in words and not {"api", "private"}.isdisjoint(words)
    )


def _find_secret_part(path: str) -> str | None:
    """Return a path up to the file or folder whose name speaks of secrets."""
    whole = PurePosixPath(path)
    for place in (*reversed(whole.parents), whole):
        if _SECRET_FILE.fullmatch(place.name) or _speaks_of_secrets(place.name):
            return str(place)
    return None


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
    return _read_status(folder)[0]


def read_changes(
    folder: Path, limit_bytes: int, hide: Callable[[str], str] = str
) -> tuple[CodeInfo, Encoded | None]:
    """Return where the checkout around `folder` stands, and how its files differ from the commit.

    That is what `git diff` tells of files of the commit, after lines that name the untracked Python files.
    Files whose names speak of secrets are named alone. Git is given a few seconds at most.

    Args:
        limit_bytes: what is longer is cut.
        hide: takes secrets out of the text.
    """
    code, changed = _read_status(folder)
    if code.commit is None or not code.dirty:
        return code, None
    secret = sorted({found for path in changed or () if (found := _find_secret_part(path))})
    words = ["diff", "HEAD", *_DIFF_OPTIONS, "--", ":(top)", *(f":(top,exclude,literal){p}" for p in secret)]
    with ThreadPoolExecutor(1) as helper:
        listing = helper.submit(_read_git, folder, _LIST_UNTRACKED)
        # Without their names nobody knows which files speak of secrets.
        diff = None if changed is None else _read_git(folder, words, limit_bytes)
        untracked = listing.result()
    notes = [f"Changes to commit {code.commit}"]
    notes += [f"Left out, for its name speaks of secrets: {path}" for path in secret]
    if untracked is None:
        notes.append("Untracked Python files are not known: git failed or took too long")
    names = sorted(_split(untracked or b""))
    notes += [f"Untracked: {name}" for name in names[:MAX_UNTRACKED]]
    if len(names) > MAX_UNTRACKED:
        notes.append(f"Untracked: {len(names) - MAX_UNTRACKED} more Python files")
    is_cut = diff is not None and len(diff) > limit_bytes
    if diff is None:
        notes.append("The changes are not known: git failed or took too long")
    elif is_cut:
        diff = diff[: diff.rfind(b"\n", 0, limit_bytes) + 1]
        notes.append(f"Cut: above the limit of {limit_bytes} bytes")
    # A name may hold the end of a line; a note is one.
    head = "".join(f"# {' '.join(note.splitlines())}\n" for note in notes)
    text = hide(head + (diff or b"").decode("utf-8", "surrogateescape"))
    preview = {
        "kind": "diff",
        "commit": code.commit,
        "changed": [hide(name) for name in (changed or [])[:MAX_NAMES]],
        "untracked": [hide(name) for name in names[:MAX_NAMES]],
        "left_out": [hide(name) for name in secret[:MAX_NAMES]],
        "is_whole": diff is not None and not is_cut,
    }
    return code, _encode_diff(text.encode("utf-8", "surrogateescape"), preview)


def _encode_diff(data: bytes, preview: dict[str, Any]) -> Encoded:
    def write(sink: BinaryIO) -> None:
        sink.write(data)

    hash_ = digest_parts(DIFF_CODEC, data)
    return Encoded(hash_, DIFF_CODEC, "diff", write, size_hint=len(data), preview=preview)


def _read_status(folder: Path) -> tuple[CodeInfo, list[str] | None]:
    """Return where a checkout stands, and the changed files of its commit, from its top.

    They are None, and the checkout counts as dirty, where git does not say in time.
    """
    found = _read_git(folder, _STATUS)
    if found is None:
        head = (_read_git(folder, ("rev-parse", "HEAD")) or b"").decode().strip() or None
        return CodeInfo(commit=head, dirty=head is not None), None
    commit = branch = None
    changed = []
    for line in _split(found):
        if line.startswith("# branch.oid "):
            commit = None if line.endswith("(initial)") else line.split()[-1]
        elif line.startswith("# branch.head "):
            branch = line.split(maxsplit=2)[-1]
        elif not line.startswith("#"):
            # The path is the last of so many fields, and may have spaces.
            changed.append(line.split(" ", 10 if line.startswith("u") else 8)[-1])
    return CodeInfo(commit=commit, branch=branch, dirty=bool(changed)), changed


def _split(data: bytes) -> list[str]:
    return [part.decode("utf-8", "replace") for part in data.split(b"\0") if part]


def _read_git(folder: Path, words: Sequence[str], limit_bytes: int | None = None) -> bytes | None:
    """Return what git prints, a little more than the limit at most; None where it fails or takes too long."""
    command = ["git", "-C", str(folder), *words]
    settings = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=settings,
            process_group=0,
        )
    except OSError:
        return None
    assert process.stdout is not None, "it is a pipe"
    # With what it has started, such as a filter of its attributes.
    kill = partial(os.killpg, process.pid, signal.SIGKILL)
    timer = threading.Timer(GIT_LIMIT_S, kill)
    timer.daemon = True
    with process:
        timer.start()
        try:
            data = process.stdout.read(-1 if limit_bytes is None else limit_bytes + 1)
            is_whole = limit_bytes is None or len(data) <= limit_bytes
            if not is_whole:
                kill()
        finally:
            timer.cancel()
    return data if process.returncode == 0 or not is_whole else None


@lru_cache(maxsize=1)
def read_environment() -> Environment:
    """Return packages by version, Python and machine of this process."""
    packages = _list_packages(tuple(sys.path))
    machine = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "implementation": platform.python_implementation(),
        "cpu": _read_cpu_model(),
        "cpus": count_cpus(),
        "memory_bytes": total_memory_bytes(),
        "settings": {name: os.environ[name] for name in SETTINGS_OF_RESULTS if name in os.environ},
        "thread_pools": _list_thread_pools(),
    }
    python = platform.python_version()
    return Environment(
        id=digest({"python": python, "packages": packages, "machine": machine}),
        python=python,
        packages=packages,
        machine=machine,
    )


def _read_cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor()


def _list_thread_pools() -> list[dict[str, Any]]:
    """Return the numerical libraries that run threads, if threadpoolctl is loaded, which knows them."""
    threadpoolctl = sys.modules.get("threadpoolctl")
    if threadpoolctl is None:
        return []
    facts = ("internal_api", "version", "num_threads", "threading_layer", "architecture")
    found = [{k: pool.get(k) for k in facts} for pool in threadpoolctl.threadpool_info()]
    return sorted(found, key=repr)


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
