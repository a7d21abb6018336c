"""All runs: search, filter, choose columns, and do something with those that are selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from flowlearner.client import Client, FlowLearnerError, QueryError, Run
from ui.components import links
from ui.components.page import get_client, show_page
from ui.components.status import COLORS, OPEN, make_status_column
from ui.components.text import get_zone, plain, short_id
from ui.frames import FIXED, choose_columns, list_names, make_runs

PAGE_SIZE = 50
REFRESH_S = 2.0
ALL = "All"
ORDERS = {"created": "Newest", "duration": "Duration", "workflow": "Workflow", "status": "Status"}
EXAMPLES = """metric.auc > 0.7 and param.max_depth <= 6
status = FAILED and workflow = 'delays'
tag.team = 'ops' or experiment = 'nightly'"""


def show() -> None:
    client = get_client()
    st.title("Runs", anchor=False)
    filters = _ask_filters(client)
    try:
        count = client.count_runs(**filters)
    except QueryError as error:
        _show_query_error(error)
        return
    if count == 0:
        _show_nothing(client, filters)
        return
    _list(client, filters, count)


def _ask_filters(client: Client) -> dict[str, Any]:
    query = st.text_input(
        "Search",
        key="q",
        bind="query-params",
        type="search",
        placeholder="metric.auc > 0.7 and param.max_depth <= 6",
        help=f"Compare metric.x, param.x, tag.x or an attribute, for example:\n\n```\n{EXAMPLES}\n```",
    )
    workflows = [w.name for w in client.list_workflows()]
    experiments = [e.name for e in client.list_experiments()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        workflow = st.selectbox("Workflow", [ALL, *workflows], key="workflow", bind="query-params")
        experiment = st.selectbox("Experiment", [ALL, *experiments], key="experiment", bind="query-params")
        status = st.multiselect("Status", list(COLORS), key="status", bind="query-params")
        trials = st.toggle("Trials of sweeps", key="trials", bind="query-params")
        deleted = st.toggle("Deleted", key="deleted", bind="query-params")
    return {
        "query": query or None,
        "workflow": None if workflow == ALL else workflow,
        "experiment": None if experiment == ALL else experiment,
        "status": status or None,
        "include_trials": trials,
        "deleted_only": deleted,
    }


def _show_query_error(error: QueryError) -> None:
    st.error(plain(str(error).split("\n")[0], 1000), icon=":material/search_off:")
    mark = " " * error.position + "^"
    st.code(f"{error.query}\n{mark}", language=None)


def _show_nothing(client: Client, filters: dict[str, Any]) -> None:
    if any(filters.values()):
        st.info("No run fits.", icon=":material/filter_alt_off:")
        for reason in client.explain_names(filters["query"] or ""):
            st.caption(plain(reason))
        return
    st.info("There is no run yet. The first one takes a minute:", icon=":material/rocket_launch:")
    st.code("flowlearner demo", language="bash")
    st.caption("Or run a workflow of your own:")
    st.code("flowlearner run flights.py:delays -p rows=flights.parquet", language="bash")


def _list(client: Client, filters: dict[str, Any], count: int) -> None:
    pages = -(-count // PAGE_SIZE)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = client.list_runs(**filters, limit=PAGE_SIZE)
        names = [name for some in list_names(first).values() for name in some]
        # What the address names is a choice, also where no run of this page has it.
        asked = [n for n in st.query_params.get_all("columns") if n not in names]
        columns = st.multiselect(
            "Columns",
            [*names, *asked],
            default=choose_columns(first),
            key="columns",
            bind="query-params",
        )
        orders = [*ORDERS, *names]
        order = st.selectbox(
            "Order by", orders, key="order", bind="query-params", format_func=lambda n: ORDERS.get(n, n)
        )
        ascending = st.toggle("Ascending", key="ascending", bind="query-params")
        page = int(
            st.number_input(
                f"Page of {pages:,}", 1, max(pages, 1), key="page", bind="query-params", width=140
            )
        )
    live = any(r.status.value in OPEN for r in first)

    @st.fragment(run_every=REFRESH_S if live else None)
    def draw() -> None:
        runs = client.list_runs(
            **filters,
            limit=PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
            order_by=order,
            descending=not ascending,
        )
        _draw(client, runs, columns, count, page, filters["deleted_only"])

    draw()


def _draw(
    client: Client, runs: Sequence[Run], columns: Sequence[str], count: int, page: int, deleted: bool
) -> None:
    zone = get_zone()
    table = make_runs(runs, columns, zone)
    actions = st.container(horizontal=True, vertical_alignment="center")
    state: Any = st.dataframe(
        table,
        key=f"table-{page}",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=min(36 * (len(runs) + 1) + 3, 720),
        column_order=[*FIXED, *columns, "experiment", "owner"],
        column_config=_configure(columns),
        alt="Runs, one in each row",
    )
    chosen = [runs[i] for i in state.selection.rows if i < len(runs)]
    with actions:
        _show_actions(client, chosen, count, deleted)
    with st.container(horizontal=True):
        st.download_button(
            "CSV", table.to_csv(index=False), "runs.csv", "text/csv", icon=":material/download:"
        )


def _configure(columns: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "run": st.column_config.TextColumn("Run", width="small"),
        "workflow": "Workflow",
        "status": make_status_column(),
        "created": st.column_config.DatetimeColumn("Created", format="YYYY-MM-DD HH:mm:ss"),
        "duration": st.column_config.NumberColumn("Seconds", format="%.1f", width="small"),
        "experiment": "Experiment",
        "owner": "Owner",
    }
    for name in columns:
        if name.startswith("metric."):
            config[name] = st.column_config.NumberColumn(name, format="%.6g")
    return config


def _show_actions(client: Client, chosen: Sequence[Run], count: int, deleted: bool) -> None:
    if not chosen:
        st.markdown(f"{count:,} run{'' if count == 1 else 's'}")
        st.caption("Select rows to open, compare, tag or delete them.")
        return
    ids = [r.id for r in chosen]
    st.markdown(f"{len(chosen)} selected")
    if len(chosen) == 1 and st.button(
        f"Open {short_id(ids[0])}", type="primary", icon=":material/open_in_new:"
    ):
        links.open_run(ids[0])
    if len(chosen) > 1 and st.button("Compare", type="primary", icon=":material/compare_arrows:"):
        links.open_comparison(ids)
    with st.popover("Tag", icon=":material/label:"), st.form("tag", border=False):
        name, value = st.text_input("Name"), st.text_input("Value")
        if st.form_submit_button("Set") and name:
            for run_id in ids:
                client.set_tags(run_id, {name: value})
            st.rerun()
    if deleted and st.button("Restore", icon=":material/restore_from_trash:"):
        _try(lambda: client.restore_runs(ids))
    if not deleted and st.button("Delete", icon=":material/delete:"):
        _try(lambda: client.delete_runs(ids))


def _try(act: Any) -> None:
    try:
        act()
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    st.rerun()


show_page(show)
