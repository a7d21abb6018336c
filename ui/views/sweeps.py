"""All sweeps."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.components import links
from ui.components.page import get_client, show_page
from ui.components.status import OPEN, make_status_column
from ui.components.text import get_zone, short_id
from ui.frames import make_sweeps

PAGE_SIZE = 50
REFRESH_S = 2.0


def show() -> None:
    client = get_client()
    st.title("Sweeps", anchor=False)
    page = int(st.number_input("Page", 1, key="page", bind="query-params", width=140))
    first = client.list_sweeps(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    if not first:
        st.info("There is no sweep here yet. A search over the declared ranges:", icon=":material/info:")
        st.code("flowlearner sweep flights.py:delays --metric auc --trials 20", language="bash")
        return

    @st.fragment(run_every=REFRESH_S if any(s.status.value in OPEN for s in first) else None)
    def draw() -> None:
        sweeps = client.list_sweeps(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
        state: Any = st.dataframe(
            make_sweeps(sweeps, get_zone()),
            key=f"sweeps-{page}",
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            column_config={
                "status": make_status_column(),
                "created": st.column_config.DatetimeColumn("created", format="YYYY-MM-DD HH:mm:ss"),
                "best": st.column_config.NumberColumn("best", format="%.6g"),
            },
            alt="Sweeps, one in each row",
        )
        chosen = [sweeps[i] for i in state.selection.rows if i < len(sweeps)]
        if chosen and st.button(
            f"Open {short_id(chosen[0].id)}", type="primary", icon=":material/open_in_new:"
        ):
            links.open_sweep(chosen[0].id)

    draw()


show_page(show)
