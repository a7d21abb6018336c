"""Owns where stored bytes lie: a local folder, or any other file system that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import blake3

from flowlearner.artifacts.base import Source
from flowlearner.canonical import count_threads

OBJECTS = "objects"
TEMPORARY = "tmp"
# Two changes of a file within one tick of the kernel's clock may leave it with one and the same stat.
CLOCK_TICK_NS = 20_000_000
CHUNK_BYTES = 4 << 20

State = tuple[Any, ...]


def shard_of(name: str) -> str:
    """Return the folder of a stored file, so that no folder grows to millions."""
    return f"{OBJECTS}/{name[:2]}"


class Place(ABC):
    """A tree of files that are written once, under names that tell their content. Threads may share it."""

    @abstractmethod
    def create(self) -> tuple[str, IO[bytes]]:
        """Open a new temporary file; return its path and a sink."""

    def sync(self, sink: IO[bytes]) -> None:  # noqa: B027 (a place need not be able to)
        """Have the disk take what was written so far to an open temporary file."""

    @abstractmethod
    def commit(self, temporary: str, sink: IO[bytes], path: str) -> None:
        """Make a temporary file durable and give it its final name; afterwards it is whole or not there."""

    @abstractmethod
    def discard(self, temporary: str) -> None:
        """Remove a temporary file, if it is there."""

    @abstractmethod
    def find(self, prefix: str) -> list[str]:
        """Return the paths of stored files whose names begin so."""

    @abstractmethod
    def read_state(self, path: str) -> tuple[int, State | None]:
        """Return a file's size, and what would differ if it had been changed (None where nothing tells).

        Raises:
            FileNotFoundError: it is not there.
        """

    @abstractmethod
    def is_settled(self, state: State) -> bool:
        """Tell whether a change from now on would give another state."""

    @abstractmethod
    def has_checksum(self, path: str, checksum: str) -> bool:
        """Read a file and tell whether the blake3 of its bytes is this."""

    @abstractmethod
    def open(self, path: str, checksum: str) -> Source | None:
        """Return the bytes of a file that was verified; None where they do not fit the checksum after all."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def list_paths(self) -> Iterator[tuple[str, int, float]]:
        """Yield path, size in bytes and mtime (seconds since the epoch) of each stored file."""

    @abstractmethod
    def sweep_temporary(self, before: float) -> int:
        """Remove temporary files that were last written before a time; return how many."""


class LocalPlace(Place):
    """A folder of this machine."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))

    def create(self) -> tuple[str, IO[bytes]]:
        path = os.path.join(self.root, TEMPORARY, f"{os.getpid()}-{uuid.uuid4().hex}")
        try:
            return path, open(path, "xb", buffering=0)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return path, open(path, "xb", buffering=0)

    def sync(self, sink: IO[bytes]) -> None:
        os.fsync(sink.fileno())

    def commit(self, temporary: str, sink: IO[bytes], path: str) -> None:
        # Read-only, so that nobody changes by accident what others rely on.
        os.fchmod(sink.fileno(), 0o444)
        os.fsync(sink.fileno())
        sink.close()
        target = os.path.join(self.root, path)
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            _sync_folder(os.path.dirname(folder))
            _sync_folder(self.root)
        os.replace(temporary, target)
        _sync_folder(folder)

    def discard(self, temporary: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(temporary)

    def find(self, prefix: str) -> list[str]:
        shard = shard_of(prefix)
        try:
            names = os.listdir(os.path.join(self.root, shard))
        except FileNotFoundError:
            return []
        return sorted(f"{shard}/{n}" for n in names if n.startswith(prefix))

    def read_state(self, path: str) -> tuple[int, State | None]:
        found = os.stat(os.path.join(self.root, path))
        return found.st_size, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def is_settled(self, state: State) -> bool:
        return bool(time.time_ns() - max(state[1], state[2]) > CLOCK_TICK_NS)

    def has_checksum(self, path: str, checksum: str) -> bool:
        file = os.path.join(self.root, path)
        if os.path.isabs(path):
            return hash_file(file) == checksum
        return blake3.blake3(max_threads=count_threads()).update_mmap(file).hexdigest() == checksum

    def open(self, path: str, checksum: str) -> Source | None:
        return Source(path=os.path.join(self.root, path))

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.root, path))

    def list_paths(self) -> Iterator[tuple[str, int, float]]:
        for file in sorted(Path(self.root, OBJECTS).glob("*/*")):
            with contextlib.suppress(FileNotFoundError):
                found = file.stat()
                yield f"{OBJECTS}/{file.parent.name}/{file.name}", found.st_size, found.st_mtime

    def sweep_temporary(self, before: float) -> int:
        count = 0
        for file in Path(self.root, TEMPORARY).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    file.unlink()
                    count += 1
        return count


def hash_file(path: str) -> str:
    """Return the blake3 of the bytes of a user's file.

    It is read rather than mapped: a file that shrinks meanwhile must not kill the process. Stored files are
    never changed in place.
    """
    hasher = blake3.blake3(max_threads=count_threads())
    buffer = bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems do not sync folders; there is nothing more to do on them.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


class RemotePlace(Place):
    """A folder of any file system that fsspec knows. What is read is kept in a local cache.

    Args:
        url: such as "s3://bucket/folder" or "memory://folder".
        cache: local folder of what was downloaded; it is verified each time it is used.
    """

    # What file systems tell of a file that another content would change.
    _MARKS = (
        "ETag",
        "etag",
        "generation",
        "md5Hash",
        "content_md5",
        "mtime",
        "LastModified",
        "created",
        "ino",
    )

    def __init__(self, url: str, cache: Path) -> None:
        from fsspec.core import url_to_fs

        system, self.root = url_to_fs(url)
        # Its methods are whatever a file system of fsspec has.
        self._fs: Any = _Translating(system)
        self.root = self.root.rstrip("/")
        self._cache = LocalPlace(str(cache))

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def create(self) -> tuple[str, IO[bytes]]:
        path = self._full(f"{TEMPORARY}/{uuid.uuid4().hex}")
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        return path, self._fs.open(path, "wb")

    def commit(self, temporary: str, sink: IO[bytes], path: str) -> None:
        sink.close()
        target = self._full(path)
        self._fs.makedirs(self._fs._parent(target), exist_ok=True)
        self._fs.mv(temporary, target)

    def discard(self, temporary: str) -> None:
        with contextlib.suppress(OSError):
            self._fs.rm_file(temporary)

    def find(self, prefix: str) -> list[str]:
        return sorted(path for path, _, _ in self._list(shard_of(prefix), prefix))

    def _list(self, shard: str, prefix: str = "") -> Iterator[tuple[str, int, float]]:
        try:
            entries = self._fs.ls(self._full(shard), detail=True, refresh=True)
        except FileNotFoundError:
            return
        for entry in entries:
            name = entry["name"].rsplit("/", 1)[-1]
            if entry["type"] == "file" and name.startswith(prefix):
                yield f"{shard}/{name}", int(entry["size"] or 0), _mtime_of(entry)

    def read_state(self, path: str) -> tuple[int, State | None]:
        self._fs.invalidate_cache(self._fs._parent(self._full(path)))
        info = self._fs.info(self._full(path))
        marks = tuple(str(info[m]) for m in self._MARKS if info.get(m) is not None)
        return int(info["size"]), (int(info["size"]), *marks) if marks else None

    def is_settled(self, state: State) -> bool:
        return True

    def has_checksum(self, path: str, checksum: str) -> bool:
        """Download the file while its bytes are hashed; what is whole stays in the cache."""
        temporary, sink = self._cache.create()
        hasher = blake3.blake3(max_threads=count_threads())
        try:
            with sink, self._fs.open(self._full(path), "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    write_all(sink, chunk)
                if hasher.hexdigest() != checksum:
                    return False
                self._cache.commit(temporary, sink, self._cached(path))
                return True
        finally:
            self._cache.discard(temporary)

    def open(self, path: str, checksum: str) -> Source | None:
        cached = self._cached(path)
        try:
            if self._cache.has_checksum(cached, checksum):
                return self._cache.open(cached, checksum)
        except FileNotFoundError:
            pass
        return self._cache.open(cached, checksum) if self.has_checksum(path, checksum) else None

    def _cached(self, path: str) -> str:
        # The name holds hashes, and its suffix: readers of files tell the form from that.
        name = path.rsplit("/", 1)[-1]
        return f"{shard_of(name)}/{name}"

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._full(path))

    def list_paths(self) -> Iterator[tuple[str, int, float]]:
        try:
            shards = self._fs.ls(self._full(OBJECTS), detail=True, refresh=True)
        except FileNotFoundError:
            return
        for shard in shards:
            yield from self._list(f"{OBJECTS}/{shard['name'].rstrip('/').rsplit('/', 1)[-1]}")

    def sweep_temporary(self, before: float) -> int:
        old = [path for path, _, mtime in self._list(TEMPORARY) if mtime < before]
        for path in old:
            self.delete(path)
        self._cache.sweep_temporary(before)
        for path, _, mtime in self._cache.list_paths():
            if mtime < before:
                self._cache.delete(path)
        return len(old)


class _Translating:
    """A file system or an open file of fsspec whose errors are OSErrors, as those of local ones are.

    Args:
        target: what it stands for; clients of object stores raise errors of their own.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def __enter__(self) -> _Translating:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            try:
                result = found(*args, **options)
            except OSError:
                raise
            except Exception as error:
                raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error
            return _Translating(result) if name == "open" else result

        return call


def _mtime_of(entry: dict[str, Any]) -> float:
    """Return when a remote file was written; now, hence not old, where the file system does not tell."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        found = entry.get(key)
        if isinstance(found, (int, float)):
            return float(found)
        if isinstance(found, datetime):
            return found.timestamp()
    return time.time()


def write_all(sink: IO[bytes], data: Any) -> None:
    """Write all of the data: an unbuffered file may take only a part at a time."""
    count = sink.write(data)
    total = memoryview(data).nbytes
    if count >= total:
        return
    rest = memoryview(data).cast("B")[count:]
    while rest:
        rest = rest[sink.write(rest) :]
