"""Where things came from and went: node runs of an operator, uses of artifacts, and runs in short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from flowlearner.catalog import tables as t
from flowlearner.catalog.leases import Leases
from flowlearner.catalog.part import chunks
from flowlearner.catalog.rows import from_json, from_us, to_node, to_us
from flowlearner.records import ArtifactUse, NodeRun, OperatorVersion, Status, WorkflowVersion, clean

_r, _n, _u = t.RUN.c, t.NODE_RUN.c, t.ARTIFACT_USE.c


@dataclass(frozen=True)
class EarlierNode:
    """A node run that completed, and the run and workflow that it belongs to."""

    run_id: str
    workflow: str
    node: NodeRun


@dataclass(frozen=True)
class RunSketch:
    """What lineage needs of a run.

    Attributes:
        graph_id: of its compiled graph; None where it has none.
        snapshot: hash of its code.
    """

    id: str
    workflow: str
    workflow_fingerprint: str
    created_at: datetime | None
    graph_id: str | None
    snapshot: str | None
    parent_id: str | None
    sweep_id: str | None
    trial_number: int | None
    command: str
    run_seed: int
    params: Mapping[str, Any]


class Provenance(Leases):
    """Reading across runs; those that are deleted are left out."""

    def list_earlier_nodes(
        self, operator: str, before: datetime, without_run: str, limit: int
    ) -> list[EarlierNode]:
        """Return node runs of an operator that had completed, by running or by a hit, the latest first."""
        statement = (
            select(t.NODE_RUN)
            .join(t.RUN, _r.id == _n.run_id)
            .where(
                _n.operator == clean(operator),
                _n.status == Status.COMPLETED.value,
                _n.finished_us <= to_us(before),
                _n.run_id != without_run,
                _r.deleted_us.is_(None),
            )
            .order_by(_n.finished_us.desc(), _n.run_id, _n.position)
            .limit(limit)
        )
        with self.database.read() as connection:
            rows = connection.execute(statement).mappings()
            return [EarlierNode(row["run_id"], row["workflow"], to_node(row)) for row in rows]

    def list_uses(self, hashes: Iterable[str]) -> list[tuple[str, ArtifactUse]]:
        """Return where artifacts were given and taken, each with its hash, the oldest runs first.

        Roles are "output" and "input" of a node, "result", "param" and "part" of a run (see `tables`).
        """
        found: list[tuple[int, str, ArtifactUse]] = []
        with self.database.read() as connection:
            for some in chunks(hashes):
                statement = (
                    select(
                        _u.hash, _u.run_id, _r.workflow, _u.node, _n.operator, _u.role, _u.name, _n.cached,
                        _r.created_us,
                    )
                    .select_from(
                        t.ARTIFACT_USE.join(t.RUN, _r.id == _u.run_id).outerjoin(
                            t.NODE_RUN, (_n.run_id == _u.run_id) & (_n.name == _u.node)
                        )
                    )
                    .where(_u.hash.in_(some), _r.deleted_us.is_(None))
                    .where(_u.role.in_(["output", "input", "result", "param", "part"]))
                )  # fmt: skip
                for (
                    hash_,
                    run_id,
                    workflow,
                    node,
                    operator,
                    role,
                    name,
                    cached,
                    created,
                ) in connection.execute(statement):
                    use = ArtifactUse(run_id, workflow, node or None, operator, role, name, bool(cached))
                    found.append((created, hash_, use))
        found.sort(key=lambda item: (item[0], item[2].run_id, item[2].node or "", item[2].name))
        return [(hash_, use) for _, hash_, use in found]

    def sketch_runs(self, run_ids: Iterable[str] | None = None) -> dict[str, RunSketch]:
        """Return runs in short, by id, the newest first; all that are not deleted if none are named."""
        columns = (
            _r.id, _r.workflow, _r.workflow_fingerprint, _r.created_us, _r.graph_id, _r.code_snapshot,
            _r.parent_id, _r.sweep_id, _r.trial_number, _r.command, _r.run_seed, _r.params,
        )  # fmt: skip
        statement = select(*columns).where(_r.deleted_us.is_(None))
        rows: list[Any] = []
        with self.database.read() as connection:
            if run_ids is None:
                rows += connection.execute(statement)
            else:
                for some in chunks(dict.fromkeys(run_ids)):
                    rows += connection.execute(statement.where(_r.id.in_(some)))
        rows.sort(key=lambda row: (-row.created_us, row.id))
        return {
            row.id: RunSketch(
                row.id,
                row.workflow,
                row.workflow_fingerprint,
                from_us(row.created_us),
                row.graph_id,
                row.code_snapshot,
                row.parent_id,
                row.sweep_id,
                row.trial_number,
                row.command,
                row.run_seed,
                from_json(row.params),
            )
            for row in rows
        }

    def list_nodes_of(self, run_ids: Iterable[str]) -> dict[str, dict[str, NodeRun]]:
        """Return the node runs of several runs, by run and name, in compiled order."""
        found: dict[str, dict[str, NodeRun]] = {}
        with self.database.read() as connection:
            for some in chunks(dict.fromkeys(run_ids)):
                statement = select(t.NODE_RUN).where(_n.run_id.in_(some)).order_by(_n.run_id, _n.position)
                for row in connection.execute(statement).mappings():
                    found.setdefault(row["run_id"], {})[row["name"]] = to_node(row)
        return found

    def find_graphs(self, graph_ids: Iterable[str | None]) -> dict[str, dict[str, Any]]:
        """Return compiled graphs as JSON values, by id."""
        g = t.GRAPH.c
        found: dict[str, dict[str, Any]] = {}
        with self.database.read() as connection:
            for some in chunks({i for i in graph_ids if i is not None}):
                for id_, body in connection.execute(select(g.id, g.body).where(g.id.in_(some))):
                    found[id_] = from_json(body)
        return found

    def find_operator_versions(self, fingerprints: Iterable[str]) -> dict[tuple[str, str], OperatorVersion]:
        """Return versions of operators, by name and fingerprint."""
        rows = self._find_versions(t.OPERATOR_VERSION, fingerprints)
        return {(row["name"], row["fingerprint"]): OperatorVersion(**_version_facts(row)) for row in rows}

    def find_workflow_versions(self, fingerprints: Iterable[str]) -> dict[tuple[str, str], WorkflowVersion]:
        """Return versions of workflows without their graphs, by name and fingerprint."""
        rows = self._find_versions(t.WORKFLOW_VERSION, fingerprints)
        return {
            (row["name"], row["fingerprint"]): WorkflowVersion(**_version_facts(row), graph={})
            for row in rows
        }

    def _find_versions(self, table: Any, fingerprints: Iterable[str]) -> list[Any]:
        found: list[Any] = []
        with self.database.read() as connection:
            for some in chunks(dict.fromkeys(fingerprints)):
                statement = select(table).where(table.c.fingerprint.in_(some))
                found += connection.execute(statement).mappings().all()
        return found

    def list_table_hashes(self, file_hash: str) -> list[str]:
        """Return the tables that readers made of a file with these bytes."""
        c = t.TABLE_HASH.c
        with self.database.read() as connection:
            return list(connection.scalars(select(c.table_hash).where(c.file_hash == file_hash).distinct()))


def _version_facts(row: Any) -> dict[str, Any]:
    return {
        "name": row["name"],
        "fingerprint": row["fingerprint"],
        "module": row["module"],
        "source": row["source"],
        "doc": row["doc"],
        "interface": from_json(row["interface"]),
        "first_seen": from_us(row["first_seen_us"]),
    }
