"""Codecs of values that are bytes already: files, bytes, captured source, and pickles where one opts in."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from flowlearner.artifacts.base import Codec, Encoded, Source
from flowlearner.artifacts.places import CHUNK_BYTES, hash_file
from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import ArtifactError, InputError, UnstableValueError
from flowlearner.spec import type_text
from flowlearner.types import FILE, Pickled

_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,12})?\.[A-Za-z0-9]{1,12}$")


class FileCodec(Codec):
    """A file, by the hash of its bytes and its suffix. The consumer gets a copy that it must not change."""

    name = "file/1"

    def handles(self, declared: Any) -> bool:
        return False

    def handles_mark(self, mark: Any) -> bool:
        return bool(mark == FILE)

    def encode(self, value: Any, declared: Any) -> Encoded:
        if not isinstance(value, (str, os.PathLike)):
            raise InputError(f"expected the path of a file, found {type_text(type(value))}")
        return encode_file(value)[0]

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        if source.path is not None:
            return source.path
        raise ArtifactError("a stored file has no path; the artifact is damaged")


def encode_file(path: str | os.PathLike[str]) -> tuple[Encoded, str]:
    """Return a local file ready to be stored, and the blake3 of its bytes.

    Raises:
        InputError: it does not read, or changes meanwhile.
    """
    text = os.path.abspath(os.path.expanduser(os.fspath(path)))
    where = f"file '{text}'"
    before = _stat(text, where)
    try:
        checksum = hash_file(text)
    except OSError as error:
        raise InputError(f"{where} does not read: {error.strerror}") from error

    def write(sink: BinaryIO) -> None:
        for chunk in _read_chunks(text, where):
            sink.write(chunk)
        if _stat(text, where) != before:
            raise InputError(f"{where} changed while it was stored. Run again when nothing writes it")

    match = _SUFFIX.search(os.path.basename(text))
    suffix = match[0] if match else ""
    encoded = Encoded(
        # Operators tell from the suffix how to read it, so it is a part of what they are given.
        hash=digest_parts(FileCodec.name, checksum, *([suffix] if suffix else [])),
        codec=FileCodec.name,
        type="File",
        write=write,
        size_hint=before[0],
        preview={"kind": "file", "name": os.path.basename(text), "size_bytes": before[0]},
        file_suffix=suffix,
    )
    return encoded, checksum


def _read_chunks(path: str, where: str) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise InputError(f"{where} does not read: {error.strerror}") from error


def _stat(path: str, where: str) -> tuple[int, int, int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{where} does not read: {error.strerror}") from error
    if not os.path.isfile(path):
        raise InputError(f"{where}: expected a file, found a folder or a device")
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def encode_bytes(
    codec: str, hash_: str, type_name: str, data: bytes, preview: dict[str, Any] | None = None
) -> Encoded:
    """Return bytes in memory ready to be stored."""

    def write(sink: BinaryIO) -> None:
        sink.write(data)

    return Encoded(hash_, codec, type_name, write, len(data), preview)


class BytesCodec(Codec):
    """Plain bytes, as they are."""

    name = "bytes/1"

    def handles(self, declared: Any) -> bool:
        return declared in (bytes, bytearray)

    def encode(self, value: Any, declared: Any) -> Encoded:
        if type(value) not in (bytes, bytearray):
            raise InputError(f"expected bytes, found {type_text(type(value))}")
        kind, data = type(value).__name__, bytes(value)
        preview = {"kind": "bytes", "size_bytes": len(data)}
        return encode_bytes(self.name, digest_parts(self.name, kind, data), kind, data, preview)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        data = source.read()
        return bytearray(data) if type_name == "bytearray" else data


class SnapshotCodec(Codec):
    """The captured source of a run's modules: JSON, which `capture` writes."""

    name = "snapshot/1"

    def handles(self, declared: Any) -> bool:
        return False

    def encode(self, value: Any, declared: Any) -> Encoded:
        data = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
        return encode_bytes(self.name, digest_parts(self.name, digest(value)), "snapshot", data)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        try:
            return json.loads(source.read())
        except ValueError as error:
            raise ArtifactError(f"the captured source is not JSON: {error}") from None


class DiffCodec(Codec):
    """How a checkout differs from its commit: text, which `capture` writes."""

    name = "diff/1"

    def handles(self, declared: Any) -> bool:
        return False

    def encode(self, value: Any, declared: Any) -> Encoded:
        data = str(value).encode("utf-8", "surrogateescape")
        return encode_bytes(self.name, digest_parts(self.name, data), "diff", data)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        return source.read().decode("utf-8", "replace")


class PickleCodec(Codec):
    """Whatever pickles, where a type opts in by `Annotated[T, Pickled()]`; loading runs what the bytes name.

    A value without a canonical encoding is hashed by its pickle: equal ones may then differ in their hashes,
    while different ones never share one.
    """

    name = "pickle/1"
    unsafe = True

    def handles(self, declared: Any) -> bool:
        return False

    def handles_mark(self, mark: Any) -> bool:
        return isinstance(mark, Pickled)

    def encode(self, value: Any, declared: Any) -> Encoded:
        import cloudpickle

        try:
            data: bytes = cloudpickle.dumps(value)
        except Exception as error:
            raise InputError(f"{type_text(type(value))} does not pickle: {error}") from error
        try:
            hash_ = digest_parts(self.name, "value", digest(value))
        except UnstableValueError:
            hash_ = digest_parts(self.name, "pickle", data)
        preview = {"kind": "pickle", "unsafe": True, "size_bytes": len(data)}
        return encode_bytes(self.name, hash_, type_text(type(value)), data, preview)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        try:
            return pickle.loads(source.read())  # noqa: S301 - the type opted in, and callers ask for it
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ArtifactError(f"the pickled {type_name} does not load: {reason}") from error


CODECS = (FileCodec(), PickleCodec(), BytesCodec(), SnapshotCodec(), DiffCodec())
