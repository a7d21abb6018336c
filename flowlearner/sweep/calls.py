"""Owns which operator calls trials have in common: calls of one plan key are one call."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flowlearner.cache import find_uncacheable
from flowlearner.engine.base import RunContext
from flowlearner.engine.binding import Binder
from flowlearner.engine.task import NodeTask
from flowlearner.graph import Binding, Collection, Node, NodeRef, iter_refs
from flowlearner.interface import Param
from flowlearner.records import Artifact, MetricPoint, NodeRun, Status
from flowlearner.sweep.space import Point

# Calls that have ended are kept for trials to come; the catalog's cache knows those that were let go.
MAX_REMEMBERED = 4096


@dataclass(eq=False)
class Trial:
    """One point of a sweep on its way.

    Attributes:
        parts: hashes of what its parameters consist of.
        calls: the call of each node that has not ended yet.
        done: how each other node ended.
        points: what each of its nodes has reported so far, where trials may stop for it.
    """

    number: int
    point: Point
    context: RunContext
    binder: Binder
    started_at: datetime
    parts: tuple[str, ...] = ()
    calls: dict[str, Call] = field(default_factory=dict)
    done: dict[str, NodeRun] = field(default_factory=dict)
    points: dict[str, list[MetricPoint]] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.context.run_id


@dataclass(eq=False)
class Call:
    """An operator call for one or more trials.

    Attributes:
        node: of the trial that asked for it first.
        fingerprint: of its operator's code, when it was asked for.
        users: the trials that wait for it, each with its node; it runs in the first one's name.
        readers: calls that read its outputs.
        followers: calls that turned out to have the same cache key while this one was on its way.
        missing: how many of the calls that it reads have not ended.
        task: what runs it, from when its inputs are known.
        result: how it ended.
        run_id: in whose name it ran.
    """

    node: Node
    fingerprint: str
    plan_key: Hashable | None
    users: dict[Trial, Node] = field(default_factory=dict)
    readers: list[Call] = field(default_factory=list)
    followers: list[Call] = field(default_factory=list)
    missing: int = 0
    task: NodeTask | None = None
    result: NodeRun | None = None
    run_id: str = ""
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    @property
    def is_wanted(self) -> bool:
        """Whether a trial still waits for what it gives."""
        return bool(self.users) or any(f.is_wanted for f in self.followers)

    @property
    def order(self) -> tuple[int, int]:
        """Early trials first, so that they end rather than that all are half done."""
        trial, node = next(iter(self.users.items()))
        return (trial.number, node.position)

    def give(self, node: Node, run_id: str) -> NodeRun:
        """Return its result as a trial records it: as its own, or as taken from the trial that ran it."""
        assert self.result is not None, "only a call that has ended gives something"
        named = replace(self.result, name=node.name, position=node.position)
        if run_id != self.run_id and named.status is Status.COMPLETED:
            origin = named.cached_from or self.run_id
            named = replace(named, cached=True, cached_from=origin, miss_reason=None)
        if named.cached_from == run_id:
            # The trial runs again, and has made this call before.
            named = replace(named, cached=False, cached_from=None)
        return named


class CallTable:
    """The calls of a sweep by their plan keys.

    A plan key is the operator's fingerprint with the content hash of each input that is known and, for an
    output of another call, that call itself. It is good for this process alone and proves no hit.
    """

    def __init__(self) -> None:
        self._calls: dict[Hashable, Call] = {}

    def add_trial(self, trial: Trial) -> list[tuple[Node, Call]]:
        """Find or make the call of each node of a trial, in the order of the nodes.

        Calls that are new have no users yet; others are on their way or have ended.
        """
        made: dict[str, Call] = {}
        for node in trial.context.graph.nodes:
            fingerprint = node.operator.fingerprint().digest
            key = _make_key(node, fingerprint, trial, made)
            call = self._calls.pop(key, None) if key is not None else None
            if call is None:
                call = Call(node, fingerprint, key)
                for upstream in {made[name] for name in node.upstream}:
                    if upstream.result is None:
                        upstream.readers.append(call)
                        call.missing += 1
            if key is not None:
                # Last in the order: what is used again is remembered longest.
                self._calls[key] = call
            made[node.name] = call
        self._forget()
        return [(node, made[node.name]) for node in trial.context.graph.nodes]

    def remove(self, call: Call) -> None:
        """Let later trials make a call anew: it failed, or nobody waits for it any more."""
        if call.plan_key is not None and self._calls.get(call.plan_key) is call:
            del self._calls[call.plan_key]

    def _forget(self) -> None:
        surplus = len(self._calls) - MAX_REMEMBERED
        if surplus > MAX_REMEMBERED // 8:
            for key in [k for k, c in self._calls.items() if c.result is not None][:surplus]:
                del self._calls[key]


def _make_key(node: Node, fingerprint: str, trial: Trial, made: dict[str, Call]) -> Hashable | None:
    if find_uncacheable(node, {}):
        return None
    params = node.operator.interface.by_name
    parts: list[Any] = [fingerprint, *(limit.where for limit in node.limits)]
    for name, binding in node.inputs.items():
        part = _name_input(binding, params[name], trial, made)
        if part is None:
            return None
        parts.append((name, part))
    return tuple(parts)


def _name_input(binding: Binding, param: Param, trial: Trial, made: dict[str, Call]) -> Hashable | None:
    """Return what stands for an input in a plan key; None where it may differ from call to call."""
    if isinstance(binding, NodeRef):
        # A call without a key gives each trial results of its own, and the call tells them apart.
        return (made[binding.node], binding.output)
    if isinstance(binding, Collection) and any(iter_refs(binding)):
        items = [_name_input(b, param, trial, made) for b in binding.items]
        return None if None in items else (binding.make, *map(repr, binding.keys), *items)
    bound = trial.binder.bind(binding, param)
    return "secret" if bound.secret else bound.hash
