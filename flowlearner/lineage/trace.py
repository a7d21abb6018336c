"""Lineage of an artifact, an output or a file: what made it, what used it, and which models saw it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flowlearner.artifacts.files import encode_file
from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError, UsageError, shorten, suggest
from flowlearner.lineage.columns import judge_models
from flowlearner.lineage.downward import ModelUse, Use, list_models, list_uses
from flowlearner.lineage.records import Records
from flowlearner.lineage.upward import Origin, Upward, trace_artifact
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact

EXPECTED = "expected an artifact's hash, RUN.OUTPUT such as 1f3a.auc, or a file that runs were given"
_HASH = re.compile("[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Target:
    """What is traced.

    Attributes:
        kind: "artifact", "output" or "file".
        hashes: the artifacts that it is; of a file each content that runs got from it, the present one first.
        is_current: of a file, for each hash, whether the file has this content now.
    """

    kind: str
    name: str
    hashes: tuple[str, ...]
    type: str | None = None
    is_current: tuple[bool, ...] = ()

    def to_json(self) -> dict[str, Any]:
        contents = [{"hash": h, "is_current": c} for h, c in zip(self.hashes, self.is_current, strict=False)]
        return {
            "kind": self.kind,
            "name": self.name,
            "hash": self.hashes[0] if self.kind != "file" else None,
            "type": self.type,
            "contents": contents,
        }


@dataclass(frozen=True)
class Lineage:
    """Where something came from and went.

    Attributes:
        origin: what made it; None for a file, and where no kept run did.
        made_in: how many kept runs gave it, by computing it or from the cache.
        uses: the nodes that took it or what was made of it, the newest runs first.
        models: those among what they gave; with a column, those that saw it come first.
    """

    target: Target
    origin: Origin | None
    made_in: int
    uses: tuple[Use, ...]
    models: tuple[ModelUse, ...]
    column: str | None = None

    @property
    def runs(self) -> list[str]:
        """Ids of the runs that used it, the newest first."""
        return list(dict.fromkeys(use.run.id for use in self.uses))

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target.to_json(),
            "column": self.column,
            "made_by": self.origin.to_json() if self.origin else None,
            "made_in_runs": self.made_in,
            "used_by": [u.to_json() for u in self.uses],
            "runs": self.runs,
            "models": [m.to_json() for m in self.models],
        }


def trace(catalog: Catalog, name: str, column: str | None = None) -> Lineage:
    """Trace an artifact (its hash), an output (RUN.OUTPUT) or a file.

    Args:
        column: of the table that it is: then the models say whether they saw it.

    Raises:
        NotFoundError: there is no such thing, or it has no such column.
        UsageError: the text names nothing of the kind.
    """
    records = Records(catalog)
    run, dot, output = name.partition(".")
    is_output = bool(dot and output and _HASH.fullmatch(run)) and not os.path.exists(name)
    text = name.removeprefix(ARTIFACT_PREFIX)
    origin: Origin | None = None
    made_in = 0
    if os.sep in name or os.path.exists(name):
        target = _find_file(records, name)
    elif is_output:
        target, origin = _find_output(records, catalog.resolve_run_id(run), output)
        made_in = trace_artifact(records, target.hashes[0])[1]
    elif _HASH.fullmatch(text):
        artifact = _find_artifact(catalog, text)
        target = Target("artifact", artifact.hash, (artifact.hash,), artifact.type)
        origin, made_in = trace_artifact(records, artifact.hash)
    else:
        target = _find_file(records, name)
    # Equal numbers come out of what has nothing in common.
    is_scalar = origin is not None and origin.value is not None
    uses = list_uses(records, target.hashes, origin.run_id if origin and is_output and is_scalar else None)
    models = list_models(records, uses)
    if column is not None:
        models = judge_models(records, target.hashes, column, uses, models)
    return Lineage(target, origin, made_in, tuple(uses), tuple(models), column)


def _find_artifact(catalog: Catalog, text: str) -> Artifact:
    try:
        return catalog.get_artifact(text)
    except NotFoundError:
        try:
            run = catalog.get_run(text)
        except NotFoundError:
            pass
        else:
            known = shorten(run.outputs) if run.outputs else "it has none"
            raise NotFoundError(
                f"'{text}' is a run of {run.workflow}: name one of its outputs ({known}), for example "
                f"{text}.{next(iter(run.outputs), 'result')}"
            ) from None
        raise


def _find_output(records: Records, run_id: str, name: str) -> tuple[Target, Origin]:
    records.load_runs([run_id])
    if run_id not in records.runs:
        raise NotFoundError(f"run {run_id} is deleted: flowlearner runs restore {run_id[:8]}")
    nodes = records.get_nodes(run_id)
    outputs = records.get_graph(run_id).get("outputs", {})
    record = records.catalog.get_run(run_id)
    node, _, output = name.partition(".")
    upward = Upward(records, run_id)
    if name in record.outputs:
        found = record.outputs[name]
        origin = upward.trace(outputs.get(name), found.hash)
    else:
        given = nodes[node].outputs if node in nodes else ()
        match = next(
            (o for o in given if o.name == (output or (given[0].name if len(given) == 1 else ""))), None
        )
        if match is None:
            known = [*record.outputs, *(f"{n.name}.{o.name}" for n in nodes.values() for o in n.outputs)]
            raise NotFoundError(
                f"run {run_id} has no output '{name}'; it has {shorten(known)}.{suggest(name, known)}"
            )
        found = match
        origin = upward.trace({"node": node, "output": found.name})
    return Target("output", f"{run_id[:8]}.{name}", (found.hash,), found.type), origin


# Files


def iter_stored(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each table or file in recorded parameters: by its type, hash and source."""
    if isinstance(value, Mapping) and value.get("hash"):
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from iter_stored(item)


def find_path(name: str) -> str:
    """Return a file's whole path as runs record it; a URL stays."""
    return name if "://" in name else str(Path(name).expanduser().absolute())


def list_contents(catalog: Catalog, path: str) -> list[str]:
    """Return the artifacts that a file is now: as a file, and as each table that was read from it."""
    if not os.path.isfile(path):
        return []
    encoded, checksum = encode_file(path)
    return [encoded.hash, *catalog.list_table_hashes(checksum)]


def is_named(value: Any, path: str) -> bool:
    """Tell whether a recorded value names a file, anywhere in it.

    A relative path could be any that ends so, as nobody knows in which folder it was given.
    """
    if isinstance(value, Mapping):
        return any(is_named(v, path) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_named(v, path) for v in value)
    if not isinstance(value, str) or not value or "\n" in value:
        return False
    if value == path or "://" in value or "://" in path:
        return value == path
    given = Path(value).expanduser()
    if given.is_absolute():
        return os.path.realpath(given) == os.path.realpath(path)
    parts = [p for p in given.parts if p not in ("..", ".")]
    return bool(parts) and list(Path(path).parts[-len(parts) :]) == parts


def _find_file(records: Records, name: str) -> Target:
    path = find_path(name)
    records.load_runs()
    given = [
        str(value["hash"])
        for run in records.runs.values()
        for value in iter_stored(run.params)
        if is_named(value.get("source"), path)
    ]
    now = list_contents(records.catalog, path)
    known = records.find_artifacts(now)
    current = [h for h in now if h in known]
    hashes = list(dict.fromkeys([*current, *given]))
    if not hashes:
        if os.path.isfile(path):
            raise NotFoundError(f"no run that is kept was given the file {path}")
        if os.sep in name or Path(name).suffix:
            raise NotFoundError(f"there is no file {path}, and no run that is kept was given it")
        raise UsageError(f"'{name}': {EXPECTED}")
    artifacts = records.find_artifacts(hashes)
    kind = artifacts[hashes[0]].type if hashes[0] in artifacts else None
    target = Target("file", path, tuple(hashes), kind)
    return replace(target, is_current=tuple(h in current for h in hashes))
