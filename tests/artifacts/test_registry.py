"""Which codec is for which type, codecs of a user's own, and values that are bytes already."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import pandas as pd
import pytest

import flowlearner
from flowlearner import (
    ArtifactError,
    Codec,
    DefinitionError,
    File,
    InputError,
    Model,
    Pickled,
    register_codec,
)
from flowlearner.artifacts import (
    ArtifactStore,
    Encoded,
    Source,
    choose_codec,
    find_codec,
    get_codec,
    registry,
)
from flowlearner.canonical import digest_parts
from flowlearner.testing.codecs import Case, CodecConformance, write_bytes


@pytest.fixture(autouse=True)
def no_lasting_codecs() -> Iterator[None]:
    yield
    registry._own.clear()
    registry._found.clear()


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class MoneyCodec(Codec):
    name = "money/1"

    def handles(self, declared: Any) -> bool:
        return declared is Money

    def encode(self, value: Any, declared: Any) -> Encoded:
        data = str(value.cents).encode()

        def write(sink: BinaryIO) -> None:
            sink.write(data + b";")

        return Encoded(digest_parts(self.name, data), self.name, "Money", write)

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        number, end, _ = source.read().partition(b";")
        if not end:
            raise ArtifactError("the bytes are no money")
        return Money(int(number))


class TestMoneyCodec(CodecConformance):
    codec = MoneyCodec()

    @pytest.fixture(autouse=True)
    def registered(self, no_lasting_codecs: None) -> None:
        register_codec(self.codec)

    def make_cases(self) -> Mapping[str, Case]:
        return {str(n): Case(lambda n=n: Money(n), Money) for n in (0, -250)}  # type: ignore[misc]


class TestBytesCodec(CodecConformance):
    codec = get_codec("bytes/1")

    def make_cases(self) -> Mapping[str, Case]:
        return {
            "some": Case(lambda: b"\0\xff\n", bytes),
            "none": Case(lambda: b"", bytes),
            "array": Case(lambda: bytearray(b"abc"), bytearray, lambda b: b.append(1)),
        }


@dataclass
class Thing:
    n: int


class TestPickleCodec(CodecConformance):
    codec = get_codec("pickle/1")

    def make_cases(self) -> Mapping[str, Case]:
        declared = Annotated[Any, Pickled()]
        return {
            "dataclass": Case(lambda: Thing(3), declared),
            "text": Case(lambda: "a", Annotated[str, Pickled()]),
        }


def test_a_codec_of_ones_own_serves_its_type_also_inside_containers() -> None:
    assert find_codec(Money) is None
    register_codec(MoneyCodec())
    for declared in (Money, Money | None, list[Money], dict[str, Money], Any, Model):
        assert find_codec(declared) is not None, declared
    value = {"a": [Money(3)], "b": []}
    encoded = choose_codec(dict[str, list[Money]], value).encode(value, dict[str, list[Money]])
    loaded = get_codec(encoded.codec).decode(Source(data=write_bytes(encoded)), Any, encoded.type)
    assert loaded == value
    assert encoded.hash != choose_codec(Any, {}).encode({"a": [Money(4)], "b": []}, Any).hash


def test_a_codec_of_ones_own_comes_before_the_built_in_ones() -> None:
    class Ours(MoneyCodec):
        name = "frames/1"

        def handles(self, declared: Any) -> bool:
            return declared is pd.DataFrame

    ours = register_codec(Ours())
    assert find_codec(pd.DataFrame) is ours
    assert choose_codec(Any, pd.DataFrame()) is ours
    assert get_codec("frames/1") is ours
    assert get_codec("table/1").name == "table/1"


def test_registering_a_name_again_replaces_the_codec() -> None:
    register_codec(MoneyCodec())
    second = register_codec(MoneyCodec())
    assert get_codec("money/1") is second


@pytest.mark.parametrize("name", ["money", "money/", "money/x", "table/1", ""])
def test_a_name_that_is_wrong_or_taken_is_refused(name: str) -> None:
    class Named(MoneyCodec):
        pass

    Named.name = name
    with pytest.raises(DefinitionError, match=r"thing/1|built in"):
        register_codec(Named())


def test_a_class_instead_of_an_object_is_refused_with_the_cure() -> None:
    with pytest.raises(DefinitionError, match="an object of a subclass of Codec"):
        register_codec(MoneyCodec)  # type: ignore[arg-type]


def test_an_unknown_codec_is_an_artifact_error_that_names_the_nearest() -> None:
    with pytest.raises(ArtifactError, match=r"no codec 'tabel/1'.*Did you mean 'table/1'"):
        get_codec("tabel/1")


def test_a_value_without_codec_says_what_one_may_do() -> None:
    with pytest.raises(InputError, match=r"no codec stores a value of type lock.*register_codec.*Pickled"):
        choose_codec(Any, threading.Lock())


def test_finding_codecs_loads_no_heavy_package() -> None:
    code = (
        "import sys\n"
        "from typing import Any\n"
        "from flowlearner.artifacts import ArtifactStore, choose_codec, find_codec\n"
        "from flowlearner.types import Model, Metric, File\n"
        "assert all(find_codec(t) for t in (int, list[str], dict[str, Any], Model, Metric, File, bytes))\n"
        "value = {'a': [1]}\n"
        "ArtifactStore('unused').put(choose_codec(Any, value).encode(value, Any))\n"
        "heavy = ('numpy', 'pandas', 'pyarrow', 'sklearn', 'xgboost', 'skops', 'altair', 'fsspec')\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pickle_is_marked_unsafe_and_nothing_else_is() -> None:
    names = [name for part in registry._PARTS for name in part.names]
    assert [n for n in names if get_codec(n).unsafe] == ["pickle/1"]


def test_a_pickle_of_a_value_without_canonical_encoding_has_a_hash_of_its_bytes() -> None:
    class Odd:
        def __init__(self, n: int) -> None:
            self.n = n

    codec = get_codec("pickle/1")
    assert codec.encode(Odd(1), Any).hash == codec.encode(Odd(1), Any).hash
    assert codec.encode(Odd(1), Any).hash != codec.encode(Odd(2), Any).hash
    with pytest.raises(InputError, match="does not pickle"):
        codec.encode(threading.Lock(), Any)


def test_a_file_that_an_operator_returns_is_stored_with_its_suffix(tmp_path: Path) -> None:
    file = tmp_path / "rows.2013.csv.zip"
    file.write_bytes(b"abc")
    store = ArtifactStore(str(tmp_path / "store"))
    for value in (file, str(file)):
        artifact = store.put(choose_codec(File, value).encode(value, File))
        path = get_codec(artifact.codec).decode(store.open(artifact), File, artifact.type)
        assert path.endswith(".csv.zip")
        assert Path(path).read_bytes() == b"abc"
        assert artifact.preview == {"kind": "file", "name": "rows.2013.csv.zip", "size_bytes": 3}


def test_equal_files_of_another_suffix_keep_both(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    paths = []
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_text("x\n")
        paths.append(store.put_file(tmp_path / name, limit_bytes=10).path)
    assert [str(p).rpartition(".")[2] for p in paths] == ["txt", "csv"]


def test_a_file_that_is_none_of_these_is_refused() -> None:
    codec = get_codec("file/1")
    with pytest.raises(InputError, match="expected the path of a file, found int"):
        codec.encode(3, File)
    with pytest.raises(InputError, match="does not read"):
        codec.encode("/nosuch/file.csv", File)


def test_the_root_offers_what_a_codec_needs() -> None:
    assert {"Codec", "register_codec"} <= set(flowlearner.__all__)
