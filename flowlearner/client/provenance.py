"""The part of the client that tells why nodes ran, and where things came from and went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.explaining.nodes import RunExplanation, explain_run
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
