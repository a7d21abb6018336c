"""Launches a run or a sweep: a form made from what the workflow takes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from flowlearner.client import (
    SEARCHES,
    STOPS,
    Client,
    FlowLearnerError,
    LaunchForm,
    UsageError,
)
from ui.components import links
from ui.components.form import WIDTH, Given, show_fields, show_problem
from ui.components.page import get_client, get_param, set_title, show_page
from ui.components.text import plain, short_id

EXECUTORS = ("ray", "local")
NO_STOP = "none"


def show() -> None:
    client, run_id = get_client(), get_param("clone")
    if run_id:
        try:
            form = client.make_form(clone=run_id)
        except UsageError as error:
            st.title("Clone", anchor=False)
            st.warning(plain(error, 500), icon=":material/code_off:")
            links.link_run(run_id)
            return
        set_title(f"Clone {short_id(form.run_id)}")
        st.title(plain(f"Clone {form.workflow} {short_id(form.run_id)}"), anchor=False)
        with st.container(horizontal=True):
            links.link_run(form.run_id, f"Made of {short_id(form.run_id)}")
        st.caption("It has the code of that run. What you leave as it is stays as it was.")
    else:
        found = _choose_workflow(client)
        if found is None:
            return
        form = found
    _show_service(client)
    # What it says of parameters stands beside these.
    summary = form.doc.partition("\n\nArgs:")[0]
    if summary:
        st.text(summary)
    _show_form(client, form)


def _choose_workflow(client: Client) -> LaunchForm | None:
    st.title("Launch", anchor=False)
    names = [w.name for w in client.list_workflows()]
    if not names:
        st.info("No workflow has run yet. Run one from its file first:", icon=":material/info:")
        st.code("flowlearner run flights.py:delays", language="bash")
        return None
    wanted = get_param("workflow")
    if wanted and wanted not in names:
        st.warning(plain(f"There is no workflow '{wanted}'."), icon=":material/search_off:")
    name = st.selectbox("Workflow", names, key="workflow", bind="query-params", width=WIDTH)
    set_title(f"Launch {name}")
    try:
        form = client.make_form(name)
    except UsageError as error:
        st.warning(plain(error, 500), icon=":material/code_off:")
        return None
    with st.container(horizontal=True):
        links.link_run(form.run_id, f"Code of its latest run {short_id(form.run_id)}")
    return form


def _show_service(client: Client) -> None:
    try:
        client.check_launching()
    except FlowLearnerError as error:
        st.warning(plain(error, 500), icon=":material/power_off:")
        st.code("flowlearner up", language="bash")


def _show_form(client: Client, form: LaunchForm) -> None:
    key = f"launch-{form.run_id}-{form.is_clone}"
    state = st.session_state
    is_sweep = st.toggle(
        "As a sweep",
        key=f"{key}-sweep",
        disabled=not form.metrics,
        help="Tries many values and searches for the best."
        if form.metrics
        else "A sweep searches for a metric; this workflow returns none.",
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Parameters", anchor=False)
        if not form.fields:
            st.caption("It takes none.")
        tried = bool(state.get(f"{key}-tried"))
        given = show_fields(client, form.fields, key, varies=is_sweep, tried=tried)
    with right:
        sweep = _ask_sweep(form, given, key) if is_sweep else None
        options = _ask_options(client, form, given, key)

    def attempt() -> None:
        state[f"{key}-tried"] = True

    clicked = st.button(
        "Launch", type="primary", icon=":material/rocket_launch:", key=f"{key}-go", on_click=attempt
    )
    if tried and given.problems:
        missing = f"Nothing has started: see {', '.join(given.problems)}."
        st.error(plain(missing, 500), icon=":material/error:")
    elif clicked:
        _launch(client, form, given, sweep, options)


def _ask_sweep(form: LaunchForm, given: Given, key: str) -> dict[str, Any]:
    st.subheader("Search", anchor=False)
    metrics = st.multiselect("Metrics", form.metrics, form.metrics[:1], key=f"{key}-metrics", width=WIDTH)
    modes = [
        st.segmented_control(
            plain(f"{metric} shall be"),
            ["max", "min"],
            default="max",
            required=True,
            key=f"{key}-mode-{metric}",
        )
        for metric in metrics
    ]
    if not metrics:
        given.problems["metrics"] = "needs a value"
        show_problem("Choose what to search for")
    if not given.space:
        given.problems["parameters"] = "none varies"
        show_problem("Let a parameter vary")
    with st.container(horizontal=True, width=WIDTH):
        search = st.selectbox("Search", SEARCHES, SEARCHES.index("tpe"), key=f"{key}-search")
        # A grid has an end of its own.
        trials = search != "grid" and st.number_input("Trials", 1, 100_000, 32, key=f"{key}-trials")
    with st.container(horizontal=True, width=WIDTH):
        stop = st.selectbox(
            "Stop poor trials",
            [NO_STOP, *STOPS],
            key=f"{key}-stop",
            help="By what operators report of the metric while they run.",
        )
        seed = st.number_input("Seed of the search", 0, key=f"{key}-search-seed")
        executor = st.selectbox(
            "On", EXECUTORS, key=f"{key}-executor", help="Ray, or threads of one process."
        )
    return {
        "space": given.space,
        "metric": metrics,
        "mode": modes,
        "trials": int(trials) if trials else None,
        "search": search,
        "stop": None if stop == NO_STOP else stop,
        "seed": int(seed),
        "executor": executor,
    }


def _ask_options(client: Client, form: LaunchForm, given: Given, key: str) -> dict[str, Any]:
    st.subheader("Where it belongs", anchor=False)
    known = [e.name for e in client.list_experiments()]
    names = list(dict.fromkeys([form.experiment, *known]))
    experiment = st.selectbox(
        "Experiment", names, key=f"{key}-experiment", accept_new_options=True, width=WIDTH
    )
    begin = "\n".join(f"{name}={value}" for name, value in form.tags.items())
    text = st.text_area("Tags, one NAME=VALUE in each line", begin, key=f"{key}-tags", height=80, width=WIDTH)
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    wrong = [line[0] for line in pairs if not line[1] or not line[0].strip()]
    if wrong:
        given.problems["tags"] = "no tag"
        show_problem(f"expected NAME=VALUE, found '{wrong[0]}'")
    notes = st.text_area("Notes", form.notes, key=f"{key}-notes", height=80, width=WIDTH)
    begin = "" if form.seed is None else str(form.seed)
    seed = st.text_input("Seed", begin, key=f"{key}-seed", placeholder="0", width=WIDTH).strip()
    if seed and not (seed.isascii() and seed.isdecimal() and int(seed) < 1 << 63):
        given.problems["seed"] = "no seed"
        show_problem(f"expected a whole number from 0 to 2**63 - 1, found '{seed}'")
    cached = st.toggle("Take from the cache what is there", True, key=f"{key}-cache")
    return {
        "experiment": experiment,
        "tags": {name.strip(): value.strip() for name, _, value in pairs},
        "notes": notes,
        "seed": int(seed) if seed and "seed" not in given.problems else None,
        "cache": None if cached else False,
    }


def _launch(
    client: Client, form: LaunchForm, given: Given, sweep: dict[str, Any] | None, options: dict[str, Any]
) -> None:
    try:
        launched = client.launch(
            None if form.is_clone else form.workflow,
            given.params,
            clone=form.run_id if form.is_clone else None,
            sweep=sweep,
            **options,
        )
    except FlowLearnerError as error:
        st.error(plain(error, 2000), icon=":material/error:")
        return
    # Not under the names of this page, which are bound to widgets.
    back = {"run": form.run_id} if form.is_clone else {"name": form.workflow}
    st.switch_page(links.LAUNCHED, query_params={"id": launched, **back})


show_page(show)
