"""Owns the artifact store: values by the hash of their content, verified bytes, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, BinaryIO, NoReturn, cast

import blake3

from flowlearner.artifacts.base import Encoded, Source
from flowlearner.artifacts.files import encode_file
from flowlearner.artifacts.places import LocalPlace, Place, RemotePlace, State, shard_of, write_all
from flowlearner.errors import ArtifactError, FlowLearnerError, InputError, StorageError
from flowlearner.records import Artifact

INLINE_LIMIT_BYTES = 64 * 1024
THREADED_BYTES = 1 << 20
# A disk begins with what it has of a file once it has this much, while the rest is still written.
EARLY_SYNC_BYTES = 1 << 24
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class ArtifactStore:
    """Stored values, by the hash of their content. Threads and processes may share a store.

    Small values come back inside their Artifact and make no file. A larger one is a file whose name holds its
    content hash and the checksum of its bytes: two writers of one value never disturb each other, and whether
    a file is whole can be told from the file alone.

    Args:
        url: a local folder or an fsspec URL.
        inline_limit_bytes: encoded values below this size stay in the Artifact.

    Example:
        >>> store = ArtifactStore("memory://doctest")
        >>> codec = choose_codec(list[int], [1, 2])
        >>> artifact = store.put(codec.encode([1, 2], list[int]))
        >>> codec.decode(store.open(artifact), list[int], artifact.type)
        [1, 2]
    """

    def __init__(self, url: str, inline_limit_bytes: int = INLINE_LIMIT_BYTES) -> None:
        self.url = str(url)
        self.inline_limit_bytes = inline_limit_bytes
        self._place: Place = _find_place(self.url)
        # Path to the state in which its bytes were last found to be whole.
        self._verified: dict[str, State] = {}

    # Writing

    def put(self, encoded: Encoded) -> Artifact:
        """Store a value; when this returns, its bytes survive the death of the process and of the machine.

        An equal value that is there and whole is not written again.

        Raises:
            StorageError: the bytes cannot be written; nothing is left under a final name.
        """
        known = self._find_whole(encoded) if self._is_large(encoded) else None
        if known is not None:
            return known
        limit = 0 if encoded.file_suffix is not None else self.inline_limit_bytes
        sink = _Sink(self._place, limit)
        try:
            encoded.write(cast(BinaryIO, sink))
            if limit == 0:
                sink.write(b"")
            checksum = sink.hasher.hexdigest()
            if sink.temporary is None:
                return _make_artifact(encoded, sink.size, checksum, inline=sink.take())
            known = None if self._is_large(encoded) else self._find_whole(encoded)
            if known is None:
                name = f"{encoded.hash}-{checksum}{encoded.file_suffix or ''}"
                path = f"{shard_of(name)}/{name}"
                self._place.commit(sink.temporary, sink.take_file(), path)
                known = _make_artifact(encoded, sink.size, checksum, path=path)
        except FlowLearnerError:
            raise
        except OSError as error:
            _raise_storage(error, f"an artifact of type {encoded.type}", self.url)
        finally:
            sink.discard()
        return known

    def put_file(self, path: str | os.PathLike[str], *, limit_bytes: int) -> Artifact:
        """Store a file by its content.

        Args:
            limit_bytes: a larger file stays where it is; the artifact then holds its absolute path, and using
                it after the file has changed is an error.

        Raises:
            InputError: the file does not read, changes meanwhile, or is to be kept by a path that is no text.
            StorageError: the bytes cannot be written.
        """
        encoded, checksum = encode_file(path)
        assert encoded.size_hint is not None, "a file's size is known"
        if encoded.size_hint <= limit_bytes:
            return self.put(encoded)
        text = os.path.abspath(os.path.expanduser(os.fspath(path)))
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"file {text!r} has more than {limit_bytes} bytes, so only its path is kept, but the path is "
                "no UTF-8 text. Rename it"
            ) from None
        return _make_artifact(encoded, encoded.size_hint, checksum, path=text)

    def _is_large(self, encoded: Encoded) -> bool:
        """Tell whether a value is known beforehand to become a file."""
        if encoded.file_suffix is not None:
            return True
        return encoded.size_hint is not None and encoded.size_hint >= self.inline_limit_bytes

    def _find_whole(self, encoded: Encoded) -> Artifact | None:
        """Return the artifact of an equal value whose stored bytes are whole, if there is one."""
        try:
            paths = self._place.find(f"{encoded.hash}-")
        except OSError as error:
            _raise_storage(error, "the artifacts", self.url)
        for path in paths:
            name, suffix = _split_name(path)
            if suffix != (encoded.file_suffix or ""):
                continue
            checksum = name.partition("-")[2]
            try:
                size, _ = self._place.read_state(path)
                artifact = _make_artifact(encoded, size, checksum, path=path)
                self.check(artifact)
            except (ArtifactError, FileNotFoundError):
                continue
            return artifact
        return None

    # Reading

    def check(self, artifact: Artifact) -> None:
        """Verify stored bytes, by their checksum or by a file's unchanged state since that was last computed.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        if artifact.inline is not None:
            if blake3.blake3(artifact.inline).hexdigest() != artifact.checksum:
                raise _make_error(artifact, "its bytes in the catalog are damaged")
            return
        path = artifact.path
        if path is None:
            raise _make_error(artifact, "it holds no bytes")
        place = self._place_of(path)
        try:
            size, state = place.read_state(path)
            if state is not None and self._verified.get(path) == (*state, artifact.checksum):
                return
            whole = size == artifact.size_bytes and place.has_checksum(path, artifact.checksum)
            again = place.read_state(path)[1]
        except FileNotFoundError:
            raise _make_error(artifact, "its file is missing", self._where(path)) from None
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            where = f"{self._where(path)}: {reason}"
            raise _make_error(artifact, "its file does not read", where) from error
        if not whole:
            self._verified.pop(path, None)
            raise _make_error(artifact, "its file is not what was stored", self._where(path))
        if state is not None and state == again and place.is_settled(state):
            self._verified[path] = (*state, artifact.checksum)

    def open(self, artifact: Artifact) -> Source:
        """Return the stored bytes, verified.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        self.check(artifact)
        if artifact.inline is not None:
            return Source(data=artifact.inline)
        assert artifact.path is not None, "an artifact that was checked has bytes or a path"
        try:
            source = self._place_of(artifact.path).open(artifact.path, artifact.checksum)
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            where = f"{self._where(artifact.path)}: {reason}"
            raise _make_error(artifact, "its file does not read", where) from error
        if source is None:
            where = self._where(artifact.path)
            raise _make_error(artifact, "its file changed while it was read", where)
        return source

    def _place_of(self, path: str) -> Place:
        # A file by reference lies outside of the store, on this machine.
        return _OUTSIDE if os.path.isabs(path) else self._place

    def _where(self, path: str) -> str:
        return path if os.path.isabs(path) else f"{self.url.rstrip('/')}/{path}"

    # Keeping house

    def delete(self, artifact: Artifact) -> None:
        """Remove stored bytes; a file that is kept by reference stays.

        Raises:
            StorageError: the file cannot be removed.
        """
        path = artifact.path
        if path is None or os.path.isabs(path):
            return
        if ".." in path.split("/"):
            raise StorageError(f"'{path}' is not a path of the artifact store {self.url}")
        self._verified.pop(path, None)
        try:
            self._place.delete(path)
        except OSError as error:
            _raise_storage(error, f"'{path}'", self.url, verb="removed")

    def list_paths(self) -> Iterator[tuple[str, int, float]]:
        """Yield path, size in bytes and time of last change (seconds since the epoch) of each stored file.

        Raises:
            StorageError: the place does not answer.
        """
        try:
            yield from self._place.list_paths()
        except OSError as error:
            _raise_storage(error, "the artifacts", self.url, verb="listed")

    def sweep_temporary(self, age_s: float) -> int:
        """Remove what writers that died have left, once it is older than this; return how many files."""
        try:
            return self._place.sweep_temporary(time.time() - age_s)
        except OSError as error:
            _raise_storage(error, "temporary files", self.url, verb="removed")


_OUTSIDE = LocalPlace("/")


def _find_place(url: str) -> Place:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalPlace(url)
    if scheme in ("file", "local"):
        return LocalPlace(rest)
    # Workers, which have local stores for the most part, start sooner without it.
    settings = importlib.import_module("flowlearner.config").get_settings()
    try:
        return RemotePlace(url, settings.home_path / "cache")
    except (ImportError, ValueError) as error:
        raise StorageError(f"the artifact store '{url}' cannot be opened: {error}") from error


def _make_artifact(
    encoded: Encoded, size: int, checksum: str, *, inline: bytes | None = None, path: str | None = None
) -> Artifact:
    return Artifact(
        encoded.hash, encoded.codec, encoded.type, size, checksum, inline, path, encoded.make_preview()
    )


def _split_name(path: str) -> tuple[str, str]:
    """Return hash and checksum of a stored file's name, and its suffix."""
    name, dot, suffix = path.rsplit("/", 1)[-1].partition(".")
    return name, dot + suffix


def _make_error(artifact: Artifact, problem: str, where: str = "") -> ArtifactError:
    cure = "Run the workflow again: what is damaged or gone is computed anew"
    if artifact.path is not None and os.path.isabs(artifact.path):
        cure = "It is kept by reference: bring back the file as it was, or give the changed file as an input"
    place = f": {where}" if where else ""
    return ArtifactError(
        f"artifact {artifact.hash[:12]} ({artifact.type}): {problem}{place}. {cure}", problem
    )


def _raise_storage(error: OSError, what: str, url: str, verb: str = "written") -> NoReturn:
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _FULL:
        cure = "Free some space ('flowlearner catalog gc' removes what no kept run needs)"
    elif error.errno in _FORBIDDEN:
        cure = "Allow this user to write there"
    else:
        cure = "Check that the place exists and works"
    cure += ", or set FLOWLEARNER_ARTIFACTS to another place"
    raise StorageError(f"{what} cannot be {verb} in {url}: {reason}. {cure}") from error


class _Sink(io.RawIOBase):
    """Takes the bytes of one value: in memory below the limit, beyond it in a temporary file.

    Pieces that are large enough are hashed by another thread while they are written, and a third one has the
    disk take what was written so far: measured, a fifth less time for a table of 160 MB.
    """

    def __init__(self, place: Place, limit: int) -> None:
        self._place = place
        self._limit = limit
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._unsynced = 0
        self.temporary: str | None = None
        self.size = 0
        self.hasher = blake3.blake3()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        self.size += count
        if self._file is None and self.size < self._limit:
            self.hasher.update(data)
            self._pieces.append(bytes(data))
            return count
        if self._file is None:
            self.temporary, self._file = self._place.create()
            for piece in self._pieces:
                write_all(self._file, piece)
            self._pieces.clear()
        if count < THREADED_BYTES:
            self.hasher.update(data)
            write_all(self._file, data)
            return count
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2)
        hashed = self._threads.submit(self.hasher.update, data)
        try:
            write_all(self._file, data)
        finally:
            # The caller may use its memory again as soon as this returns.
            hashed.result()
        self._unsynced += count
        if self._unsynced >= EARLY_SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            self._finish_sync()
            self._syncing = self._threads.submit(self._place.sync, self._file)
            self._unsynced = 0
        return count

    def _finish_sync(self) -> None:
        # An error of the disk is told once: the sync at the end would not have it again.
        if self._syncing is not None:
            self._syncing.result()

    def tell(self) -> int:
        return self.size

    def take(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def take_file(self) -> IO[bytes]:
        assert self._file is not None, "a sink with a temporary name has a file"
        self._finish_sync()
        return self._file

    def discard(self) -> None:
        """Close and remove the temporary file; one that got its final name is no longer there."""
        if self._threads is not None:
            self._threads.shutdown()
        if self._file is not None and self.temporary is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._place.discard(self.temporary)
            self._file = None
