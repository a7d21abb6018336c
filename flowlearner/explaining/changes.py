"""What differs between the code that a function reached then and what it reaches now."""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowlearner.canonical import digest_parts
from flowlearner.explaining.reach import Definition, Reach
from flowlearner.fingerprint.syntax import read_facts


@dataclass(frozen=True)
class Change:
    """One difference in code.

    Attributes:
        kind: "operator" (its own body), "function", "class", "value", "module", "renamed", "import" or
            "version".
        name: of the definition.
        how: "changed", or "added" or "removed" for what the code reads now and did not, or the other way.
        before, after: what it was and is, where one line tells it.
        diff: of the source, unified; empty where before and after say it all.
        module: where it is.
    """

    kind: str
    name: str
    module: str
    how: str = "changed"
    before: str | None = None
    after: str | None = None
    diff: str = ""


def compare_reaches(before: Reach, after: Reach) -> list[Change]:
    """Return what differs, the function's own body first, then in the order in which it is reached."""
    pairs, removed, added = _pair(before.definitions, after.definitions)
    renames = _find_renames(removed, added)
    names = {old.name: new.name for old, new in renames}
    changes = []
    if _differ(before.root, after.root, names):
        changes.append(_describe("operator", before.root, after.root))
    if before.version != after.version:
        version = before.version, after.version
        changes.append(Change("version", after.root.name, after.root.module, "changed", *version))
    changes += [_describe(new.kind, old, new) for old, new in pairs if _differ(old, new, names)]
    gone, come = {id(old) for old, _ in renames}, {id(new) for _, new in renames}
    changes += [_describe(new.kind, None, new) for new in added if id(new) not in come]
    changes += [_describe(old.kind, old, None) for old in removed if id(old) not in gone]
    changes += _compare_imports(before, after)
    changes += [
        Change("renamed", new.name, new.module, "changed", old.name, new.name)
        for old, new in renames
        if old.name != new.name
    ]
    return changes


def diff_texts(before: str, after: str, name: str) -> str:
    """Return a unified diff of two sources."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"{name} (before)",
        f"{name} (now)",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _describe(kind: str, before: Definition | None, after: Definition | None) -> Change:
    found = after or before
    assert found is not None, "one of them is there"
    if before is None or after is None:
        how = "added" if before is None else "removed"
        sources = (before.source if before else "", after.source if after else "")
        return Change(kind, found.name, found.module, how, diff=diff_texts(*sources, found.name))
    if before.value is not None and after.value is not None:
        return Change(kind, found.name, found.module, "changed", before.value, after.value)
    diff = diff_texts(before.source, after.source, found.name)
    return Change(kind, found.name, found.module, diff=diff)


def _pair(
    before: Sequence[Definition], after: Sequence[Definition]
) -> tuple[list[tuple[Definition, Definition]], list[Definition], list[Definition]]:
    """Pair definitions by their names; of several of one name those that are equal, or in the same module."""
    pairs: dict[int, Definition] = {}
    left = list(before)
    tests = (
        lambda a, b: a.digest == b.digest and a.module == b.module,
        lambda a, b: a.module == b.module,
        lambda a, b: a.digest == b.digest,
        lambda a, b: True,
    )
    for is_same in tests:
        for new in after:
            if id(new) in pairs:
                continue
            old = next((o for o in left if o.name == new.name and is_same(o, new)), None)
            if old is not None:
                pairs[id(new)] = old
                left.remove(old)
    found = [(pairs[id(new)], new) for new in after if id(new) in pairs]
    return found, left, [new for new in after if id(new) not in pairs]


def _differ(before: Definition, after: Definition, names: Mapping[str, str]) -> bool:
    return before.digest != after.digest and (
        not names or _digest_renamed(before, names) != _digest_renamed(after, {})
    )


def _find_renames(
    removed: Iterable[Definition], added: Iterable[Definition]
) -> list[tuple[Definition, Definition]]:
    """Return definitions that are the same but for their names, and for those of others that are."""
    found: list[tuple[Definition, Definition]] = []
    names: dict[str, str] = {}
    left, new = list(removed), list(added)
    while True:
        for old, other in [(o, n) for o in left for n in new if o.kind == n.kind]:
            if _digest_renamed(old, {**names, old.name: other.name}) == _digest_renamed(other, {}):
                found.append((old, other))
                names[old.name] = other.name
                left.remove(old)
                new.remove(other)
                break
        else:
            return found


def _digest_renamed(definition: Definition, names: Mapping[str, str]) -> str:
    nodes = [_Renamer(names).visit(copy.deepcopy(node)) if names else node for node in definition.nodes]
    digests = [read_facts(node).digest for node in nodes]
    decorators = [d.digest for node in nodes for d in read_facts(node).decorators]
    return digest_parts("renamed", *digests, *decorators)


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit(self, node: ast.AST) -> ast.AST:
        for field in ("id", "attr", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and value in self._names:
                setattr(node, field, self._names[value])
        self.generic_visit(node)
        return node


def _compare_imports(before: Reach, after: Reach) -> list[Change]:
    """Return names that stand for something else of a package than they did."""
    found = {}
    for (reader, name), new in after.foreign.items():
        old = before.foreign.get((reader, name))
        if old is not None and old != new:
            found[name, old, new] = Change("import", name, after.root.module, "changed", old, new)
    return list(found.values())
