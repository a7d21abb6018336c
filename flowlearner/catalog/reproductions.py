"""In what runs differ from their parents, and what came of reproducing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.entries import Entries
from flowlearner.catalog.part import chunks
from flowlearner.catalog.rows import from_json, from_us, json_text, now_us, to_us
from flowlearner.records import Artifact, Change, Reproduction, clean

_c, _p = t.CHANGE.c, t.REPRODUCTION.c


class Reproductions(Entries):
    """Verdicts on runs, and the differences between runs and their parents."""

    def record_reproduction(self, found: Reproduction) -> None:
        """Record what came of running a run again to compare; earlier verdicts stay.

        Raises:
            NotFoundError: no such run.
        """
        row = {
            "run_id": found.run_id,
            "at_us": to_us(found.at),
            "verdict": found.verdict,
            "owner": clean(found.owner),
            "times": found.times,
            "body": json_text(
                {"diverged": found.diverged, "nodes": list(found.nodes), "packages": list(found.packages)}
            ),
        }
        with self._write_to(found.run_id) as (connection, _):
            connection.execute(t.REPRODUCTION.insert().values(row))

    def list_reproductions(self, run_id: str) -> list[Reproduction]:
        """Return the verdicts on a run, the newest first."""
        statement = select(t.REPRODUCTION).where(_p.run_id == clean(run_id)).order_by(_p.id.desc())
        with self.database.read() as connection:
            return [_to_reproduction(row) for row in connection.execute(statement).mappings()]

    def add_artifacts(self, artifacts: Iterable[Artifact]) -> None:
        """Record artifacts that no run of this catalog has made; what is known already stays."""
        with self.database.write() as connection:
            self._write_artifacts(connection, artifacts, now_us())

    def _find_reproductions(self, connection: Connection, ids: list[str]) -> dict[str, Reproduction]:
        """Return the newest verdict on each run that has one."""
        newest = select(func.max(_p.id)).where(_p.run_id.in_(ids)).group_by(_p.run_id)
        statement = select(t.REPRODUCTION).where(_p.id.in_(newest))
        return {row["run_id"]: _to_reproduction(row) for row in connection.execute(statement).mappings()}

    def _find_changes(self, connection: Connection, ids: list[str]) -> dict[str, list[Change]]:
        statement = select(t.CHANGE).where(_c.run_id.in_(ids)).order_by(_c.run_id, _c.kind.desc(), _c.name)
        found: dict[str, list[Change]] = {}
        for row in connection.execute(statement).mappings():
            change = Change(row["kind"], row["name"], from_json(row["before"]), from_json(row["after"]))
            found.setdefault(row["run_id"], []).append(change)
        return found

    def find_again(
        self, connection: Connection, ids: list[str]
    ) -> tuple[dict[str, Reproduction], dict[str, list[Change]]]:
        """Return by run the newest verdict, and in what it differs from its parent."""
        verdicts: dict[str, Reproduction] = {}
        changes: dict[str, list[Change]] = {}
        for some in chunks(ids):
            verdicts |= self._find_reproductions(connection, some)
            changes |= self._find_changes(connection, some)
        return verdicts, changes


def _to_reproduction(row: Mapping[Any, Any]) -> Reproduction:
    body, at = from_json(row["body"]), from_us(row["at_us"])
    assert at is not None
    return Reproduction(
        run_id=row["run_id"],
        verdict=row["verdict"],
        at=at,
        owner=row["owner"],
        times=row["times"],
        diverged=body["diverged"],
        nodes=tuple(body["nodes"]),
        packages=tuple(body["packages"]),
    )
