"""The codec of figures: Altair charts and matplotlib figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from flowlearner import ArtifactError, InputError
from flowlearner.artifacts import Source, choose_codec, get_codec
from flowlearner.testing.codecs import Case, CodecConformance, write_bytes


def make_chart(rows: int = 5) -> alt.Chart:
    table = pd.DataFrame({"x": range(rows), "y": range(rows)})
    chart: alt.Chart = alt.Chart(table).mark_line().encode(x="x:Q", y="y:Q")
    return chart


def make_figure(dots: int = 3) -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(range(dots))
    return figure


class TestCharts(CodecConformance):
    codec = get_codec("figure/1")

    def make_cases(self) -> Mapping[str, Case]:
        return {
            "plain": Case(make_chart, alt.Chart, lambda c: c.__setattr__("title", "changed")),
            "interactive": Case(lambda: make_chart().interactive(), alt.Chart),
            "selection": Case(lambda: make_chart().add_params(alt.selection_point()), alt.Chart),
            "two views": Case(lambda: make_chart() | make_chart(7).interactive(), alt.HConcatChart),
            "layers": Case(lambda: make_chart() + make_chart(7), alt.LayerChart),
            "facets": Case(lambda: make_chart().facet("x:N"), alt.FacetChart),
            "many rows": Case(lambda: make_chart(6000), alt.Chart),
            "inline": Case(
                lambda: alt.Chart(alt.InlineData(values=[{"x": 1}]), title="t").mark_bar().encode(x="x:Q"),
                alt.Chart,
            ),
        }

    def is_equal(self, left: Any, right: Any) -> bool:
        return self.codec.encode(left, Any).hash == self.codec.encode(right, Any).hash


class TestPictures(CodecConformance):
    codec = get_codec("figure/1")

    def make_cases(self) -> Mapping[str, Case]:
        return {"small": Case(make_figure, Figure), "other": Case(lambda: make_figure(4), Figure)}

    def is_equal(self, left: Any, right: Any) -> bool:
        return self.codec.encode(left, Any).hash == self.codec.encode(right, Any).hash


def encode(figure: Any) -> Any:
    return choose_codec(Any, figure).encode(figure, Any)


def test_a_chart_is_stored_as_vega_lite() -> None:
    spec = json.loads(write_bytes(encode(make_chart())))
    assert spec["mark"] == {"type": "line"}
    assert "vega-lite" in spec["$schema"]


def test_a_text_that_looks_like_a_name_that_altair_gave_stays_as_it_is() -> None:
    make_chart().interactive()
    table = pd.DataFrame({"param_7": ["view_9", "param_12"]})
    chart = alt.Chart(table, title="param_3").mark_bar().encode(x="param_7:N").interactive()
    spec = json.loads(write_bytes(encode(chart)))
    (rows,) = spec["datasets"].values()
    assert rows == [{"param_7": "view_9"}, {"param_7": "param_12"}]
    assert spec["title"] == "param_3"
    assert spec["encoding"]["x"]["field"] == "param_7"


def test_a_picture_is_a_png_without_date_and_version() -> None:
    data = write_bytes(encode(make_figure()))
    assert data.startswith(b"\x89PNG")
    assert mpl.__version__.encode() not in data
    assert data == write_bytes(encode(make_figure()))


def test_a_picture_comes_back_with_the_same_pixels() -> None:
    encoded = encode(make_figure())
    loaded = get_codec("figure/1").decode(Source(data=write_bytes(encoded)), Figure, encoded.type)
    assert isinstance(loaded, Figure)
    assert np.array_equal(loaded.get_size_inches(), [3, 2])
    assert write_bytes(encode(loaded)) == write_bytes(encoded)


def test_drawing_a_figure_for_the_store_leaves_it_as_it_was() -> None:
    figure = make_figure()
    canvas, size = figure.canvas, tuple(figure.get_size_inches())
    encode(figure)
    assert figure.canvas is canvas
    assert tuple(figure.get_size_inches()) == size


def test_a_chart_that_does_not_draw_is_the_users_error() -> None:
    with pytest.raises(InputError, match="does not draw"):
        encode(alt.Chart(pd.DataFrame({"x": [1]})).mark_bar().encode(x="nosuch"))


@pytest.mark.parametrize("data", [b"", b"{", b'{"mark": 3}', b"\x89PNG\r\n\x1a\n", b"[]"])
def test_bytes_that_are_no_figure_are_an_artifact_error(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        get_codec("figure/1").decode(Source(data=data), Any, "altair.Chart")
