"""What a workflow's body does with futures that no future can notice: tests with `is`, and of the type."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowlearner.fingerprint.names import has_contents
from flowlearner.fingerprint.source import TreeFinder

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class HiddenTest:
    """One test of a name that Python answers without asking the value."""

    name: str
    action: str
    line: int


def find_hidden_tests(fn: Callable[..., Any]) -> list[HiddenTest]:
    """Return the tests of futures by `is`, `isinstance` or `type` in a function's body, in order.

    Such a name is a parameter that was given no other value before, or holds nothing but what operators and
    workflows gave. Functions inside of the function are left out.
    """
    code = fn.__code__
    tree = TreeFinder().find(code.co_filename, fn.__globals__, code)
    found = tree.find_function(code) if tree else None
    if not isinstance(found, ast.FunctionDef):
        return []
    nodes = list(_walk(found.body))
    tests = [(name, action) for node in nodes for name, action in _list_tests(node)]
    if not tests:
        return []
    params = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    assigned: dict[str, list[int]] = {name.id: [] for name, _ in tests}
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in assigned and not isinstance(node.ctx, ast.Load):
            assigned[node.id].append(node.lineno)
    given = _count_given(nodes, _read_names(fn))
    return sorted(
        (
            HiddenTest(name.id, action, name.lineno)
            for name, action in tests
            if (name.id in params and all(name.lineno <= line for line in assigned[name.id]))
            or (name.id not in params and 0 < len(assigned[name.id]) == given.get(name.id))
        ),
        key=lambda test: test.line,
    )


def _list_tests(node: ast.AST) -> Iterator[tuple[ast.Name, str]]:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(op, (ast.Is, ast.IsNot)):
                yield from ((s, "compared with 'is'") for s in (left, right) if isinstance(s, ast.Name))
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "type"):
        yield from ((arg, "asked for its type") for arg in node.args[:1] if isinstance(arg, ast.Name))


def _count_given(nodes: list[ast.AST], names: Mapping[str, Any]) -> dict[str, int]:
    """Return by name how often it is assigned what a call of an operator or a workflow gives."""
    counts: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = names.get(getattr(node.value.func, "id", ""))
            gives = getattr(getattr(called, "interface", None), "outputs", ())
            for target in node.targets:
                if gives and isinstance(target, ast.Name):
                    counts[target.id] = counts.get(target.id, 0) + 1
    return counts


def _read_names(fn: Callable[..., Any]) -> Mapping[str, Any]:
    """Return what the names mean that a function takes from outside."""
    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    closure = {name: cell.cell_contents for name, cell in cells if has_contents(cell)}
    return {**fn.__globals__, **closure}


def _walk(body: Any) -> Iterator[ast.AST]:
    """Yield the nodes of statements, without those of functions and classes in them."""
    for node in body:
        if not isinstance(node, _FUNCTIONS):
            yield node
            yield from _walk(ast.iter_child_nodes(node))
