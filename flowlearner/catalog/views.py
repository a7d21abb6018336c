"""Lists of runs that people have given a name."""

from __future__ import annotations

from sqlalchemy import select

from flowlearner.catalog import tables as t
from flowlearner.catalog.part import Part
from flowlearner.catalog.rows import from_us, now_us
from flowlearner.catalog.statements import SAVED_VIEWS
from flowlearner.errors import NotFoundError, shorten, suggest
from flowlearner.records import SavedView, clean

_c = t.SAVED_VIEW.c


class Views(Part):
    """Saved views."""

    def save_view(self, name: str, query: str) -> None:
        """Save a view; one of the same name is replaced."""
        row = {"name": clean(name), "query": clean(query), "created_us": now_us()}
        with self.database.write() as connection:
            self.database.insert(connection, SAVED_VIEWS, [row])

    def list_views(self) -> list[SavedView]:
        """Return all views by name."""
        with self.database.read() as connection:
            rows = connection.execute(select(t.SAVED_VIEW).order_by(_c.name)).mappings()
            return [SavedView(row["name"], row["query"], from_us(row["created_us"])) for row in rows]

    def delete_view(self, name: str) -> None:
        """Remove a view.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self.database.write() as connection:
            done = connection.execute(t.SAVED_VIEW.delete().where(_c.name == clean(name)))
            if done.rowcount == 0:
                known = list(connection.scalars(select(_c.name).order_by(_c.name)))
                raise NotFoundError(f"no view '{name}'; there is {shorten(known)}.{suggest(name, known)}")
