"""All schedules: when they fire, what they ran, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, Schedule
from ui.components import links
from ui.components.page import get_client, get_param, set_title, show_facts, show_page, telling
from ui.components.status import COLORS, make_status_column, show_status
from ui.components.text import get_zone, plain, show_ago, show_duration, show_time
from ui.frames import choose_columns, make_runs, make_times

REFRESH_S = 5.0
MOST_RUNS = 50
ADD = "flowlearner schedules add nightly flights.py:delays --cron '0 2 * * *'"


def show() -> None:
    client = get_client()
    st.title("Schedules", anchor=False)
    try:
        found = client.list_schedules()
    except FlowLearnerError as error:
        st.warning(plain(error, 500), icon=":material/power_off:")
        st.caption("Schedules are kept by the services; what they have run is in the catalog all the same.")
        st.code("flowlearner up", language="bash")
        st.button("Try again", icon=":material/refresh:")
        return
    if not found:
        st.info(
            "There is no schedule yet. Make one for a run, or with --spec for a sweep:",
            icon=":material/info:",
        )
        st.code(ADD, language="bash")
        return
    _show_service(client)
    wanted, names = get_param("name"), [s.name for s in found]
    if wanted and wanted not in names:
        st.warning(plain(f"There is no schedule '{wanted}'."), icon=":material/search_off:")

    @st.fragment(run_every=REFRESH_S)
    def draw() -> None:
        with telling():
            schedules = client.list_schedules()
            if [s.name for s in schedules] != names:
                st.rerun()
            st.dataframe(
                _make_table(schedules),
                hide_index=True,
                column_config={
                    "Status": make_status_column(),
                    "Next": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
                    "Last": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
                },
                placeholder="—",
                alt="Schedules, one in each row",
            )
            name = st.selectbox("Schedule", names, key="name", bind="query-params", width=460)
            _show_one(client, schedules[names.index(name)])

    draw()


def _make_table(schedules: Sequence[Schedule]) -> pd.DataFrame:
    zone = get_zone()
    return pd.DataFrame(
        {
            "Name": [s.name for s in schedules],
            "Workflow": [s.workflow for s in schedules],
            "When": [_show_timing(s) for s in schedules],
            "State": ["paused" if s.paused else "on" for s in schedules],
            "Next": make_times([s.next_at for s in schedules], zone),
            "Last": make_times([s.last_at for s in schedules], zone),
            "Status": [[s.last_status] if s.last_status in COLORS else [] for s in schedules],
        }
    )


def _show_timing(schedule: Schedule) -> str:
    timing = schedule.timing
    if timing.every_s is not None:
        return f"every {show_duration(timing.every_s)}"
    return f"{timing.cron} {timing.timezone}" if timing.cron else ""


def _show_service(client: Client) -> None:
    try:
        client.check_launching()
    except FlowLearnerError as error:
        st.warning(plain(f"None of them fires: {error}", 500), icon=":material/power_off:")


def _show_one(client: Client, schedule: Schedule) -> None:
    set_title(f"Schedule {schedule.name}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(schedule.name), anchor=False, width="content")
        if schedule.paused:
            st.badge("Paused", icon=":material/pause:", color="orange")
        if schedule.last_status in COLORS:
            show_status(str(schedule.last_status))
        name = schedule.name
        if st.button("Run now", icon=":material/play_arrow:", key=f"trigger-{name}"):
            _act(lambda: client.trigger_schedule(name), "It begins in some seconds.")
        if schedule.paused and st.button("Resume", icon=":material/resume:", key=f"resume-{name}"):
            _act(lambda: client.resume_schedule(name))
        if not schedule.paused and st.button("Pause", icon=":material/pause:", key=f"pause-{name}"):
            _act(lambda: client.pause_schedule(name))
    show_facts(
        {
            "Workflow": schedule.workflow,
            "Next": show_time(schedule.next_at),
            "Last": f"{show_time(schedule.last_at)} ({show_ago(schedule.last_at)})"
            if schedule.last_at
            else "",
            "Experiment": schedule.job.experiment or "",
        }
    )
    if schedule.skipped_at is not None:
        st.caption(f"It was due at {show_time(schedule.skipped_at)}, when the one before was still going.")
    st.code(schedule.job.command, language="bash", wrap_lines=True)
    _show_history(client, schedule)


def _act(act: Callable[[], object], done: str = "") -> None:
    try:
        act()
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    if done:
        st.toast(done)
    else:
        st.rerun()


def _show_history(client: Client, schedule: Schedule) -> None:
    st.caption("What it has run")
    if schedule.job.spec is not None:
        sweeps = [s for s in client.list_sweeps(limit=None) if s.record.tags.get("schedule") == schedule.name]
        for sweep in sweeps[:MOST_RUNS]:
            with st.container(horizontal=True, vertical_alignment="center"):
                show_status(sweep.status.value)
                links.link_sweep(sweep.id)
                st.caption(show_time(sweep.record.created_at))
        if not sweeps:
            st.caption("Nothing yet.")
        return
    runs = client.list_runs(tags={"schedule": schedule.name}, limit=MOST_RUNS)
    if not runs:
        st.caption("Nothing yet.")
        return
    table = make_runs(runs, choose_columns(runs), get_zone())
    table["run"] = [f"/run?id={r.id}" for r in runs]
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "run": st.column_config.LinkColumn("Run", display_text=r"id=(.{8})", width=90),
            "workflow": None,
            "owner": None,
            "status": make_status_column(),
            "created": st.column_config.DatetimeColumn("Created", format="YYYY-MM-DD HH:mm:ss"),
            "duration": st.column_config.NumberColumn("Seconds", format="%.1f"),
            "experiment": "Experiment",
        },
        placeholder="—",
        alt="Runs of the schedule, one in each row",
    )


show_page(show)
