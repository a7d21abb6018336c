"""What a function reaches in the source of a snapshot, by reading alone.

It follows names as `fingerprint` does with loaded code: through functions, classes, assignments and imports
of the user's modules, at any depth. What only exists once code runs is not seen: attributes that are set
later, values that are computed.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flowlearner.canonical import digest_parts
from flowlearner.fingerprint.source import Tree, map_bindings
from flowlearner.fingerprint.syntax import Chain, Facts, chain_of, read_facts

PLATFORM = ("operator", "workflow")
_LONGEST_ALIAS = 5
_TREES_KEPT = 128
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Definition:
    """A piece of the user's code.

    Attributes:
        kind: "function", "class", "value" for what a module assigns, or "module" for one taken as a whole.
        source: as written.
        digest: of its syntax, without comments, layout and docstrings.
        nodes: its syntax.
    """

    name: str
    kind: str
    module: str
    source: str
    digest: str
    nodes: tuple[ast.AST, ...] = field(repr=False)

    @property
    def value(self) -> str | None:
        """What is assigned, as an expression, where it is one statement of one line."""
        if self.kind != "value" or len(self.nodes) != 1:
            return None
        assigned = getattr(self.nodes[0], "value", None)
        text = ast.unparse(assigned) if isinstance(assigned, ast.expr) else "\n"
        return None if "\n" in text else text


@dataclass(frozen=True)
class Reach:
    """A function and what it reaches.

    Attributes:
        root: the function.
        definitions: all else, in the order in which it is reached.
        foreign: what names stand for that are not the user's, by the definition that reads them and the name.
        packages: top-level names of the packages that are used.
        version: the operator's `version=` as written.
        environment: names of the variables of the environment that are read.
        texts: every text that is written in the code.
    """

    root: Definition
    definitions: tuple[Definition, ...]
    foreign: Mapping[tuple[str, str], str]
    packages: frozenset[str]
    version: str | None
    environment: frozenset[str]
    texts: frozenset[str]

    @property
    def modules(self) -> frozenset[str]:
        return frozenset(d.module for d in (self.root, *self.definitions))

    @property
    def computed(self) -> list[str]:
        """Names of values whose text does not say what they are."""
        found = []
        for definition in self.definitions:
            if definition.kind == "value" and not all(map(_is_literal, definition.nodes)):
                found.append(definition.name)
        return found


def _is_literal(node: ast.AST) -> bool:
    try:
        ast.literal_eval(getattr(node, "value", None) or ast.Name("x"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Unit:
    name: str
    kind: str
    module: str
    nodes: tuple[ast.AST, ...]
    scopes: tuple[Mapping[str, list[ast.stmt]], ...] = ()


class Code:
    """The modules of a snapshot.

    Args:
        modules: by name, the source of each (see `restoring.read_modules`).
    """

    def __init__(self, modules: Mapping[str, Mapping[str, Any]]) -> None:
        self._modules = modules
        parts = [module.split(".") for module in modules]
        self._names = {".".join(p[: i + 1]) for p in parts for i in range(len(p))}
        self._trees: dict[str, Tree | None] = {}
        self._bindings: dict[str, dict[str, list[ast.stmt]]] = {}
        self._known: dict[tuple[str, str, str, bool], Reach | None] = {}

    def find_reach(self, module: str, name: str, source: str, *, with_operators: bool = True) -> Reach | None:
        """Return what a function reaches; None where it is not in the snapshot.

        Args:
            module: where it was when it was first seen; it may have moved since.
            source: of the function, which tells it from others of its name.
            with_operators: False leaves operators out that it reaches: of a workflow, what composes them.
        """
        key = (module, name, source, with_operators)
        if key not in self._known:
            root = self._find_function(module, name, source)
            self._known[key] = _Walk(self, root, with_operators).finish() if root else None
        return self._known[key]

    def _find_function(self, module: str, name: str, source: str) -> _Unit | None:
        wanted, defines = _read_digest(source), re.compile(rf"\bdef\s+{re.escape(name)}\b")
        found: list[tuple[tuple[bool, bool, bool], _Unit]] = []
        for other in self._modules:
            # To search a text costs next to nothing, to parse it a lot.
            if not defines.search(str(self._modules[other]["source"])):
                continue
            tree = self.find_tree(other)
            if tree is None:
                continue
            for node, scopes in _list_functions(tree.root.body, ()):
                if node.name == name:
                    is_same = tree.facts(node).digest == wanted
                    unit = _Unit(name, "function", other, (node,), scopes)
                    found.append(((is_same, other == module, not scopes), unit))
        best = max(found, key=lambda pair: pair[0], default=None)
        # Of another text and in another module it is another function.
        return best[1] if best and (best[0][0] or best[0][1]) else None

    def find_tree(self, module: str) -> Tree | None:
        """Return the parsed source of a module; None where there is none or it does not parse."""
        if module not in self._trees:
            text = str(self._modules[module]["source"]) if module in self._modules else None
            self._trees[module] = None if text is None else _parse(text, module)
        return self._trees[module]

    def find_bindings(self, module: str) -> Mapping[str, list[ast.stmt]]:
        if module not in self._bindings:
            tree = self.find_tree(module)
            self._bindings[module] = map_bindings(tree.root.body) if tree else {}
        return self._bindings[module]

    def is_module(self, name: str) -> bool:
        """Tell whether a name is a module of the user's, or a folder that holds some."""
        return name in self._names

    def is_package(self, name: str) -> bool:
        return name not in self._modules or bool(self._modules[name]["package"])


@lru_cache(maxsize=_TREES_KEPT)
def _parse(text: str, module: str) -> Tree | None:
    # Most modules are the same in many snapshots.
    for attempt in (text, _drop_magics(text)):
        try:
            return Tree(attempt, module, None, 0)
        except (SyntaxError, ValueError):
            continue
    return None


def _drop_magics(text: str) -> str:
    """Leave out what only a notebook understands: lines that begin with % or !."""
    lines = text.splitlines(keepends=True)
    return "".join("pass\n" if line.startswith(("%", "!")) else line for line in lines)


def _read_digest(source: str) -> str | None:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    return read_facts(body[0]).digest if body else None


_Scopes = tuple[Mapping[str, list[ast.stmt]], ...]


def _list_functions(
    body: Iterable[ast.AST], scopes: _Scopes
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, _Scopes]]:
    """Yield functions with what the functions around them bind, the innermost first."""
    for node in body:
        if isinstance(node, _FUNCTIONS):
            yield node, scopes
            yield from _list_functions(node.body, (map_bindings(node.body), *scopes))
        else:
            yield from _list_functions(ast.iter_child_nodes(node), scopes)


class _Walk:
    """One walk through a snapshot, from a function to all that it reaches."""

    def __init__(self, code: Code, root: _Unit, with_operators: bool) -> None:
        self._code = code
        self._with_operators = with_operators
        self._root = root
        self._waiting = [root]
        self._seen: set[tuple[str, int]] = {(root.module, id(root.nodes[0]))}
        self._open: set[tuple[str, str]] = set()
        self._definitions: list[Definition] = []
        self._foreign: dict[tuple[str, str], str] = {}
        self._packages: set[str] = set()
        self._environment: set[str] = set()
        self._texts: set[str] = set()
        self._version: str | None = None

    def finish(self) -> Reach:
        while self._waiting:
            # In the order of reading, whatever is reached first.
            self._read(self._waiting.pop(0))
        root, *others = self._definitions
        return Reach(
            root=root,
            definitions=tuple(others),
            foreign=self._foreign,
            packages=frozenset(self._packages),
            version=self._version,
            environment=frozenset(self._environment),
            texts=frozenset(self._texts),
        )

    def _read(self, unit: _Unit) -> None:
        tree = self._code.find_tree(unit.module)
        assert tree is not None, "what was found in it was parsed"
        owns: list[str] = []
        for node in unit.nodes:
            facts = tree.facts(node)
            owns.append(read_facts(_sort(node)).digest if unit.kind == "value" else facts.digest)
            owns += self._read_decorators(node, facts, unit)
            self._follow(unit, facts.chains, facts)
            self._environment |= {
                key for chain, key in facts.lookups if key and {"environ", "getenv"} & set(chain[-2:])
            }
            self._texts |= {
                n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
        source = "".join(_end_line(tree.cut(node)) for node in unit.nodes if not isinstance(node, ast.Module))
        self._definitions.append(
            Definition(
                unit.name,
                unit.kind,
                unit.module,
                source or tree.text,
                digest_parts("reach", *owns),
                unit.nodes,
            )
        )

    def _read_decorators(self, node: ast.AST, facts: Facts, unit: _Unit) -> list[str]:
        owns = []
        written = getattr(node, "decorator_list", [])
        for decorator, syntax in zip(facts.decorators, written, strict=True):
            if self._find_platform(decorator.head, unit.module) is None:
                owns.append(decorator.digest)
                self._follow(unit, decorator.chains, facts)
                continue
            for keyword in getattr(syntax, "keywords", ()):
                if keyword.arg not in ("version", "uses"):
                    continue
                inner = read_facts(ast.Expr(keyword.value))
                self._follow(unit, inner.chains, inner)
                if keyword.arg == "version" and unit is self._root:
                    self._version = ast.unparse(keyword.value)
                else:
                    owns.append(inner.digest)
        return owns

    def _find_platform(self, head: Chain | None, module: str) -> str | None:
        """Return whether a decorator is "operator" or "workflow", by whatever name; None for any other."""
        for _ in range(_LONGEST_ALIAS):
            if head is None:
                return None
            if head[-1] in PLATFORM:
                return head[-1]
            bound = self._code.find_bindings(module).get(head[0], [])
            assigned: Any = getattr(bound[-1], "value", None) if bound else None
            if bound and isinstance(bound[-1], ast.ImportFrom):
                alias = next(a for a in bound[-1].names if (a.asname or a.name) == head[0])
                return alias.name if alias.name in PLATFORM else None
            if isinstance(assigned, ast.Call):
                # functools.partial(operator, ...)
                assigned = assigned.args[0] if assigned.args else assigned.func
            head = chain_of(assigned) if isinstance(assigned, ast.AST) else None
        return None

    def _is_operator(self, node: ast.AST, module: str) -> bool:
        heads = [
            chain_of(d.func if isinstance(d, ast.Call) else d) for d in getattr(node, "decorator_list", ())
        ]
        return any(self._find_platform(head, module) == "operator" for head in heads)

    # Names

    def _follow(self, unit: _Unit, chains: Iterable[Chain], facts: Facts) -> None:
        inside = {i.name: i for i in facts.imports}
        for chain in chains:
            item = inside.get(chain[0])
            if item is not None:
                base = _full_name(item.module, item.level, unit.module, self._code)
                if item.is_top:
                    self._follow_module(unit, chain, chain[0], chain[1:])
                elif item.attribute is None:
                    self._follow_module(unit, chain, base, chain[1:])
                else:
                    self._follow_attribute(unit, chain, base, item.attribute, chain[1:])
                continue
            scope = next((s for s in unit.scopes if chain[0] in s), None)
            if scope is None:
                self._follow_name(unit, chain, unit.module, chain[0], chain[1:])
            else:
                self._follow_bindings(unit, chain, unit.module, scope[chain[0]], chain[1:], unit.scopes)
        for chain, _, text in facts.calls:
            if text and chain[-1] in ("import_module", "__import__") and self._code.is_module(text):
                self._follow_module(unit, chain, text, ())

    def _follow_name(self, unit: _Unit, chain: Chain, module: str, name: str, rest: Chain) -> bool:
        """Follow a name of a module; return whether the module has it."""
        if (module, name) in self._open:
            # Modules may import a name from each other.
            return True
        self._open.add((module, name))
        try:
            return self._follow_own_name(unit, chain, module, name, rest)
        finally:
            self._open.discard((module, name))

    def _follow_own_name(self, unit: _Unit, chain: Chain, module: str, name: str, rest: Chain) -> bool:
        bound = self._code.find_bindings(module).get(name)
        if bound:
            self._follow_bindings(unit, chain, module, bound, rest, ())
            return True
        for statement in self._code.find_bindings(module).get("*", []):
            assert isinstance(statement, ast.ImportFrom), "nothing else binds a star"
            source = _full_name(statement.module or "", statement.level, module, self._code)
            if self._code.is_module(source) and self._follow_name(unit, chain, source, name, rest):
                return True
        return False

    def _follow_bindings(
        self, unit: _Unit, chain: Chain, module: str, bound: list[ast.stmt], rest: Chain, scopes: _Scopes
    ) -> None:
        values = []
        for statement in bound:
            if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                kind = "class" if isinstance(statement, ast.ClassDef) else "function"
                self._add(_Unit(statement.name, kind, module, (statement,), scopes))
            elif isinstance(statement, ast.ImportFrom):
                name = chain[len(chain) - len(rest) - 1]
                alias = next((a for a in statement.names if (a.asname or a.name) == name), None)
                base = _full_name(statement.module or "", statement.level, module, self._code)
                if alias is not None:
                    self._follow_attribute(unit, chain, base, alias.name, rest)
            elif isinstance(statement, ast.Import):
                name = chain[len(chain) - len(rest) - 1]
                for alias in statement.names:
                    if alias.asname == name:
                        self._follow_module(unit, chain, alias.name, rest)
                    elif alias.asname is None and alias.name.partition(".")[0] == name:
                        self._follow_module(unit, chain, name, rest)
            else:
                values.append(statement)
        if values:
            name = chain[len(chain) - len(rest) - 1]
            self._add(_Unit(name, "value", module, tuple(values), scopes))

    def _follow_attribute(self, unit: _Unit, chain: Chain, module: str, name: str, rest: Chain) -> None:
        """Follow what `from module import name` stands for."""
        if self._code.is_module(f"{module}.{name}") and name not in self._code.find_bindings(module):
            self._follow_module(unit, chain, f"{module}.{name}", rest)
        elif not self._code.is_module(module):
            self._add_foreign(unit, chain, f"{module}.{name}")
        else:
            # The names are the module's own from here on.
            self._follow_name(unit, (*chain[: len(chain) - len(rest) - 1], name, *rest), module, name, rest)

    def _follow_module(self, unit: _Unit, chain: Chain, module: str, rest: Chain) -> None:
        """Follow a dotted name that begins with a module."""
        while rest and self._code.is_module(module):
            name, inner = rest[0], rest[1:]
            if name in self._code.find_bindings(module):
                self._follow_name(unit, chain, module, name, inner)
                return
            if not self._code.is_module(f"{module}.{name}"):
                self._follow_name(unit, chain, module, name, inner)
                return
            module, rest = f"{module}.{name}", inner
        if not self._code.is_module(module):
            self._add_foreign(unit, chain, ".".join((module, *rest)))
        elif (tree := self._code.find_tree(module)) is not None:
            self._add(_Unit(module.rpartition(".")[2], "module", module, (tree.root,)))

    def _add_foreign(self, unit: _Unit, chain: Chain, full: str) -> None:
        self._foreign[unit.name, ".".join(chain)] = full
        top = full.partition(".")[0]
        if top not in sys.stdlib_module_names and top != "flowlearner":
            self._packages.add(top)

    def _add(self, unit: _Unit) -> None:
        key = (unit.module, id(unit.nodes[0]))
        if key not in self._seen:
            self._seen.add(key)
            if not self._with_operators and self._is_operator(unit.nodes[0], unit.module):
                return
            self._waiting.append(unit)


def _full_name(module: str, level: int, inside: str, code: Code) -> str:
    """Return the absolute name of an imported module."""
    if not level:
        return module
    parts = inside.split(".")
    if not code.is_package(inside):
        parts = parts[:-1]
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, module] if module else base)


def _sort(node: ast.AST) -> ast.AST:
    """Return an assignment in which sets and dicts are sorted: their order is no part of them."""
    copied = copy.deepcopy(node)
    for inner in ast.walk(copied):
        if isinstance(inner, ast.Set):
            inner.elts.sort(key=ast.dump)
        elif isinstance(inner, ast.Dict) and None not in inner.keys:
            pairs: list[Any] = sorted(
                zip(inner.keys, inner.values, strict=True),
                key=lambda p: ast.dump(p[0]),
            )
            inner.keys, inner.values = [k for k, _ in pairs], [v for _, v in pairs]
    return copied


def _end_line(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"
