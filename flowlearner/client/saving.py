"""Writing a stored value to a file of the user's choice, in the form that its suffix names."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowlearner.artifacts import Source
from flowlearner.client.run import to_plain
from flowlearner.errors import StorageError, UsageError
from flowlearner.records import Artifact

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".arrow", ".feather", ".json")
_ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


def get_family(artifact: Artifact) -> str:
    """Return the codec's name without its format number: "table", "json", "model", ..."""
    return artifact.codec.partition("/")[0]


def get_suffix(artifact: Artifact) -> str:
    """Return the suffix of the natural file of a stored value."""
    family = get_family(artifact)
    if family == "figure":
        return ".png" if "matplotlib" in artifact.type else ".json"
    if family == "file" and artifact.path:
        return Path(artifact.path).suffix or ".bin"
    natural = {"table": ".parquet", "json": ".json", "array": ".npy", "snapshot": ".json", "diff": ".diff"}
    return natural.get(family, ".bin")


def write_artifact(artifact: Artifact, source: Source, load: Callable[[], Any], path: Path) -> None:
    """Write a stored value to `path`, whole or not at all; a file that is there is replaced.

    Args:
        source: the stored bytes.
        load: decodes the value; called only where the file's form is another one than the stored.

    Raises:
        UsageError: the suffix names a form that the value does not have, or the place cannot be written.
        StorageError: the disk fails or is full.
    """
    write = _choose_writer(artifact, source, load, path)
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write '{path}': there is no folder '{path.parent}'")
    # The suffix stays last: pandas and xgboost tell the form from it.
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        # Found out here, a place that cannot be written reads the same whichever library writes the form.
        temporary.touch()
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        kind = UsageError if error.errno in _FORBIDDEN else StorageError
        raise kind(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _choose_writer(
    artifact: Artifact, source: Source, load: Callable[[], Any], path: Path
) -> Callable[[Path], None]:
    family, suffix = get_family(artifact), _suffix(path)
    if family == "table" and suffix not in _ARROW_SUFFIXES:
        return _table_writer(load, suffix, path)
    if family == "json" and suffix in ("", ".json", ".txt"):
        return lambda target: _write_text(target, _show_json(load(), plain=suffix == ".txt"))
    if family == "array" and suffix in (".csv", ".txt"):
        return lambda target: _write_array_text(target, load(), path.name)
    if family == "figure" and suffix == ".html" and get_suffix(artifact) == ".json":
        return lambda target: load().save(str(target))
    if family == "model" and suffix in (".ubj", ".json") and artifact.type.startswith("xgboost."):
        return lambda target: load().save_model(str(target))
    expected = _list_suffixes(artifact)
    if expected and suffix not in ("", *expected):
        raise UsageError(f"'{path.name}': {artifact.type} is written as {', '.join(expected)}")
    return lambda target: _write_bytes(target, source)


def _list_suffixes(artifact: Artifact) -> tuple[str, ...]:
    """Return the suffixes of the forms that a value has; empty where any name will do."""
    natural = get_suffix(artifact)
    family = get_family(artifact)
    if family == "model":
        return (".ubj", ".json", ".bin") if artifact.type.startswith("xgboost.") else (".skops", ".bin")
    if family == "figure":
        return (".json", ".html") if natural == ".json" else (natural,)
    return {"array": (".npy", ".csv", ".txt"), "json": (".json", ".txt")}.get(family, ())


def _suffix(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    return ".csv.gz" if suffixes[-2:] == [".csv", ".gz"] else "".join(suffixes[-1:])


def _table_writer(load: Callable[[], Any], suffix: str, path: Path) -> Callable[[Path], None]:
    if suffix not in (*TABLE_SUFFIXES, ""):
        raise UsageError(f"'{path.name}': a table is written as {', '.join(TABLE_SUFFIXES)}")

    def write(target: Path) -> None:
        frame = load()
        if not hasattr(frame, "to_csv"):
            frame = frame.to_pandas()
        if suffix in (".parquet", ""):
            frame.to_parquet(target)
            return
        frame = _move_index(frame)
        if suffix == ".json":
            frame.to_json(target, orient="records", date_format="iso", indent=1)
        else:
            frame.to_csv(target, index=False, sep="\t" if suffix == ".tsv" else ",")

    return write


def _move_index(frame: Any) -> Any:
    """Return a table whose index, if it says anything, is among its columns: text has no other place."""
    if _has_default_index(frame):
        return frame
    taken = {str(c) for c in frame.columns}
    names = []
    for position, given in enumerate(frame.index.names):
        name = given
        if name is None:
            name = "index" if frame.index.nlevels == 1 else f"level_{position}"
        while str(name) in taken:
            name = f"{name}_index"
        taken.add(str(name))
        names.append(name)
    return frame.rename_axis(index=names).reset_index()


def _has_default_index(frame: Any) -> bool:
    index = frame.index
    return (
        type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1 and index.name is None
    )


def _show_json(value: Any, plain: bool) -> str:
    if plain and isinstance(value, str):
        return value
    return json.dumps(to_plain(_unpack(value)), indent=2, ensure_ascii=False) + "\n"


def _unpack(value: Any) -> Any:
    """Return NamedTuples, dataclasses and models of pydantic as dicts, as JSON would have them."""
    if hasattr(value, "_asdict"):
        return {k: _unpack(v) for k, v in value._asdict().items()}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {k: _unpack(getattr(value, k)) for k in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): _unpack(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unpack(v) for v in value]
    return value


def _write_array_text(target: Path, array: Any, name: str) -> None:
    import numpy as np

    if array.ndim > 2:
        raise UsageError(f"'{name}': an array of {array.ndim} dimensions is written as .npy")
    np.savetxt(target, array, delimiter=",", fmt="%s")


def _write_text(target: Path, text: str) -> None:
    target.write_text(text, encoding="utf-8")


def _write_bytes(target: Path, source: Source) -> None:
    if source.path is not None:
        shutil.copyfile(source.path, target)
    else:
        target.write_bytes(source.read())
