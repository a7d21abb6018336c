"""Files and tables given to a run: hashed, parsed once, and stored.

A file is keyed by its bytes, a table by its canonical hash. That a file with given reader settings
gives a given table is remembered, so a later run with the same file parses nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import blake3

from flowlearner.artifacts import ArtifactStore, find_codec
from flowlearner.catalog import Catalog
from flowlearner.errors import ArtifactError, InputError, NotFoundError
from flowlearner.interface import Param, type_text
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact

READER = "table-reader/1"
# A file changed within the clock tick in which it was hashed could keep its stat, so it is not remembered.
SETTLED_NS = 2_000_000_000


class InputResolver:
    """Turns parameter values into stored artifacts."""

    def __init__(self, catalog: Catalog, store: ArtifactStore, file_limit_bytes: int) -> None:
        self._catalog = catalog
        self._store = store
        self._file_limit_bytes = file_limit_bytes

    @staticmethod
    def check_exists(param: Param, value: Any) -> None:
        """Raise InputError early where a named local file is not there."""
        if not isinstance(value, (str, os.PathLike)) or not (param.type.is_table or param.type.kind == "file"):
            return
        text = os.fspath(value)
        if text.startswith(ARTIFACT_PREFIX) or "://" in text:
            return
        path = Path(text)
        if not path.exists():
            raise InputError(f"parameter '{param.name}': no file '{text}' (looked in {Path.cwd()})")
        if path.is_dir():
            raise InputError(f"parameter '{param.name}': expected a file, found the folder '{text}'")
        if not os.access(path, os.R_OK):
            raise InputError(f"parameter '{param.name}': no permission to read '{text}'")

    def resolve(self, param: Param, value: Any) -> Artifact:
        """Store a value that is not a plain scalar and return its artifact.

        Raises:
            InputError: the file does not read, or the value does not fit its type.
        """
        if isinstance(value, str) and value.startswith(ARTIFACT_PREFIX):
            return self._find_artifact(param, value.removeprefix(ARTIFACT_PREFIX))
        if param.type.kind == "file":
            with _local_copy(param.name, os.fspath(value)) as path:
                return self._store.put_file(path, limit_bytes=self._file_limit_bytes)
        if param.type.is_table and isinstance(value, (str, os.PathLike)):
            return self._resolve_table(param, os.fspath(value))
        codec = find_codec(param.type.hint)
        if codec is None:
            raise InputError(f"parameter '{param.name}': no codec stores {type_text(param.type.hint)}")
        return self._store.put(codec.encode(value, param.type.hint))

    def _find_artifact(self, param: Param, hash_: str) -> Artifact:
        found = self._catalog.find_artifacts([hash_]).get(hash_)
        if found is None:
            raise NotFoundError(f"parameter '{param.name}': no artifact '{hash_}' in the catalog")
        self._store.check(found)
        return found

    def _resolve_table(self, param: Param, text: str) -> Artifact:
        with _local_copy(param.name, text) as path:
            file_hash = self.hash_file(path)
            table_hash = self._catalog.find_table_hash(file_hash, f"{READER}{_suffix(path)}")
            known = self._catalog.find_artifacts([table_hash]).get(table_hash) if table_hash else None
            if known is not None:
                try:
                    self._store.check(known)
                    return known
                except ArtifactError:
                    pass
            table = read_table(path, f"parameter '{param.name}': '{text}'")
            codec = find_codec(param.type.hint)
            assert codec is not None
            artifact = self._store.put(codec.encode(table, type(table)))
            self._catalog.remember_table_hash(file_hash, f"{READER}{_suffix(path)}", artifact.hash)
            return artifact

    def hash_file(self, path: Path) -> str:
        """Return the blake3 of a file's bytes, from its unchanged stat where that is safe."""
        before = path.stat()
        stat = (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino)
        key = str(path.absolute())
        known = self._catalog.find_file_hash(key, *stat)
        if known:
            return known
        digest = blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(path).hexdigest()
        if time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > SETTLED_NS:
            self._catalog.remember_file_hash(key, *stat, digest)
        return digest


@contextmanager
def _local_copy(name: str, text: str) -> Iterator[Path]:
    """Yield a local path; a remote URL is downloaded for the time of the context."""
    if "://" not in text:
        yield Path(text)
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="flowlearner-") as folder:
        target = Path(folder) / text.rsplit("/", 1)[-1]
        try:
            with fsspec.open(text, "rb") as source, target.open("wb") as sink:
                while block := source.read(1 << 22):
                    sink.write(block)
        except Exception as error:
            raise InputError(f"parameter '{name}': cannot read '{text}': {type(error).__name__}: {error}") from error
        yield target


def _suffix(path: Path) -> str:
    return "".join(path.suffixes[-2:]).lower()


def read_table(path: Path, where: str) -> Any:
    """Read a CSV (plain, gzip, zip), Parquet, Feather or Arrow IPC file as a pandas DataFrame.

    Raises:
        InputError: the file is empty, or not of a format that its name tells.
    """
    import pandas as pd

    suffix = _suffix(path)
    if path.stat().st_size == 0:
        raise InputError(f"{where} is empty")
    try:
        if suffix.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
        elif suffix.endswith((".feather", ".arrow", ".ipc")):
            frame = pd.read_feather(path)
        elif suffix.endswith((".csv", ".csv.gz", ".csv.zip", ".zip", ".csv.bz2", ".csv.xz", ".csv.zst")):
            frame = pd.read_csv(path, low_memory=False)
        elif suffix.endswith((".tsv", ".txt")):
            frame = pd.read_csv(path, sep="\t", low_memory=False)
        else:
            raise InputError(f"{where}: expected .csv, .csv.zip, .csv.gz, .tsv, .parquet, .feather or .arrow")
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{where} does not read as a table: {reason}") from error
    if frame.columns.empty:
        raise InputError(f"{where} has no columns")
    return frame
