"""Compares two runs of a node: their code, and each input back to what changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowlearner.explaining.bindings import COLLECTIONS, iter_upstream, kind_of
from flowlearner.explaining.changes import Change, compare_reaches, diff_texts
from flowlearner.explaining.difference import (
    Difference,
    describe_change,
    describe_param,
    describe_values,
    show_given,
    tell_causes,
)
from flowlearner.explaining.reach import Code, Reach
from flowlearner.explaining.sources import Sources
from flowlearner.fingerprint.origin import list_distribution_names
from flowlearner.records import NodeRun


class Comparer:
    """Compares node runs; what was compared once is remembered.

    Args:
        sources: where runs and their code are read.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._codes: dict[tuple[str, str, str, str, str], list[Difference]] = {}
        self._causes: dict[tuple[str, str, str, str], tuple[Difference, ...]] = {}

    def compare(self, run_id: str, node: NodeRun, base_id: str, base: NodeRun) -> list[Difference]:
        """Return what differs from an earlier node run: first the code, then the inputs."""
        self._prepare(run_id, node, base_id, base)
        return self._compare(run_id, node, base_id, base)

    def _compare(self, run_id: str, node: NodeRun, base_id: str, base: NodeRun) -> list[Difference]:
        found = self._compare_code(run_id, node, base_id, base)
        for name, before, after in self._list_changed(run_id, node, base_id, base):
            found += self._compare_bindings(run_id, node.name, base_id, name, before, after)
        return found

    def _list_changed(
        self, run_id: str, node: NodeRun, base_id: str, base: NodeRun
    ) -> Iterator[tuple[str, Any, Any]]:
        """Yield the inputs that differ, with what they were and are bound to."""
        for name, hash_ in node.inputs.items():
            if name in base.inputs and base.inputs[name] != hash_:
                after = self._sources.find_binding(run_id, node.name, name)
                yield name, self._sources.find_binding(base_id, base.name, name), after

    def _prepare(self, run_id: str, node: NodeRun, base_id: str, base: NodeRun) -> None:
        """Find what changed all that lies behind a node, the earliest first: else calls go deep as graphs."""
        found: dict[tuple[str, str], tuple[NodeRun, NodeRun]] = {}
        waiting = [(node, base)]
        while waiting:
            new, old = waiting.pop()
            for _, before, after in self._list_changed(run_id, new, base_id, old):
                pairs = zip(iter_upstream(after), iter_upstream(before), strict=False)
                for (name, _), (base_name, _) in pairs:
                    upstream = self._sources.find_node(run_id, name)
                    earlier = self._sources.find_node(base_id, base_name)
                    is_known = (run_id, name, base_id, base_name) in self._causes
                    if upstream and earlier and not is_known and (name, base_name) not in found:
                        found[name, base_name] = (upstream, earlier)
                        waiting.append((upstream, earlier))
        for upstream, earlier in sorted(found.values(), key=lambda pair: pair[0].position):
            self._find_causes(run_id, upstream.name, base_id, earlier.name)

    def list_upstream(self, run_id: str, node: str) -> list[str]:
        """Return the nodes whose outputs a node takes."""
        bindings = self._sources.find_inputs(run_id, node).values()
        return list(dict.fromkeys(name for binding in bindings for name, _ in iter_upstream(binding)))

    # Code

    def _compare_code(self, run_id: str, node: NodeRun, base_id: str, base: NodeRun) -> list[Difference]:
        if node.fingerprint == base.fingerprint:
            return []
        key = (run_id, base_id, node.operator, node.fingerprint, base.fingerprint)
        if key not in self._codes:
            self._codes[key] = self._list_code_changes(run_id, node, base_id, base)
        return list(self._codes[key])

    def _list_code_changes(self, run_id: str, node: NodeRun, base_id: str, base: NodeRun) -> list[Difference]:
        after = self._sources.find_reach(run_id, node)
        before = self._sources.find_reach(base_id, base)
        if after is None or before is None:
            return self._compare_versions(node, base)
        found = [describe_change(c, node.name) for c in compare_reaches(before, after)]
        found += self._compare_packages(run_id, node, base_id, before.packages | after.packages)
        return found or [self._tell_undetermined(run_id, node, base_id, after)]

    def _compare_versions(self, node: NodeRun, base: NodeRun) -> list[Difference]:
        """Compare the operator's own source, which the catalog has, where a snapshot is gone."""
        after = self._sources.find_version(node.operator, node.fingerprint)
        before = self._sources.find_version(base.operator, base.fingerprint)
        if after is not None and before is not None:
            reaches = [
                Code({"code": {"source": v.source, "package": False}}).find_reach("code", v.name, v.source)
                for v in (before, after)
            ]
            if reaches[0] is not None and reaches[1] is not None:
                found = compare_reaches(reaches[0], reaches[1])
                if found:
                    return [describe_change(c, node.name) for c in found]
            elif before.source != after.source:
                diff = diff_texts(before.source, after.source, node.operator)
                change = Change("operator", node.operator, after.module, diff=diff)
                return [describe_change(change, node.name)]
        text = "its code changed; the snapshot of one of the two runs that could say where is gone"
        return [Difference("undetermined", node.operator, text, node.name)]

    def _compare_packages(
        self, run_id: str, node: NodeRun, base_id: str, packages: frozenset[str]
    ) -> Iterator[Difference]:
        before, after = self._read_packages(base_id), self._read_packages(run_id)
        if before == after:
            return
        for top in sorted(packages):
            for name in list_distribution_names(top):
                old, new = before.get(name), after.get(name)
                if old != new:
                    text = f"package {name}: {old or 'none'} → {new or 'none'}"
                    yield Difference("package", name, text, node.name, old, new)

    def _read_packages(self, run_id: str) -> Mapping[str, str]:
        environment = self._sources.get_run(run_id).environment
        return environment.packages if environment else {}

    def _tell_undetermined(self, run_id: str, node: NodeRun, base_id: str, reach: Reach) -> Difference:
        """Say what may differ where the sources of the two snapshots do not."""
        before, after = self._read_packages(base_id), self._read_packages(run_id)
        hints = [
            f"the module '{top}', which the snapshot does not have"
            for top in sorted(reach.packages)
            if not any(name in after for name in list_distribution_names(top))
        ]
        if reach.computed:
            hints.append(f"what {_list(reach.computed)} held")
        if reach.environment:
            hints.append(f"the environment's {_list(sorted(reach.environment))}")
        if before.get("flowlearner") != after.get("flowlearner"):
            hints.append("how this version of flowlearner reads code")
        where = f"; it may be {', or '.join(hints)}" if hints else ""
        text = f"the source that it reaches is the same, but what it found there when it ran is not{where}"
        return Difference("undetermined", node.operator, text, node.name)

    # Inputs

    def _compare_bindings(
        self, run_id: str, node: str, base_id: str, name: str, before: Any, after: Any
    ) -> list[Difference]:
        kind = kind_of(after)
        if kind != kind_of(before) or (kind in COLLECTIONS and not _are_alike(before[kind], after[kind])):
            old, new = self._show(base_id, before), self._show(run_id, after)
            text = f"input '{name}' is {new}, it was {old}"
            return [Difference("binding", name, text, node, before, after)]
        if kind in COLLECTIONS:
            items = after[kind]
            keys = list(items) if isinstance(items, dict) else list(range(len(items)))
            found = []
            for key in keys:
                item = self._compare_bindings(run_id, node, base_id, name, before[kind][key], items[key])
                found += [d for d in item if not _is_same(d) and d not in found]
            return found or [_tell_same(node, name)]
        if kind == "param":
            old, new = (self._read_param(i, b) for i, b in ((base_id, before), (run_id, after)))
            return [describe_param(node, after["param"], old, new)]
        if kind == "run_seed":
            seeds = self._sources.get_run(base_id).run_seed, self._sources.get_run(run_id).run_seed
            return [describe_values("seed", node, name, *seeds)]
        if kind == "literal":
            return [describe_values("constant", node, name, before["literal"], after["literal"])]
        if kind == "node":
            return self._compare_upstream(run_id, node, base_id, name, before, after)
        return [_tell_same(node, name)]

    def _compare_upstream(
        self, run_id: str, node: str, base_id: str, name: str, before: Any, after: Any
    ) -> list[Difference]:
        old = self._find_output(base_id, before)
        new = self._find_output(run_id, after)
        if old is not None and old == new:
            return []
        causes = self._find_causes(run_id, after["node"], base_id, before["node"])
        source = f"{after['node']}.{after['output']}"
        why = f": {tell_causes(causes)}" if causes else ""
        text = f"input '{name}' changed, with {source}{why}"
        return [Difference("input", name, text, node, old, new, causes=causes)]

    def _find_causes(self, run_id: str, name: str, base_id: str, base_name: str) -> tuple[Difference, ...]:
        """Return what made that a node gave something else than in an earlier run, at its roots."""
        key = (run_id, name, base_id, base_name)
        if key in self._causes:
            return self._causes[key]
        self._causes[key] = ()
        node, base = self._sources.find_node(run_id, name), self._sources.find_node(base_id, base_name)
        if node is None or base is None or node.operator != base.operator:
            return ()
        found: list[Difference] = []
        for difference in self._compare(run_id, node, base_id, base):
            # What earlier nodes gave is no root.
            found += [d for d in difference.causes or [difference] if d not in found]
        if not found and [o.hash for o in node.outputs] != [o.hash for o in base.outputs]:
            text = (
                f"'{name}' gave another result from the same code and inputs: it is not deterministic, or it "
                "reads what is not among its inputs"
            )
            found.append(Difference("unstable", name, text, name))
        self._causes[key] = tuple(found)
        return self._causes[key]

    def _find_output(self, run_id: str, ref: Any) -> str | None:
        node = self._sources.find_node(run_id, ref["node"])
        outputs = node.outputs if node else ()
        return next((o.hash for o in outputs if o.name == ref["output"]), None)

    def _read_param(self, run_id: str, binding: Any) -> Any:
        return self._sources.get_run(run_id).params.get(binding["param"])

    def _show(self, run_id: str, binding: Any) -> str:
        """Return what an input is bound to, in words."""
        kind = kind_of(binding)
        if kind == "param":
            return f"{show_given(self._read_param(run_id, binding))} (parameter '{binding['param']}')"
        if kind == "node":
            return f"{binding['node']}.{binding['output']}"
        if kind == "run_seed":
            return f"the run's seed {self._sources.get_run(run_id).run_seed}"
        if kind == "literal":
            return show_given(binding["literal"])
        if kind in COLLECTIONS:
            count = len(binding[kind])
            return f"a {kind} of {count} {'item' if count == 1 else 'items'}"
        return "not recorded"


def _are_alike(before: Any, after: Any) -> bool:
    """Tell whether two collections have the same keys, or the same length."""
    return list(before) == list(after) if isinstance(after, dict) else len(before) == len(after)


def _is_same(difference: Difference) -> bool:
    """Tell whether an item of a collection is as it was."""
    return difference.kind != "input" and difference.before == difference.after


def _tell_same(node: str, name: str) -> Difference:
    return Difference("binding", name, f"input '{name}' changed", node)


def _list(names: list[str]) -> str:
    shown = [f"'{n}'" for n in dict.fromkeys(names)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
