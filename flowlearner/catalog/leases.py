"""Leases: until when a process that writes is taken to live by those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text

from flowlearner.catalog import tables as t
from flowlearner.catalog.connect import Write
from flowlearner.catalog.part import chunks
from flowlearner.catalog.rows import from_us, to_process
from flowlearner.catalog.statements import OPEN
from flowlearner.catalog.sweeps import Sweeps
from flowlearner.records import Owner, Status, describe_crash

BEATS = 2
"""A lease that was not renewed for as many heartbeats has run out."""

SECOND_US = 1_000_000
# The clock of the database, which all processes have in common.
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
_LEASES = Write(t.LEASE, ("id",), ("beat_us", "period_us"))


@dataclass(frozen=True)
class Renewal:
    """How a process that knows nothing of the catalog renews a lease.

    Attributes:
        path: of a SQLite file; None elsewhere.
        url: of the database, with its password.
        statement: takes `lease`.
    """

    path: str | None
    url: str
    statement: str
    lease: str


class Leases(Sweeps):
    """Who is alive, by what processes say of themselves, and what others have left."""

    def begin_lease(self, process: Owner, beat_s: float) -> Renewal:
        """Record that a process lives and renews its lease every `beat_s`; return how it is renewed."""
        database, lease = self.database, _get_id(process)
        with database.write() as connection:
            row = {
                "id": lease,
                "beat_us": self._get_now_us(connection),
                "period_us": round(beat_s * SECOND_US),
            }
            database.insert(connection, _LEASES, [row])
        return Renewal(
            path=str(database.path) if database.path else None,
            url=database.url.render_as_string(hide_password=False),
            statement=f"UPDATE lease SET beat_us = {self._now} WHERE id = :lease",
            lease=lease,
        )

    def has_expired(self, process: Owner) -> bool:
        """Tell whether a process has let its lease run out; False of one that never had one."""
        statement = select(t.LEASE.c.beat_us, t.LEASE.c.period_us).where(t.LEASE.c.id == _get_id(process))
        with self.database.read() as connection:
            found = connection.execute(statement).one_or_none()
            return (
                found is not None and self._get_now_us(connection) > found.beat_us + BEATS * found.period_us
            )

    def find_beat(self, process: Owner) -> int | None:
        """Return when a process has last renewed its lease, in microseconds of the database's clock."""
        with self.database.read() as connection:
            found: int | None = connection.scalar(
                select(t.LEASE.c.beat_us).where(t.LEASE.c.id == _get_id(process))
            )
            return found

    def purge_leases(self, older_than_s: float) -> int:
        """Remove leases that ran out long ago and that no open run or sweep depends on; return how many."""
        with self.database.read() as connection:
            needed = {
                _get_id(process)
                for table in (t.RUN, t.SWEEP)
                for row in connection.execute(select(table).where(table.c.status.in_(OPEN))).mappings()
                if (process := to_process(row)) is not None
            }
        with self.database.write() as connection:
            long_ago = self._get_now_us(connection) - round(older_than_s * SECOND_US)
            old = connection.scalars(select(t.LEASE.c.id).where(t.LEASE.c.beat_us < long_ago)).all()
            gone = sorted(set(old) - needed)
            for some in chunks(gone):
                connection.execute(t.LEASE.delete().where(t.LEASE.c.id.in_(some)))
            return len(gone)

    # What processes have left

    def store_crashed_sweeps(self, is_dead: Callable[[Owner], bool]) -> list[str]:
        """Record sweeps whose driver is gone as CRASHED, and return their ids.

        Args:
            is_dead: whether a process is known to have ended.
        """
        with self.database.read() as connection:
            rows = connection.execute(select(t.SWEEP).where(t.SWEEP.c.status.in_(OPEN))).mappings()
            drivers = [(row["id"], to_process(row)) for row in rows]
        return [
            sweep_id
            for sweep_id, driver in drivers
            if driver is not None and is_dead(driver) and self.store_sweep_crash(sweep_id, driver)
        ]

    def store_sweep_crash(self, sweep_id: str, driver: Owner) -> bool:
        """Record a sweep as CRASHED, at its last sign of life; its driver writes nothing more to it.

        Returns:
            False where it had ended already, or another process goes on with it.
        """
        ended_at = self._find_last_sweep_sign(sweep_id)
        return self.finish_sweep(sweep_id, driver, Status.CRASHED, ended_at, describe_crash(driver))

    def _find_last_sweep_sign(self, sweep_id: str) -> datetime:
        ends = select(func.max(t.RUN.c.finished_us), func.max(t.RUN.c.created_us)).where(
            t.RUN.c.sweep_id == sweep_id
        )
        begun = select(t.SWEEP.c.started_us, t.SWEEP.c.created_us).where(t.SWEEP.c.id == sweep_id)
        with self.database.read() as connection:
            found = [*connection.execute(ends).one(), *connection.execute(begun).one()]
        last = from_us(max(at for at in found if at is not None))
        assert last is not None, "every sweep has a time"
        return last

    def find_flow_runs(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """Return the Prefect flow runs of runs and sweeps, each with the URL of its API."""
        found: list[tuple[str, str]] = []
        with self.database.read() as connection:
            for table in (t.RUN, t.SWEEP):
                c = table.c
                for some in chunks(ids):
                    statement = select(c.prefect_flow_run_id, c.prefect_api_url).where(
                        c.id.in_(some), c.prefect_flow_run_id.is_not(None), c.prefect_api_url.is_not(None)
                    )
                    found += [(str(flow_run), str(url)) for flow_run, url in connection.execute(statement)]
        return found

    def list_crashed_flow_runs(self, flow_run_ids: Collection[str]) -> list[str]:
        """Return those of some Prefect flow runs whose run or sweep is recorded as CRASHED."""
        found: list[str] = []
        with self.database.read() as connection:
            for table in (t.RUN, t.SWEEP):
                c = table.c
                for some in chunks(flow_run_ids):
                    statement = select(c.prefect_flow_run_id).where(
                        c.prefect_flow_run_id.in_(some), c.status == Status.CRASHED.value
                    )
                    found += connection.scalars(statement).all()
        return found

    @property
    def _now(self) -> str:
        return _NOW[self.database.engine.dialect.name]

    def _get_now_us(self, connection: Connection) -> int:
        return int(connection.scalar(text(f"SELECT {self._now}")))


def _get_id(process: Owner) -> str:
    return f"{process.host} {process.boot_id} {process.pid} {process.pid_started}"
