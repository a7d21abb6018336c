"""Owns what a codec is: how values of a type become bytes, and bytes values again."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Union, get_args, get_origin

from flowlearner.spec import make_spec

Preview = Mapping[str, Any]


def list_members(declared: Any) -> list[Any]:
    """Return the types that a hint allows, without `Annotated`, Optional and Union around them.

    Example:
        >>> list_members(int | list[str] | None)
        [<class 'int'>, list[str]]
    """
    base = make_spec(declared).base
    if get_origin(base) in (Union, types.UnionType):
        return [m for a in get_args(base) for m in list_members(a)]
    return [base]


@dataclass(frozen=True)
class Encoded:
    """A value that is ready to be stored.

    Attributes:
        hash: canonical content hash, hex: equal values have equal hashes, in any process.
        codec: name and format number of the codec, such as "table/1".
        type: the Python type for people, such as "pandas.DataFrame".
        write: writes the bytes to a sink, in as many pieces as it likes. May be called again.
        size_hint: the number of bytes where it is known beforehand.
        preview: what a page shows without loading the value. A function is called only after the bytes are
            written, and not at all for a value whose preview nobody keeps.
        file_suffix: set for a value that must be a file of its own, however small it is; the stored name
            ends with it.
    """

    hash: str
    codec: str
    type: str
    write: Callable[[BinaryIO], None]
    size_hint: int | None = None
    preview: Preview | Callable[[], Preview | None] | None = None
    file_suffix: str | None = None

    def make_preview(self) -> Preview | None:
        return self.preview() if callable(self.preview) else self.preview


@dataclass(frozen=True)
class Source:
    """Stored bytes that were checked: in memory, or in a local file that may be memory-mapped.

    A codec must not change the file.
    """

    data: bytes | None = None
    path: str | None = None

    def read(self) -> bytes:
        """Return all the bytes."""
        if self.data is not None:
            return self.data
        assert self.path is not None, "a source has data or a path"
        return Path(self.path).read_bytes()


class Codec(ABC):
    """How values of some types are hashed, stored and loaded.

    A codec holds no state: one object serves all threads. `flowlearner.testing.codecs.CodecConformance`
    tests the rules below for a codec of your own.

    Rules:
        - Equal values have equal hashes, in every process; a hash begins with the codec's name
          (`canonical.digest_parts(self.name, …)`).
        - `decode` gives each caller a value of its own: changing it changes neither the stored bytes nor what
          another caller gets.
        - `decode` never runs code that the bytes name. Bytes that make no sense raise ArtifactError.

    Attributes:
        name: name and format number, such as "table/1". A new format gets a new number, and the old codec
            stays registered for what it has written.
        unsafe: decoding may run code; no page or server calls it.
    """

    name: ClassVar[str]
    unsafe: ClassVar[bool] = False

    @abstractmethod
    def handles(self, declared: Any) -> bool:
        """Tell whether values of a declared type are for this codec.

        Must not import heavy packages: every workflow that compiles asks it.

        Args:
            declared: a type hint without `Annotated`, Optional and Union around it; the marks of an
                `Annotated` were offered to `handles_mark` before.
        """

    def handles_mark(self, mark: Any) -> bool:
        """Tell whether a mark in `Annotated` alone decides for this codec, such as `Pickled()`."""
        del mark
        return False

    def handles_value(self, value: Any) -> bool:
        """Tell whether a value is for this codec, where the declared type says nothing (Any, Model)."""
        return self.handles(type(value))

    @abstractmethod
    def encode(self, value: Any, declared: Any) -> Encoded:
        """Prepare a value for storing.

        Args:
            declared: the type hint of the output as it is written (see `list_members`).

        Raises:
            InputError: the value does not fit the declared type, or cannot be stored.
        """

    @abstractmethod
    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        """Rebuild a value.

        Args:
            source: the stored bytes.
            declared: the type hint of the consumer as it is written (see `list_members`); Any where there is
                none.
            type_name: the type that was stored, as in `Encoded.type`.

        Raises:
            ArtifactError: the bytes are not what this codec writes.
            InputError: the consumer declares a type that the value cannot be given as.
        """
