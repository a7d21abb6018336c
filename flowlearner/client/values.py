"""The part of the client that finds, loads and saves stored values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlearner.artifacts import ArtifactStore, get_codec
from flowlearner.catalog import Catalog
from flowlearner.client.saving import write_artifact
from flowlearner.errors import ArtifactError, NotFoundError, shorten, suggest
from flowlearner.records import Artifact, ArtifactUse, OutputRecord, RunRecord


class Values:
    """Outputs of runs and of their nodes, and artifacts by their hash."""

    if TYPE_CHECKING:

        @property
        def catalog(self) -> Catalog: ...

        @property
        def store(self) -> ArtifactStore: ...

        def get_record(self, run_id: str) -> RunRecord: ...

    def get_artifact(self, run_id: str, output: str) -> Artifact:
        """Return the artifact of an output of a run ("auc"), or of one of its nodes ("train.model").

        Raises:
            NotFoundError: no such run or output.
            ArtifactError: the output is known, but its artifact is not in the catalog any more.
        """
        record = self.get_record(run_id)
        found = self._find_output(record, output)
        artifact = self.catalog.find_artifacts([found.hash]).get(found.hash)
        if artifact is None:
            raise ArtifactError(
                f"run {record.id}, output '{output}': its artifact {found.hash} is not in the catalog any "
                "more. Run the workflow again"
            )
        return artifact

    def _find_output(self, record: RunRecord, name: str) -> OutputRecord:
        if name in record.outputs:
            return record.outputs[name]
        of_nodes = {f"{n.name}.{o.name}": o for n in record.nodes for o in n.outputs}
        if name in of_nodes:
            return of_nodes[name]
        single = {n.name: n.outputs[0] for n in record.nodes if len(n.outputs) == 1}
        if name in single:
            return single[name]
        known = [*record.outputs, *of_nodes]
        raise NotFoundError(
            f"run {record.id} ({record.status}) has no output '{name}'; "
            f"it has {shorten(known)}.{suggest(name, known)}"
        )

    def find_artifact(self, hash_: str) -> Artifact:
        """Return an artifact by its hash or a prefix of it that is unique.

        Raises:
            NotFoundError: there is none, or several.
        """
        return self.catalog.get_artifact(hash_)

    def find_artifacts(self, hashes: list[str]) -> dict[str, Artifact]:
        """Return the artifacts that there are, by hash."""
        return self.catalog.find_artifacts(hashes) if hashes else {}

    def find_producers(self, hash_: str, limit: int | None = 50) -> list[ArtifactUse]:
        """Return which nodes gave an artifact."""
        return self.catalog.find_producers(hash_, limit)

    def find_consumers(self, hash_: str, limit: int | None = 50) -> list[ArtifactUse]:
        """Return which nodes and runs took an artifact."""
        return self.catalog.find_consumers(hash_, limit)

    def load_output(self, run_id: str, name: str, *, unsafe: bool = False) -> Any:
        """Load an output of a run or of one of its nodes; the bytes are verified first.

        Args:
            unsafe: also load what was stored by pickle, which runs code that the bytes name.

        Raises:
            NotFoundError: no such run or output.
            ArtifactError: the bytes are missing or damaged, or were pickled and `unsafe` is false.

        Example:
            rows = client.load_output("1f3a", "split.train")
        """
        return self._load(self.get_artifact(run_id, name), unsafe)

    def load_artifact(self, hash_: str, *, unsafe: bool = False) -> Any:
        """Load a stored value by its hash; see `load_output`."""
        return self._load(self.find_artifact(hash_), unsafe)

    def _load(self, artifact: Artifact, unsafe: bool) -> Any:
        codec = get_codec(artifact.codec)
        if codec.unsafe and not unsafe:
            raise ArtifactError(
                f"artifact {artifact.hash} ({artifact.type}) was stored by pickle; loading it runs code that "
                "its bytes name. If you trust who made it, load it with unsafe=True"
            )
        self.store.check(artifact)
        return codec.decode(self.store.open(artifact), Any, artifact.type)

    def read_artifact(self, hash_: str) -> bytes:
        """Return the stored bytes of a value as they are; they are verified first.

        Raises:
            NotFoundError: no such artifact.
            ArtifactError: the bytes are missing or damaged.
        """
        artifact = self.find_artifact(hash_)
        self.store.check(artifact)
        return self.store.open(artifact).read()

    def save_output(self, run_id: str, name: str, path: str | Path) -> Path:
        """Write an output to a file: a table as .parquet, .csv, .tsv, .json or .arrow, others in their form.

        Raises:
            UsageError: the suffix names a form that the value does not have.
            StorageError: the disk fails or is full.

        Example:
            client.save_output("1f3a", "split.train", "train.parquet")
        """
        return self.save_artifact(self.get_artifact(run_id, name), path)

    def save_artifact(self, artifact: Artifact, path: str | Path) -> Path:
        """Write a stored value to a file; see `save_output`."""
        target = Path(path).expanduser()
        self.store.check(artifact)
        write_artifact(artifact, self.store.open(artifact), lambda: self._load(artifact, False), target)
        return target
