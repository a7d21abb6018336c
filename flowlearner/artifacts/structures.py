"""The codec of plain values: scalars, containers, NamedTuples, dataclasses, pydantic models; as JSON.

What JSON has no word for is an object with the key "$". A table, an array or a model inside a container is a
part: its own codec writes it, and the parts follow the first line, which is all JSON.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from flowlearner.artifacts.base import Codec, Encoded, Source
from flowlearner.artifacts.registry import choose_codec, find_codec, get_codec
from flowlearner.artifacts.tree import TreeReader, TreeWriter, is_plain_class, list_field_hints
from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import ArtifactError, InputError, UnstableValueError
from flowlearner.spec import Mismatch, conform, make_spec, type_text

_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_load = json.JSONDecoder().decode
_SCALARS = frozenset((int, float, str, bool, type(None)))
# An array in a part may be mapped only where its numbers are aligned.
_ALIGN = 64
_PREVIEW_CHARS = 1000
_PREVIEW_ITEMS = 50


class JsonCodec(Codec):
    """Plain values as JSON; the declared type, or a class that is loaded, rebuilds what JSON flattens."""

    name = "json/1"

    def handles(self, declared: Any) -> bool:
        return _handles(declared, ())

    def handles_value(self, value: Any) -> bool:
        return is_plain_class(type(value))

    def encode(self, value: Any, declared: Any) -> Encoded:
        cls = type(value)
        if cls in _SCALARS:
            if cls is int and declared is not int and make_spec(declared).base is float:
                value, cls = float(value), float
            finite = cls is not float or value - value == 0.0
            text = _dump(value) if finite else _dump({"$": "float", "v": str(value)})
            data = text.encode("utf-8", "surrogatepass")
            return Encoded(
                digest_parts("json/1", digest(value)), "json/1", _type_name(cls), _Bytes(data), len(data)
            )
        value = _widen(value, declared)
        writer = TreeWriter(_encode_part)
        tree = writer.write(value, "value", declared)
        try:
            hash_ = digest_parts(self.name, digest(value))
        except UnstableValueError:
            if not writer.parts:
                raise
            # A codec of the user's own knows its parts' hashes better than `canonical` does.
            hash_ = digest_parts(self.name, "parts", digest(tree), *(p.hash for p in writer.parts))
        preview = _describe_lazily(value)
        if not writer.parts and not writer.modules:
            data = _dump(tree).encode("utf-8", "surrogatepass")
            return Encoded(hash_, self.name, _type_name(cls), _Bytes(data), len(data), preview)
        write = _Parts(tree, writer.modules, writer.parts)
        return Encoded(hash_, self.name, _type_name(cls), write, write.size_hint, preview)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        data = source.read()
        line, _, rest = data.partition(b"\n")
        try:
            tree = _load(line.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"the bytes are not JSON: {error}") from None
        if type(tree) in _SCALARS:
            return tree
        modules: dict[str, Any] = {}
        parts: list[Any] = []
        if isinstance(tree, dict) and tree.get("$") == "root":
            modules, parts, tree = tree.get("modules", {}), tree.get("parts", []), tree.get("value")
        decode_part = _PartReader(memoryview(rest), parts)
        return TreeReader(decode_part, modules).read(tree, declared)


def _type_name(cls: type) -> str:
    return "None" if cls is type(None) else type_text(cls)


def _widen(value: Any, declared: Any) -> Any:
    """Return a container as it is declared: an int among floats is a float."""
    spec = make_spec(declared)
    if not getattr(spec.base, "__args__", None):
        return value
    try:
        return conform(value, spec)
    except Mismatch as error:
        raise InputError(str(error)) from None


@dataclass(frozen=True)
class _Bytes:
    data: bytes

    def __call__(self, sink: BinaryIO) -> None:
        sink.write(self.data)


class _Parts:
    """Writes the line of JSON, then the parts; a part's size is known only when it is written."""

    def __init__(self, tree: Any, modules: dict[str, str], parts: list[Encoded]) -> None:
        self.tree = tree
        self.modules = modules
        self.parts = parts
        hints = [p.size_hint for p in parts]
        self.size_hint = None if None in hints else sum(cast("list[int]", hints))

    def __call__(self, sink: BinaryIO) -> None:
        bodies: list[memoryview] = []
        for part in self.parts:
            buffer = io.BytesIO()
            part.write(buffer)
            bodies.append(buffer.getbuffer())
        described = [
            {"codec": p.codec, "type": p.type, "size": len(b)}
            for p, b in zip(self.parts, bodies, strict=True)
        ]
        root = {"$": "root", "modules": self.modules, "parts": described, "value": self.tree}
        line = _dump(root).encode("utf-8", "surrogatepass")
        sink.write(line + b" " * _gap(len(line) + 1) + b"\n" if bodies else line)
        gap = 0
        for body in bodies:
            sink.write(b"\0" * gap)
            sink.write(body)
            gap = _gap(len(body))


def _gap(size: int) -> int:
    return -size % _ALIGN


class _PartReader:
    """Decodes a part by its number."""

    def __init__(self, data: memoryview, parts: list[Any]) -> None:
        self._data = data
        self._parts = parts

    def __call__(self, number: int, declared: Any) -> Any:
        begin = sum(p["size"] + _gap(p["size"]) for p in self._parts[:number])
        part = self._parts[number]
        body = bytes(self._data[begin : begin + part["size"]])
        if len(body) != part["size"]:
            raise ArtifactError("the bytes of a part are cut short")
        codec = get_codec(part["codec"])
        if codec.unsafe and not _allows(codec, declared):
            raise ArtifactError(
                f"a part of type {part['type']} was stored by pickle; "
                "declare its type as Annotated[..., Pickled()] to load it"
            )
        return codec.decode(Source(data=body), declared, part["type"])


def _allows(codec: Codec, declared: Any) -> bool:
    return any(codec.handles_mark(mark) for mark in make_spec(declared).marks)


def _encode_part(value: Any, declared: Any) -> Encoded:
    codec = choose_codec(declared, value)
    if codec.name == "file/1":
        raise InputError("a file inside a container cannot be stored; return it as an output of its own")
    return codec.encode(value, declared)


def _handles(declared: Any, parents: tuple[Any, ...]) -> bool:
    hints = list_field_hints(declared)
    if hints is None:
        return False
    if declared in parents:
        return True
    inner = (*parents, declared)
    return all(_handles(make_spec(h).base, inner) or find_codec(h) is not None for h in hints)


def _describe_lazily(value: Any) -> Callable[[], dict[str, Any] | None]:
    def describe() -> dict[str, Any] | None:
        preview: dict[str, Any] = {"kind": "json"}
        if hasattr(value, "__len__"):
            preview["length"] = len(value)
        items = dict(list(value.items())[:_PREVIEW_ITEMS]) if type(value) is dict else value
        items = items[:_PREVIEW_ITEMS] if type(items) in (list, tuple) else items
        text = repr(items)
        preview["text"] = text if len(text) <= _PREVIEW_CHARS else text[: _PREVIEW_CHARS - 1] + "…"
        return preview

    return describe


def to_tree(value: Any, where: str) -> tuple[Any, list[Encoded]]:
    """Return a value as JSON values, and the parts that have none."""
    writer = TreeWriter(_encode_part)
    return writer.write(value, where), writer.parts


def from_tree(tree: Any, declared: Any) -> Any:
    """Rebuild what `to_tree` took apart, without parts."""
    return TreeReader(_PartReader(memoryview(b""), []), {}).read(tree, declared)


CODECS = (JsonCodec(),)
