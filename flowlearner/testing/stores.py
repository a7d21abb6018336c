"""Owns what every artifact store must keep to, as a suite of tests."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from flowlearner.artifacts import ArtifactStore, Encoded, get_codec
from flowlearner.canonical import digest_parts
from flowlearner.errors import ArtifactError, InputError
from flowlearner.records import Artifact

LIMIT = 1000


def encode(data: bytes, **options: Any) -> Encoded:
    """Return bytes ready to be stored."""

    def write(sink: BinaryIO) -> None:
        middle = len(data) // 2
        sink.write(data[:middle])
        sink.write(data[middle:])

    return Encoded(digest_parts("bytes/1", "bytes", data), "bytes/1", "bytes", write, **options)


class ArtifactStoreConformance(ABC):
    """Tests that a store keeps what it is given, and notices when it does not.

    Subclass it and say how to open the store, and how to harm it.
    """

    @abstractmethod
    def open_store(self, folder: Path) -> ArtifactStore:
        """Open the store that belongs to a folder, with an inline limit of LIMIT; each call a new object."""

    @abstractmethod
    def harm(self, store: ArtifactStore, path: str, data: bytes | None) -> None:
        """Replace the bytes of a stored file, or remove it, behind the store's back."""

    def read(self, store: ArtifactStore, artifact: Artifact) -> bytes:
        return store.open(artifact).read()

    def list_files(self, store: ArtifactStore) -> list[str]:
        return [path for path, _, _ in store.list_paths()]

    def test_a_small_value_makes_no_file(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        artifact = store.put(encode(b"x" * (LIMIT - 1)))
        assert artifact.inline == b"x" * (LIMIT - 1)
        assert artifact.path is None
        assert self.list_files(store) == []
        assert self.read(store, artifact) == artifact.inline

    @pytest.mark.parametrize("hint", [None, 0, 10 * LIMIT])
    def test_a_large_value_is_a_file(self, tmp_path: Path, hint: int | None) -> None:
        store = self.open_store(tmp_path)
        artifact = store.put(encode(b"x" * LIMIT, size_hint=hint))
        assert artifact.inline is None
        assert artifact.size_bytes == LIMIT
        assert self.list_files(store) == [artifact.path]
        assert self.read(self.open_store(tmp_path), artifact) == b"x" * LIMIT

    def test_a_value_that_must_be_a_file_is_one_however_small(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        for data in (b"", b"abc"):
            artifact = store.put(encode(data, file_suffix=".csv"))
            assert artifact.path is not None
            assert artifact.path.endswith(".csv")
            source = store.open(artifact)
            assert source.path is not None
            assert source.path.endswith(".csv")
            assert Path(source.path).read_bytes() == data

    def test_an_equal_value_is_not_written_again(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        first = store.put(encode(b"x" * LIMIT, size_hint=LIMIT))

        def write(sink: BinaryIO) -> None:
            raise AssertionError(f"it is there already, and is written to {sink}")

        known = Encoded(first.hash, "bytes/1", "bytes", write, size_hint=LIMIT)
        assert self.open_store(tmp_path).put(known) == first

    def test_equal_values_that_were_written_as_other_bytes_stand_beside_each_other(
        self, tmp_path: Path
    ) -> None:
        store = self.open_store(tmp_path)
        one = encode(b"x" * LIMIT)
        other = Encoded(one.hash, "bytes/1", "bytes", encode(b"y" * LIMIT).write)
        first = store.put(one)
        second = store.put(other)
        assert self.read(store, first) == b"x" * LIMIT
        assert self.read(store, second) in (b"x" * LIMIT, b"y" * LIMIT)

    @pytest.mark.parametrize(
        "data", [b"", b"x" * (LIMIT - 1), b"y" + b"x" * (LIMIT - 1), b"x" * (LIMIT + 1), None]
    )
    def test_harm_is_noticed_at_once_and_mended_by_the_next_put(
        self, tmp_path: Path, data: bytes | None
    ) -> None:
        store = self.open_store(tmp_path)
        artifact = store.put(encode(b"x" * LIMIT))
        assert artifact.path is not None
        store.check(artifact)
        self.harm(store, artifact.path, data)
        for each in (store, self.open_store(tmp_path)):
            with pytest.raises(ArtifactError, match="Run the workflow again"):
                each.check(artifact)
            with pytest.raises(ArtifactError, match="Run the workflow again"):
                each.open(artifact)
        again = store.put(encode(b"x" * LIMIT))
        store.check(again)
        assert self.read(self.open_store(tmp_path), again) == b"x" * LIMIT

    def test_harm_to_inline_bytes_is_noticed(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        whole = store.put(encode(b"abc"))
        harmed = Artifact(whole.hash, whole.codec, whole.type, 3, whole.checksum, inline=b"abd")
        with pytest.raises(ArtifactError, match="damaged"):
            store.open(harmed)

    def test_a_writer_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)

        def write(sink: BinaryIO) -> None:
            sink.write(b"x" * LIMIT)
            raise InputError("half way")

        with pytest.raises(InputError, match="half way"):
            store.put(Encoded(digest_parts("bytes/1", "half"), "bytes/1", "bytes", write))
        assert self.list_files(store) == []
        assert store.sweep_temporary(-60) == 0

    def test_threads_may_put_one_value_at_the_same_time(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        data = b"x" * (100 * LIMIT)
        barrier = threading.Barrier(4)
        found: list[Artifact] = []

        def put() -> None:
            barrier.wait()
            found.append(store.put(encode(data)))

        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len({a.path for a in found}) == 1
        assert self.read(self.open_store(tmp_path), found[0]) == data
        assert self.list_files(store) == [found[0].path]

    def test_a_deleted_value_is_gone_and_deleting_again_is_no_mistake(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        artifact = store.put(encode(b"x" * LIMIT))
        store.check(artifact)
        store.delete(artifact)
        store.delete(artifact)
        assert self.list_files(store) == []
        with pytest.raises(ArtifactError, match="missing"):
            store.check(artifact)

    def test_a_file_is_stored_by_its_content(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path / "store")
        (tmp_path / "a.csv").write_text("x\n1\n")
        (tmp_path / "b.csv").write_text("x\n1\n")
        first, second = (store.put_file(tmp_path / name, limit_bytes=100) for name in ("a.csv", "b.csv"))
        assert first.hash == second.hash
        assert first.path == second.path
        (tmp_path / "a.csv").write_text("x\n2\n")
        path = get_codec(first.codec).decode(store.open(first), Any, first.type)
        assert Path(path).read_text() == "x\n1\n"
        assert store.put_file(tmp_path / "a.csv", limit_bytes=100).hash != first.hash

    def test_a_file_above_the_limit_stays_where_it_is_and_must_not_change(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path / "store")
        file = tmp_path / "large.csv"
        file.write_text("x\n1\n")
        kept = store.put_file(file, limit_bytes=1_000)
        referred = store.put_file(file, limit_bytes=3)
        assert referred.hash == kept.hash
        assert referred.path == str(file)
        assert get_codec("file/1").decode(store.open(referred), Any, referred.type) == str(file)
        store.delete(referred)
        assert file.exists()
        file.write_text("x\n2\n")
        with pytest.raises(ArtifactError, match="kept by reference"):
            store.open(referred)
        file.unlink()
        with pytest.raises(ArtifactError, match=r"large\.csv"):
            store.check(referred)
