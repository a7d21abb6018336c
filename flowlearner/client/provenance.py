"""The part of the client that tells why nodes ran, and where things came from and went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.explaining.nodes import RunExplanation, explain_run
from flowlearner.lineage.stale import Staleness, list_stale
from flowlearner.lineage.trace import Lineage, trace
from flowlearner.records import RunRecord


class Provenance:
    """Explaining and tracing. It only reads, and loads no code of the user's."""

    if TYPE_CHECKING:

        @property
        def catalog(self) -> Catalog: ...

        @property
        def store(self) -> ArtifactStore: ...

        def get_record(self, run_id: str) -> RunRecord: ...

    def explain_run(self, run_id: str, node: str | None = None) -> RunExplanation:
        """Say why each node of a run ran, and which run made what the others took from the cache.

        A node that ran is compared with the nearest earlier run of its operator: the one that has most inputs
        and code in common with it, and of those the latest.

        Args:
            node: only this one.

        Raises:
            NotFoundError: no such run, or no such node in it.

        Example:
            for node in client.explain_run("1f3a").nodes:
                print(node.name, node.summary)
        """
        return explain_run(self.catalog, self.store, self.get_record(run_id), node)

    def trace_lineage(self, target: str, column: str | None = None) -> Lineage:
        """Say what made an artifact, up to the files and parameters at the roots, and what used it.

        Args:
            target: an artifact's hash, an output ("1f3a.model", "1f3a.split.train"), or a file.
            column: of the table that it is; then each model says whether it saw the column, as far as the
                schemas of the tables on the way and the declared `Columns` tell.

        Raises:
            NotFoundError: there is no such thing, or the table has no such column.

        Example:
            for model in client.trace_lineage("flights.csv", column="dep_delay").models:
                print(model.run.id, model.saw)
        """
        return trace(self.catalog, target, column)

    def list_stale(self, changed: str) -> Staleness:
        """Return the runs that would no longer hit if a file's content or an operator's code changed.

        It is an upper bound: a change may turn out not to matter.

        Args:
            changed: an operator by its name, or a file: one that runs were given, or a module of their code.

        Raises:
            NotFoundError: there is no such operator or file.

        Example:
            [stale.run.id for stale in client.list_stale("flights.csv").runs]
        """
        return list_stale(self.catalog, self.store, changed)
