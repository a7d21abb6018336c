"""How far a run or sweep is that was launched, until it is in the catalog."""

from __future__ import annotations

from typing import Any

import streamlit as st

from flowlearner.client import Client, LaunchState, NotFoundError
from ui.components import links
from ui.components.page import get_client, get_param, set_title, show_page, telling
from ui.components.text import plain, short_id

REFRESH_S = 1.0


def show() -> None:
    client, launched = get_client(), get_param("id")
    if not launched:
        st.title("Launched", anchor=False)
        st.info("The address names nothing that was launched.", icon=":material/info:")
        st.page_link(links.LAUNCH, label=":primary[Launch something]", icon=":material/rocket_launch:")
        return
    set_title(f"Launched {short_id(launched)}")
    st.title(plain(f"Launched {short_id(launched)}"), anchor=False)

    # It goes on under its own id.
    sweep = get_param("sweep")
    kind, state = _look(client, launched, sweep)
    waits = not kind and state is not None and not state.has_ended

    @st.fragment(run_every=REFRESH_S if waits else None)
    def draw() -> None:
        with telling():
            _show_state(client, launched, sweep, waits)

    draw()
    if sweep:
        return
    names = {"run": "clone", "name": "workflow"}
    back = {there: get_param(here) for here, there in names.items() if get_param(here)}
    st.page_link(
        links.LAUNCH, label=":primary[Launch another]", query_params=back, icon=":material/rocket_launch:"
    )


def _show_state(client: Client, launched: str, sweep: str, waits: bool) -> None:
    kind, state = _look(client, launched, sweep)
    if waits and (kind or state is None or state.has_ended):
        # The page looks no more.
        st.rerun()
    if kind:
        st.success(f"The {kind} has begun.", icon=":material/check_circle:")
        (links.link_sweep if kind == "sweep" else links.link_run)(sweep or launched, f"Open the {kind}")
    else:
        _show_waiting(client, launched, state)


def _look(client: Client, launched: str, sweep: str) -> tuple[str, LaunchState | None]:
    """Return what it is in the catalog, "run" or "sweep"; empty where it is not there, with how it fares."""
    if sweep:
        state = client.find_launch(launched)
        return ("sweep" if state is not None and state.state in ("RUNNING", "COMPLETED") else ""), state
    for kind, get in (("run", client.get_record), ("sweep", client.get_sweep_record)):
        try:
            found: Any = get(launched)
        except NotFoundError:
            continue
        # A beginning of an id would name another.
        if found.id == launched:
            return kind, None
    return "", client.find_launch(launched)


def _show_waiting(client: Client, launched: str, state: LaunchState | None) -> None:
    if state is None:
        st.error("Nothing was launched under this id.", icon=":material/search_off:")
        return
    if state.has_ended:
        _show_end(state.state, state.message)
        return
    st.info(
        "It begins in some seconds. It goes on when this page is closed.", icon=":material/hourglass_top:"
    )
    if st.button("Cancel", icon=":material/block:"):
        client.cancel_launch(launched)
        st.rerun()


def _show_end(state: str, message: str) -> None:
    if state == "CANCELLED":
        st.info("It was taken back before it began.", icon=":material/block:")
        return
    st.error("It could not begin.", icon=":material/error:")
    if message:
        st.code(message, language=None, wrap_lines=True)


show_page(show)
