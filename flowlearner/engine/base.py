"""What every executor shares: options, events, listeners, and the limits of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowlearner.capture import count_cpus, total_memory_bytes
from flowlearner.errors import ResourceError
from flowlearner.graph import Graph
from flowlearner.operation import Operator, Resources
from flowlearner.records import Change, CodeInfo, ErrorInfo, LogLine, Status

if TYPE_CHECKING:
    # Whoever imports a workflow imports this module; the catalog takes half a second.
    from flowlearner.artifacts import ArtifactStore, Encoded
    from flowlearner.cache import Earlier
    from flowlearner.catalog import Catalog

EXECUTORS = ("prefect", "local")


@dataclass(frozen=True)
class RunOptions:
    """How a run is made; nothing here enters a cache key but the seed, through Seed parameters.

    Attributes:
        seed: what an unbound Seed parameter receives.
        cache: False looks nothing up; results are stored all the same.
        refresh: names of nodes that run even where they would hit.
        command: the command line, for the record.
    """

    experiment: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    executor: str = "prefect"
    seed: int = 0
    cache: bool = True
    refresh: tuple[str, ...] = ()
    parent_id: str | None = None
    command: str = ""


@dataclass(frozen=True)
class Origin:
    """What a run has from an earlier one.

    Attributes:
        code: commit and branch of the code that it runs, which was loaded from a snapshot.
        snapshot: that snapshot; None where today's code runs.
        operators: operators that take the place of others, by node or by the name of the other.
        earlier: results that stand for nodes of the same code and inputs, by node.
        pinned: files and tables that the workflow names itself, by node and input, as "artifact:HASH".
        changes: in what it differs from its parent.
    """

    code: CodeInfo = field(default_factory=CodeInfo)
    snapshot: Encoded | None = None
    operators: Mapping[str, Operator[Any, Any]] = field(default_factory=dict)
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    pinned: Mapping[tuple[str, str], str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class NodeEvent:
    """A node of a run changed its state."""

    run_id: str
    node: str
    operator: str
    status: Status
    cached: bool = False
    attempt: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    error: ErrorInfo | None = None


class RunListener:
    """Is told what happens to a run; methods are called from several threads.

    Attributes:
        echo_prints: what operators print also goes to the standard output.
    """

    echo_prints = True

    def say(self, message: str) -> None:
        """One line from the platform."""

    def run_started(self, run_id: str, graph: Graph) -> None:
        """The run is recorded and begins."""

    def node_changed(self, event: NodeEvent) -> None:
        """A node began or ended."""

    def log(self, line: LogLine) -> None:
        """An operator logged or printed a line."""

    def run_finished(self, run_id: str, status: Status) -> None:
        """The run has its final status."""


@dataclass(frozen=True)
class RunContext:
    """What a run needs from its surroundings.

    Attributes:
        secrets: texts that are never recorded.
        earlier: results of an earlier run, by node.
    """

    run_id: str
    graph: Graph
    options: RunOptions
    catalog: Catalog
    store: ArtifactStore
    listener: RunListener
    secrets: tuple[str, ...] = ()
    earlier: Mapping[str, Earlier] = field(default_factory=dict)


@dataclass
class Budget:
    """Processors, accelerators and memory that running nodes share."""

    cpus: float
    gpus: float
    memory_bytes: int

    @classmethod
    def of_machine(cls) -> Budget:
        return cls(count_cpus(), 0, total_memory_bytes())

    def fits(self, need: Resources) -> bool:
        # Shares such as 0.1 cpus do not add up exactly.
        return (
            need.cpus <= self.cpus + 1e-9
            and need.gpus <= self.gpus + 1e-9
            and need.memory_bytes <= self.memory_bytes
        )

    def take(self, need: Resources) -> None:
        self.cpus -= need.cpus
        self.gpus -= need.gpus
        self.memory_bytes -= need.memory_bytes

    def give_back(self, need: Resources) -> None:
        self.cpus += need.cpus
        self.gpus += need.gpus
        self.memory_bytes += need.memory_bytes


def check_resources(graph: Graph) -> None:
    """Refuse a graph with a node that this machine can never run.

    Raises:
        ResourceError: naming each such node, what it asks for and what there is.
    """
    machine = Budget.of_machine()
    problems = []
    for node in graph.nodes:
        need = node.operator.resources
        wants = [
            f"{need.cpus:g} cpus (this machine has {machine.cpus:g})" if need.cpus > machine.cpus else "",
            f"{need.gpus:g} gpus (this machine has {machine.gpus:g})" if need.gpus > machine.gpus else "",
            f"{need.memory_bytes:,} bytes of memory (this machine has {machine.memory_bytes:,})"
            if need.memory_bytes > machine.memory_bytes
            else "",
        ]
        asked = [w for w in wants if w]
        if asked:
            problems.append(f"node '{node.name}' asks for {' and '.join(asked)}")
    if problems:
        raise ResourceError(
            f"workflow '{graph.workflow}' can never run here: {'; '.join(problems)}. "
            "Lower what the operator declares."
        )


def utc_now() -> datetime:
    return datetime.now(UTC)
