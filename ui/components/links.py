"""Links between pages; each names a page by its file and a thing by its id.

Links rather than buttons that switch the page: what `history` does for links it cannot do for these.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from ui.components.text import plain, short_id

RUNS, RUN, SWEEP, COMPARE = "views/runs.py", "views/run.py", "views/sweep.py", "views/compare.py"
LAUNCH, LAUNCHED = "views/launch.py", "views/launched.py"


def link_run(run_id: str, label: str | None = None) -> None:
    """Draw a link to a run."""
    st.page_link(RUN, label=_show(label or short_id(run_id)), query_params={"id": run_id})


def link_sweep(sweep_id: str, label: str | None = None) -> None:
    """Draw a link to a sweep."""
    st.page_link(SWEEP, label=_show(label or short_id(sweep_id)), query_params={"id": sweep_id})


def link_comparison(run_ids: Iterable[str]) -> None:
    """Draw a link to runs side by side."""
    st.page_link(
        COMPARE,
        label=_show("Compare"),
        query_params={"runs": ",".join(run_ids)},
        icon=":material/compare_arrows:",
    )


def link_clone(run_id: str, label: str = "Clone") -> None:
    """Draw a link to the form that launches a run once more."""
    st.page_link(LAUNCH, label=_show(label), query_params={"clone": run_id}, icon=":material/replay:")


def link_workflow(name: str) -> None:
    """Draw a link to a workflow."""
    st.page_link("views/workflows.py", label=_show(name), query_params={"name": name})


def link_runs(label: str, **filters: str | list[str]) -> None:
    """Draw a link to the list of runs, filtered as its address says."""
    st.page_link(RUNS, label=_show(label), query_params=filters)


def open_launched(launched: str, **params: str) -> None:
    """Go to where it shows how a launch fares."""
    st.switch_page(LAUNCHED, query_params={"id": launched, **params})


def _show(label: str) -> str:
    return f":primary[{plain(label)}]"
