"""The codec of models: xgboost as UBJSON with its parameters, scikit-learn through skops; never pickle."""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import blake3

from flowlearner.artifacts.base import Codec, Encoded, Source
from flowlearner.artifacts.files import encode_bytes
from flowlearner.artifacts.structures import from_tree, to_tree
from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import ArtifactError, InputError, UnstableValueError, shorten
from flowlearner.spec import type_text

_MAGIC = b"FLXGB1\n"
_LIBRARIES = ("sklearn", "xgboost")


class ModelCodec(Codec):
    """Estimators and pipelines of scikit-learn, models of xgboost, and what users derive from them."""

    name = "model/1"

    def handles(self, declared: Any) -> bool:
        return isinstance(declared, type) and _is_model_class(declared)

    def encode(self, value: Any, declared: Any) -> Encoded:
        if not _is_model_class(type(value)):
            raise InputError(f"expected a model of scikit-learn or xgboost, found {type_text(type(value))}")
        type_name = _public_name(type(value))
        try:
            hash_ = digest_parts(self.name, digest(value))
        except UnstableValueError as error:
            raise InputError(f"the model cannot be stored: {error}") from None
        data = _encode_xgboost(value) if _is_xgboost(type(value)) else _encode_sklearn(value)
        return encode_bytes(self.name, hash_, type_name, data, _describe(value, type_name))

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        data = source.read()
        return _decode_xgboost(data) if data.startswith(_MAGIC) else _decode_sklearn(data)


def _is_model_class(cls: type) -> bool:
    roots = {f"{b.__module__.partition('.')[0]}.{b.__name__}" for b in cls.__mro__}
    return not roots.isdisjoint(("sklearn.BaseEstimator", "xgboost.Booster", "xgboost.XGBModel"))


def _is_xgboost(cls: type) -> bool:
    return any(b.__module__.startswith("xgboost") for b in cls.__mro__)


def _public_name(cls: type) -> str:
    """Return the name by which people import a class, such as "sklearn.linear_model.Ridge"."""
    parts = cls.__module__.split(".")
    if parts[0] in _LIBRARIES:
        for count in range(1, len(parts)):
            module = ".".join(parts[:count])
            if getattr(sys.modules.get(module), cls.__name__, None) is cls:
                return f"{module}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _describe(model: Any, type_name: str) -> dict[str, Any]:
    preview: dict[str, Any] = {"kind": "model", "class": type_name}
    if hasattr(model, "get_params"):
        params = model.get_params(deep=False)
        preview["params"] = {k: _brief(v) for k, v in sorted(params.items()) if v is not None}
    if hasattr(model, "steps"):
        preview["steps"] = [[str(name), type(step).__name__] for name, step in model.steps]
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        preview["features"] = [str(n) for n in names[:100]]
    return preview


def _brief(value: Any) -> Any:
    if isinstance(value, (bool, int, str)):
        return value
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


# xgboost


def _encode_xgboost(model: Any) -> bytes:
    booster = model if hasattr(model, "save_raw") else vars(model).get("_Booster")
    state = {} if booster is model else {k: v for k, v in vars(model).items() if k != "_Booster"}
    names = {"module": type(model).__module__, "class": type(model).__qualname__}
    tree, parts = to_tree(state, "the model")
    if parts:
        raise InputError(f"the model holds a value that is not plain: {', '.join(p.type for p in parts)}")
    body = b"" if booster is None else bytes(booster.save_raw("ubj"))
    # xgboost crashes on damaged bytes, so it never sees any.
    checks = {"fitted": booster is not None, "checksum": blake3.blake3(body).hexdigest()}
    header = json.dumps({**names, **checks, "state": tree}).encode()
    return _MAGIC + struct.pack("<Q", len(header)) + header + body


def _decode_xgboost(data: bytes) -> Any:
    import xgboost

    try:
        (size,) = struct.unpack_from("<Q", data, len(_MAGIC))
        begin = len(_MAGIC) + 8
        header = json.loads(data[begin : begin + size])
        module, name, fitted = header["module"], header["class"], header["fitted"]
        state = from_tree(header["state"], dict[str, Any])
        body = data[begin + size :]
        if blake3.blake3(body).hexdigest() != header["checksum"]:
            raise ArtifactError("the bytes are not a model of xgboost: they are damaged")
        booster = xgboost.Booster(model_file=bytearray(body)) if fitted else None
    except ArtifactError:
        raise
    except (ValueError, KeyError, TypeError, struct.error, xgboost.core.XGBoostError) as error:
        raise ArtifactError(f"the bytes are not a model of xgboost: {str(error)[:200]}") from None
    cls = _find_class(module, name, (xgboost.Booster, xgboost.XGBModel))
    if cls is xgboost.Booster:
        return booster
    model = cls.__new__(cls)
    vars(model).update(state)
    if booster is not None:
        model._Booster = booster
    return model


def _find_class(module: str, name: str, bases: tuple[type, ...]) -> Any:
    """Return a class that is loaded already and is a kind of model; nothing is imported for it.

    Raises:
        ArtifactError: there is none.
    """
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, bases):
        return found
    raise ArtifactError(
        f"the model is of class {module}.{name}, which is not loaded here. "
        "Import the module that defines it first"
    )


# scikit-learn


def _encode_sklearn(model: Any) -> bytes:
    import skops.io

    try:
        data: bytes = skops.io.dumps(model)
        refused = _list_refused(data)
    except Exception as error:
        raise InputError(f"the model cannot be stored without pickle: {error}") from error
    if refused:
        raise InputError(
            f"the model holds {shorten(refused)}, which cannot be stored without pickle. {_CURE}"
        )
    return data


_CURE = "Define a class at the top of a module of yours, as a subclass of sklearn.base.BaseEstimator"


def _decode_sklearn(data: bytes) -> Any:
    import skops.io

    try:
        names = skops.io.get_untrusted_types(data=data)
        refused = [n for n in names if not _is_trusted(n)]
        if not refused:
            return skops.io.loads(data, trusted=names)
    except Exception as error:  # noqa: BLE001 - damaged bytes may raise anything
        reason = str(error).strip().split("\n")[0][:200]
        raise ArtifactError(
            f"the bytes are not a model of scikit-learn: {type(error).__name__}: {reason}"
        ) from None
    raise ArtifactError(
        f"the model holds {shorten(refused)}, which is not trusted here, so it was not loaded. "
        "Import the module that defines it first, if it is yours"
    )


def _list_refused(data: bytes) -> list[str]:
    import skops.io

    return [n for n in skops.io.get_untrusted_types(data=data) if not _is_trusted(n)]


# Beside skops' own list: classes without side effects, and functions that estimators take as parameters.
_TRUSTED_CLASSES = ("sklearn.", "scipy.sparse.", "scipy.interpolate.", "scipy.spatial.", "scipy.stats.")
_TRUSTED_NAMES = frozenset(
    (
        *("numpy.dtype", "xgboost.core.Booster"),
        *(f"numpy.{name}" for name in ("mean", "median", "max", "min", "sum", "std", "var", "asarray")),
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
    )
)


def _is_trusted(name: str) -> bool:
    """Tell whether a class or function that stored bytes name may be used.

    Classes and functions of the libraries themselves, as far as they only compute; and estimators that are
    loaded already, as those of a run's own modules are.
    """
    import sklearn.base

    if name in _TRUSTED_NAMES:
        return True
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None)
    if found is None and name.startswith((*_TRUSTED_CLASSES, "xgboost.")):
        found = _import_own(module, attribute)
    home = f"{getattr(found, '__module__', None)}."
    if isinstance(found, type):
        return issubclass(found, sklearn.base.BaseEstimator) or home.startswith(_TRUSTED_CLASSES)
    return callable(found) and home.startswith("sklearn.")


def _import_own(module: str, attribute: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


CODECS = (ModelCodec(),)
