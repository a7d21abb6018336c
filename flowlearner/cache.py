"""Cache keys, and the decision whether a node hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from flowlearner.artifacts import ArtifactStore, get_codec
from flowlearner.canonical import digest_parts
from flowlearner.errors import ArtifactError
from flowlearner.graph import Node
from flowlearner.records import Artifact, CacheEntry, NodeRun

if TYPE_CHECKING:
    # Children and workers run nodes without a catalog, and it takes long to load.
    from flowlearner.catalog import Catalog

KEY_KIND = "node-key/1"


class _Unset(Enum):
    UNSET = "unset"


# An Enum member is itself again when it has travelled to another process.
UNSET: Any = _Unset.UNSET


@dataclass(frozen=True)
class BoundValue:
    """The value of one input.

    Attributes:
        hash: canonical content hash; None for a secret or a value without one.
        artifact: where the value is stored, if it is.
        value: the value itself, for a literal.
        items: the parts of a collection, built as `make` says.
        unstable: why there is no hash, in words.
    """

    hash: str | None
    artifact: Artifact | None = None
    value: Any = UNSET
    items: tuple[BoundValue, ...] = ()
    make: Any = None
    keys: tuple[Any, ...] = ()
    secret: bool = False
    unstable: str | None = None


def compute_key(fingerprint: str, inputs: Mapping[str, str]) -> str:
    """Return the cache key of a call: the code's fingerprint and the content hash of each input.

    The pre-image starts with its kind and format number; inputs are in the order of their names.
    """
    parts = [part for name in sorted(inputs) for part in (name, inputs[name])]
    return digest_parts(KEY_KIND, fingerprint, *parts)


def find_uncacheable(node: Node, inputs: Mapping[str, BoundValue]) -> str | None:
    """Return why a call cannot be cached, or None."""
    operator = node.operator
    if operator.effects:
        return "effects=True"
    if not operator.cache:
        return "cache=False"
    problems = operator.fingerprint().problems
    if problems:
        return f"its code cannot be followed: {problems[0]}"
    for name, bound in inputs.items():
        if bound.unstable:
            return f"input '{name}' has no stable encoding: {bound.unstable}"
    return None


@dataclass(frozen=True)
class Hit:
    """A result that is there and whole."""

    entry: CacheEntry
    artifacts: Mapping[str, Artifact]


@dataclass(frozen=True)
class Earlier:
    """How a node completed in an earlier run that this one goes on from.

    Attributes:
        artifacts: its outputs, by name.
        is_settled: its result is taken whatever its code and inputs are now, since it must not run again.
    """

    run_id: str
    record: NodeRun
    artifacts: Mapping[str, Artifact]
    is_settled: bool = False

    def take(self, fingerprint: str, inputs: Mapping[str, BoundValue], store: ArtifactStore) -> Hit | None:
        """Return its result, unless code or inputs differ from those of now, or its bytes are not whole."""
        if not self.is_settled and not self._is_same(fingerprint, inputs):
            return None
        try:
            for artifact in self.artifacts.values():
                store.check(artifact)
                get_codec(artifact.codec)
        except ArtifactError:
            return None
        source = self.record.cached_from or self.run_id
        entry = CacheEntry(
            self.record.cache_key or "", source, self.record.name, self.record.outputs, self.record.metrics
        )
        return Hit(entry, self.artifacts)

    def _is_same(self, fingerprint: str, inputs: Mapping[str, BoundValue]) -> bool:
        before = self.record.inputs
        if self.record.fingerprint != fingerprint or before.keys() != inputs.keys():
            return False
        # Secrets count nowhere; of a value without a stable encoding nobody can say that it is the same.
        return all(
            before[name] is None if bound.secret else bound.hash is not None and before[name] == bound.hash
            for name, bound in inputs.items()
        )


def find_hits(
    catalog: Catalog, store: ArtifactStore, keys: list[str]
) -> tuple[dict[str, Hit], dict[str, str]]:
    """Look keys up and verify the stored bytes.

    Returns:
        hits by key, and for keys whose artifact is gone or damaged the reason in words.
    """
    entries = catalog.find_cache_entries(keys)
    hashes = {o.hash for e in entries.values() for o in e.outputs}
    artifacts = catalog.find_artifacts(hashes, with_previews=False) if hashes else {}
    hits: dict[str, Hit] = {}
    lost: dict[str, str] = {}
    for key, entry in entries.items():
        try:
            for output in entry.outputs:
                if output.hash not in artifacts:
                    raise ArtifactError(f"artifact of output '{output.name}' is not in the catalog")
                store.check(artifacts[output.hash])
                # One of the user's that is not registered any more, or under another name, reads nothing.
                get_codec(artifacts[output.hash].codec)
        except ArtifactError as error:
            lost[key] = f"artifact lost: {error.problem}"
        else:
            hits[key] = Hit(entry, {o.name: artifacts[o.hash] for o in entry.outputs})
    return hits, lost


def explain_miss(previous: NodeRun | None, fingerprint: str, inputs: Mapping[str, str | None]) -> str:
    """Say what differs from the latest run of the same node."""
    if previous is None:
        return "first run of this node"
    if previous.fingerprint != fingerprint:
        return "the operator's code changed"
    changed = [name for name, hash_ in inputs.items() if previous.inputs.get(name, "") != hash_]
    if changed:
        noun = "input" if len(changed) == 1 else "inputs"
        return f"{noun} {', '.join(repr(n) for n in changed)} changed"
    return "no stored result for this key"
