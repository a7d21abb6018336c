"""Makes one snapshot of two: the code of one run, in which operators have the code that they have in another.

The other run's modules move into a package of their own beside the first one's, so that each operator reaches
the helpers of its own run. Where an operator was defined it is imported from there instead. So are classes
that are the same in both, since a value of one operator is to fit another one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from flowlearner.errors import UsageError
from flowlearner.fingerprint.source import map_bindings
from flowlearner.restoring import Modules, keep_readable

PACKAGE = "other_run"
_MAIN = "main_script"
_KEPT = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Place:
    """Where an operator is defined.

    Attributes:
        module: by its name in the snapshot.
        name: of its function.
    """

    module: str
    name: str


def mix_modules(
    base: Modules, other: Modules, places: Sequence[tuple[Place, Place]], kept: Sequence[Place] = ()
) -> Modules:
    """Return the modules of a snapshot with operators that come from another one.

    Args:
        places: of each operator, where it is in `base` and where it is in `other`.
        kept: where operators are in `base` that reach one of these, and are to reach that of `base`.

    Raises:
        UsageError: an operator is not defined at the top level of a module.
    """
    base, other = _make_readable(base), _make_readable(other)
    package = PACKAGE
    while package in base or package in other:
        package += "_"
    # A module that is edited here is not the one that the other run has.
    edited = {_get_top(here) for here, _ in places}
    moved = _find_moved(base, other, edited)
    edits: dict[str, list[_Edit]] = {}
    for shared, classes in _list_shared(base, other, moved).items():
        source = f"{package}.{_rename_main(shared)}"
        edits[shared] = [_replace(s, f"from {source} import {name}") for name, s in classes.items()]
    base = _edit_all(base, edits)
    mixed = dict(_move_all(other, package, moved))
    taken = [(here, there, other, package, moved) for here, there in places]
    if kept:
        own, own_moved = f"{package}_own", _find_moved(base, base, edited)
        mixed |= _move_all(base, own, own_moved)
        taken += [(here, here, base, own, own_moved) for here in kept]
    edits = {}
    for here, there, modules, owner, names in taken:
        bound, statement = _find_binding(base, here)
        source = _rename_main(there.module)
        if _get_top(there) in names:
            source = f"{owner}.{source}"
        text = f"from {source} import {_find_binding(modules, there)[0]} as {bound}"
        edits.setdefault(here.module, []).append(_replace(statement, text))
    return {**_edit_all(base, edits), **mixed}


def _get_top(place: Place) -> str:
    return place.module.partition(".")[0]


def _edit_all(modules: Modules, edits: Mapping[str, list[_Edit]]) -> Modules:
    return {
        name: {**module, "source": _apply(str(module["source"]), edits.get(name, ()))}
        for name, module in modules.items()
    }


def _move_all(modules: Modules, package: str, moved: set[str]) -> Modules:
    """Return modules as they are below another package, with that package."""
    found = {
        f"{package}.{_rename_main(name)}": {
            **module,
            "source": _move(name, str(module["source"]), package, moved),
        }
        for name, module in modules.items()
        if name.partition(".")[0] in moved
    }
    return {package: {"source": "", "package": True}, **found}


def _make_readable(modules: Modules) -> Modules:
    """Return modules without what is no Python in the cells of a notebook."""
    if "__main__" not in modules:
        return modules
    main = modules["__main__"]
    return {**modules, "__main__": {**main, "source": keep_readable(str(main["source"]))}}


def _rename_main(module: str) -> str:
    return _MAIN if module == "__main__" else module


def _find_moved(base: Modules, other: Modules, edited: set[str]) -> set[str]:
    """Return the top-level names whose modules are not the same in both, are edited, or import such ones.

    The others are shared, so that a class of theirs is one class for the operators of both runs.
    """
    tops: dict[str, list[str]] = {}
    for name in other:
        tops.setdefault(name.partition(".")[0], []).append(name)
    imports = {
        top: {i for n in names for i in _list_imported(str(other[n]["source"]))}
        for top, names in tops.items()
    }
    moved = {
        top for top, names in tops.items() if top in edited or any(base.get(n) != other[n] for n in names)
    }
    while True:
        more = {top for top in tops if top not in moved and imports[top] & moved}
        if not more:
            return moved
        moved |= more


@lru_cache(maxsize=1024)
def _list_imported(source: str) -> frozenset[str]:
    """Return the top-level names that a module imports; most modules are the same in every mixture."""
    found: set[str] = set()
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Import):
            found |= {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return frozenset(found)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        # It is a module that nothing has imported with success.
        return ast.Module([], [])


def _list_shared(base: Modules, other: Modules, moved: set[str]) -> dict[str, dict[str, ast.stmt]]:
    """Return the classes that are the same in both, with all that they read, of modules that are not."""
    both = [m for m in other if m in base and m.partition(".")[0] in moved]
    sides = [{m: map_bindings(_parse(str(s[m]["source"])).body) for m in both} for s in (base, other)]
    comparison = _Comparison(sides[0], sides[1], moved)
    return {
        module: {
            name: statements[0]
            for name, statements in comparison.base[module].items()
            if len(statements) == 1
            and isinstance(statements[0], ast.ClassDef)
            and comparison.is_same(module, name, set())
        }
        for module in both
    }


_Bindings = Mapping[str, Mapping[str, list[ast.stmt]]]


@dataclass(frozen=True)
class _Comparison:
    """What binds names at the top level of the modules of two snapshots."""

    base: _Bindings
    other: _Bindings
    moved: set[str]

    def is_same(self, module: str, name: str, seen: set[tuple[str, str]]) -> bool:
        """Tell whether a name stands for the same in both, with everything that is read for it."""
        if (module, name) in seen:
            return True
        seen.add((module, name))
        pair = [side.get(module, {}).get(name, []) for side in (self.base, self.other)]
        if [ast.dump(s) for s in pair[0]] != [ast.dump(s) for s in pair[1]]:
            return False
        return all(self._reads_same(module, name, statement, seen) for statement in pair[0])

    def _reads_same(self, module: str, name: str, statement: ast.stmt, seen: set[tuple[str, str]]) -> bool:
        if isinstance(statement, ast.Import):
            return not any(a.name.partition(".")[0] in self.moved for a in statement.names)
        if isinstance(statement, ast.ImportFrom):
            if statement.level or str(statement.module).partition(".")[0] in self.moved:
                source = "" if statement.level else str(statement.module)
                names = [a.name for a in statement.names if (a.asname or a.name) == name]
                return source in self.base and all(self.is_same(source, n, seen) for n in names)
            return True
        read = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        return all(self.is_same(module, n, seen) for n in read)


def _find_binding(modules: Modules, place: Place) -> tuple[str, ast.stmt]:
    """Return the name that stands for an operator in its module, and the statement that binds it."""
    bindings = map_bindings(_parse(str(modules[place.module]["source"])).body)
    defined = bindings.get(place.name, [])
    # Of several definitions the last one counts.
    for statement in reversed(defined):
        if getattr(statement, "decorator_list", ()):
            return place.name, statement
    for name, statements in bindings.items():
        value = getattr(statements[-1], "value", None)
        # operator(cpus=2)(function)
        if defined and isinstance(value, ast.Call) and _is_name(value.args[:1], place.name):
            return name, statements[-1]
    raise UsageError(
        f"operator '{place.name}' is not defined at the top level of module '{place.module}', so its code "
        "cannot be taken from there alone"
    )


def _is_name(arguments: list[ast.expr], name: str) -> bool:
    return any(isinstance(a, ast.Name) and a.id == name for a in arguments)


# Texts


@dataclass(frozen=True)
class _Edit:
    """A text that takes the place of another: from a line and column, in bytes, up to another."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def _replace(statement: ast.stmt, text: str) -> _Edit:
    """Return the edit that replaces a statement; the lines behind it keep their numbers."""
    first: ast.AST = (getattr(statement, "decorator_list", None) or [statement])[0]
    line = getattr(first, "lineno", statement.lineno)
    # Before a decorator stands its @.
    column = statement.col_offset
    end = statement.end_lineno or line, statement.end_col_offset or column
    return _Edit((line, column), end, text + "\n" * (end[0] - line))


def _apply(source: str, edits: Iterable[_Edit]) -> str:
    # Python's own columns count bytes.
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        (first, left), (last, right) = edit.start, edit.end
        rest = lines[last - 1][right:]
        text = edit.text.rstrip("\n") if rest.strip().startswith(b";") else edit.text
        lines[first - 1 : last] = [lines[first - 1][:left] + text.encode() + rest]
    return b"".join(lines).decode()


def _move(name: str, source: str, package: str, moved: set[str]) -> str:
    """Return a module's source as it is below another package: its imports find the modules beside it."""
    edits = []
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            top = str(node.module).partition(".")[0]
            if top in moved:
                names = ", ".join(_show_alias(a) for a in node.names)
                edits.append(
                    _replace(node, f"from {package}.{_rename_main(str(node.module))} import {names}")
                )
        elif isinstance(node, ast.Import) and any(a.name.partition(".")[0] in moved for a in node.names):
            names = ", ".join(n for a in node.names for n in _move_alias(a, package, moved))
            edits.append(_replace(node, f"import {names}"))
    source = _apply(source, edits)
    if name == "__main__":
        source = _apply(source, [e for s in _parse(source).body if (e := _guard(s)) is not None])
    return source


def _show_alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _move_alias(alias: ast.alias, package: str, moved: set[str]) -> Iterator[str]:
    top = alias.name.partition(".")[0]
    if top not in moved:
        yield _show_alias(alias)
    elif alias.asname or alias.name == top:
        yield f"{package}.{alias.name} as {alias.asname or alias.name}"
    else:
        # `import a.b` binds `a`.
        yield f"{package}.{alias.name}"
        yield f"{package}.{top} as {top}"


def _guard(statement: ast.stmt) -> _Edit | None:
    """Return a script's statement so that its failure is passed over, such as one that starts a run."""
    if isinstance(statement, _KEPT):
        return None
    if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
        return _replace(statement, "pass")
    handler = ast.ExceptHandler(type=ast.Name("Exception"), name=None, body=[ast.Pass()])
    guarded = ast.Try(body=[statement], handlers=[handler], orelse=[], finalbody=[])
    return _replace(statement, ast.unparse(ast.fix_missing_locations(guarded)))
