"""Files and tables given to a run: hashed, parsed once, and stored.

A file is keyed by its bytes, a table by its canonical hash. That a file with given reader settings
gives a given table is remembered, so a later run with the same file parses nothing.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import blake3

from flowlearner.artifacts import ArtifactStore, Encoded, choose_codec, find_codec
from flowlearner.canonical import count_threads
from flowlearner.catalog import Catalog
from flowlearner.errors import ArtifactError, InputError, NotFoundError, UserError, suggest
from flowlearner.interface import Param
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact

READER = "table-reader/1"
# A file changed within the clock tick in which it was hashed could keep its stat, so it is not remembered.
SETTLED_NS = 2_000_000_000
_Stat = tuple[int, int, int, int]


class InputResolver:
    """Turns parameter values into stored artifacts.

    Args:
        dry: only hash; neither the catalog nor the store is written. The artifacts then hold no bytes.
    """

    def __init__(
        self, catalog: Catalog, store: ArtifactStore, file_limit_bytes: int, *, dry: bool = False
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._file_limit_bytes = file_limit_bytes
        self._dry = dry

    @staticmethod
    def check_exists(param: Param, value: Any) -> None:
        """Raise InputError early where a named local file is not there."""
        if not isinstance(value, (str, os.PathLike)) or not (
            param.type.is_table or param.type.kind == "file"
        ):
            return
        text = os.fspath(value)
        if text.startswith(ARTIFACT_PREFIX) or "://" in text:
            return
        where = f"parameter '{param.name}'"
        if not text:
            raise InputError(f"{where}: expected the path of a file, found an empty text")
        path = Path(text).expanduser()
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            place = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
            raise InputError(f"{where}: no file '{path}'{place}.{suggest(path.name, beside)}")
        if path.is_dir():
            raise InputError(f"{where}: expected a file, found the folder '{text}'")
        if not path.is_file():
            raise InputError(f"{where}: expected a file, found a pipe or device: '{text}'")
        if not os.access(path, os.R_OK):
            raise InputError(f"{where}: no permission to read '{text}'")

    def resolve(self, param: Param, value: Any) -> Artifact:
        """Store a value that is not a plain scalar and return its artifact.

        Raises:
            InputError: the file does not read, or the value does not fit its type.
            NotFoundError: there is no such artifact.
        """
        if isinstance(value, str) and value.startswith(ARTIFACT_PREFIX):
            return self._find_artifact(param, value.removeprefix(ARTIFACT_PREFIX))
        if param.type.kind == "file":
            return self._resolve_file(param, os.fspath(value))
        if param.type.is_table and isinstance(value, (str, os.PathLike)):
            return self._resolve_table(param, os.fspath(value))
        try:
            return self._keep(choose_codec(param.type.hint, value).encode(value, param.type.hint))
        except UserError as error:
            raise InputError(f"parameter '{param.name}': {error}") from error

    def _keep(self, encoded: Encoded) -> Artifact:
        if self._dry:
            return Artifact(encoded.hash, encoded.codec, encoded.type, 0, "")
        return self._store.put(encoded)

    def _find_artifact(self, param: Param, hash_: str) -> Artifact:
        found = find_artifact(self._catalog, param.name, hash_)
        expected = None if param.type.is_any or param.type.kind == "model" else find_codec(param.type.hint)
        if expected is not None and expected.name.partition("/")[0] != found.codec.partition("/")[0]:
            raise InputError(
                f"parameter '{param.name}': expected {param.type}, but {hash_} is a {found.type}"
            )
        self._store.check(found)
        return found

    def _resolve_file(self, param: Param, text: str) -> Artifact:
        with _local_copy(param.name, text) as path:
            if self._dry:
                return self._keep(choose_codec(param.type.hint, path).encode(path, param.type.hint))
            # A download has no place of its own where it could stay by reference.
            limit = sys.maxsize if "://" in text else self._file_limit_bytes
            return self._store.put_file(path, limit_bytes=limit)

    def _resolve_table(self, param: Param, text: str) -> Artifact:
        with _local_copy(param.name, text) as path:
            where = f"parameter '{param.name}': '{text}'"
            before = _stat(path, where)
            file_hash = self.hash_file(path, where)
            reader = f"{READER}{_suffix(path)} pandas {importlib.metadata.version('pandas')}"
            table_hash = self._catalog.find_table_hash(file_hash, reader)
            known = self._catalog.find_artifacts([table_hash]).get(table_hash) if table_hash else None
            if known is not None:
                try:
                    self._store.check(known)
                    return known
                except ArtifactError:
                    # Lost or damaged: read again, which repairs it.
                    pass
            table = read_table(path, where)
            if _stat(path, where) != before:
                raise InputError(f"{where} changed while it was read. Run again when nothing writes it")
            try:
                artifact = self._keep(choose_codec(param.type.hint, table).encode(table, type(table)))
            except UserError as error:
                raise InputError(f"{where}: {error}") from error
            if not self._dry:
                self._catalog.remember_table_hash(file_hash, reader, artifact.hash)
            return artifact

    def hash_file(self, path: Path, where: str = "file") -> str:
        """Return the blake3 of a file's bytes, from its unchanged stat where that is safe."""
        before = _stat(path, where)
        key = str(path.absolute())
        known = self._catalog.find_file_hash(key, *before)
        if known:
            return known
        digest = hash_bytes(path)
        settled = time.time_ns() - max(before[1], before[2]) > SETTLED_NS
        if settled and not self._dry and _stat(path, where) == before:
            self._catalog.remember_file_hash(key, *before, digest)
        return digest


def find_artifact(catalog: Catalog, name: str, hash_: str) -> Artifact:
    """Return the artifact that is given for a parameter.

    Raises:
        NotFoundError: there is none; it names the parameter.
    """
    try:
        return catalog.get_artifact(hash_)
    except NotFoundError as error:
        raise NotFoundError(f"parameter '{name}': {error}") from None


def hash_bytes(path: Path) -> str:
    return blake3.blake3(max_threads=count_threads()).update_mmap(path).hexdigest()


def _stat(path: Path, where: str) -> _Stat:
    """Return what tells a file's states apart: a forged mtime still changes the ctime."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{where} does not read: {error.strerror}") from error
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@contextmanager
def _local_copy(name: str, text: str) -> Iterator[Path]:
    """Yield a local path; a remote URL is downloaded for the time of the context."""
    if "://" not in text:
        yield Path(text).expanduser()
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="flowlearner-") as folder:
        target = Path(folder) / (text.rsplit("/", 1)[-1].partition("?")[0] or "file")
        try:
            with fsspec.open(text, "rb") as source, target.open("wb") as sink:
                while block := source.read(1 << 22):
                    sink.write(block)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"parameter '{name}': cannot read '{text}': {reason}") from error
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
