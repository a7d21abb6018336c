"""Follows code from a function to all that it reaches in the user's code, and remembers what it looked at.

Each function, class and assignment becomes a unit: the hash of its syntax, and what each name in it stands
for, which is another unit, a value's hash, or a foreign object with the version of its package. Units are
numbered in the order in which they are reached and names are taken in alphabetical order, so that neither a
module's name nor the hash seed enters, and code that calls itself is no special case.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import os
import runpy
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from flowlearner.canonical import digest, digest_parts
from flowlearner.errors import UnstableValueError
from flowlearner.fingerprint.origin import classify_module, find_package_version, is_user_file
from flowlearner.fingerprint.source import Tree, find_tree, has_text, iter_cells
from flowlearner.fingerprint.syntax import Chain, Facts, Imported
from flowlearner.fingerprint.witness import ATOMS, MISSING, Witness, list_fields

_CURE = "Pass version=... to its operator and change it with that code"
_DYNAMIC: tuple[Any, ...] = (
    builtins.exec, builtins.eval, builtins.__import__, builtins.globals, importlib.import_module,
    importlib.util.spec_from_file_location, runpy.run_path, runpy.run_module,
)  # fmt: skip
_IMPORTING = (builtins.__import__, importlib.import_module)
_FOREIGN_TYPES = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip


class _Unstable(Exception):
    """A value has no stable encoding."""


@dataclass
class Unit:
    label: str
    own: str
    refs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where names are looked up: a module's namespace, and around it a function's closure.

    Attributes:
        where: for people, such as "'clean' (helpers.py:12)".
        hints: classes by name that annotations hold, for functions inside functions.
    """

    namespace: dict[str, Any]
    file: str
    where: str
    tree: Tree | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)


class Follower:
    """One walk through the code.

    Attributes:
        units: what was reached, in order.
        parts: name and own hash of each of them; a package's version.
        problems: what cannot be followed.
        witness: tells whether anything that was looked at has changed.
    """

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.parts: dict[str, str] = {}
        self.problems: list[str] = []
        self.witness = Witness()
        self.source: str | None = None
        self._numbers: dict[Any, str] = {}
        self._open: set[int] = set()

    def follow_value(self, value: Any, name: str, place: Place) -> str:
        """Return what stands for a value: a unit's number or a hash."""
        try:
            target = self._encode(value, place)
        except _Unstable as error:
            return self._follow_assignment(name, place, str(error))
        if type(value) not in ATOMS:
            self.witness.add_value(value)
        return target

    # Code

    def follow_function(self, fn: types.FunctionType) -> str:
        """Add a function, unless it is known, and return its number."""
        number, unit = self._start(fn, fn.__qualname__)
        if unit is None:
            return number
        self.witness.functions.append((fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__))
        code, namespace = fn.__code__, fn.__globals__
        tree = find_tree(code.co_filename, namespace, code)
        node = tree.find_function(code) if tree else None
        where = f"'{fn.__name__}' ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
        cells = dict(zip(code.co_freevars, fn.__closure__ or (), strict=True))
        place = Place(
            namespace, code.co_filename, where, tree, cells, dict(_list_classes(fn.__annotations__))
        )
        if tree is None or node is None:
            changed = has_text(code.co_filename, namespace)
            reason = (
                "its source changed after it was loaded; load it again" if changed else "it has no source"
            )
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
        self._finish(unit)
        return number

    def _follow_defaults(self, fn: types.FunctionType, unit: Unit, place: Place) -> None:
        defaults = [*enumerate(fn.__defaults__ or ()), *sorted((fn.__kwdefaults__ or {}).items())]
        for name, value in defaults:
            try:
                unit.refs.append(f"default {name}={self._encode(value, place)}")
            except _Unstable:
                # As it is written, which the syntax has.
                continue
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
        number, unit = self._start(cls, cls.__qualname__)
        if unit is None:
            return number
        self.witness.add_values_of(vars(cls))
        methods = [m for m in map(_plain_function, vars(cls).values()) if m and _is_written_in(cls, m)]
        if methods:
            namespace, file = methods[0].__globals__, methods[0].__code__.co_filename
            tree = find_tree(file, namespace, methods[0].__code__)
        else:
            namespace, file = _namespace_of(cls, place), ""
            file = place.file if namespace is place.namespace else str(namespace.get("__file__") or "")
            tree = (
                place.tree if namespace is place.namespace else find_tree(file, namespace) if file else None
            )
        lines = [m.__code__.co_firstlineno for m in methods]
        node = tree.find_class(cls.__qualname__, lines) if tree else None
        if node is None and not methods:
            tree, node = _find_in_cells(cls, place)
        if tree is None or node is None:
            raise _Unstable(f"class {cls.__qualname__} has no source")
        cells = {
            n: c for m in methods for n, c in zip(m.__code__.co_freevars, m.__closure__ or (), strict=True)
        } or place.cells
        where = f"class '{cls.__name__}' ({os.path.basename(tree.file)}:{node.lineno})"
        inner = Place(
            namespace,
            tree.file,
            where,
            tree,
            cells,
            dict(_list_classes(inspect.get_annotations(cls))),
        )
        for i, base in enumerate(cls.__bases__):
            unit.refs.append(f"base {i}={self.follow_value(base, base.__name__, inner)}")
        self._follow_facts(tree.facts(node), unit, inner)
        for name, value in sorted(vars(cls).items()):
            self._follow_attribute(cls, name, value, unit, inner)
        self._finish(unit)
        return number

    def _follow_attribute(self, cls: type, name: str, value: Any, unit: Unit, place: Place) -> None:
        """Add an attribute as it is now, where the class as written does not say it."""
        fn = _plain_function(value)
        if fn is not None:
            if (
                not _is_written_in(cls, fn)
                and not _is_made(fn)
                and (is_user_code(fn) or hasattr(fn, "__wrapped__"))
            ):
                unit.refs.append(f"attribute {name}={self.follow_value(fn, name, place)}")
            elif _is_written_in(cls, fn):
                self.witness.functions.append((fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__))
        elif not name.startswith("__") and type(value) in (*ATOMS, list, tuple, dict, set, frozenset):
            try:
                unit.refs.append(f"attribute {name}={self._encode(value, place)}")
            except _Unstable:
                return
            self.witness.add_value(value)

    def _follow_module(self, module: types.ModuleType) -> str:
        """Add a module as a whole, for code that takes it as a value."""
        number, unit = self._start(module, module.__name__.rpartition(".")[2])
        if unit is None:
            return number
        self.witness.add_values_of(vars(module))
        file = str(getattr(module, "__file__", None) or "")
        tree = find_tree(file, vars(module)) if file else None
        if tree is None:
            if not hasattr(module, "__path__"):
                self._add_problem(f"module '{module.__name__}': it has no source")
        else:
            place = Place(vars(module), file, f"module '{module.__name__}'", tree)
            self._follow_facts(tree.facts(tree.root), unit, place)
        self._finish(unit)
        return number

    def _follow_assignment(self, name: str, place: Place, reason: str) -> str:
        """Follow how a module sets a name, for a value that has no encoding, such as a logger."""
        found = self._find_assignment(name.partition(".")[0], name, place)
        if found is None:
            self._add_problem(f"{place.where}: '{name}' cannot be hashed ({reason})")
            return "unknown"
        tree, statements, inner = found
        number, unit = self._start((tree, *statements), name)
        if unit is None:
            return number
        for statement in statements:
            self._follow_facts(tree.facts(statement), unit, inner)
        self._finish(unit)
        return number

    def _find_assignment(
        self, root: str, name: str, place: Place
    ) -> tuple[Tree, list[ast.stmt], Place] | None:
        if root in place.cells:
            return None
        tree = place.tree or find_tree(place.file, place.namespace)
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
                    full = _full_name(statement.module or "", statement.level, place.namespace)
                    return self._enter_module(sys.modules.get(full), alias.name)
        return None

    def _enter_module(self, module: Any, name: str) -> tuple[Tree, list[ast.stmt], Place] | None:
        if not isinstance(module, types.ModuleType) or classify_module(module.__name__) != "user":
            return None
        file = str(getattr(module, "__file__", None) or "")
        inner = Place(vars(module), file, f"module '{module.__name__}'", find_tree(file, vars(module)))
        return self._find_assignment(name, name, inner)

    def _start(self, key: Any, label: str) -> tuple[str, Unit | None]:
        known = self._numbers.get(key)
        if known is not None:
            return known, None
        number = self._numbers[key] = f"unit {len(self.units)}"
        unit = Unit(label.rpartition("<locals>.")[2], "")
        self.units.append(unit)
        return number, unit

    def _finish(self, unit: Unit) -> None:
        self._add_part(unit.label, unit.own)

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
            if not _is_platform(decorator.head, place):
                owns.append(decorator.digest)
                chains.update(decorator.chains)
        unit.own = digest_parts("unit/1", *([unit.own] if unit.own else []), *owns)
        imported = {i.name for i in facts.imports}
        local = sorted(c for c in chains if c[0] in imported)
        for item in facts.imports:
            self._follow_import(item, [c for c in local if c[0] == item.name], unit, place)
        self._follow_chains(sorted(c for c in chains if c[0] not in imported), unit, place)
        for chain, line, text in facts.calls:
            self._check_call(chain, line, text, facts, unit, place)

    def _follow_chains(self, chains: Iterable[Chain], unit: Unit, place: Place) -> None:
        for chain in chains:
            value = self._look_up(chain[0], place)
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

    def _follow_chain(self, chain: Chain, value: Any, unit: Unit, place: Place) -> None:
        """Go along the dotted name while it leads through the user's modules, and follow what is there."""
        used = 1
        while (
            used < len(chain)
            and isinstance(value, types.ModuleType)
            and classify_module(value.__name__) == "user"
        ):
            inner = getattr(value, chain[used], MISSING)
            if inner is MISSING:
                inner = sys.modules.get(f"{value.__name__}.{chain[used]}", MISSING)
            self.witness.items.append((vars(value), chain[used], vars(value).get(chain[used], MISSING)))
            value = inner
            used += 1
        name = ".".join(chain[:used])
        known = f"{name}="
        if any(ref.startswith(known) for ref in unit.refs):
            return
        if value is MISSING:
            unit.refs.append(f"{known}unbound")
            return
        target = self.follow_value(value, name, place)
        unit.refs.append(known + target)
        if not target.startswith(("unit ", "package ", "python ", "flowlearner ")):
            self._add_part(name, target)

    def _follow_import(self, item: Imported, chains: list[Chain], unit: Unit, place: Place) -> None:
        """Follow an import inside a function: the user's module is loaded for it, any other is not."""
        full = _full_name(item.module, item.level, place.namespace)
        kind = classify_module(full)
        if kind != "user":
            unit.refs.append(f"import {item.name}={self._name_foreign(full, item.attribute or '', kind)}")
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
            self._follow_chain(chain, value, unit, place)

    def _check_call(
        self, chain: Chain, line: int, text: str | None, facts: Facts, unit: Unit, place: Place
    ) -> None:
        called = _peek(chain, place, facts.imports)
        if not any(called is dynamic for dynamic in _DYNAMIC):
            return
        if text is None or not any(called is f for f in _IMPORTING):
            what = f"{'.'.join(chain)}() in line {line}"
            self._add_problem(f"{place.where}: what {what} reaches cannot be followed")
        else:
            level = len(text) - len(text.lstrip("."))
            whole = Imported("", text.lstrip("."), level, None)
            full = _full_name(whole.module, level, place.namespace)
            kind = classify_module(full)
            if kind == "user":
                self._follow_import(whole, [("",)], unit, place)
            else:
                unit.refs.append(f"import {text}={self._name_foreign(full, '', kind)}")

    # Values

    def _name_foreign(self, module: str, name: str, kind: str) -> str:
        """Return the name of what is not the user's, with the version of its package."""
        top = module.partition(".")[0]
        if kind != "package":
            return f"{kind} {name or top}" if kind == "flowlearner" else f"{kind} {module}.{name}"
        version = find_package_version(top)
        self.parts[top] = version
        return f"package {module}.{name} {version}"

    def _encode(self, value: Any, place: Place) -> str:
        """Return what stands for a value; code in it is followed.

        Raises:
            _Unstable: a part of it has no stable encoding.
        """
        cls = type(value)
        if cls in ATOMS:
            return digest(value)
        if cls is types.FunctionType or isinstance(value, (type, types.ModuleType)):
            return self._encode_code(value, place)
        if getattr(cls, "__flowlearner_operator__", False):
            uses = [self._encode(u, place) for u in value.uses]
            return digest_parts("operator", self._encode(value.fn, place), repr(value.version), *uses)
        if getattr(cls, "__flowlearner_workflow__", False):
            return self._encode(value.fn, place)
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            return self._encode_object(value, place)
        finally:
            self._open.discard(id(value))

    def _encode_code(self, value: Any, place: Place) -> str:
        if isinstance(value, types.FunctionType):
            if is_user_code(value):
                return self.follow_function(value)
            inner = getattr(value, "__wrapped__", None)
            name = self._name_foreign_object(value.__globals__.get("__name__", ""), value)
            if inner is None:
                return name
            # A foreign decorator: what it wraps is the user's, and so may be what it was given.
            given = [c.cell_contents for c in value.__closure__ or () if _has_contents(c)]
            codes = [self._encode(v, place) for v in given if type(v) is types.FunctionType]
            return digest_parts("wrapper", name, self._encode(inner, place), *codes)
        if isinstance(value, types.ModuleType):
            kind = classify_module(value.__name__)
            return (
                self._follow_module(value) if kind == "user" else self._name_foreign(value.__name__, "", kind)
            )
        if typing.get_origin(value) is not None:
            return self._encode_alias(value, place)
        if _is_user_class(value):
            return self.follow_class(value, place)
        return self._name_foreign_object(str(value.__module__), value)

    def _name_foreign_object(self, module: str | None, value: Any) -> str:
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__qualname__)
        module = module or "builtins"
        return self._name_foreign(module, name, classify_module(module))

    def _encode_object(self, value: Any, place: Place) -> str:
        cls = type(value)
        if isinstance(value, types.MethodType):
            return digest_parts(
                "method", self._encode(value.__func__, place), self._encode(value.__self__, place)
            )
        if isinstance(value, functools.partial):
            keywords = [
                part for k, v in sorted(value.keywords.items()) for part in (k, self._encode(v, place))
            ]
            args = [self._encode(v, place) for v in value.args]
            return digest_parts("partial", self._encode(value.func, place), str(len(args)), *args, *keywords)
        if isinstance(value, (staticmethod, classmethod, property, functools.cached_property)):
            fn = _plain_function(value)
            return digest_parts(cls.__name__, self._encode(fn, place) if fn else "")
        if isinstance(value, _FOREIGN_TYPES):
            return self._encode_builtin(value, place)
        wrapped = getattr(value, "__wrapped__", None) or getattr(value, "py_func", None)
        if isinstance(wrapped, types.FunctionType):
            return digest_parts(
                "wrapped", self._name_foreign_object(cls.__module__, cls), self._encode(wrapped, place)
            )
        if cls in (list, tuple, dict, set, frozenset):
            return self._encode_container(value, place)
        if typing.get_origin(value) is not None:
            return self._encode_alias(value, place)
        if isinstance(value, (typing.TypeVar, typing.ParamSpec)):
            return digest_parts(
                "type variable",
                value.__name__,
                repr(value.__bound__),
                repr(getattr(value, "__constraints__", "")),
            )
        if cls.__module__ == "typing" and " at 0x" not in repr(value):
            return digest_parts("typing", repr(value))
        if _is_user_class(cls):
            return self._encode_instance(value, place)
        return self._encode_foreign(value, place)

    def _encode_builtin(self, value: Any, place: Place) -> str:
        owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
        name = getattr(value, "__qualname__", value.__name__)
        if isinstance(owner, (types.ModuleType, type)) or owner is None:
            return self._name_foreign_object(
                getattr(value, "__module__", None) or getattr(owner, "__module__", None), value
            )
        return digest_parts("method", name, self._encode(owner, place))

    def _encode_container(self, value: Any, place: Place) -> str:
        kind = type(value).__name__
        if type(value) in (list, tuple):
            return digest_parts(kind, *(self._encode(item, place) for item in value))
        # Not in the order of the container, which is no part of it; what is no code has an order of its own.
        if type(value) is dict:
            keys = sorted(value, key=_order)
            return digest_parts(kind, *(self._encode(part, place) for k in keys for part in (k, value[k])))
        return digest_parts(kind, *(self._encode(item, place) for item in sorted(value, key=_order)))

    def _encode_alias(self, value: Any, place: Place) -> str:
        origin, args = typing.get_origin(value), typing.get_args(value)
        items = [self._encode(list(a) if isinstance(a, list) else a, place) for a in args]
        name = origin if isinstance(origin, type) else repr(origin)
        return digest_parts("alias", self._encode(name, place), *items)

    def _encode_instance(self, value: Any, place: Place) -> str:
        """Encode an object of the user's class: the class, which is followed, and its state."""
        cls = self._encode(type(value), place)
        if isinstance(value, Enum):
            return digest_parts("member", cls, value.name)
        fields = list_fields(value)
        if fields is None:
            try:
                return digest_parts("instance", cls, digest(value))
            except UnstableValueError as error:
                raise _Unstable(str(error)) from None
        parts = [part for name, item in fields for part in (name, self._encode(item, place))]
        return digest_parts("instance", cls, *parts)

    def _encode_foreign(self, value: Any, place: Place) -> str:
        cls = type(value)
        try:
            own = digest(value)
        except UnstableValueError as error:
            raise _Unstable(str(error)) from None
        if classify_module(cls.__module__) != "package":
            return own
        inside = []
        if hasattr(value, "get_params"):
            # An estimator may hold the user's transformers and functions.
            for _, part in sorted(value.get_params(deep=True).items()):
                if isinstance(part, types.FunctionType) or _is_user_class(type(part)):
                    inside.append(
                        self._encode(part if isinstance(part, types.FunctionType) else type(part), place)
                    )
        return digest_parts("foreign", own, self._name_foreign_object(cls.__module__, cls), *inside)


_BUILTIN: Any = object()


def is_user_code(fn: types.FunctionType) -> bool:
    """Tell whether a function was written by the user, whatever a decorator says of its module."""
    file = fn.__code__.co_filename
    if file.startswith("<") and fn.__module__ != "__main__":
        return is_user_file(file) and classify_module(fn.__globals__.get("__name__", "")) in (
            "user",
            "absent",
        )
    return is_user_file(file)


def _is_user_class(cls: type) -> bool:
    return cls.__module__ == "__main__" or classify_module(cls.__module__) == "user"


def _plain_function(value: Any) -> types.FunctionType | None:
    """Return the function in a method, property or static method of a class."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    return value if isinstance(value, types.FunctionType) else None


def _is_written_in(cls: type, fn: types.FunctionType) -> bool:
    return (
        fn.__code__.co_qualname.startswith(f"{cls.__qualname__}.") and is_user_code(fn) and not _is_made(fn)
    )


def _is_made(fn: types.FunctionType) -> bool:
    """Tell whether a function was made from a text that nobody wrote, such as a dataclass's `__init__`."""
    return fn.__code__.co_filename == "<string>"


def _namespace_of(cls: type, place: Place) -> dict[str, Any]:
    if place.namespace.get("__name__") == cls.__module__:
        return place.namespace
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else place.namespace


def _find_in_cells(cls: type, place: Place) -> tuple[Tree | None, ast.ClassDef | None]:
    """Find a class without methods among the cells of a notebook."""
    if place.namespace.get("__file__") and cls.__module__ != "__main__":
        return None, None
    for tree in iter_cells():
        node = tree.find_class(cls.__qualname__)
        if node is not None:
            return tree, node
    return None, None


def _full_name(module: str, level: int, namespace: Mapping[str, Any]) -> str:
    if not level:
        return module
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{module}" if module else base


def _peek(chain: Chain, place: Place, imports: Iterable[Imported] = ()) -> Any:
    """Return what a dotted name stands for, through any loaded module."""
    value: Any = MISSING
    item = next((i for i in imports if i.name == chain[0]), None)
    if item is not None:
        value = sys.modules.get(
            item.name if item.is_top else _full_name(item.module, item.level, place.namespace)
        )
        value = getattr(value, item.attribute, MISSING) if item.attribute else value
    elif chain[0] in place.cells:
        value = place.cells[chain[0]].cell_contents if _has_contents(place.cells[chain[0]]) else MISSING
    else:
        value = place.namespace.get(chain[0], getattr(builtins, chain[0], MISSING))
    for name in chain[1:]:
        value = getattr(value, name, MISSING) if isinstance(value, types.ModuleType) else MISSING
    return value


def _is_platform(head: Chain | None, place: Place) -> bool:
    """Tell whether a decorator is `operator` or `workflow`, which say nothing of what the function does."""
    if head is None:
        return False
    value = _peek(head, place)
    while isinstance(value, functools.partial):
        value = value.func
    if value is MISSING:
        return head[-1] in ("operator", "workflow")
    return str(getattr(value, "__module__", "")).partition(".")[0] == "flowlearner"


def _has_contents(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _list_classes(annotations: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for hint in annotations.values():
        pending = [hint]
        while pending:
            item = pending.pop()
            if isinstance(item, type) and typing.get_origin(item) is None:
                yield item.__name__, item
            pending.extend(typing.get_args(item))


def _order(item: Any) -> tuple[str, str]:
    """Return what sorts keys and members that have no order: their type, and hash or name."""
    try:
        return type(item).__name__, digest(item)
    except UnstableValueError:
        return type(item).__name__, str(getattr(item, "__qualname__", ""))
