"""What a workflow's body does with futures that no future can notice: tests with `is`, and of the type."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flowlearner.fingerprint.source import find_tree


@dataclass(frozen=True)
class HiddenTest:
    """One test of a name that Python answers without asking the value."""

    name: str
    action: str
    line: int


def find_hidden_tests(fn: Callable[..., Any]) -> list[HiddenTest]:
    """Return the tests of a function's parameters by `is`, `isinstance` or `type`, in order.

    A parameter that was given another value before is left out, and so are nested functions.
    """
    code = fn.__code__
    tree = find_tree(code.co_filename, fn.__globals__, code)
    found = tree.find_function(code) if tree else None
    if not isinstance(found, ast.FunctionDef):
        return []
    nodes = list(_walk(found.body))
    params = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    assigned: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            assigned[node.id] = min(node.lineno, assigned.get(node.id, node.lineno))
    tests = [
        HiddenTest(name.id, action, name.lineno)
        for node in nodes
        for name, action in _list_tests(node)
        if name.id in params and name.lineno <= assigned.get(name.id, name.lineno)
    ]
    return sorted(tests, key=lambda test: test.line)


def _list_tests(node: ast.AST) -> Iterator[tuple[ast.Name, str]]:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(op, (ast.Is, ast.IsNot)):
                yield from ((s, "compared with 'is'") for s in (left, right) if isinstance(s, ast.Name))
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "type"):
        yield from ((arg, "asked for its type") for arg in node.args[:1] if isinstance(arg, ast.Name))


def _walk(body: Any) -> Iterator[ast.AST]:
    """Yield the nodes of statements, without those of functions and classes in them."""
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield node
            yield from _walk(ast.iter_child_nodes(node))
