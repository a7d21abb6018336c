"""Types of a user's own, for tests of the codecs; a child process imports them by their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from sklearn.base import BaseEstimator, TransformerMixin


class Colour(Enum):
    RED = 1
    BLUE = "b"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: float
    y: float


class Parts(NamedTuple):
    table: pd.DataFrame
    weights: np.ndarray
    name: str


@dataclass(frozen=True)
class Config:
    depth: int
    colour: Colour = Colour.RED
    inner: Config | None = None
    points: list[Point] = field(default_factory=list)


@dataclass
class Checked:
    n: int

    def __post_init__(self) -> None:
        # What is stored is rebuilt as it was, not made anew.
        self.n += 1


class Settings(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    rate: float = 0.1
    config: Config | None = None


class AddOne(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of the user's own."""

    def __init__(self, amount: int = 1) -> None:
        self.amount = amount

    def fit(self, rows: Any, target: Any = None) -> AddOne:
        self.n_features_in_ = np.shape(rows)[1]
        return self

    def transform(self, rows: Any) -> Any:
        return np.asarray(rows) + self.amount
