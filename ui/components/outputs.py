"""Shows an output by its type, from the stored preview wherever that says enough."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from flowlearner.client import Client, FlowLearnerError
from ui.components.text import plain, show_number, show_size, show_value
from ui.frames import make_preview

MOST_SHOWN_BYTES = 5 << 20


def show_output(client: Client, name: str, output: Any) -> None:
    """Draw one output of a run."""
    artifact = client.find_artifacts([output.hash]).get(output.hash)
    preview = artifact.preview if artifact is not None else None
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(name)}**", width="content")
            facts = [output.type, output.hash[:12]]
            if artifact is not None:
                facts.append(show_size(artifact.size_bytes))
            st.caption(plain(" · ".join(facts)), width="content")
        if output.value is not None:
            _show_plain(output.value)
        elif artifact is None:
            st.warning(
                "Its bytes are not in the store any more; a new run makes them again.",
                icon=":material/link_off:",
            )
        else:
            _show_preview(client, name, artifact, preview or {})


def _show_plain(value: Any) -> None:
    if isinstance(value, (dict, list)):
        st.json(value, expanded=1)
    else:
        st.text(show_number(value) if isinstance(value, float) else str(value))


def _show_preview(client: Client, name: str, artifact: Any, preview: Any) -> None:
    kind = preview.get("kind")
    if kind == "table":
        _show_table(preview)
    elif kind == "model":
        _show_model(preview)
    elif kind == "figure" and artifact.size_bytes <= MOST_SHOWN_BYTES:
        _show_figure(client, artifact.hash, name, preview)
    elif kind == "json":
        st.code(preview.get("text", ""), language="json")
    elif preview.get("unsafe"):
        st.caption("It was stored by pickle, which runs code when it is opened. Pages do not open it.")
    else:
        st.caption(plain(json.dumps(preview) if preview else "There is no preview.", 500))


def _show_table(preview: Any) -> None:
    head, facts = make_preview(preview)
    st.caption(f"{preview['rows']:,} rows, {preview['column_count']:,} columns")
    st.dataframe(
        facts,
        hide_index=True,
        height=min(35 * (len(facts) + 1) + 3, 388),
        column_config={
            "type": st.column_config.TextColumn("type", width=110),
            "min": st.column_config.TextColumn("min", width=110),
            "max": st.column_config.TextColumn("max", width=110),
            "histogram": st.column_config.BarChartColumn("histogram", y_min=0, width=130),
        },
        placeholder="—",
        alt="Columns, one in each row",
    )
    with st.expander(f"First {len(head)} rows"):
        st.dataframe(head, hide_index=True, placeholder="—")


def _show_model(preview: Any) -> None:
    st.text(preview.get("class", ""))
    steps = preview.get("steps")
    if steps:
        st.dataframe({"step": [s[0] for s in steps], "class": [s[1] for s in steps]}, hide_index=True)
    features = preview.get("features")
    if features:
        with st.expander(f"Signature: takes {len(features):,} columns"):
            st.text(", ".join(features))
    params = {k: v for k, v in preview.get("params", {}).items() if not (steps and k == "steps")}
    if params:
        st.dataframe(
            {"parameter": list(params), "value": [show_value(v) for v in params.values()]}, hide_index=True
        )


def _show_figure(client: Client, hash_: str, name: str, preview: Any) -> None:
    try:
        data = client.read_artifact(hash_)
    except FlowLearnerError as error:
        st.warning(plain(error, 500))
        return
    if preview.get("format") == "vega-lite":
        st.vega_lite_chart(json.loads(data))
    else:
        st.image(data, alt=plain(name))
