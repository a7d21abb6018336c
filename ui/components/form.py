"""The fields of a form made from a workflow's interface: for each type a widget, beneath it what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import streamlit as st

from flowlearner.client import Client, Field, FlowLearnerError
from ui.components.text import cut, plain, short_id, show_size

LEFT_OUT = "—"
NOTHING = "None"
ARTIFACT = "artifact:"
CODECS = {"table": "table/1", "file": "file/1", "model": "model/1"}
MOST_ARTIFACTS = 50
# Places of a slider over a logarithmic range.
LOG_PLACES = 200
MOST_PLACES = 500
WIDTH = 420


@dataclass
class Given:
    """What a form holds.

    Attributes:
        params: texts of parameters that differ from what the form began with; None is None itself.
        space: domains by parameter; None is the declared one.
        problems: what is wrong, by name.
    """

    params: dict[str, str | None] = field(default_factory=dict)
    space: dict[str, str | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def show_fields(client: Client, fields: Sequence[Field], key: str, *, varies: bool, tried: bool) -> Given:
    """Draw the fields of a form.

    Args:
        key: of the form, which no other has.
        varies: each field may become a domain of a sweep.
        tried: say of empty fields too that they need a value.
    """
    given = Given()
    for each in fields:
        name = f"{key}/{each.name}"
        with st.container(horizontal=True, vertical_alignment="bottom"):
            place = st.container(width=WIDTH, gap="small")
            is_varied = varies and not each.is_private and _ask_whether_varies(each, name)
        with place:
            if is_varied:
                text = _ask_domain(each, name)
                problem = each.check_domain(text)
                given.space[each.name] = text.strip() or None
            else:
                answer = _ask(client, each, name)
                problem = each.check(answer)
                if answer != (each.kept or ""):
                    given.params[each.name] = answer if answer else _read_empty(each)
            if problem:
                given.problems[each.name] = problem
            if problem and (tried or problem != "needs a value"):
                show_problem(problem)
    return given


def show_problem(text: str) -> None:
    """Draw what is wrong with the field above."""
    st.markdown(f":red[:material/error: {plain(text, 500)}]")


def _read_empty(each: Field) -> str | None:
    """Return what an emptied field means."""
    if each.optional:
        return None
    return "" if each.kind == "text" else each.default


def _ask_whether_varies(each: Field, key: str) -> bool:
    return st.toggle(f"Vary {plain(each.name)}", key=f"{key}-varies", value=bool(each.bounds))


def _ask_domain(each: Field, key: str) -> str:
    return st.text_input(
        f"{plain(each.name)} over",
        each.bounds,
        key=f"{key}-domain",
        placeholder="2..10, 0.1..0.9, log(0.01,0.5) or {a,b}",
        help=_describe(each),
        width=WIDTH,
    )


def _describe(each: Field) -> str:
    """Return the help of a field: its text, type, range and default."""
    facts = [f"Type {plain(each.type)}" + (f", {plain(each.bounds)}" if each.bounds else "")]
    if each.columns:
        listed = ", ".join(f"{name}: {kind}" if kind else name for name, kind in each.columns.items())
        facts.append(f"columns {plain(listed)}")
    if each.default is not None:
        facts.append(f"default {plain(each.default, 80)}")
    return "\n\n".join(filter(None, [plain(each.doc, 1000), "; ".join(facts)]))


def _ask(client: Client, each: Field, key: str) -> str:
    """Draw the widget of a field and return its text."""
    label, help_ = plain(each.name), _describe(each)
    begin = each.value or ""
    if each.kind == "bool":
        if each.optional:
            return _choose(each, key, ("true", "false"))
        return str(st.toggle(label, begin == "true", key=key, help=help_)).lower()
    if each.kind == "choice":
        return _choose(each, key, each.choices)
    if each.range is not None and each.kind in ("int", "float"):
        return _ask_in_range(each, key)
    if each.kind == "date":
        day = st.date_input(label, _read_time(begin, date), key=key, help=help_, width=WIDTH)
        return day.isoformat() if isinstance(day, date) else ""
    if each.kind == "datetime":
        at = st.datetime_input(label, _read_time(begin, datetime), key=key, help=help_, width=WIDTH)
        return at.isoformat() if at is not None else ""
    if each.kind in ("table", "file", "model"):
        return _ask_place(client, each, key)
    if each.kind == "secret":
        # Live: who leaves it by Tab goes to the button that shows it, which is no end of the entry.
        return st.text_input(
            label, key=key, type="password", help=help_, autocomplete="off", width=WIDTH, live=True,
            placeholder="It is stored nowhere",
        )  # fmt: skip
    if each.kind in ("json", "other") or "\n" in begin:
        height = 68 if "\n" not in begin else 140
        return st.text_area(label, begin, key=key, help=help_, height=height, width=WIDTH)
    hint = "The seed of the run" if each.kind == "seed" else None
    return st.text_input(label, begin, key=key, help=help_, placeholder=hint, width=WIDTH)


def _read_time(text: str, kind: Any) -> Any:
    try:
        return kind.fromisoformat(text)
    except ValueError:
        return None


def _choose(each: Field, key: str, choices: Sequence[str]) -> str:
    options = [*choices, *([NOTHING] if each.optional and NOTHING not in choices else [])]
    begin = each.value if each.value is not None else NOTHING if each.optional else None
    chosen = st.selectbox(
        plain(each.name),
        options,
        index=options.index(begin) if begin in options else None,
        key=key,
        help=_describe(each),
        width=WIDTH,
        placeholder=LEFT_OUT,
    )
    return "" if chosen is None or (chosen == NOTHING and each.optional) else chosen


def _ask_in_range(each: Field, key: str) -> str:
    """Draw a slider and beside it a place for the exact number; each follows the other."""
    slide, exact = f"{key}-slide", f"{key}-exact"
    places = list_places(each)
    state = st.session_state
    if exact not in state:
        state[exact] = each.value or ""
    if slide not in state:
        state[slide] = find_nearest(state[exact], places)

    def follow_slide() -> None:
        state[exact] = state[slide]

    def follow_exact() -> None:
        state[slide] = find_nearest(state[exact], places)

    left, right = st.columns([3, 1], vertical_alignment="bottom", width=WIDTH)
    with left:
        st.select_slider(plain(each.name), places, key=slide, on_change=follow_slide, help=_describe(each))
    with right:
        text = st.text_input(
            f"{plain(each.name)} exactly", key=exact, on_change=follow_exact, label_visibility="collapsed"
        )
    return text.strip()


def list_places(each: Field) -> list[str]:
    """Return the numbers on which the slider of a range stops, as texts; the first value is one of them."""
    bounds = each.range
    assert bounds is not None, "it has a range"
    low, high, step = bounds.low, bounds.high, getattr(bounds, "step", None)
    if each.kind == "int" and step is None:
        step = max(1, math.ceil((high - low) / MOST_PLACES))
    if hasattr(bounds, "step"):
        count = int((high - low) / step + 1e-9) if step else LOG_PLACES
        if count > MOST_PLACES:
            count, step = LOG_PLACES, None
        numbers = [low + i * (step or (high - low) / count) for i in range(count + 1)]
    else:
        ratio = high / low
        numbers = [low * ratio ** (i / LOG_PLACES) for i in range(LOG_PLACES + 1)]
    numbers += [high, *(float(text) for text in (each.value, each.default) if text and not each.check(text))]
    if each.kind == "int":
        return list(dict.fromkeys(str(round(n)) for n in sorted(numbers)))
    return list(dict.fromkeys(f"{float(n):.4g}" for n in sorted(numbers)))


def find_nearest(text: str, places: Sequence[str]) -> str:
    """Return the stop of a slider that is nearest to a number; the first for what is none."""
    try:
        wanted = float(text)
    except ValueError:
        return places[0]
    return min(places, key=lambda place: abs(float(place) - wanted)) if math.isfinite(wanted) else places[0]


def _ask_place(client: Client, each: Field, key: str) -> str:
    """Draw a text for a path, URL or artifact, and beside it artifacts to pick and a place for a file."""
    state = st.session_state
    if key not in state:
        state[key] = each.value or ""

    def pick() -> None:
        if state[f"{key}-pick"]:
            state[key] = f"{ARTIFACT}{state[f'{key}-pick']}"

    def upload() -> None:
        file = state[f"{key}-upload"]
        if file is None:
            return
        try:
            state[key] = str(client.keep_upload(file.name, file.getvalue()))
        except FlowLearnerError as error:
            state[f"{key}-refused"] = str(error)

    expected = "artifact:HASH" if each.kind == "model" else "Path, URL or artifact:HASH"
    with st.container(horizontal=True, vertical_alignment="bottom", width=WIDTH):
        text = st.text_input(
            plain(each.name), key=key, help=_describe(each), placeholder=expected, width="stretch"
        )
        with st.popover("Pick", icon=":material/folder_open:"):
            stored = {a.hash: a for a in _list_artifacts(client, each)}
            st.selectbox(
                "A stored value",
                list(stored),
                index=None,
                key=f"{key}-pick",
                on_change=pick,
                format_func=lambda h: _show_artifact(stored, h),
                placeholder="Choose one" if stored else "There is none yet",
            )
            if each.kind != "model":
                st.file_uploader("Or a file of yours", key=f"{key}-upload", on_change=upload)
    if each.source and text == each.value:
        st.caption(plain(f"As it was in {each.source}", 200))
    refused = state.pop(f"{key}-refused", None)
    if refused:
        show_problem(refused)
    return text.strip()


def _list_artifacts(client: Client, each: Field) -> list[Any]:
    return client.list_artifacts(CODECS[each.kind], MOST_ARTIFACTS)


def _show_artifact(stored: dict[str, Any], hash_: str) -> str:
    found = stored.get(hash_)
    if found is None:
        return short_id(hash_)
    return cut(f"{short_id(hash_)} · {found.type} · {show_size(found.size_bytes)}", 80)
