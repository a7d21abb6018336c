"""Which models saw a column: where it went, as far as schemas and declared Columns tell.

A column is followed by its name. In a table that came out without it there may still be what was computed
from it, unless the step that made it declares that it takes other columns. What is no table may hold
anything of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowlearner.errors import NotFoundError, UsageError, shorten, suggest
from flowlearner.explaining.bindings import iter_leaves, kind_of
from flowlearner.lineage.downward import ModelUse, Use
from flowlearner.lineage.records import Records
from flowlearner.records import NodeRun

DECLARED, POSSIBLE, DERIVED, NO = "declared", "possible", "derived", "no"
_RANK = {NO: 0, DERIVED: 1, POSSIBLE: 2, DECLARED: 3}


@dataclass(frozen=True)
class _Seen:
    """How a node saw the column.

    Attributes:
        why: for what did not see it, what kept it from doing so.
        makers: of what was computed from it, the nodes that may have done so.
    """

    level: str
    why: str = ""
    makers: tuple[str, ...] = ()


def judge_models(
    records: Records, hashes: Sequence[str], column: str, uses: Sequence[Use], models: Iterable[ModelUse]
) -> list[ModelUse]:
    """Return models with whether they saw a column of a table.

    Args:
        hashes: artifacts of the table.
        uses: all that was made of it.

    Raises:
        UsageError: none of the artifacts is a table or a file.
        NotFoundError: none has the column, nor has a table that was read from the file.
    """
    walker = _Walker(records, column)
    walker.start(hashes)
    by_run: dict[str, list[Use]] = {}
    for use in uses:
        by_run.setdefault(use.run.id, []).append(use)
    # What one run gave may have been a parameter of a later one.
    for run_id in sorted(by_run, key=lambda i: str(records.runs[i].created_at)):
        for use in by_run[run_id]:
            walker.walk(use)
    walker.check_met()
    found = []
    for model in models:
        seen = walker.seen.get((model.run.id, model.node), _Seen(NO, "the column did not reach it"))
        found.append(replace(model, saw=seen.level, why=seen.why))
    return sorted(found, key=lambda m: -_RANK[m.saw])


_UNKNOWN = _Seen("")


def _join(makers: Iterable[tuple[str, ...]]) -> _Seen:
    """Return how that is seen which nodes may have computed from the column."""
    names = tuple(dict.fromkeys(name for some in makers for name in some))
    shown = shorten(f"'{n}'" for n in names)
    return _Seen(DERIVED, f"at most what {shown} made of it", names)


class _Walker:
    """Goes through nodes in order.

    Attributes:
        seen: how each node saw the column.
    """

    def __init__(self, records: Records, column: str) -> None:
        self._records = records
        self._column = column
        self._carrying: set[str] = set()
        self._met: set[str] = set()
        # Of values that do not carry it, what may be left of it.
        self._rest: dict[str, _Seen] = {}
        self.seen: dict[tuple[str, str], _Seen] = {}

    def start(self, hashes: Sequence[str]) -> None:
        artifacts = self._records.catalog.find_artifacts(hashes)
        for hash_, artifact in artifacts.items():
            names = _read_columns(artifact.preview)
            self._meet(names or ())
            # What columns a file has is known once it is read.
            if artifact.codec.partition("/")[0] == "file" if names is None else self._has(names):
                self._carrying.add(hash_)
        if not self._carrying and not self._met:
            raise UsageError("--column asks for a column of a table or of a file that is read as one")
        if not self._carrying:
            self.check_met()

    def _meet(self, names: Iterable[str]) -> None:
        self._met.update(names)

    def check_met(self) -> None:
        """Raise NotFoundError where no table on the way has the column."""
        if not self._has(tuple(self._met)):
            raise NotFoundError(
                f"the table has no column '{self._column}'.{suggest(self._column, self._met)}"
            )

    def _has(self, names: Sequence[str]) -> bool:
        # A preview lists only so many columns; where some are left out, any may be there.
        return self._column in names or "…" in names

    def walk(self, use: Use) -> None:
        node = use.node
        columns = self._read_declared(node)
        found = []
        carries = False
        for name, hashes in self._list_input_hashes(use).items():
            if self._carrying.isdisjoint(hashes):
                found += [self._rest[h] for h in hashes if h in self._rest]
                continue
            carries = True
            declared = columns.get(name)
            if declared is None:
                found.append(_Seen(POSSIBLE))
            elif self._column in declared:
                found.append(_Seen(DECLARED))
            else:
                found.append(_Seen(NO, f"'{node.name}' declares that it takes {shorten(declared)}"))
        seen = max(found, key=lambda s: _RANK[s.level], default=_Seen(NO, "the column did not reach it"))
        if seen.level == DERIVED:
            seen = _join(s.makers for s in found)
        self.seen[use.run.id, node.name] = seen
        self._pass_on(node, carries, seen)

    def _pass_on(self, node: NodeRun, carries: bool, seen: _Seen) -> None:
        is_seen = seen.level in (DECLARED, POSSIBLE)
        ended = _join([(node.name,)]) if is_seen else seen
        artifacts = self._records.find_artifacts([o.hash for o in node.outputs], with_previews=True)
        for output in node.outputs:
            artifact = artifacts.get(output.hash)
            names = _read_columns(artifact.preview) if artifact else None
            if names is not None and carries:
                self._meet(names)
            if is_seen if names is None else carries and self._has(names):
                self._carrying.add(output.hash)
            elif _RANK[ended.level] > _RANK.get(self._rest.get(output.hash, _UNKNOWN).level, -1):
                self._rest[output.hash] = ended

    def _list_input_hashes(self, use: Use) -> Mapping[str, list[str]]:
        """Return by input the artifacts in it: those of a list one by one."""
        nodes = self._records.get_nodes(use.run.id)
        found: dict[str, list[str]] = {}
        for name, binding in self._records.get_inputs(use.run.id, use.node.name).items():
            own = use.node.inputs.get(name)
            hashes = [own] if own else []
            for leaf in iter_leaves(binding):
                if kind_of(leaf) == "node" and leaf["node"] in nodes:
                    outputs = nodes[leaf["node"]].outputs
                    hashes += [o.hash for o in outputs if o.name == leaf["output"]]
            found[name] = hashes
        return found

    def _read_declared(self, node: NodeRun) -> Mapping[str, list[str] | None]:
        """Return by input the columns that the operator says it takes."""
        version = self._records.find_version(node)
        params = version.interface.get("params", ()) if version else ()
        return {p["name"]: list(p["columns"]) if p.get("columns") else None for p in params}


def _read_columns(preview: Any) -> list[str] | None:
    """Return the columns of a table; "…" stands for those that a preview leaves out."""
    if not isinstance(preview, Mapping) or preview.get("kind") != "table":
        return None
    names = [str(c["name"]) for c in preview.get("columns", ())]
    return [*names, "…"] if int(preview.get("column_count", len(names))) > len(names) else names
