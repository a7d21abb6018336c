"""All runs: search, filter, choose columns, and do something with those that are selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, QueryError, Run
from ui.components import links
from ui.components.page import get_client, show_page, telling
from ui.components.status import COLORS, OPEN, make_status_column
from ui.components.text import cut, get_zone, plain, short_id
from ui.components.views import show_views
from ui.frames import FIXED, choose_columns, list_names, make_runs, to_csv, to_parquet

PAGE_SIZE = 50
REFRESH_S = 2.0
MOST_DOWNLOADED = 10_000
MOST_SUGGESTED = 30
ALL = "All"
ORDERS = {"created": "Created", "duration": "Duration", "workflow": "Workflow", "status": "Status"}
SINCE = {
    "Any time": "",
    "Last hour": "1h",
    "Last 24 hours": "24h",
    "Last 7 days": "7d",
    "Last 30 days": "30d",
}
WHICH = ("Runs", "Runs and trials", "Deleted")
EXAMPLES = """metric.auc > 0.7 and param.max_depth <= 6
status = FAILED and workflow = 'delays'
tag.team = 'ops' or experiment = 'nightly'"""


def show() -> None:
    client = get_client()
    st.title("Runs", anchor=False)
    known = client.list_runs(limit=PAGE_SIZE)
    query, which = _ask_query(client, known)
    filters = _ask_filters(client, known, query, which)
    since = SINCE[filters.pop("since")]
    if since:
        filters["query"] = f"({query}) and created > {since}" if query else f"created > {since}"
    try:
        client.explain_names(query)
        count = client.count_runs(**filters)
    except QueryError as error:
        _show_query_error(error)
        return
    if count == 0:
        _show_nothing(client, query, filters)
        return
    _list(client, filters, count)


def _ask_query(client: Client, known: Sequence[Run]) -> tuple[str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.text_input(
            "Search",
            key="q",
            bind="query-params",
            type="search",
            placeholder="metric.auc > 0.7 and param.max_depth <= 6",
            help=f"Compare metric.x, param.x, tag.x or an attribute, for example:\n\n```\n{EXAMPLES}\n```",
        )
        with st.popover("Names", icon=":material/data_object:", help="Put a name into the search"):
            for kind, names in list_names(known).items():
                if names:
                    st.pills(
                        f"{kind.capitalize()}s",
                        names[:MOST_SUGGESTED],
                        format_func=lambda name: plain(name.partition(".")[2], 40),
                        key=f"suggest-{kind}",
                        on_change=_insert,
                        args=(f"suggest-{kind}",),
                    )
        which = st.selectbox("Show", WHICH, key="which", bind="query-params", width=170)
        with st.popover("Views", icon=":material/bookmark:", help="Lists that have a name"), telling():
            show_views(client)
    return query or "", which


def _insert(key: str) -> None:
    """Put a name that was chosen into the search, where it is completed by hand."""
    name = st.session_state.get(key)
    if name:
        kind, _, rest = name.partition(".")
        escaped = rest.replace("\\", "\\\\").replace('"', '\\"')
        quoted = name if rest.isidentifier() else f'{kind}."{escaped}"'
        before = (st.session_state.get("q") or "").strip()
        st.session_state["q"] = f"{before} and {quoted}" if before else quoted
    st.session_state[key] = None


def _ask_filters(client: Client, known: Sequence[Run], query: str, which: str) -> dict[str, Any]:
    workflows, experiments = _list_places(client, client.settings.catalog_url)
    owners = sorted({r.record.owner for r in known})
    tags = sorted({f"{name}={value}" for r in known for name, value in r.tags.items()})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        workflow = _ask_known("Workflow", "workflow", workflows)
        experiment = _ask_known("Experiment", "experiment", experiments)
        status = st.multiselect("Status", list(COLORS), key="status", bind="query-params", placeholder=ALL)
        owner = _ask_known("Owner", "owner", owners)
        tag = _ask_known("Tag", "tag", tags)
        since = st.selectbox("Created", list(SINCE), key="since", bind="query-params")
    name, _, value = tag.partition("=")
    return {
        "query": query or None,
        "since": since,
        "workflow": None if workflow == ALL else workflow,
        "experiment": None if experiment == ALL else experiment,
        "owner": None if owner == ALL else owner,
        "tags": None if tag == ALL else {name: value},
        "status": status or None,
        "include_trials": which == WHICH[1],
        "deleted_only": which == WHICH[2],
    }


# They are counted among all runs: once in a while, not at every click.
@st.cache_data(show_spinner=False, ttl=10, max_entries=10)
def _list_places(_client: Client, url: str) -> tuple[list[str], list[str]]:  # noqa: ARG001 - what it is kept by
    """Return the names of all workflows and experiments."""
    return [w.name for w in _client.list_workflows()], [e.name for e in _client.list_experiments()]


def _ask_known(label: str, key: str, known: Sequence[str]) -> str:
    """Ask for one of the names that are known, or for another."""
    asked = st.query_params.get(key, ALL)
    options = list(dict.fromkeys([ALL, *known, asked]))
    chosen = st.selectbox(
        label,
        options,
        key=key,
        bind="query-params",
        format_func=lambda text: cut(text, 60),
        accept_new_options=True,
    )
    return str(chosen or ALL)


def _show_query_error(error: QueryError) -> None:
    st.error(plain(str(error).split("\n")[0], 1000), icon=":material/search_off:")
    mark = " " * error.position + "^"
    st.code(f"{error.query}\n{mark}", language=None)


def _show_nothing(client: Client, query: str, filters: dict[str, Any]) -> None:
    if any(filters.values()):
        st.info("No run fits.", icon=":material/filter_alt_off:")
        for reason in client.explain_names(query):
            st.caption(plain(reason))
        links.link_runs("Show all runs")
        return
    st.info("There is no run yet. The first one takes a minute:", icon=":material/rocket_launch:")
    st.code("flowlearner demo", language="bash")
    st.caption("Or run a workflow of your own:")
    st.code("flowlearner run flights.py:delays -p rows=flights.parquet", language="bash")


def _list(client: Client, filters: dict[str, Any], count: int) -> None:
    first = client.list_runs(**filters, limit=PAGE_SIZE)
    live = any(r.status.value in OPEN for r in first)

    @st.fragment(run_every=REFRESH_S if live else None)
    def draw() -> None:
        with telling():
            _draw_page(client, filters, count, first)

    draw()


def _draw_page(client: Client, filters: dict[str, Any], count: int, first: Sequence[Run]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        actions = st.container(horizontal=True, vertical_alignment="center")
        page = _ask_page(-(-count // PAGE_SIZE))
        with st.popover("Columns", icon=":material/view_column:"):
            columns, order, ascending = _ask_columns(first)
        wanted = {**filters, "order_by": order, "descending": not ascending}
        _show_downloads(client, wanted)
    runs = client.list_runs(**wanted, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    chosen = _draw_table(runs, columns)
    with actions:
        if chosen:
            _show_actions(client, chosen, filters["deleted_only"])
        else:
            st.markdown(f"{count:,} run{'' if count == 1 else 's'}", width="content")
            st.caption("Select rows to open, compare, tag or delete them.", width="content")


def _ask_page(pages: int) -> int:
    if pages < 2:
        return 1
    with st.container(horizontal=True, vertical_alignment="center", width="content"):
        page = st.number_input(
            "Page", 1, pages, key="page", bind="query-params", width=130, label_visibility="collapsed"
        )
        st.caption(f"of {pages:,}")
    return int(page)


def _ask_columns(first: Sequence[Run]) -> tuple[list[str], str, bool]:
    names = [name for some in list_names(first).values() for name in some]
    # What the address names is a choice, also where no run of this page has it.
    asked = [n for n in st.query_params.get_all("columns") if n not in names]
    columns = st.multiselect(
        "Columns",
        [*names, *asked],
        default=choose_columns(first),
        format_func=lambda name: cut(name, 60),
        key="columns",
        bind="query-params",
    )
    order = st.selectbox(
        "Order by",
        list(dict.fromkeys([*ORDERS, *names, st.query_params.get("order", "created")])),
        key="order",
        bind="query-params",
        format_func=lambda name: ORDERS.get(name, cut(name, 60)),
    )
    ascending = st.toggle("Ascending", key="ascending", bind="query-params")
    return columns, order, ascending


def _draw_table(runs: Sequence[Run], columns: Sequence[str]) -> list[Run]:
    """Draw the table; return the runs that are selected."""
    table = make_runs(runs, columns, get_zone())
    table["run"] = [f"/run?id={r.id}" for r in runs]
    state: Any = st.dataframe(
        table,
        # Rows are selected by their place: other rows are another table, in which nothing is selected yet.
        key=f"table-{hash(tuple(r.id for r in runs))}",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=min(35 * (len(runs) + 1) + 3, 738),
        column_order=[*FIXED, *columns, "experiment", "owner"],
        column_config=_configure(columns),
        placeholder="—",
        alt="Runs, one in each row",
    )
    return [runs[i] for i in state.selection.rows if i < len(runs)]


def _configure(columns: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "run": st.column_config.LinkColumn("Run", display_text=r"id=(.{8})", width=90, pinned=True),
        "workflow": "Workflow",
        "status": make_status_column(),
        "created": st.column_config.DatetimeColumn("Created", format="YYYY-MM-DD HH:mm:ss", width=160),
        "duration": st.column_config.NumberColumn("Seconds", format="%.1f", width=80),
        "experiment": "Experiment",
        "owner": "Owner",
    }
    short = [name.partition(".")[2] for name in columns]
    for name in columns:
        kind, _, rest = name.partition(".")
        label = cut(rest if short.count(rest) == 1 else name, 40)
        numbers = st.column_config.NumberColumn(label, format="%.6g", help=kind)
        config[name] = numbers if kind == "metric" else st.column_config.Column(label, help=kind)
    return config


def _show_downloads(client: Client, wanted: dict[str, Any]) -> None:
    zone = get_zone()

    def read() -> pd.DataFrame:
        runs = client.list_runs(**wanted, limit=MOST_DOWNLOADED)
        names = [name for some in list_names(runs).values() for name in some]
        return make_runs(runs, names, zone)

    with st.popover("Download", icon=":material/download:"):
        st.caption(f"All runs that fit, at most {MOST_DOWNLOADED:,}, with all they have")
        st.download_button("CSV", lambda: to_csv(read()), "runs.csv", "text/csv", on_click="ignore")
        st.download_button(
            "Parquet",
            lambda: to_parquet(read()),
            "runs.parquet",
            "application/octet-stream",
            on_click="ignore",
        )


def _show_actions(client: Client, chosen: Sequence[Run], deleted: bool) -> None:
    ids = [r.id for r in chosen]
    st.markdown(f"{len(chosen)} selected", width="content")
    if len(chosen) == 1:
        links.link_run(ids[0], f"Open {short_id(ids[0])}")
        links.link_clone(ids[0])
    else:
        links.link_comparison(ids)
    with st.popover("Tag", icon=":material/label:"), st.form("tag", border=False):
        name, value = st.text_input("Name"), st.text_input("Value")
        if st.form_submit_button("Set") and name:
            _try(lambda: _set_tag(client, ids, name, value))
    if deleted and st.button("Restore", icon=":material/restore_from_trash:"):
        _try(lambda: client.restore_runs(ids))
    if not deleted and st.button("Delete", icon=":material/delete:"):
        _try(lambda: client.delete_runs(ids))


def _set_tag(client: Client, ids: Sequence[str], name: str, value: str) -> None:
    for run_id in ids:
        client.set_tags(run_id, {name: value})


def _try(act: Any) -> None:
    try:
        act()
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    st.rerun()


show_page(show)
