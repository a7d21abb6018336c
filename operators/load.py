"""Operators that read tables from files: CSV, zipped CSV, Parquet, Arrow; local or at any fsspec URL."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, Literal, cast

import fsspec
import pandas as pd
import pyarrow as pa

from flowlearner import File, InputError, operator
from operators.tables import require_columns

# By what a file begins with, as its name may be lost: a stored artifact is named by its hash.
_MAGIC = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_COMPRESSIONS = ("gzip", "bz2", "xz", "zstd")


@operator
def load_table(path: File, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table from a CSV, compressed CSV, Parquet or Arrow (Feather) file.

    The format is told from the first bytes of the file, not from its name. A CSV file has commas,
    a header line and UTF-8 text; `load_csv` reads others.

    Args:
        path: a local path or an fsspec URL.
        columns: the columns to read, in this order; all of them by default.

    Returns:
        The table, with rows numbered from 0.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is empty, of no known format, or lacks a column.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
        >>> _ = path.write_text("carrier,delay\\nUA,2.0\\nAA,\\n")
        >>> load_table(str(path)).shape
        (2, 2)
    """
    with _open_file(path, "load_table") as file:
        kind = _sniff(file, path, "load_table")
        if kind in ("parquet", "arrow"):
            rows = _read_columnar(file, kind, path, columns, "load_table")
        else:
            rows = _read_csv(file, kind, path, "load_table", columns=columns)
    return rows


@operator
def load_csv(
    path: File,
    separator: str = ",",
    encoding: str = "utf-8",
    columns: list[str] | None = None,
    dates: list[str] | None = None,
) -> pd.DataFrame:
    """Read a table from a CSV file with a header line; it may be zipped, gzip, bz2, xz or zstd.

    Args:
        path: a local path or an fsspec URL.
        separator: the character between fields.
        encoding: of the text, such as "latin-1".
        columns: the columns to read, in this order; all of them by default.
        dates: columns of dates or times in ISO 8601, read as timestamps.

    Returns:
        The table, with rows numbered from 0. Empty fields are missing values.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is empty, not a CSV file, or lacks a column.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
        >>> _ = path.write_text("day;delay\\n2013-01-01;2\\n")
        >>> load_csv(str(path), separator=";", dates=["day"])["day"].dt.year.tolist()
        [2013]
    """
    with _open_file(path, "load_csv") as file:
        kind = _sniff(file, path, "load_csv")
        if kind in ("parquet", "arrow"):
            raise InputError(f"load_csv: '{path}' is a {kind.capitalize()} file; read it with load_table")
        rows = _read_csv(file, kind, path, "load_csv", separator, encoding, columns)
    require_columns(rows, dates or [], f"load_csv: '{path}'")
    for name in dates or []:
        try:
            rows[name] = pd.to_datetime(rows[name], format="ISO8601")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"load_csv: '{path}', column '{name}' does not hold ISO 8601 times: {error}"
            ) from None
    return rows


@operator
def load_parquet(path: File, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table from a Parquet file.

    Args:
        path: a local path or an fsspec URL.
        columns: the columns to read, in this order; all of them by default.

    Returns:
        The table, with rows numbered from 0; a named index comes back as columns.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is empty, not a Parquet file, or lacks a column.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.parquet"
        >>> pd.DataFrame({"delay": [2.0, 3.0]}).to_parquet(path)
        >>> load_parquet(str(path))["delay"].tolist()
        [2.0, 3.0]
    """
    with _open_file(path, "load_parquet") as file:
        kind = _sniff(file, path, "load_parquet")
        if kind != "parquet":
            raise InputError(f"load_parquet: '{path}' is not a Parquet file; load_table tells formats apart")
        return _read_columnar(file, kind, path, columns, "load_parquet")


def get_packaged_file(package: str, name: str, install: str) -> str:
    """Return the path of a data file inside an installed package, which is not imported.

    Args:
        package: import name of the package.
        name: path of the file inside it, with forward slashes.
        install: what installs it, for the message.

    Raises:
        ModuleNotFoundError: the package is not installed.
        FileNotFoundError: it has no such file.

    Example:
        >>> get_packaged_file("sklearn", "datasets/data/iris.csv", "scikit-learn").endswith("iris.csv")
        True
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise ModuleNotFoundError(
            f"package '{package}' is not installed. Run: pip install '{install}'", name=package
        )
    for folder in folders:
        path = Path(folder, *name.split("/"))
        if path.is_file():
            return str(path)
    raise FileNotFoundError(
        f"package '{package}' has no file '{name}'. Run: pip install --upgrade '{install}'"
    )


@contextmanager
def _open_file(path: str | os.PathLike[str], where: str) -> Iterator[IO[bytes]]:
    text = os.fspath(path)
    if "://" in text:
        with _open_url(text, where) as file:
            yield file
        return
    local = Path(text).expanduser()
    if local.is_dir():
        raise InputError(f"{where}: '{text}' is a folder; give the path of one file in it")
    try:
        opened = local.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: there is no file '{text}'.{_suggest_file(local)}") from None
    except OSError as error:
        raise InputError(f"{where}: '{text}' cannot be read: {error.strerror or error}") from None
    with opened:
        yield opened


@contextmanager
def _open_url(url: str, where: str) -> Iterator[IO[bytes]]:
    try:
        opened = fsspec.open(url, "rb").open()
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: there is no file '{url}'") from None
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{where}: '{url}' cannot be opened: {error}") from None
    with opened:
        yield opened


def _suggest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder '{folder}' does not exist either"
    names = [entry.name for entry in folder.iterdir()]
    close = get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f" Did you mean '{folder / close[0]}'?" if close else f" Its folder is '{folder.absolute()}'"


def _sniff(file: IO[bytes], path: object, where: str) -> str:
    start = file.read(4096)
    file.seek(0)
    if not start:
        raise InputError(f"{where}: '{path}' is empty (0 bytes)")
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if b"\x00" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{where}: '{path}' is neither text, Parquet nor Arrow; its first bytes are {start[:8]!r}"
        )
    return "text"


def _read_csv(
    file: IO[bytes],
    kind: str,
    path: object,
    where: str,
    separator: str = ",",
    encoding: str = "utf-8",
    columns: list[str] | None = None,
) -> pd.DataFrame:
    compression = kind if kind in _COMPRESSIONS else None
    try:
        with _open_member(file, path, where) if kind == "zip" else _keep_open(file) as text:
            rows = pd.read_csv(
                text,
                sep=separator,
                encoding=encoding,
                compression=cast(Literal["gzip"] | None, compression),
                low_memory=False,  # one type for a column, not one for each chunk of it
            )
    except pd.errors.EmptyDataError:
        raise InputError(f"{where}: '{path}' holds no table: there is no header line") from None
    except UnicodeError as error:
        raise InputError(
            f"{where}: '{path}' is not text in {encoding}: {error}. Give its encoding, "
            'such as load_csv(path, encoding="latin-1")'
        ) from None
    except LookupError as error:
        raise InputError(f"{where}: {error}") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{where}: '{path}' is not a regular CSV file: {error}") from None
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{where}: '{path}' is damaged or cannot be unpacked: {error}") from None
    if not rows.index.equals(pd.RangeIndex(len(rows))):
        # pandas makes the surplus fields an index without a word, which shifts every column.
        raise InputError(
            f"{where}: '{path}' has rows with more fields than the header names ({len(rows.columns)})"
        )
    return _finish(rows, path, columns, where)


@contextmanager
def _open_member(file: IO[bytes], path: object, where: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(file) as archive:
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if len(names) != 1:
            found = ", ".join(names[:10]) or "none"
            raise InputError(f"{where}: '{path}' must hold exactly one file, found {len(names)}: {found}")
        with archive.open(names[0]) as member:
            yield member


@contextmanager
def _keep_open(file: IO[bytes]) -> Iterator[IO[bytes]]:
    yield file


def _read_columnar(
    file: IO[bytes], kind: str, path: object, columns: list[str] | None, where: str
) -> pd.DataFrame:
    try:
        rows: Any = pd.read_parquet(file) if kind == "parquet" else pd.read_feather(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{where}: '{path}' is a damaged {kind.capitalize()} file: {error}") from None
    if not isinstance(rows.index, pd.RangeIndex):
        rows = rows.reset_index(drop=all(name is None for name in rows.index.names))
    return _finish(rows, path, columns, where)


def _finish(rows: pd.DataFrame, path: object, columns: list[str] | None, where: str) -> pd.DataFrame:
    if columns is not None:
        require_columns(rows, columns, f"{where}: '{path}'")
        rows = rows[columns]
    if rows.empty:
        raise InputError(f"{where}: '{path}' has {len(rows.columns)} columns and no rows")
    return rows.reset_index(drop=True)
