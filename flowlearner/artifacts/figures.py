"""The codec of figures: Altair charts as Vega-Lite JSON, matplotlib figures as PNG."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowlearner.artifacts.base import Codec, Encoded, Source
from flowlearner.artifacts.files import encode_bytes
from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import ArtifactError, InputError
from flowlearner.spec import type_text

_PNG = b"\x89PNG\r\n"
_PNG_END = b"IEND\xaeB`\x82"
_CHARTS = ("Chart", "LayerChart", "HConcatChart", "VConcatChart", "ConcatChart", "RepeatChart", "FacetChart")
_COUNTED = re.compile(r"\b(?:param|view|selector|interval|concat)_\d+\b")
# Where a specification refers to a parameter or a view, and where it holds what the user's rows say.
_REFERRING = frozenset(("name", "param", "views", "expr", "signal", "filter", "calculate", "test"))
_DATA = frozenset(("data", "datasets", "values"))


class FigureCodec(Codec):
    """Charts of Altair; and figures of matplotlib, which come back as figures that show the same picture."""

    name = "figure/1"

    def handles(self, declared: Any) -> bool:
        return isinstance(declared, type) and (_is_chart(declared) or _is_picture(declared))

    def encode(self, value: Any, declared: Any) -> Encoded:
        if _is_chart(type(value)):
            return self._encode_chart(value)
        if _is_picture(type(value)):
            return self._encode_picture(value)
        raise InputError(
            f"expected a chart of Altair or a figure of matplotlib, found {type_text(type(value))}"
        )

    def decode(self, source: Source, declared: Any, type_name: str) -> Any:
        data = source.read()
        return _decode_picture(data) if data.startswith(_PNG) else _decode_chart(data, type_name)

    def _encode_chart(self, chart: Any) -> Encoded:
        import altair

        try:
            # The rows belong into the chart itself, all of them.
            with altair.data_transformers.enable("default", max_rows=None):
                spec = _renumber(chart.to_dict())
        except Exception as error:
            reason = str(error).strip().split("\n")[0][:300]
            raise InputError(f"the chart does not draw: {type(error).__name__}: {reason}") from error
        data = json.dumps(spec, sort_keys=True, ensure_ascii=False).encode()
        hash_ = digest_parts(self.name, digest(json.loads(data)))
        preview = {"kind": "figure", "format": "vega-lite", "size_bytes": len(data)}
        return encode_bytes(self.name, hash_, f"altair.{type(chart).__name__}", data, preview)

    def _encode_picture(self, figure: Any) -> Encoded:
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        before = figure.canvas
        canvas: Any = FigureCanvasAgg(figure)
        try:
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())
            file = io.BytesIO()
            # Without the version of matplotlib, which is no part of the picture.
            canvas.print_png(file, metadata={"Software": None})
        finally:
            figure.set_canvas(before)
        height, width = pixels.shape[:2]
        preview = {"kind": "figure", "format": "png", "width": width, "height": height}
        hash_ = digest_parts(self.name, digest(pixels))
        return encode_bytes(self.name, hash_, "matplotlib.Figure", file.getvalue(), preview)


def _is_chart(cls: type) -> bool:
    return any(b.__module__.startswith("altair.") and b.__name__ == "TopLevelMixin" for b in cls.__mro__)


def _is_picture(cls: type) -> bool:
    return any(b.__module__ == "matplotlib.figure" and b.__name__ == "Figure" for b in cls.__mro__)


def _renumber(spec: dict[str, Any]) -> Any:
    """Count the names that Altair gives from 1 on in each chart: it counts through the whole process."""
    names: dict[str, str] = {}
    for name in _list_counted(spec):
        kind = name.rpartition("_")[0]
        names.setdefault(name, f"{kind}_{1 + sum(n.startswith(f'{kind}_') for n in names)}")
    return _rename(spec, names) if names else spec


def _list_counted(node: Any) -> Iterator[str]:
    """Yield the names of parameters and views that Altair chose, in their order."""
    if isinstance(node, list):
        for item in node:
            yield from _list_counted(item)
    elif isinstance(node, dict):
        name = node.get("name")
        if isinstance(name, str) and _COUNTED.fullmatch(name):
            yield name
        for key, item in node.items():
            if key not in _DATA:
                yield from _list_counted(item)


def _rename(node: Any, names: Mapping[str, str], key: str = "") -> Any:
    if isinstance(node, str) and key in _REFERRING:
        return _COUNTED.sub(lambda m: names.get(m[0], m[0]), node)
    if isinstance(node, list):
        return [_rename(item, names, key) for item in node]
    if isinstance(node, dict):
        return {k: v if k in _DATA else _rename(v, names, k) for k, v in node.items()}
    return node


def _decode_chart(data: bytes, type_name: str) -> Any:
    import altair

    name = type_name.rpartition(".")[2]
    cls = getattr(altair, name if name in _CHARTS else "Chart")
    try:
        return cls.from_dict(json.loads(data))
    except Exception as error:  # noqa: BLE001 - damaged bytes may raise anything
        reason = str(error).strip().split("\n")[0][:300]
        raise ArtifactError(f"the bytes are not a chart: {type(error).__name__}: {reason}") from None


def _decode_picture(data: bytes) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    if not data.endswith(_PNG_END):
        raise ArtifactError("the bytes are not a picture: they are cut short")
    try:
        pixels = imread(io.BytesIO(data), format="png")
    except Exception as error:  # noqa: BLE001 - damaged bytes may raise anything
        raise ArtifactError(f"the bytes are not a picture: {type(error).__name__}: {error}") from None
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.figimage(pixels)
    return figure


CODECS = (FigureCodec(),)
