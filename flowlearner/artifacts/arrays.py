"""The codec of numpy arrays: npy, without pickle."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, get_origin

import numpy as np

from flowlearner.artifacts.base import Codec, Encoded, Source
from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import ArtifactError, InputError
from flowlearner.spec import type_text


class ArrayCodec(Codec):
    """Arrays of numbers, texts, times and structures of these. Objects would need pickle."""

    name = "array/1"

    def handles(self, declared: Any) -> bool:
        return (get_origin(declared) or declared) is np.ndarray

    def encode(self, value: Any, declared: Any) -> Encoded:
        if type(value) is not np.ndarray:
            raise InputError(f"expected numpy.ndarray, found {type_text(type(value))}")
        if value.dtype.hasobject:
            raise InputError(
                f"an array of dtype {value.dtype} holds Python objects, which only pickle stores. "
                "Give a list or a table, or an array of one type"
            )

        def write(sink: BinaryIO) -> None:
            np.lib.format.write_array(sink, value, allow_pickle=False)

        return Encoded(
            hash=digest_parts(self.name, digest(value)),
            codec=self.name,
            type="numpy.ndarray",
            write=write,
            size_hint=value.nbytes + 128,
            preview=lambda: {"kind": "array", "shape": list(value.shape), "dtype": str(value.dtype)},
        )

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        try:
            if source.path is None:
                return np.load(io.BytesIO(source.read()), allow_pickle=False)
            # A private mapping: the consumer may change its own, which never reaches the file.
            with open(source.path, "rb") as file:
                empty = 0 in _read_shape(file)
            if empty:
                return np.load(source.path, allow_pickle=False)
            return np.asarray(np.lib.format.open_memmap(source.path, mode="c"))
        except (ValueError, EOFError, OSError, SyntaxError, TypeError, OverflowError, MemoryError) as error:
            raise ArtifactError(f"the bytes are not an array: {error}") from None


def _read_shape(file: BinaryIO) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape: tuple[int, ...] = read(file)[0]
    return shape


CODECS = (ArrayCodec(),)
