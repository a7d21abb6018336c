"""One difference between two runs of a node, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from flowlearner.explaining.changes import Change
from flowlearner.records import clean

_LONGEST = 60
MOST_TOLD = 3
# Of these the text says where they are.
_SELF_EXPLAINING = ("operator", "version", "unstable", "param", "seed")
_WORDS = {"function": "helper", "class": "class", "value": "global", "module": "module"}


@dataclass(frozen=True)
class Difference:
    """What differs, or why a node ran although nothing does.

    Attributes:
        kind: of code "operator", "function", "class", "value", "module", "renamed", "import", "version" or
            "package", or "undetermined" where the source does not show it; of inputs "param", "input" (what
            an earlier node gave), "constant", "seed" or "binding"; "unstable" for a node that gave another
            result from equal code and inputs; else "first", "lost", "no-cache", "refresh", "uncacheable" or
            "not-stored".
        name: of what differs.
        text: in words.
        node: where it is; for the cause of a changed input that is an earlier node.
        before, after: JSON values, where it has some.
        diff: unified, for code.
        module: of the code.
        causes: of a changed input, what changed it.
    """

    kind: str
    name: str
    text: str
    node: str
    before: Any = None
    after: Any = None
    diff: str = ""
    module: str = ""
    causes: tuple[Difference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "text": self.text,
            "node": self.node,
            "before": self.before,
            "after": self.after,
            "diff": self.diff or None,
            "module": self.module or None,
            "causes": [c.to_json() for c in self.causes],
        }


def tell_causes(causes: Sequence[Difference]) -> str:
    """Return what changed an input, in words: each cause with the node where it is."""
    texts = [c.text if c.kind in _SELF_EXPLAINING else f"{c.text} in '{c.node}'" for c in causes[:MOST_TOLD]]
    rest = len(causes) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")


def list_texts(differences: Sequence[Difference]) -> list[str]:
    """Return differences in words; inputs that changed for the same reason are told together."""
    texts: list[str] = []
    told: list[tuple[Difference, ...]] = []
    for difference in differences:
        causes = difference.causes
        if not causes:
            texts.append(difference.text)
        elif causes not in told:
            told.append(causes)
            names = [f"'{d.name}'" for d in differences if d.causes == causes]
            word = "input" if len(names) == 1 else "inputs"
            texts.append(f"{word} {', '.join(names)} changed: {tell_causes(causes)}")
    return texts


def summarise(differences: Sequence[Difference]) -> str:
    """Return differences in one line, the first few of many."""
    texts = list_texts(differences)
    rest = len(texts) - MOST_TOLD
    return "; ".join(texts if rest <= 0 else [*texts[:MOST_TOLD], f"and {rest} more"])


def describe_change(change: Change, node: str) -> Difference:
    """Return a difference in code."""
    found = Difference(
        kind=change.kind,
        name=change.name,
        text="",
        node=node,
        before=change.before,
        after=change.after,
        diff=change.diff,
        module=change.module,
    )
    return replace(found, text=_tell_change(change))


def _tell_change(change: Change) -> str:
    name, values = change.name, f"{change.before} → {change.after}"
    if change.kind == "operator":
        return f"the code of '{name}' itself changed"
    if change.kind == "version":
        return f"version= of '{name}': {change.before or 'none'} → {change.after or 'none'}"
    if change.kind == "renamed":
        return f"'{change.before}' is now called '{name}'"
    if change.kind == "import":
        return f"'{name}' stands for {change.after}, it was {change.before}"
    word = _WORDS[change.kind]
    if change.how == "added":
        return f"it now uses {word} '{name}'"
    if change.how == "removed":
        return f"it no longer uses {word} '{name}'"
    if change.before is not None and len(values) <= 2 * _LONGEST:
        return f"{word} '{name}': {values}"
    return f"{word} '{name}' changed"


def describe_param(node: str, name: str, before: Any, after: Any) -> Difference:
    """Return a difference in a parameter of the workflow."""
    text = f"parameter '{name}': {_tell_values(before, after)}"
    return Difference("param", name, text, node, before, after)


def describe_values(kind: str, node: str, name: str, before: Any, after: Any) -> Difference:
    """Return a difference in what a workflow's body, or the run's seed, gives to an input."""
    where = "the run's seed" if kind == "seed" else f"input '{name}', given in the workflow"
    return Difference(kind, name, f"{where}: {_tell_values(before, after)}", node, before, after)


def _tell_values(before: Any, after: Any) -> str:
    old, new = show_given(before), show_given(after)
    if old != new:
        return f"{old} → {new}"
    return (
        f"the content of {new} changed"
        if _is_stored(after)
        else f"{new} as before, but what it stands for changed"
    )


def _is_stored(value: Any) -> bool:
    """Tell whether a recorded parameter is a table or a file, or holds one."""
    if isinstance(value, Mapping):
        return "hash" in value or any(map(_is_stored, value.values()))
    return isinstance(value, list) and any(map(_is_stored, value))


def show_given(value: Any) -> str:
    """Return a recorded parameter or a literal as one reads it."""
    if isinstance(value, Mapping) and "hash" in value:
        source = value.get("source")
        return PurePath(source).name if source else f"{value.get('type')} {str(value['hash'])[:8]}"
    if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        return _cut(f"[{', '.join(show_given(v) for v in value)}]")
    text = " ".join(clean(str(value) if not isinstance(value, str) else repr(value)).split())
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
