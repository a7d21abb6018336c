"""All sweeps."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.components import links
from ui.components.page import get_client, show_page, telling
from ui.components.status import OPEN, make_status_column
from ui.components.text import get_zone, short_id
from ui.frames import make_sweeps

PAGE_SIZE = 50
REFRESH_S = 2.0


def show() -> None:
    client = get_client()
    st.title("Sweeps", anchor=False)
    page = max(int(st.query_params.get("page", "1")), 1) if st.query_params.get("page", "1").isdigit() else 1
    first = client.list_sweeps(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    if not first and page == 1:
        st.info(
            "There is no sweep here yet. A search over the declared ranges:", icon=":material/scatter_plot:"
        )
        st.code("flowlearner sweep flights.py:delays --metric auc --trials 20", language="bash")
        return

    @st.fragment(run_every=REFRESH_S if any(s.status.value in OPEN for s in first) else None)
    def draw() -> None:
        with telling():
            sweeps = client.list_sweeps(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
            actions = st.container(horizontal=True, vertical_alignment="center")
            table = make_sweeps(sweeps, get_zone())
            table["sweep"] = [f"/sweep?id={s.id}" for s in sweeps]
            state: Any = st.dataframe(
                table,
                key=f"sweeps-{hash(tuple(s.id for s in sweeps))}",
                hide_index=True,
                on_select="rerun",
                selection_mode="single-row",
                column_config={
                    "sweep": st.column_config.LinkColumn("Sweep", display_text=r"id=(.{8})", width=90),
                    "workflow": "Workflow",
                    "status": make_status_column(),
                    "created": st.column_config.DatetimeColumn(
                        "Created", format="YYYY-MM-DD HH:mm:ss", width=160
                    ),
                    "metric": "Metric",
                    "best": st.column_config.NumberColumn("Best", format="%.6g"),
                    "trials": st.column_config.NumberColumn("Trials", width=70),
                    "failed": st.column_config.NumberColumn("Failed", width=70),
                    "experiment": "Experiment",
                },
                placeholder="—",
                alt="Sweeps, one in each row",
            )
            chosen = [sweeps[i] for i in state.selection.rows if i < len(sweeps)]
            with actions:
                if not chosen:
                    st.caption("Select a row to open it.")
                else:
                    links.link_sweep(chosen[0].id, f"Open {short_id(chosen[0].id)}")

    draw()
    with st.container(horizontal=True):
        if page > 1:
            st.page_link("views/sweeps.py", label=":primary[Newer]", query_params={"page": str(page - 1)})
        if len(first) == PAGE_SIZE:
            st.page_link("views/sweeps.py", label=":primary[Older]", query_params={"page": str(page + 1)})


show_page(show)
