"""Holds a rule that import-linter cannot see: no function imports our own code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flowlearner", "operators", "examples")
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def list_imports(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and module of every import below a node."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, "." * node.level + (node.module or "")))
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_function_imports_our_own_code(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    hidden = {
        f"{path}:{line}: {module}"
        for function in functions
        for line, module in list_imports(function)
        if module.partition(".")[0] in (*PACKAGES, "")
    }
    assert hidden == set()
