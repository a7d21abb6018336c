"""Where code is written: parsed files and notebook cells, and the piece of them that an object came from."""

from __future__ import annotations

import ast
import linecache
import os
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

from flowlearner.fingerprint.syntax import Facts, read_facts

# A file that has not changed since then is what was imported.
_LOADED_NS = time.time_ns()
_KEPT = 4
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Tree:
    """A parsed file. Nodes are found by the object that they made; what is read off them is kept."""

    def __init__(self, text: str, file: str, key: object, changed_ns: int) -> None:
        self.text = text
        self.file = file
        self.key = key
        self.changed_ns = changed_ns
        self.root = ast.parse(text)
        self._facts: dict[ast.AST, Facts] = {}
        self._functions: dict[tuple[int, str], list[ast.AST]] = {}
        self._classes: dict[str, list[ast.ClassDef]] = {}
        self._codes: list[CodeType] | None = None
        self._list_definitions(self.root, "")

    def _list_definitions(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, _DEFINITIONS):
                name = prefix + child.name
                if isinstance(child, ast.ClassDef):
                    self._classes.setdefault(name, []).append(child)
                    inner = f"{name}."
                else:
                    first = min(d.lineno for d in [*child.decorator_list, child])
                    self._functions.setdefault((first, child.name), []).append(child)
                    inner = f"{name}.<locals>."
            elif isinstance(child, ast.Lambda):
                self._functions.setdefault((child.lineno, "<lambda>"), []).append(child)
                inner = f"{prefix}<lambda>.<locals>."
            self._list_definitions(child, inner)

    def facts(self, node: ast.AST) -> Facts:
        found = self._facts.get(node)
        if found is None:
            found = self._facts[node] = read_facts(node)
        return found

    def find_function(self, code: CodeType) -> ast.AST | None:
        found = self._functions.get((code.co_firstlineno, code.co_name), [])
        if len(found) > 1:
            found = [node for node in found if _covers(node, code)]
        # Of lambdas one inside the other, the code of the inner one lies in both.
        return min(found, key=_extent, default=None)

    def find_class(self, qualname: str, lines: Iterable[int] = ()) -> ast.ClassDef | None:
        """Return the class of that name; of several, the one that has one of the lines in it, or the last."""
        found = self._classes.get(qualname, [])
        for node in found:
            if any(node.lineno <= line <= (node.end_lineno or 0) for line in lines):
                return node
        return found[-1] if found else None

    def holds(self, code: CodeType) -> bool:
        """Tell whether this text is what a function was compiled from."""
        if self._codes is None:
            self._codes = list(_list_codes(compile(self.text, self.file, "exec", dont_inherit=True)))
        return code in self._codes

    def find_bindings(self, name: str) -> list[ast.stmt]:
        """Return the statements of the module, outside functions and classes, that bind a name."""
        return [s for s in _list_statements(self.root.body) if name in _list_targets(s)]

    def cut(self, node: ast.AST) -> str:
        """Return the text of a definition as written, with its decorators."""
        if not isinstance(node, _DEFINITIONS):
            return ast.get_source_segment(self.text, node) or ""
        first = min(d.lineno for d in [*node.decorator_list, node])
        lines = self.text.splitlines(keepends=True)[first - 1 : node.end_lineno]
        return textwrap.dedent("".join(lines))


def _covers(node: ast.AST, code: CodeType) -> bool:
    body: Any = getattr(node, "body", node)
    if not isinstance(body, ast.AST):
        return True
    # Instructions that belong to no expression have an empty place.
    places = [(a, c) for a, b, c, d in code.co_positions() if None not in (a, b, c, d) and (a, c) != (b, d)]
    begin, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)  # type: ignore[attr-defined]
    return bool(places) and all(begin <= place < end for place in places)


def _extent(node: Any) -> tuple[int, int]:
    return (node.end_lineno - node.lineno, node.end_col_offset - node.col_offset)


def _list_codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _list_codes(inner)


def _list_statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            continue
        if isinstance(statement, ast.stmt):
            yield statement
        if isinstance(statement, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _list_statements(getattr(statement, name, ()))


def _list_targets(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Assign):
        targets: list[ast.AST] = list(statement.targets)
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign, ast.For, ast.AsyncFor)):
        targets = [statement.target]
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        targets = [item.optional_vars for item in statement.items if item.optional_vars]
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    else:
        return set()
    return {
        n.id
        for t in targets
        for n in ast.walk(t)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }


_trees: dict[str, list[Tree]] = {}


def find_tree(file: str, namespace: Mapping[str, Any], code: CodeType | None = None) -> Tree | None:
    """Return the parsed text of a file or notebook cell, or None where there is none.

    Args:
        file: the file name that the code carries.
        namespace: the module's; its loader gives the source of what is not a file.
        code: a function in it; a file that was edited since is found as it was when it was last read.
    """
    newest = _read_tree(file, namespace)
    if newest is None or code is None or newest.changed_ns < _LOADED_NS or newest.holds(code):
        return newest
    return next((tree for tree in _trees[newest.file] if tree.holds(code)), None)


def has_text(file: str, namespace: Mapping[str, Any]) -> bool:
    """Tell whether a file can be read, so that a function that is not in it came from an earlier text."""
    return _read_tree(file, namespace) is not None


def iter_cells() -> Iterator[Tree]:
    """Yield the cells of a notebook, the latest first."""
    for file, entry in reversed(list(linecache.cache.items())):
        # A notebook puts its cells there without a time; they are no files.
        if len(entry) == 4 and entry[1] is None:
            tree = _keep(file, "".join(entry[2]), 0)
            if tree is not None:
                yield tree


def _read_tree(file: str, namespace: Mapping[str, Any]) -> Tree | None:
    own = namespace.get("__file__")
    if not os.path.isabs(file) and own and os.path.basename(own) == os.path.basename(file):
        # A script's functions carry the name as it was typed, which a change of folder makes useless.
        file = own
    try:
        stat = os.stat(file)
    except OSError:
        # A notebook's cell, or a module that does not come from a file and whose loader has its text.
        lines = linecache.getlines(file) or (_ask_loader(namespace) if file == own else [])
        return _keep(file, "".join(lines), 0) if lines else None
    key = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
    for tree in _trees.get(file, ()):
        if tree.key == key:
            return tree
    try:
        with open(file, "rb") as opened:
            text = opened.read().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return None
    return _keep(file, text, max(stat.st_mtime_ns, stat.st_ctime_ns), key)


def _ask_loader(namespace: Mapping[str, Any]) -> list[str]:
    loader: Any = namespace.get("__loader__")
    name = namespace.get("__name__")
    if not hasattr(loader, "get_source"):
        return []
    try:
        return (loader.get_source(name) or "").splitlines(keepends=True)
    except ImportError:
        return []


def _keep(file: str, text: str, changed_ns: int, key: object = None) -> Tree | None:
    known = _trees.setdefault(file, [])
    for tree in known:
        if tree.text == text and key is None:
            return tree
    try:
        made = Tree(text, file, key, changed_ns)
    except (SyntaxError, ValueError):
        return None
    known.insert(0, made)
    del known[_KEPT:]
    return made
