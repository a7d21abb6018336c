"""Where code is written: parsed files and notebook cells, and the piece of them that an object came from."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

from flowlearner.fingerprint.origin import is_user_file
from flowlearner.fingerprint.syntax import Facts, iter_nodes, read_facts

# A file that has not changed since then is what was imported.
_LOADED_NS = time.time_ns()
_KEPT = 4
# Where statements hold others.
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
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
        self._list_definitions(self.root.body, "")

    def _list_definitions(self, body: Iterable[Any], prefix: str) -> None:
        for node in body:
            inner = prefix
            if isinstance(node, _DEFINITIONS):
                name = prefix + node.name
                if isinstance(node, ast.ClassDef):
                    self._classes.setdefault(name, []).append(node)
                    inner = f"{name}."
                else:
                    first = min(d.lineno for d in [*node.decorator_list, node])
                    self._functions.setdefault((first, node.name), []).append(node)
                    inner = f"{name}.<locals>."
            for field in _BODIES:
                if found := getattr(node, field, None):
                    self._list_definitions(found, inner)

    @cached_property
    def _lambdas(self) -> dict[int, list[ast.AST]]:
        found: dict[int, list[ast.AST]] = {}
        for node in iter_nodes(self.root):
            if isinstance(node, ast.Lambda):
                found.setdefault(node.lineno, []).append(node)
        return found

    def facts(self, node: ast.AST) -> Facts:
        found = self._facts.get(node)
        if found is None:
            found = self._facts[node] = read_facts(node)
        return found

    def find_function(self, code: CodeType) -> ast.AST | None:
        if code.co_name == "<lambda>":
            found = self._lambdas.get(code.co_firstlineno, [])
        else:
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
        return self._bindings.get(name, [])

    @cached_property
    def _bindings(self) -> dict[str, list[ast.stmt]]:
        found: dict[str, list[ast.stmt]] = {}
        for statement in _list_statements(self.root.body):
            for name in _list_targets(statement):
                found.setdefault(name, []).append(statement)
        return found

    def cut(self, node: ast.AST) -> str:
        """Return the text of a definition as written, with its decorators."""
        if not isinstance(node, _DEFINITIONS):
            return ast.get_source_segment(self.text, node) or ""
        first = min(d.lineno for d in [*node.decorator_list, node])
        lines = self.text.splitlines(keepends=True)[first - 1 : node.end_lineno]
        return textwrap.dedent("".join(lines))


def map_bindings(body: Iterable[ast.AST]) -> dict[str, list[ast.stmt]]:
    """Return by name what binds it in a module or function as written: definitions, imports, assignments.

    Args:
        body: its statements; those of functions and classes in it are left out.
    """
    found: dict[str, list[ast.stmt]] = {}
    for statement in _list_statements(body, with_definitions=True):
        names = {statement.name} if isinstance(statement, _DEFINITIONS) else _list_targets(statement)
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


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


def _list_statements(body: Iterable[ast.AST], *, with_definitions: bool = False) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            if with_definitions:
                yield statement
            continue
        if isinstance(statement, ast.stmt):
            yield statement
        if isinstance(statement, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            for name in _BODIES:
                inner = getattr(statement, name, ())
                yield from _list_statements(inner, with_definitions=with_definitions)


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


class TreeFinder:
    """Finds the parsed texts of files and cells as they were loaded, and asks the disk once for each."""

    def __init__(self) -> None:
        # The namespace is held, so that no other one takes its identity.
        self._found: dict[tuple[str, int], tuple[Mapping[str, Any], Tree | None, bool]] = {}

    def find(self, file: str, namespace: Mapping[str, Any], code: CodeType | None = None) -> Tree | None:
        """Return the text of a file as it was loaded, or None where there is none.

        Args:
            file: the file name that the code carries.
            namespace: the module's; its loader gives the source of what is not a file.
            code: a function in it; of a file that was edited since, the text that has it is found.
        """
        key = file, id(namespace)
        if key not in self._found:
            newest = _read_tree(file, namespace)
            loaded = _find_loaded(newest.file if newest else file, namespace) or newest
            is_sure = bool(loaded and loaded.changed_ns < _LOADED_NS and not _may_be_stale(namespace, loaded))
            self._found[key] = namespace, loaded, is_sure
        _, loaded, is_sure = self._found[key]
        if loaded is None or code is None or is_sure or loaded.holds(code):
            return loaded
        return next((tree for tree in _trees[loaded.file] if tree.holds(code)), None)


def _may_be_stale(namespace: Mapping[str, Any], tree: Tree) -> bool:
    """Tell whether what was loaded may be a compiled copy of an earlier text of that size and second."""
    copied = _read_state(str(namespace.get("__cached__") or ""))
    return copied is not None and copied[0] < tree.changed_ns


def has_text(file: str, namespace: Mapping[str, Any]) -> bool:
    """Tell whether a file can be read, so that a function that is not in it came from an earlier text."""
    return _read_tree(file, namespace) is not None


# What was loaded. A file may be edited while what it said before goes on running.


@dataclass
class _Load:
    """One loading of a module, told from another by the object, and its text at that time."""

    token: Any
    state: tuple[int, ...]
    text: str


# Most modules: told by the path as it is, without asking the disk for each.
_INSTALLED = re.compile(r"[/\\](site-packages|dist-packages)[/\\]")
_loads: dict[str, list[_Load]] = {}
_seen: dict[int, Any] = {}


def note_modules(namespace: Mapping[str, Any]) -> None:
    """Keep the texts of the user's modules that were loaded since the last time.

    It is called while a module is being loaded, so that an edit hardly comes before.

    Args:
        namespace: of the module that is being loaded.
    """
    _note(namespace)
    for module in list(sys.modules.values()):
        found = getattr(module, "__dict__", None)
        if isinstance(found, dict) and id(_token_of(found)) not in _seen:
            if _INSTALLED.search(str(found.get("__file__"))):
                _seen[id(_token_of(found))] = _token_of(found)
            else:
                _note(found)


def read_loaded(namespace: Mapping[str, Any]) -> str | None:
    """Return the text of a module's file as it was loaded, as far as that is known; None without a file."""
    load = _note(namespace)
    return load.text if load else None


def _token_of(namespace: Mapping[str, Any]) -> Any:
    # A module that is loaded again has a new one; a script has none and is not loaded again.
    return namespace.get("__spec__") or namespace


def _note(namespace: Mapping[str, Any]) -> _Load | None:
    token, file = _token_of(namespace), namespace.get("__file__")
    if token is not namespace:
        _seen[id(token)] = token
    if not isinstance(file, str) or not file.endswith(".py") or not is_user_file(file):
        return None
    known = _loads.setdefault(file, [])
    for load in known:
        if load.token is token:
            return load
    state, text = _read_state(file), _read_text(file)
    if state is None or text is None:
        return None
    known.insert(0, _Load(token, state, text))
    del known[_KEPT:]
    return known[0]


def _find_loaded(file: str, namespace: Mapping[str, Any]) -> Tree | None:
    """Return the text of a module as it was loaded, where it is the module's own file."""
    own = namespace.get("__file__")
    load = _note(namespace) if own == file else None
    if load is None:
        return None
    known = next((tree for tree in _trees.get(file, ()) if tree.key == load.state), None)
    return known or _keep(file, load.text, max(load.state[:2]), load.state)


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
    state = _read_state(file)
    if state is None:
        # A notebook's cell, or a module that does not come from a file and whose loader has its text.
        lines = linecache.getlines(file) or (_ask_loader(namespace) if file == own else [])
        return _keep(file, "".join(lines), 0) if lines else None
    for tree in _trees.get(file, ()):
        if tree.key == state:
            return tree
    text = _read_text(file)
    return None if text is None else _keep(file, text, max(state[:2]), state)


def _read_state(file: str) -> tuple[int, ...] | None:
    """Return what tells a file's states apart: the times of its content and of its entry, size, inode."""
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)


def _read_text(file: str) -> str | None:
    try:
        with open(file, "rb") as opened:
            return opened.read().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return None


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
