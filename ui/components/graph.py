"""Draws the graph of a run: a node is a box, coloured by its status, that can be chosen."""

from __future__ import annotations

from typing import Any

import streamlit as st

from flowlearner.client import Run
from ui.components.text import cut, show_duration
from ui.layout import place_nodes

BOX_W, BOX_H = 170, 44
GAP, LAYER_GAP, WIDE_LAYER_GAP = 22, 40, 70
MARGIN = 6
WIDEST = 1000
"""Of what is wider the layers lie beside each other: people scroll down more easily than aside."""
LONGEST_NAME = 22

# All texts arrive as data and become text nodes: nothing of them is markup.
JS = """
const NS = "http://www.w3.org/2000/svg";
function make(name, attributes, parent) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.appendChild(element);
  return element;
}
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".graph");
  root.replaceChildren();
  const svg = make("svg", {
    viewBox: `0 0 ${data.width} ${data.height}`, role: "group", "aria-label": "Graph of nodes",
  }, root);
  svg.style.width = `${data.width}px`;
  for (const edge of data.edges) {
    // A place across the layers and one along them; the layers lie below or beside each other.
    const at = (across, along) => data.sideways ? `${along},${across}` : `${across},${along}`;
    let d = "";
    edge.points.forEach(([across, enter, leave], i) => {
      if (i === 0) { d = `M${at(across, leave)}`; return; }
      const [fromAcross, , from] = edge.points[i - 1];
      const middle = (from + enter) / 2;
      d += ` C${at(fromAcross, middle)} ${at(across, middle)} ${at(across, enter)} L${at(across, leave)}`;
    });
    const of = edge.from === data.chosen || edge.to === data.chosen;
    make("path", { class: of ? "edge chosen" : "edge", d }, svg);
  }
  for (const node of data.nodes) {
    const chosen = node.name === data.chosen;
    const group = make("g", {
      class: `node ${node.status}${node.cached ? " cached" : ""}${chosen ? " chosen" : ""}`,
      transform: `translate(${node.x},${node.y})`, tabindex: 0, role: "button",
      "aria-pressed": chosen, "aria-label": node.title,
    }, svg);
    make("title", {}, group).textContent = node.title;
    make("rect", { width: node.w, height: node.h, rx: 6 }, group);
    make("text", { x: 12, y: node.detail ? 18 : 26 }, group).textContent = node.label;
    make("text", { x: 12, y: 34, class: "detail" }, group).textContent = node.detail;
    const choose = () => setStateValue("node", chosen ? null : node.name);
    group.onclick = choose;
    group.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
    };
  }
}
"""
CSS = """
.graph { overflow: auto; max-height: 640px; padding: 4px; }
.graph svg { max-width: none; height: auto; display: block; }
.edge { fill: none; stroke: color-mix(in srgb, var(--st-text-color) 35%, transparent); stroke-width: 1.25; }
.edge.chosen { stroke: var(--st-primary-color); stroke-width: 2; }
.node { cursor: pointer; outline: none; }
.node rect { fill: var(--st-secondary-background-color); stroke: var(--st-gray-color); stroke-width: 1.5; }
.node.COMPLETED rect { stroke: var(--st-green-color); }
.node.RUNNING rect { stroke: var(--st-blue-color); }
.node.FAILED rect, .node.CRASHED rect { stroke: var(--st-red-color); stroke-width: 2.5; }
.node.CANCELLED rect { stroke: var(--st-orange-color); }
.node.PRUNED rect { stroke: var(--st-violet-color); }
.node.cached rect { stroke-dasharray: 5 3; }
.node.chosen rect, .node:focus-visible rect { fill: var(--st-background-color); stroke-width: 3.5; }
.node text { fill: var(--st-text-color); font: 600 12px var(--st-font); }
.node text.detail { font-weight: 400; font-size: 11px; }
"""
_draw = st.components.v2.component("flowlearner.graph", html='<div class="graph"></div>', css=CSS, js=JS)


def show_graph(graph: dict[str, Any], run: Run) -> str | None:
    """Draw the graph of a run.

    Returns:
        the name of the chosen node, None where there is none.
    """
    key = f"graph-{run.id}"

    def keep() -> None:
        """Put the choice into the address, which is where it is read."""
        node = st.session_state[key].get("node")
        if node:
            st.query_params["node"] = node
        else:
            st.query_params.pop("node", None)

    chosen = st.query_params.get("node")
    _draw(data=describe(graph, run, chosen), key=key, default={"node": chosen}, on_node_change=keep)
    return chosen


def show_shape(graph: dict[str, Any], key: str) -> None:
    """Draw the graph of a workflow that need not have run."""
    _draw(
        data=describe(graph, None, None), key=f"shape-{key}", default={"node": None}, on_node_change=_ignore
    )


def _ignore() -> None:
    """A node of a graph that has not run has nothing to open."""


def describe(graph: dict[str, Any], run: Run | None, chosen: str | None) -> dict[str, Any]:
    """Return what is drawn of a graph, with what became of each node in a run."""
    upstream = {n["name"]: n["upstream"] for n in graph.get("nodes", ())}
    operators = {n["name"]: n["operator"] for n in graph.get("nodes", ())}
    layout = place_nodes(upstream)
    known = {n.name: n for n in run.nodes} if run is not None else {}
    sideways = layout.width * (BOX_W + GAP) > WIDEST
    step = (BOX_H if sideways else BOX_W) + GAP
    layer = BOX_W + WIDE_LAYER_GAP if sideways else BOX_H + LAYER_GAP
    length = BOX_W if sideways else BOX_H
    # Where the middle of a node is across the layers, and where it begins along them.
    place = {name: (column * step, row * layer + MARGIN) for name, (column, row) in layout.places.items()}
    corner = {
        name: (along, across - BOX_H / 2) if sideways else (across - BOX_W / 2, along)
        for name, (across, along) in place.items()
    }
    nodes = []
    for name, (x, y) in corner.items():
        node = known.get(name)
        status = node.status.value if node is not None else "PENDING" if run is not None else ""
        cached = node is not None and node.cached
        seconds = None
        if node is not None and node.started_at and node.finished_at:
            seconds = (node.finished_at - node.started_at).total_seconds()
        detail = "cached" if cached else status.lower() if seconds is None else show_duration(seconds)
        if run is None:
            detail = operators[name] if operators[name] != name else ""
        nodes.append(
            {
                "name": name,
                "label": cut(name, LONGEST_NAME),
                "detail": detail,
                "title": ", ".join(t for t in (f"{name} ({operators[name]})", status.lower(), detail) if t),
                "status": status,
                "cached": cached,
                "x": x,
                "y": y,
                "w": BOX_W,
                "h": BOX_H,
            }
        )
    edges = []
    for name, others in upstream.items():
        for above in dict.fromkeys(o for o in others if o in place):
            passed = layout.routes.get((above, name), ())
            begin = place[above][1]
            between = [
                (column * step, begin + i * layer, begin + i * layer + length)
                for i, column in enumerate(passed, 1)
            ]
            start, end = place[above], place[name]
            points = [(start[0], begin, begin + length), *between, (end[0], end[1], end[1])]
            edges.append({"from": above, "to": name, "points": points})
    across, along = layout.width * step + GAP, layout.height * layer
    return {
        "nodes": nodes,
        "edges": edges,
        "width": along if sideways else across,
        "height": across if sideways else along,
        "sideways": sideways,
        "chosen": chosen,
    }
