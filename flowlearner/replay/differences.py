"""By how much two values of one output differ: tables and arrays by cells, structures by their parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from flowlearner.artifacts import ArtifactStore, get_codec
from flowlearner.errors import FlowLearnerError
from flowlearner.records import Artifact

PATHS_SHOWN = 10


def find_difference(
    before: Artifact | None,
    now: Artifact,
    before_hash: str,
    stores: tuple[ArtifactStore, ArtifactStore],
    tolerance: float,
) -> tuple[dict[str, Any], bool]:
    """Return by how much two stored values differ, and whether that is within a tolerance.

    Args:
        before: None where the value of then is lost; then only the hashes tell.
        stores: where the two are.
        tolerance: two numbers are as good as equal that differ by this part of the larger one, or of 1.
            Infinity excuses everything.
    """
    hashes = {"kind": "hash", "before": before_hash, "now": now.hash}
    if before is None or before.codec != now.codec or get_codec(now.codec).unsafe:
        return hashes, math.isinf(tolerance)
    try:
        values = [_load(a, s) for a, s in zip((before, now), stores, strict=True)]
    except FlowLearnerError:
        return hashes, math.isinf(tolerance)
    found, is_within = compare_values(values[0], values[1], tolerance)
    return found or hashes, math.isinf(tolerance) or (found is not None and is_within)


def _load(artifact: Artifact, store: ArtifactStore) -> Any:
    return get_codec(artifact.codec).decode(store.open(artifact), Any, artifact.type)


def compare_values(before: Any, now: Any, tolerance: float = 0.0) -> tuple[dict[str, Any] | None, bool]:
    """Return by how much two values differ, and whether it is within the tolerance.

    Returns:
        None where they are of a kind that is not compared by parts, or where no part differs.

    Example:
        >>> compare_values(1.0, 1.5)[0]
        {'kind': 'number', 'before': 1.0, 'now': 1.5, 'absolute': 0.5, 'relative': 0.3333333333333333}
    """
    if is_number(before) and is_number(now):
        absolute, relative = _measure(before, now)
        found = {"kind": "number", "before": before, "now": now, "absolute": absolute, "relative": relative}
        return found, _is_within(before, now, tolerance)
    names = {type(v).__module__.partition(".")[0] for v in (before, now)}
    if names <= {"pandas", "pyarrow"} and hasattr(before, "columns"):
        return _compare_tables(_to_frame(before), _to_frame(now), tolerance)
    if names == {"numpy"} and hasattr(before, "shape"):
        return _compare_arrays(before, now, tolerance)
    if isinstance(before, (list, tuple, Mapping)) and isinstance(now, (list, tuple, Mapping)):
        return _compare_parts(before, now, tolerance)
    if isinstance(before, (str, bool, type(None))) and isinstance(now, (str, bool, type(None))):
        return {"kind": "value", "before": before, "now": now}, False
    return None, False


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _measure(before: float, now: float) -> tuple[float, float]:
    if before == now or (math.isnan(before) and math.isnan(now)):
        return 0.0, 0.0
    absolute = abs(now - before)
    largest = max(abs(before), abs(now))
    return absolute, absolute / largest if math.isfinite(largest) else math.nan


def _is_within(before: float, now: float, tolerance: float) -> bool:
    absolute = _measure(before, now)[0]
    near = tolerance * max(1, abs(before), abs(now))
    # Nothing is near to an infinite or a missing number.
    return absolute == 0 or (tolerance > 0 and math.isfinite(absolute) and absolute <= near)


def _to_frame(table: Any) -> Any:
    return table.to_pandas() if type(table).__module__.startswith("pyarrow") else table


def _compare_tables(before: Any, now: Any, tolerance: float) -> tuple[dict[str, Any] | None, bool]:
    added = [str(c) for c in now.columns if c not in before.columns]
    removed = [str(c) for c in before.columns if c not in now.columns]
    found: dict[str, Any] = {"kind": "table", "rows": {"before": len(before), "now": len(now)}}
    found |= {"added": added, "removed": removed, "cells": 0, "max_absolute": None, "columns": []}
    is_within = not added and not removed and len(before) == len(now)
    if len(before) == len(now) and before.columns.is_unique and now.columns.is_unique:
        for name in before.columns:
            if name in now.columns:
                column, is_near = _compare_columns(before[name], now[name], tolerance)
                is_within = is_within and is_near
                if column is not None:
                    found["columns"].append({"name": str(name), **column})
        found["cells"] = sum(c["cells"] for c in found["columns"])
        found["max_absolute"] = _largest(c["max_absolute"] for c in found["columns"])
    differs = bool(found["columns"] or added or removed or len(before) != len(now))
    return (found if differs else None), is_within


def _compare_columns(before: Any, now: Any, tolerance: float) -> tuple[dict[str, Any] | None, bool]:
    import numpy as np

    found: dict[str, Any] = {}
    if before.dtype != now.dtype:
        found["dtype"] = {"before": str(before.dtype), "now": str(now.dtype)}
    if all(_is_numeric(c.dtype) for c in (before, now)):
        cells, largest, relative, is_near = _compare_numbers(
            before.to_numpy(float, na_value=np.nan), now.to_numpy(float, na_value=np.nan), tolerance
        )
    else:
        left, right = before.astype(object).to_numpy(), now.astype(object).to_numpy()
        missing = before.isna().to_numpy() & now.isna().to_numpy()
        cells = int(sum(not m and not _is_same(a, b) for m, a, b in zip(missing, left, right, strict=True)))
        largest = relative = None
        is_near = cells == 0
    if not cells and not found:
        return None, True
    found |= {"cells": cells, "max_absolute": largest, "max_relative": relative}
    return found, is_near and "dtype" not in found


def _is_numeric(dtype: Any) -> bool:
    return getattr(dtype, "kind", "O") in "iuf"


def _is_same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return repr(a) == repr(b)


def _compare_arrays(before: Any, now: Any, tolerance: float) -> tuple[dict[str, Any] | None, bool]:
    found: dict[str, Any] = {"kind": "array", "shape": {"before": list(before.shape), "now": list(now.shape)}}
    found["dtype"] = {"before": str(before.dtype), "now": str(now.dtype)}
    if before.shape != now.shape:
        return found | {"cells": None, "max_absolute": None, "max_relative": None}, False
    if not (_is_numeric(before.dtype) and _is_numeric(now.dtype)):
        cells = int((before != now).sum())
        return (found | {"cells": cells, "max_absolute": None, "max_relative": None}), cells == 0
    cells, largest, relative, is_near = _compare_numbers(before.astype(float), now.astype(float), tolerance)
    is_near = is_near and before.dtype == now.dtype
    return found | {"cells": cells, "max_absolute": largest, "max_relative": relative}, is_near


def _compare_numbers(before: Any, now: Any, tolerance: float) -> tuple[int, float | None, float | None, bool]:
    """Return how many cells differ, by how much at most, absolute and relative, and whether all are near."""
    import numpy as np

    with np.errstate(all="ignore"):
        same = (before == now) | (np.isnan(before) & np.isnan(now))
        absolute = np.abs(now - before)
        largest = np.maximum(np.abs(before), np.abs(now))
        near = same | (
            (tolerance > 0) & np.isfinite(absolute) & (absolute <= tolerance * np.maximum(1, largest))
        )
        relative = absolute / largest
    cells = int((~same).sum())
    if not cells:
        return 0, None, None, True
    known = ~same & np.isfinite(absolute)
    return (
        cells,
        float(absolute[known].max()) if known.any() else None,
        float(relative[known].max()) if known.any() else None,
        bool(near.all()),
    )


def _compare_parts(before: Any, now: Any, tolerance: float) -> tuple[dict[str, Any] | None, bool]:
    left, right = dict(_iter_leaves(before, "")), dict(_iter_leaves(now, ""))
    paths: list[str] = []
    absolutes: list[float] = []
    is_within = True
    for path in {**left, **right}:
        if path not in left or path not in right:
            paths.append(path)
            is_within = False
            continue
        a, b = left[path], right[path]
        if is_number(a) and is_number(b):
            if _measure(a, b)[0] != 0:
                paths.append(path)
                absolutes.append(_measure(a, b)[0])
                is_within = is_within and _is_within(a, b, tolerance)
        elif not _is_same(a, b):
            paths.append(path)
            is_within = False
    if not paths:
        return None, True
    found = {"kind": "values", "values": len(paths), "of": len({**left, **right})}
    return found | {"paths": paths[:PATHS_SHOWN], "max_absolute": _largest(absolutes)}, is_within


def _iter_leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    items: Any = None
    if isinstance(value, Mapping):
        items = value.items()
    elif hasattr(value, "_asdict"):
        items = value._asdict().items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from _iter_leaves(item, f"{path}[{key!r}]")


def _largest(numbers: Any) -> float | None:
    return max((n for n in numbers if n is not None), default=None)


def show_difference(difference: Mapping[str, Any]) -> str:
    """Return a difference in words.

    Example:
        >>> show_difference({"kind": "number", "before": 1, "now": 2, "absolute": 1, "relative": 0.5})
        '1 → 2 (by 1, 50 %)'
    """
    kind = difference["kind"]
    if kind == "number":
        by = f"by {difference['absolute']:.6g}, {100 * difference['relative']:.3g} %"
        return f"{difference['before']:.10g} → {difference['now']:.10g} ({by})"
    if kind == "value":
        return f"{difference['before']!r} → {difference['now']!r}"
    if kind == "error":
        return f"{difference['error']['type']}: {difference['error']['message']}"
    if kind == "no-error":
        return f"it failed with {difference['before']['type']}, and did not now"
    if kind == "hash":
        return f"another content: {difference['before'][:12]} → {difference['now'][:12]}"
    most = "" if difference["max_absolute"] is None else f", by {difference['max_absolute']:.6g} at most"
    if kind == "values":
        shown = ", ".join(difference["paths"][:3]) + (", …" if difference["values"] > 3 else "")
        return f"{difference['values']} of {difference['of']} values differ{most}: {shown}"
    if kind == "array":
        if difference["cells"] is None:
            return f"shape {difference['shape']['before']} → {difference['shape']['now']}"
        return f"{difference['cells']:,} cells differ{most}"
    return _show_table(difference, most)


def _show_table(difference: Mapping[str, Any], most: str) -> str:
    parts = []
    rows = difference["rows"]
    if rows["before"] != rows["now"]:
        parts.append(f"{rows['before']:,} → {rows['now']:,} rows")
    if difference["added"]:
        parts.append(f"further columns {', '.join(difference['added'][:5])}")
    if difference["removed"]:
        parts.append(f"without columns {', '.join(difference['removed'][:5])}")
    if difference["columns"]:
        names = [c["name"] for c in difference["columns"]]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        parts.append(f"{difference['cells']:,} cells differ{most}, in {shown}")
    return "; ".join(parts)
