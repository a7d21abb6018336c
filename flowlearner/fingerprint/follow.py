"""Follows code from a function to all that it reaches in the user's code, and remembers what it looked at.

Each function, class and assignment becomes a unit: the hash of its syntax, and what each name in it stands
for, which is another unit, a value's hash, or a foreign object with the version of its package. Units are
numbered in the order in which they are reached and names are taken in alphabetical order, so that neither a
module's name nor the hash seed enters, and code that calls itself is no special case.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import os
import sys
import types
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from flowlearner.canonical import digest, digest_parts
from flowlearner.fingerprint.names import (
    ENVIRONMENT,
    IMPORTING,
    OWN_NAMES,
    Place,
    full_name,
    is_dynamic,
    is_made,
    is_platform,
    is_set_on,
    is_user_class,
    is_user_code,
    is_written_in,
    iter_classes,
    list_functions,
    peek_along,
)
from flowlearner.fingerprint.origin import classify_module
from flowlearner.fingerprint.source import Tree, TreeFinder, has_text, iter_cells
from flowlearner.fingerprint.syntax import Chain, Facts, Imported
from flowlearner.fingerprint.values import Unstable, ValueEncoder
from flowlearner.fingerprint.witness import ATOMS, MISSING

_CURE = "Pass version=... to its operator and change it with that code"
_BUILTIN: Any = object()
_OWN_VALUES = (*ATOMS, list, tuple, dict, set, frozenset)


@dataclass
class Unit:
    """A function, class, module or assignment: the hash of its syntax, and what its names stand for."""

    label: str
    own: str
    refs: list[str] = field(default_factory=list)


class Follower(ValueEncoder):
    """One walk through the code.

    Attributes:
        units: what was reached, in order.
        parts: name and own hash of each of them; a package's version.
        problems: what cannot be followed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units: list[Unit] = []
        self.problems: list[str] = []
        self.source: str | None = None
        self._trees = TreeFinder()
        self._numbers: dict[Any, str] = {}
        # Values are held, so that no other one takes an identity.
        self._followed: dict[tuple[Any, ...], tuple[Any, str]] = {}
        self._waiting: deque[tuple[Unit, Callable[[Unit], None]]] = deque()

    def finish(self) -> None:
        """Follow all that was reached: until then units are only numbered, since calls may go deep."""
        while self._waiting:
            unit, fill = self._waiting.popleft()
            fill(unit)
            self._add_part(unit.label, unit.own)

    def follow_value(self, value: Any, name: str, place: Place) -> str:
        """Return what stands for a value: a unit's number or a hash."""
        key = (id(value), name, id(place.namespace), name.partition(".")[0] in place.cells)
        if key not in self._followed:
            self._followed[key] = value, self._follow_value(value, name, place)
        return self._followed[key][1]

    def _follow_value(self, value: Any, name: str, place: Place) -> str:
        target, reason = self.encode_whole(value, place)
        if type(value) not in ATOMS:
            self.witness.add_value(value)
        if reason is None and target is not None:
            return self._find_own_path(value, name, place) or target
        written = self._follow_assignment(name, place, reason or "")
        return written if target is None else digest_parts("partly", target, written)

    def _find_own_path(
        self, value: Any, name: str, place: Place, seen: frozenset[str] = frozenset()
    ) -> str | None:
        """Return what stands for a path that a module makes of its own file's: where it is from there."""
        if name in seen or not isinstance(value, (str, PurePath)) or not os.path.isabs(value):
            return None
        found = self._find_assignment(name.partition(".")[0], name, place)
        if found is None:
            return None
        tree, statements, inner = found
        heads = {chain[0] for statement in statements for chain in tree.facts(statement).chains}
        seen |= {name}
        if "__file__" not in heads and not any(
            self._find_own_path(inner.namespace.get(head), head, inner, seen) for head in heads
        ):
            return None
        folder = os.path.dirname(os.path.abspath(tree.file))
        ways = [os.path.relpath(value, start) for start in (folder, os.path.realpath(folder))]
        return digest_parts("own path", type(value).__name__, min(ways, key=len))

    # Code

    def follow_function(self, fn: types.FunctionType) -> str:
        """Add a function, unless it is known, and return its number."""
        return self._reach(fn, fn.__qualname__, lambda unit: self._fill_function(fn, unit))

    def _fill_function(self, fn: types.FunctionType, unit: Unit) -> None:
        self.witness.add_function(fn)
        code, namespace = fn.__code__, fn.__globals__
        tree = self._trees.find(code.co_filename, namespace, code)
        node = tree.find_function(code) if tree else None
        where = f"'{fn.__name__}' ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
        cells = dict(zip(code.co_freevars, fn.__closure__ or (), strict=True))
        place = Place(namespace, code.co_filename, where, tree, cells, dict(iter_classes(fn.__annotations__)))
        if tree is None or node is None:
            reason = "it has no source"
            if has_text(code.co_filename, namespace):
                reason = "its source changed after it was loaded; load it again, without __pycache__"
            self._add_problem(f"{where}: {reason}")
            self._follow_bytecode(code, unit, place)
        else:
            if self.source is None:
                self.source = tree.cut(node)
            self._follow_facts(tree.facts(node), unit, place)
        self._follow_defaults(fn, unit, place)
        wrapped = getattr(fn, "__wrapped__", None)
        if wrapped is not None:
            unit.refs.append(f"wrapped={self.follow_value(wrapped, fn.__name__, place)}")

    def _follow_defaults(self, fn: types.FunctionType, unit: Unit, place: Place) -> None:
        defaults = [*enumerate(fn.__defaults__ or ()), *sorted((fn.__kwdefaults__ or {}).items())]
        for name, value in defaults:
            # What has no encoding counts as it is written, which the syntax has.
            unit.refs.append(f"default {name}={self.encode_whole(value, place)[0]}")
            if type(value) not in ATOMS:
                self.witness.add_value(value)

    def _follow_bytecode(self, code: types.CodeType, unit: Unit, place: Place) -> None:
        constants = [repr(c) for c in code.co_consts if not isinstance(c, types.CodeType)]
        unit.own = digest_parts("bytecode/1", code.co_code, *constants, *code.co_names)
        chains = [
            (n,)
            for n in sorted({*code.co_names, *code.co_freevars})
            if n in place.namespace or n in place.cells
        ]
        self._follow_chains(chains, unit, place)

    def follow_class(self, cls: type, place: Place) -> str:
        """Add a class of the user, unless it is known, and return its number."""
        if cls in self._numbers:
            return self._numbers[cls]
        methods = [m for v in vars(cls).values() for m in list_functions(v) if is_written_in(cls, m)]
        tree, node, namespace = _find_class(cls, methods, place, self._trees)
        if tree is None or node is None:
            raise Unstable(f"class {cls.__qualname__} has no source")
        closures = (zip(m.__code__.co_freevars, m.__closure__ or (), strict=True) for m in methods)
        cells = {name: cell for pairs in closures for name, cell in pairs} or place.cells
        where = f"class '{cls.__name__}' ({os.path.basename(tree.file)}:{node.lineno})"
        hints = dict(iter_classes(inspect.get_annotations(cls)))
        inner = Place(namespace, tree.file, where, tree, cells, hints)
        facts = tree.facts(node)
        return self._reach(cls, cls.__qualname__, lambda unit: self._fill_class(cls, facts, unit, inner))

    def _fill_class(self, cls: type, facts: Facts, unit: Unit, place: Place) -> None:
        self.witness.add_values_of(vars(cls))
        for i, base in enumerate(cls.__bases__):
            unit.refs.append(f"base {i}={self.follow_value(base, base.__name__, place)}")
        self._follow_facts(facts, unit, place)
        for name, value in sorted(vars(cls).items()):
            self._follow_attribute(cls, name, value, unit, place)

    def _follow_attribute(self, cls: type, name: str, value: Any, unit: Unit, place: Place) -> None:
        """Add an attribute as it is now, where the class as written does not say it."""
        functions = list_functions(value)
        for fn in functions:
            original = inspect.unwrap(fn)
            if is_written_in(cls, fn):
                self.witness.add_function(fn)
            elif not is_made(original) and (is_user_code(fn) or original is not fn):
                unit.refs.append(f"attribute {name}={self.follow_value(fn, name, place)}")
        if functions or name.startswith("__"):
            return
        if type(value) in _OWN_VALUES or is_set_on(cls, value):
            unit.refs.append(f"attribute {name}={self.encode_whole(value, place)[0]}")
            self.witness.add_value(value)

    def follow_module(self, module: types.ModuleType) -> str:
        """Add a module as a whole, for code that takes it as a value."""
        return self._reach(
            module, module.__name__.rpartition(".")[2], lambda unit: self._fill_module(module, unit)
        )

    def _fill_module(self, module: types.ModuleType, unit: Unit) -> None:
        self.witness.add_values_of(vars(module))
        file = str(getattr(module, "__file__", None) or "")
        tree = self._trees.find(file, vars(module)) if file else None
        if tree is not None:
            place = Place(vars(module), file, f"module '{module.__name__}'", tree)
            self._follow_facts(tree.facts(tree.root), unit, place)
            for name, value in sorted(vars(module).items()):
                is_own = name.isidentifier() and not name.startswith("__")
                if is_own and not isinstance(value, types.ModuleType):
                    # What has no encoding counts as it is written, which the syntax has.
                    target = self._find_own_path(value, name, place) or self.encode_whole(value, place)[0]
                    unit.refs.append(f"value {name}={target}")
                    self.witness.add_value(value)
        elif not hasattr(module, "__path__"):
            self._add_problem(f"module '{module.__name__}': it has no source")

    def _follow_assignment(self, name: str, place: Place, reason: str) -> str:
        """Follow how a module sets a name, for a value that has no encoding, such as a logger."""
        found = self._find_assignment(name.partition(".")[0], name, place)
        if found is None:
            self._add_problem(f"{place.where}: '{name}' cannot be hashed ({reason})")
            return "unknown"
        tree, statements, inner = found

        def fill(unit: Unit) -> None:
            for statement in statements:
                self._follow_facts(tree.facts(statement), unit, inner)

        return self._reach((tree, *statements), name, fill)

    def _find_assignment(
        self, root: str, name: str, place: Place
    ) -> tuple[Tree, list[ast.stmt], Place] | None:
        if root in place.cells:
            return None
        tree = place.tree or self._trees.find(place.file, place.namespace)
        parts = name.split(".")
        if len(parts) > 1:
            module = place.namespace.get(root)
            for part in parts[1:-1]:
                module = getattr(module, part, None)
            return self._enter_module(module, parts[-1])
        trees = [tree] if tree else []
        if not place.namespace.get("__file__"):
            trees += [t for t in iter_cells() if t is not tree]
        for candidate in trees:
            statements = candidate.find_bindings(root)
            kept = [s for s in statements if not isinstance(s, (ast.Import, ast.ImportFrom))]
            if kept:
                inner = Place(place.namespace, candidate.file, place.where, candidate)
                return candidate, kept, inner
            for statement in statements:
                if isinstance(statement, ast.ImportFrom):
                    alias = next(a for a in statement.names if (a.asname or a.name) == root)
                    full = full_name(statement.module or "", statement.level, place.namespace)
                    return self._enter_module(sys.modules.get(full), alias.name)
        return None

    def _enter_module(self, module: Any, name: str) -> tuple[Tree, list[ast.stmt], Place] | None:
        if not isinstance(module, types.ModuleType) or classify_module(module) != "user":
            return None
        file = str(getattr(module, "__file__", None) or "")
        inner = Place(vars(module), file, f"module '{module.__name__}'", self._trees.find(file, vars(module)))
        return self._find_assignment(name, name, inner)

    def _reach(self, key: Any, label: str, fill: Callable[[Unit], None]) -> str:
        """Return the number of what is reached; a unit that is new is filled later."""
        if key not in self._numbers:
            self._numbers[key] = f"unit {len(self.units)}"
            unit = Unit(label.rpartition("<locals>.")[2], "")
            self.units.append(unit)
            self._waiting.append((unit, fill))
        return self._numbers[key]

    def _add_part(self, label: str, own: str) -> None:
        name, n = label, 1
        while self.parts.get(name, own) != own:
            n += 1
            name = f"{label} ({n})"
        self.parts[name] = own

    def _add_problem(self, text: str) -> None:
        problem = f"{text}. {_CURE}"
        if problem not in self.problems:
            self.problems.append(problem)

    # Names

    def _follow_facts(self, facts: Facts, unit: Unit, place: Place) -> None:
        owns = [facts.digest]
        chains = set(facts.chains)
        for decorator in facts.decorators:
            if not is_platform(decorator.head, place):
                owns.append(decorator.digest)
                chains.update(decorator.chains)
        unit.own = digest_parts("unit/1", *([unit.own] if unit.own else []), *owns)
        imported = {i.name for i in facts.imports}
        local = sorted(c for c in chains if c[0] in imported)
        names: Counter[str] = Counter()
        for item in facts.imports:
            # One name may be imported from two places, in two branches or two inner functions.
            label = f"({names[item.name]}) " if names[item.name] else ""
            names[item.name] += 1
            self._follow_import(item, [c for c in local if c[0] == item.name], unit, place, label)
        self._follow_chains(sorted(c for c in chains if c[0] not in imported), unit, place)
        for chain in local:
            # What one inner function imports another one may read as a global.
            value = self._look_up(chain[0], place)
            if value is not _BUILTIN and value is not MISSING:
                self._follow_chain(chain, value, unit, place, "global ")
        along = {chain: peek_along(chain, place, facts.imports) for chain in chains}
        dynamic = {chain: next(filter(is_dynamic, values), None) for chain, values in along.items()}
        dynamic = {chain: value for chain, value in dynamic.items() if value is not None}
        if dynamic:
            self._check_dynamic(dynamic, facts, unit, place)
        for line in facts.subclassed:
            self._add_problem(f"{place.where}: what __subclasses__ in line {line} finds cannot be followed")
        readers = {c: v for c, v in along.items() if any(v[-1] is reader for reader in ENVIRONMENT)}
        if readers:
            for chain, key in sorted(facts.lookups, key=str):
                if chain in readers and chain[len(readers[chain]) :] != ("update",):
                    self._follow_environment(chain, key, unit, place)

    def _follow_environment(self, chain: Chain, key: str | None, unit: Unit, place: Place) -> None:
        """Add the value of a variable of the environment, where code names it."""
        if key is None:
            self._add_problem(
                f"{place.where}: which variables {'.'.join(chain)} reads cannot be followed, for no name is "
                "written there. Write it out, or give the value by a parameter"
            )
            return
        value = os.environ.get(key)
        self.witness.environment[key] = value
        unit.refs.append(f"environment {key}={digest(value)}")

    def _follow_chains(self, chains: Iterable[Chain], unit: Unit, place: Place) -> None:
        for chain in chains:
            value = _BUILTIN if chain[0] in OWN_NAMES else self._look_up(chain[0], place)
            if value is not _BUILTIN:
                self._follow_chain(chain, value, unit, place)

    def _look_up(self, name: str, place: Place) -> Any:
        if name in place.cells:
            try:
                value = place.cells[name].cell_contents
            except ValueError:
                return MISSING
            self.witness.cells.append((place.cells[name], value))
            return _BUILTIN if name == "__class__" else value
        value = place.namespace.get(name, MISSING)
        self.witness.items.append((place.namespace, name, value))
        if value is not MISSING:
            return value
        return _BUILTIN if hasattr(builtins, name) else place.hints.get(name, MISSING)

    def _follow_chain(self, chain: Chain, value: Any, unit: Unit, place: Place, label: str = "") -> None:
        """Go along the dotted name while it leads through the user's modules, and follow what is there."""
        used = 1
        while used < len(chain) and isinstance(value, types.ModuleType) and classify_module(value) == "user":
            if chain[used] in OWN_NAMES:
                return
            inner = getattr(value, chain[used], MISSING)
            if inner is MISSING:
                inner = sys.modules.get(f"{value.__name__}.{chain[used]}", MISSING)
            self.witness.items.append((vars(value), chain[used], vars(value).get(chain[used], MISSING)))
            value = inner
            used += 1
        name = ".".join(chain[:used])
        known = f"{label}{name}="
        if any(ref.startswith(known) for ref in unit.refs):
            return
        if value is MISSING:
            unit.refs.append(f"{known}unbound")
            return
        target = self.follow_value(value, name, place)
        unit.refs.append(known + target)
        if not target.startswith(("unit ", "package ", "python ", "flowlearner ")):
            self._add_part(name, target)
        if used < len(chain) and isinstance(value, (types.FunctionType, type)):
            self._follow_set_attribute(value, chain[used], known, unit, place)

    def _follow_set_attribute(self, owner: Any, name: str, known: str, unit: Unit, place: Place) -> None:
        """Add an attribute that a function or class was given after it was defined, if it was."""
        namespace = vars(owner)
        self.witness.items.append((namespace, name, namespace.get(name, MISSING)))
        value = namespace.get(name, MISSING)
        if value is MISSING or list_functions(value):
            return
        if isinstance(owner, types.FunctionType) or (is_user_class(owner) and type(value) not in _OWN_VALUES):
            target, _ = self.encode_whole(value, place)
            self.witness.add_value(value)
            unit.refs.append(f"{known}{name}={target}")

    def _follow_import(
        self, item: Imported, chains: list[Chain], unit: Unit, place: Place, label: str = ""
    ) -> None:
        """Follow an import inside a function: the user's module is loaded for it, any other is not."""
        full = full_name(item.module, item.level, place.namespace)
        kind = classify_module(full)
        if kind != "user":
            unit.refs.append(f"import {item.name}={self.name_foreign(full, item.attribute or '', kind)}")
            return
        try:
            module = importlib.import_module(full)
            value: Any = module
            if item.attribute:
                value = getattr(module, item.attribute, MISSING)
                if value is MISSING:
                    value = importlib.import_module(f"{full}.{item.attribute}")
        except Exception as error:  # noqa: BLE001 - the user's module may raise anything
            self._add_problem(f"{place.where}: importing '{full}' fails ({type(error).__name__}: {error})")
            return
        self.witness.items.append((sys.modules, full, module))
        if item.attribute:
            self.witness.items.append(
                (vars(module), item.attribute, vars(module).get(item.attribute, MISSING))
            )
        elif item.is_top:
            value = sys.modules[full.partition(".")[0]]
        inner = Place(vars(module), str(getattr(module, "__file__", "") or ""), place.where)
        for chain in chains:
            if item.attribute and not isinstance(value, types.ModuleType):
                unit.refs.append(f"{item.name}={self.follow_value(value, item.attribute, inner)}")
                break
            self._follow_chain(chain, value, unit, place, label)
        if not chains and not item.attribute:
            # It is imported for what the import does.
            unit.refs.append(f"import {item.name}={self.follow_module(module)}")

    def _check_dynamic(self, dynamic: Mapping[Chain, Any], facts: Facts, unit: Unit, place: Place) -> None:
        """Tell of names that lead to what loads code by a text; follow it where the text is written."""
        calls = [call for call in facts.calls if call[0] in dynamic]
        for chain, line, text in calls:
            if text is not None and any(dynamic[chain] is f for f in IMPORTING):
                self._follow_named(text, unit, place)
            else:
                called = f"{'.'.join(chain)}() in line {line}"
                self._add_problem(f"{place.where}: what {called} reaches cannot be followed")
        for chain in sorted(dynamic.keys() - {chain for chain, _, _ in calls}):
            self._add_problem(f"{place.where}: what {'.'.join(chain)} reaches cannot be followed")

    def _follow_named(self, text: str, unit: Unit, place: Place) -> None:
        """Follow a module that is imported by a text."""
        level = len(text) - len(text.lstrip("."))
        whole = Imported("", text.lstrip("."), level, None)
        full = full_name(whole.module, level, place.namespace)
        kind = classify_module(full)
        if kind == "user":
            self._follow_import(whole, [("",)], unit, place)
        else:
            unit.refs.append(f"import {text}={self.name_foreign(full, '', kind)}")


def _namespace_of(cls: type, place: Place) -> dict[str, Any]:
    if place.namespace.get("__name__") == cls.__module__:
        return place.namespace
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else place.namespace


def _find_class(
    cls: type, methods: list[types.FunctionType], place: Place, trees: TreeFinder
) -> tuple[Tree | None, ast.ClassDef | None, dict[str, Any]]:
    """Find where a class is written: beside its methods, in its module, or in a cell of a notebook."""
    if methods:
        code, namespace = methods[0].__code__, methods[0].__globals__
        tree = trees.find(code.co_filename, namespace, code)
    else:
        namespace = _namespace_of(cls, place)
        file = str(namespace.get("__file__") or "")
        tree = place.tree if namespace is place.namespace else trees.find(file, namespace) if file else None
    node = tree.find_class(cls.__qualname__, [m.__code__.co_firstlineno for m in methods]) if tree else None
    if node is None and not methods:
        tree, node = _find_in_cells(cls, place)
    return tree, node, namespace


def _find_in_cells(cls: type, place: Place) -> tuple[Tree | None, ast.ClassDef | None]:
    """Find a class without methods among the cells of a notebook."""
    if place.namespace.get("__file__") and cls.__module__ != "__main__":
        return None, None
    for tree in iter_cells():
        node = tree.find_class(cls.__qualname__)
        if node is not None:
            return tree, node
    return None, None
