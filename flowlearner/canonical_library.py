"""Canonical encoding of numpy's, scipy's, scikit-learn's and xgboost's values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowlearner.canonical import Writer, class_name, digest_buffers
from flowlearner.errors import UnstableValueError

_BLOCK = 1 << 20
# Where ufuncs are found by their names; others are made of any function.
_UFUNCS = ("numpy", "scipy.special")


def encode_numpy(value: Any, out: Writer) -> bool:
    """Write a scalar, array, type, function or random state of numpy."""
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        out.put("masked")
        _encode_array(mask, out)
        _encode_array(np.where(mask, np.zeros((), value.dtype), value.data), out)
    elif isinstance(value, (np.ndarray, np.generic)):
        kind = type(value)
        if kind not in (np.ndarray, np.memmap):
            out.put("kind", class_name(kind))
        _encode_array(np.asarray(value), out)
    elif isinstance(value, np.dtype):
        out.put("dtype", str(value.descr if value.names else value.str))
    elif isinstance(value, np.ufunc):
        if not any(getattr(sys.modules.get(m), value.__name__, None) is value for m in _UFUNCS):
            raise UnstableValueError(f"{out.where}: what {value.__name__} calls has no stable encoding")
        out.put("ufunc", value.__name__)
    elif isinstance(value, np.random.RandomState):
        # Its reduced form also holds what it was seeded from, which no later number depends on.
        out.put("random-state")
        out.put_value(value.get_state(legacy=False))
    else:
        return _encode_global(value, out) or _encode_state(value, out)
    return True


def _encode_array(array: Any, out: Writer) -> None:
    """Write shape, type and content: independent of strides, byte order, padding and the bits of NaNs."""
    out.put("array", np.asarray(array.shape, dtype="<u8").tobytes())
    dtype = array.dtype.newbyteorder("<")
    if dtype.names:
        out.put("fields", *dtype.names)
        for name in dtype.names:
            _encode_array(array[name], out)
        return
    out.put("dtype", dtype.str)
    if dtype.hasobject or dtype.kind == "T":
        for i, item in enumerate(array.ravel().tolist()):
            out.put_value(item, f".flat[{i}]")
        return
    if dtype.char in "gG":
        raise UnstableValueError(f"{out.where}: {dtype} has bits without meaning; cast the array to float64")
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    out.put("data", digest_buffers(_iter_blocks(flat), flat.nbytes))


def _iter_blocks(flat: Any) -> Iterator[Any]:
    """Yield the bytes of a flat array; only a block with NaNs in it is copied."""
    if flat.dtype.kind == "c":
        flat = flat.view(f"<f{flat.itemsize // 2}")
    if flat.dtype.kind != "f":
        if flat.size:
            yield flat.view(np.uint8)
        return
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        if has_nan(block):
            block = np.where(np.isnan(block), np.array(np.nan, block.dtype), block)
        yield block.view(np.uint8)


def has_nan(values: Any) -> bool:
    """Tell whether an array of floats, not empty, has a NaN; without a copy of its size."""
    with np.errstate(invalid="ignore"):
        return bool(np.isnan(values.max()))


def encode_scipy(value: Any, out: Writer) -> bool:
    """Write a sparse array by its entries, in order; any other object of scipy by its state."""
    if all(hasattr(value, name) for name in ("tocoo", "nnz", "format")):
        entries = value.tocsr(copy=True) if value.ndim == 2 else value.tocoo(copy=True)
        entries.sum_duplicates()
        entries = entries.tocoo()
        out.put("sparse", class_name(type(value)), np.asarray(entries.shape, dtype="<u8").tobytes())
        for index in entries.coords:
            _encode_array(np.asarray(index, dtype="<i8"), out)
        _encode_array(entries.data, out)
        return True
    return _encode_global(value, out) or _encode_state(value, out)


def encode_sklearn(value: Any, out: Writer) -> bool:
    """Write an estimator by its class, parameters and fitted state."""
    return _encode_global(value, out) or _encode_state(value, out)


def encode_xgboost(value: Any, out: Writer) -> bool:
    """Write a booster, or a model by its class, parameters and booster."""
    if isinstance(value, type) or (not hasattr(value, "save_raw") and not hasattr(value, "get_xgb_params")):
        return _encode_global(value, out)
    booster = value if hasattr(value, "save_raw") else getattr(value, "_Booster", None)
    out.put("xgboost", class_name(type(value)))
    if booster is not value:
        out.put_value(value.get_params(deep=False), ".get_params()")
    out.put_value(None if booster is None else bytes(booster.save_raw("ubj")))
    return True


def _encode_global(value: Any, out: Writer) -> bool:
    """Write a class or function of the libraries by its name."""
    if not isinstance(value, type) and not (callable(value) and hasattr(value, "__qualname__")):
        return False
    kind = "class" if isinstance(value, type) else "function"
    out.put(kind, f"{value.__module__}.{value.__qualname__}")
    return True


def _encode_state(value: Any, out: Writer) -> bool:
    """Write an object by its class and its state, taken apart by its own rules."""
    cls = type(value)
    out.put("object", class_name(cls))
    if hasattr(value, "get_params") and hasattr(value, "__dict__"):
        # Text vectorizers keep the id of an object in memory, which another process has elsewhere.
        out.put_value({k: v for k, v in vars(value).items() if k != "_stop_words_id"})
        return True
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError as error:
        raise UnstableValueError(f"{out.where}: {error}") from None
    if isinstance(reduced, str):
        out.put("global", reduced)
        return True
    # The class is written already, and is among the arguments of what makes the object.
    args = tuple(a for a in reduced[1] if a is not cls)
    state = reduced[2] if len(reduced) > 2 else None
    items = [list(part) for part in reduced[3:5] if part is not None]
    for part in (args, state, items):
        out.put_value(part)
    return True
