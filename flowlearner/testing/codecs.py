"""Owns what every codec must keep to, as a suite of tests."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowlearner.artifacts import ArtifactStore, Codec, Encoded, Source, choose_codec, find_codec, get_codec
from flowlearner.errors import ArtifactError, InputError

HASH_CHARS = 64


@dataclass(frozen=True)
class Case:
    """A value to try.

    Attributes:
        make: gives the value, anew at each call and equal each time, in any process.
        declared: the type that an operator would declare for it.
        change: changes a value in place; None for one that cannot be changed.
    """

    make: Callable[[], Any]
    declared: Any
    change: Callable[[Any], None] | None = None


class CodecConformance(ABC):
    """Tests that a codec keeps the rules of `flowlearner.artifacts.Codec`.

    Subclass it in a test module that can be imported by its name; pytest runs the rules for each case.

    Example:
        class TestMoneyCodec(CodecConformance):
            codec = MoneyCodec()

            def make_cases(self) -> dict[str, Case]:
                return {f"{n} EUR": Case(lambda n=n: Money(n, "EUR"), Money) for n in (0, 3)}
    """

    codec: Codec

    @abstractmethod
    def make_cases(self) -> Mapping[str, Case]:
        """Return values by a name; their contents must all differ."""

    def is_equal(self, left: Any, right: Any) -> bool:
        """Tell whether two values are the same to an operator that reads them."""
        return bool(type(left) is type(right) and left == right)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            cases = self.make_cases()
            metafunc.parametrize("case", list(cases.values()), ids=list(cases))

    def encode(self, case: Case) -> Encoded:
        return self.codec.encode(case.make(), case.declared)

    def decode(self, data: bytes, case: Case, type_name: str) -> Any:
        return self.codec.decode(Source(data=data), case.declared, type_name)

    # Which values are its own

    def test_its_name_has_a_format_number(self) -> None:
        family, slash, number = self.codec.name.partition("/")
        assert family
        assert slash
        assert number.isdigit()

    def test_its_declared_types_find_it(self, case: Case) -> None:
        assert find_codec(case.declared) is not None
        assert choose_codec(case.declared, case.make()).name == self.codec.name

    # Hashes

    def test_equal_values_have_equal_hashes(self, case: Case) -> None:
        first, second = self.encode(case), self.encode(case)
        assert first.hash == second.hash
        assert len(first.hash) == HASH_CHARS
        assert int(first.hash, 16) >= 0

    def test_different_values_have_different_hashes(self) -> None:
        cases = self.make_cases()
        names: dict[str, str] = {}
        for name, case in cases.items():
            names.setdefault(self.encode(case).hash, name)
        assert list(names.values()) == list(cases)

    def test_a_decoded_value_has_the_hash_of_the_original(self, case: Case) -> None:
        encoded = self.encode(case)
        decoded = self.decode(write_bytes(encoded), case, encoded.type)
        assert self.codec.encode(decoded, case.declared).hash == encoded.hash

    @pytest.mark.slow
    def test_another_process_computes_the_same_hashes(self) -> None:
        cls = type(self)
        command = [sys.executable, "-m", "flowlearner.testing.codecs", cls.__module__, cls.__qualname__]
        # Text hashes by another seed: no order of a set may leak into a content hash.
        environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == compute_hashes(self)

    # Bytes

    def test_a_value_comes_back_equal(self, case: Case) -> None:
        encoded = self.encode(case)
        decoded = self.decode(write_bytes(encoded), case, encoded.type)
        assert self.is_equal(decoded, case.make())

    def test_a_value_comes_back_equal_from_a_file(self, case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = ArtifactStore(folder, 0)
            artifact = store.put(self.encode(case))
            assert artifact.path is not None
            decoded = self.codec.decode(store.open(artifact), case.declared, artifact.type)
            assert self.is_equal(decoded, case.make())

    def test_where_nobody_declares_a_type_a_value_comes_back_as_it_was_stored(self, case: Case) -> None:
        encoded = self.encode(case)
        decoded = self.codec.decode(Source(data=write_bytes(encoded)), Any, encoded.type)
        assert self.codec.encode(decoded, case.declared).hash == encoded.hash

    def test_the_bytes_can_be_written_again(self, case: Case) -> None:
        encoded = self.encode(case)
        write_bytes(encoded)
        decoded = self.decode(write_bytes(encoded), case, encoded.type)
        assert self.is_equal(decoded, case.make())

    def test_bytes_that_are_cut_off_are_an_artifact_error(self, case: Case) -> None:
        encoded = self.encode(case)
        data = write_bytes(encoded)
        for size in sorted({0, 1, 7, len(data) // 3, len(data) - 1}):
            if not 0 <= size < len(data):
                continue
            try:
                decoded = self.decode(data[:size], case, encoded.type)
            except (ArtifactError, InputError):
                continue
            # A format without an end of its own cannot tell; then the store's checksum alone does.
            assert not self.is_equal(decoded, case.make())

    def test_changing_a_value_reaches_nobody_else(self, case: Case) -> None:
        if case.change is None:
            pytest.skip("the value cannot be changed")
        with tempfile.TemporaryDirectory() as folder:
            store = ArtifactStore(folder, 0)
            artifact = store.put(self.encode(case))
            mine, other = (
                self.codec.decode(store.open(artifact), case.declared, artifact.type) for _ in range(2)
            )
            case.change(mine)
            assert not self.is_equal(mine, case.make())
            assert self.is_equal(other, case.make())
            # A new store remembers no check, so this one reads all the bytes.
            ArtifactStore(folder, 0).check(artifact)

    # What people see

    def test_its_preview_is_plain_json(self, case: Case) -> None:
        encoded = self.encode(case)
        json.dumps(encoded.make_preview(), allow_nan=False)
        assert encoded.type
        assert encoded.codec == self.codec.name
        assert get_codec(encoded.codec) is self.codec


def write_bytes(encoded: Encoded) -> bytes:
    """Return the bytes that a codec writes."""
    sink = io.BytesIO()
    encoded.write(sink)
    return sink.getvalue()


def compute_hashes(suite: CodecConformance) -> dict[str, str]:
    """Return the content hash of each case."""
    return {name: suite.encode(case).hash for name, case in suite.make_cases().items()}


def main(module: str, name: str) -> None:
    """Print the hashes of a suite's cases, for a test in another process."""
    sys.path.insert(0, str(Path.cwd()))
    suite: Any = importlib.import_module(module)
    for part in name.split("."):
        suite = getattr(suite, part)
    print(json.dumps(compute_hashes(suite())))


if __name__ == "__main__":
    main(*sys.argv[1:])
