"""Draws the graph of a run: a node is a box, coloured by its status, that can be chosen."""

from __future__ import annotations

from typing import Any

import streamlit as st

from flowlearner.client import Run
from ui.components.text import cut, show_duration
from ui.layout import place_nodes

BOX_W, BOX_H, GAP_X, GAP_Y = 170, 44, 22, 40
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
    const middle = (edge.y1 + edge.y2) / 2;
    make("path", {
      class: "edge",
      d: `M${edge.x1},${edge.y1} C${edge.x1},${middle} ${edge.x2},${middle} ${edge.x2},${edge.y2}`,
    }, svg);
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
    make("text", { x: 12, y: 18 }, group).textContent = node.label;
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
.graph { overflow: auto; max-height: 640px; }
.graph svg { max-width: none; height: auto; display: block; }
.edge { fill: none; stroke: var(--st-border-color); stroke-width: 1.5; }
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
    """Draw the graph of a run; return the name of the chosen node, None where there is none."""
    key = f"graph-{run.id}"
    found = st.session_state.get(key)
    chosen = found.get("node") if found else None
    result = _draw(data=_describe(graph, run, chosen), key=key, default={"node": None}, on_node_change=_keep)
    name: str | None = result.node
    return name


def _keep() -> None:
    """The state is read where the graph is drawn."""


def _describe(graph: dict[str, Any], run: Run, chosen: str | None) -> dict[str, Any]:
    upstream = {n["name"]: n["upstream"] for n in graph.get("nodes", ())}
    operators = {n["name"]: n["operator"] for n in graph.get("nodes", ())}
    layout = place_nodes(upstream)
    known = {n.name: n for n in run.nodes}
    corner = {
        name: (column * (BOX_W + GAP_X) - BOX_W / 2, row * (BOX_H + GAP_Y) + 6)
        for name, (column, row) in layout.places.items()
    }
    nodes = []
    for name, (x, y) in corner.items():
        node = known.get(name)
        status = node.status.value if node is not None else "PENDING"
        cached = node is not None and node.cached
        seconds = None
        if node is not None and node.started_at and node.finished_at:
            seconds = (node.finished_at - node.started_at).total_seconds()
        detail = "cached" if cached else status.lower() if seconds is None else show_duration(seconds)
        nodes.append(
            {
                "name": name,
                "label": cut(name, LONGEST_NAME),
                "detail": detail,
                "title": f"{name} ({operators[name]}): {status.lower()}, {detail}",
                "status": status,
                "cached": cached,
                "x": x,
                "y": y,
                "w": BOX_W,
                "h": BOX_H,
            }
        )
    edges = [
        {
            "x1": corner[above][0] + BOX_W / 2,
            "y1": corner[above][1] + BOX_H,
            "x2": corner[name][0] + BOX_W / 2,
            "y2": corner[name][1],
        }
        for name, others in upstream.items()
        for above in others
        if above in corner
    ]
    return {
        "nodes": nodes,
        "edges": edges,
        "width": layout.width * (BOX_W + GAP_X) + GAP_X,
        "height": layout.height * (BOX_H + GAP_Y),
        "chosen": chosen,
    }
