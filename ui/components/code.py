"""In which code two runs differ."""

from __future__ import annotations

from collections.abc import Mapping

from flowlearner.client import Client, Comparison, NotFoundError
from ui.frames import diff_texts

MOST_DIFFS = 30


def diff_code(client: Client, found: Comparison) -> dict[str, str]:
    """Return, for the first two runs of a comparison, the diff of each operator and workflow that differs."""
    first, second = found.runs[:2]
    diffs: dict[str, str] = {}
    if first.workflow == second.workflow:
        ends = (first.record.workflow_fingerprint, second.record.workflow_fingerprint)
        if ends[0] != ends[1]:
            sources = {v.fingerprint: v.source for v in client.get_workflow(first.workflow).versions}
            diffs[f"workflow {first.workflow}"] = _diff(sources, *ends)
    operators = [{n.name: n for n in run.nodes} for run in (first, second)]
    for name, node in operators[0].items():
        other = operators[1].get(name)
        if other is None or other.fingerprint == node.fingerprint or len(diffs) >= MOST_DIFFS:
            continue
        sources = _read_sources(client, node.operator) | _read_sources(client, other.operator)
        diffs[f"node {name}"] = _diff(sources, node.fingerprint, other.fingerprint)
    return diffs


def _diff(sources: Mapping[str, str], before: str, after: str) -> str:
    same = "Its own text is the same: what it calls, or a package that it imports, is not."
    return diff_texts(sources.get(before, ""), sources.get(after, "")) or same


def _read_sources(client: Client, operator: str) -> dict[str, str]:
    try:
        return {v.fingerprint: v.source for v in client.get_operator(operator).versions}
    except NotFoundError:
        return {}
