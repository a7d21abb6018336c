"""Our side: a table through its codec and the artifact store, the preview left out or alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from pairs import time_once
from sides.million import make_rounds, make_table

from flowlearner.artifacts import ArtifactStore, choose_codec
from flowlearner.config import Settings


def open_store(folder: Path) -> ArtifactStore:
    """Open a store as a run does."""
    return ArtifactStore(str(folder), Settings().inline_limit_bytes)


def round_trip(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Encode and put; then another store, which knows of no check so far, opens and decodes."""
    codec = choose_codec(pd.DataFrame, table)
    artifact = open_store(folder).put(replace(codec.encode(table, pd.DataFrame), preview=None))
    loaded: pd.DataFrame = codec.decode(open_store(folder).open(artifact), pd.DataFrame, artifact.type)
    return loaded


def make(what: str) -> Callable[[], float]:
    """Rounds of the round trip, see `million.make_rounds`, or of the preview alone ("preview")."""
    if what != "preview":
        return make_rounds(round_trip, what)
    table = make_table()
    codec = choose_codec(pd.DataFrame, table)

    def measure() -> float:
        encoded = codec.encode(table, pd.DataFrame)
        return time_once(encoded.make_preview)

    assert codec.encode(table, pd.DataFrame).make_preview()
    return measure
