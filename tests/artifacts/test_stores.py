"""The artifact store: on a local folder, in memory, and where writing fails."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import fsspec
import pytest

from flowlearner import ArtifactError, InputError
from flowlearner.artifacts import ArtifactStore, Encoded
from flowlearner.artifacts.places import CLOCK_TICK_NS
from flowlearner.errors import StorageError
from flowlearner.records import Artifact
from flowlearner.testing.stores import LIMIT, ArtifactStoreConformance, encode


class TestLocalFolder(ArtifactStoreConformance):
    def open_store(self, folder: Path) -> ArtifactStore:
        return ArtifactStore(str(folder / "artifacts"), LIMIT)

    def harm(self, store: ArtifactStore, path: str, data: bytes | None) -> None:
        file = Path(store.url, path)
        if data is None:
            file.unlink()
            return
        file.chmod(0o644)
        file.write_bytes(data)


class TestMemory(ArtifactStoreConformance):
    @pytest.fixture(autouse=True)
    def empty_memory(self) -> Iterator[None]:
        yield
        fsspec.filesystem("memory").store.clear()

    def open_store(self, folder: Path) -> ArtifactStore:
        return ArtifactStore(f"memory://{folder}", LIMIT)

    def harm(self, store: ArtifactStore, path: str, data: bytes | None) -> None:
        files = fsspec.filesystem("memory")
        full = f"{store.url.removeprefix('memory://')}/{path}"
        if data is None:
            files.rm(full)
        else:
            files.pipe(full, data)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), LIMIT)


def list_all(store: ArtifactStore) -> list[str]:
    return [str(p.relative_to(store.url)) for p in Path(store.url).rglob("*") if p.is_file()]


def test_a_home_that_begins_with_a_tilde_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ArtifactStore("~/store", 0).put(encode(b"abc"))
    assert (tmp_path / "store" / "objects").is_dir()


def test_an_unknown_kind_of_url_is_an_error_that_names_it() -> None:
    with pytest.raises(StorageError, match="nosuch://place"):
        ArtifactStore("nosuch://place")


class Unreachable(fsspec.AbstractFileSystem):
    """An object store whose client raises errors of its own."""

    protocol = "unreachable"

    def ls(self, path: str, detail: bool = True, **options: object) -> list[str]:
        raise RuntimeError("no credentials")

    _open = makedirs = info = rm_file = ls


def test_errors_of_a_remote_places_client_are_storage_errors(tmp_path: Path) -> None:
    fsspec.register_implementation("unreachable", Unreachable, clobber=True)
    store = ArtifactStore("unreachable://bucket", 0)
    artifact = Artifact("a" * 64, "bytes/1", "bytes", 3, "b" * 64, path="objects/aa/x")
    for use in (
        lambda: store.put(encode(b"abc")),
        lambda: list(store.list_paths()),
        lambda: store.delete(artifact),
        lambda: store.sweep_temporary(0),
    ):
        with pytest.raises(StorageError, match=r"unreachable://bucket: RuntimeError: no credentials\. Check"):
            use()
    with pytest.raises(ArtifactError, match="RuntimeError: no credentials"):
        store.open(artifact)


def test_a_stored_file_is_read_only(store: ArtifactStore) -> None:
    path = store.put(encode(b"x" * LIMIT)).path
    assert Path(store.url, str(path)).stat().st_mode & 0o777 == 0o444


def test_a_change_that_keeps_size_and_mtime_is_noticed_after_a_check(store: ArtifactStore) -> None:
    artifact = store.put(encode(b"x" * LIMIT))
    file = Path(store.url, str(artifact.path))
    before = wait_until_settled(file)
    store.check(artifact)
    file.chmod(0o644)
    file.write_bytes(b"y" * LIMIT)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtifactError, match="is not what was stored"):
        store.check(artifact)


def wait_until_settled(file: Path) -> os.stat_result:
    while time.time_ns() - file.stat().st_ctime_ns < 2 * CLOCK_TICK_NS:
        time.sleep(0.001)
    return file.stat()


def test_a_second_check_reads_no_bytes(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = store.put(encode(b"x" * LIMIT))
    wait_until_settled(Path(store.url, str(artifact.path)))
    store.check(artifact)
    monkeypatch.setattr(store._place, "has_checksum", None)
    store.check(artifact)


def test_a_check_costs_microseconds(store: ArtifactStore) -> None:
    inline = store.put(encode(b"x" * (LIMIT - 1)))
    stored = store.put(encode(b"x" * LIMIT))
    wait_until_settled(Path(store.url, str(stored.path)))
    store.check(stored)
    # Far above what is aimed at (20 and 30 µs), since the machine does other things too.
    for artifact in (inline, stored):
        assert min(timeit.repeat(lambda a=artifact: store.check(a), number=100, repeat=5)) / 100 < 100e-6  # type: ignore[misc]


def test_what_a_dead_writer_left_is_swept_by_age(store: ArtifactStore) -> None:
    store.put(encode(b"x" * LIMIT))
    left = Path(store.url, "tmp", "1-dead")
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    young = Path(store.url, "tmp", "2-alive")
    young.write_bytes(b"half")
    assert store.sweep_temporary(3600) == 1
    assert not left.exists()
    assert young.exists()
    assert len(list(store.list_paths())) == 1


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_file_under_a_final_name(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from flowlearner.artifacts import ArtifactStore, Encoded\n"
        "def write(sink):\n"
        "    sink.write(b'x' * 100_000)\n"
        "    os.kill(os.getpid(), 9)\n"
        "ArtifactStore(sys.argv[1], 10).put(Encoded('ab' * 32, 'bytes/1', 'bytes', write))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert done.returncode == -9
    store = ArtifactStore(str(tmp_path))
    assert list(store.list_paths()) == []
    assert store.sweep_temporary(-60) == 1


def put_in_child(url: str, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    results.put(ArtifactStore(url, 0).put(encode(b"x" * 5_000_000)))  # type: ignore[attr-defined]


@pytest.mark.slow
def test_processes_may_put_one_value_at_the_same_time(store: ArtifactStore) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=put_in_child, args=(store.url, barrier, results)) for _ in range(2)]
    for child in children:
        child.start()
    found: list[Artifact] = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert found[0] == found[1]
    assert [p for p, _, _ in store.list_paths()] == [found[0].path]
    store.check(found[0])
    assert list_all(store) == [found[0].path]


@pytest.mark.slow
def test_a_full_disk_is_an_error_with_a_cure_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from flowlearner.artifacts import ArtifactStore\n"
        "from flowlearner.errors import StorageError\n"
        "from flowlearner.testing.stores import encode\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    ArtifactStore(sys.argv[1], 10).put(encode(b'x' * 300_000))\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout
    assert "catalog gc" in done.stdout
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.slow
def test_a_full_disk_under_a_table_is_the_same_error(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "import numpy as np, pandas as pd\n"
        "from flowlearner.artifacts import ArtifactStore, choose_codec\n"
        "from flowlearner.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "table = pd.DataFrame({'x': np.arange(100_000)})\n"
        "try:\n"
        "    encoded = choose_codec(pd.DataFrame, table).encode(table, pd.DataFrame)\n"
        "    ArtifactStore(sys.argv[1], 10).put(encoded)\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "catalog gc" in done.stdout
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_place_that_is_no_folder_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ArtifactStore(str(tmp_path / "file"), 0)
    with pytest.raises(StorageError, match="FLOWLEARNER_ARTIFACTS"):
        store.put(encode(b"abc"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error_with_a_cure(tmp_path: Path) -> None:
    folder = tmp_path / "forbidden"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="Allow this user to write there"):
        ArtifactStore(str(folder / "store"), 0).put(encode(b"abc"))


def test_an_error_of_permission_says_so(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store._place, "create", refuse)
    with pytest.raises(StorageError, match=r"Permission denied\. Allow this user to write there"):
        store.put(encode(b"x" * LIMIT))


def test_a_file_that_changes_while_it_is_stored_is_an_error(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "growing.csv"
    file.write_bytes(b"x" * LIMIT)
    place, create = store._place, store._place.create

    def create_and_grow() -> object:
        with file.open("ab") as more:
            more.write(b"y")
        return create()

    place.create = create_and_grow  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="changed while it was stored"):
        store.put_file(file, limit_bytes=10 * LIMIT)
    assert list_all(store) == []


def test_a_file_that_is_not_there_is_the_users_error(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        store.put_file(tmp_path / "none.csv", limit_bytes=10)
    with pytest.raises(InputError, match="a folder"):
        store.put_file(tmp_path, limit_bytes=10)


def test_a_file_whose_name_is_no_text_is_stored_but_not_kept_by_reference(
    store: ArtifactStore, tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(b"\xff.bin")
    file.write_bytes(b"x" * 20)
    assert store.put_file(file, limit_bytes=20).size_bytes == 20
    with pytest.raises(InputError, match=r"udcff.bin' has more than 10 bytes, .*Rename it"):
        store.put_file(file, limit_bytes=10)


def test_a_path_that_leaves_the_store_is_not_deleted(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    with pytest.raises(StorageError, match="is not a path"):
        store.delete(Artifact("", "", "", 0, "", path="objects/../../outside"))
    assert (tmp_path / "outside").exists()


def test_a_preview_is_made_after_the_bytes_are_safe(store: ArtifactStore) -> None:
    order: list[str] = []

    def write(sink: BinaryIO) -> None:
        sink.write(b"x" * LIMIT)
        order.append("written")

    def preview() -> dict[str, int]:
        order.append(f"preview of {len(list_all(store))}")
        return {"rows": 1}

    artifact = store.put(Encoded("ab" * 32, "bytes/1", "bytes", write, preview=preview))
    assert order == ["written", "preview of 1"]
    assert artifact.preview == {"rows": 1}


def test_large_pieces_are_hashed_as_they_are_written(store: ArtifactStore) -> None:
    buffer = bytearray(b"x" * 3_000_000)

    def write(sink: BinaryIO) -> None:
        sink.write(buffer)
        # The codec may use its memory again as soon as a write has returned.
        buffer[:] = b"y" * len(buffer)
        sink.write(memoryview(buffer))
        buffer[:] = b"x" * len(buffer)

    artifact = store.put(Encoded("ab" * 32, "bytes/1", "bytes", write))
    store.check(artifact)
    assert store.open(artifact).read() == b"x" * 3_000_000 + b"y" * 3_000_000
