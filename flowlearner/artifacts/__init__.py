"""Stored values: how they become bytes (codecs) and where the bytes are kept (the store)."""

from flowlearner.artifacts.base import Codec, Encoded, Preview, Source
from flowlearner.artifacts.registry import (
    choose_codec,
    find_codec,
    get_codec,
    list_own_codecs,
    register_codec,
)
from flowlearner.artifacts.store import ArtifactStore

__all__ = [
    "ArtifactStore",
    "Codec",
    "Encoded",
    "Preview",
    "Source",
    "choose_codec",
    "find_codec",
    "get_codec",
    "list_own_codecs",
    "register_codec",
]
