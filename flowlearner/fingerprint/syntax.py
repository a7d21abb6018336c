"""What the syntax of a piece of code says: a text in which layout is gone, and the names that it reads.

All of it depends on the syntax alone, so that it is worked out once for each parsed file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flowlearner.canonical import digest_parts

Chain = tuple[str, ...]
Scope = frozenset[str]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores", "decorator_list"))


@dataclass(frozen=True)
class Imported:
    """What an import statement in the body of a function binds to a name.

    Attributes:
        name: the name in the code.
        module: dotted name as written, without leading dots.
        level: number of leading dots.
        attribute: what is taken from the module, or None for the module itself.
        is_top: `import a.b` binds `a`.
    """

    name: str
    module: str
    level: int
    attribute: str | None
    is_top: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a function, class, statement or module from its syntax.

    Attributes:
        digest: hash of the syntax without docstrings, outermost decorators, and modules' names in imports.
        chains: dotted names that are read and not bound inside, sorted.
        imports: what imports inside bind.
        calls: each called dotted name with its line and first argument, where that is a text.
        lookups: each dotted name that is read, with the text by which something is taken from it, where it
            is written there: `name["x"]`, `name("x")`, `"x" in name`.
        decorators: the outermost decorators.
        subclassed: lines in which `__subclasses__` is read, which finds classes that no name leads to.
    """

    digest: str
    chains: tuple[Chain, ...]
    imports: tuple[Imported, ...]
    calls: tuple[tuple[Chain, int, str | None], ...]
    lookups: frozenset[tuple[Chain, str | None]]
    decorators: tuple[Decorator, ...] = ()
    subclassed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Decorator:
    """One decorator: the dotted name applied or called, the hash of its syntax, and all names it reads."""

    head: Chain | None
    digest: str
    chains: tuple[Chain, ...]


def read_facts(node: ast.AST) -> Facts:
    """Return what the syntax of a node says."""
    imports = tuple(_list_imports(node))
    reader = _Reader(frozenset(i.name for i in imports))
    decorators = []
    for decorator in getattr(node, "decorator_list", ()):
        reader.read(decorator, ())
        head = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        decorators.append(Decorator(head, _hash(decorator), tuple(sorted(reader.chains))))
        reader.chains.clear()
    reader.read(node, (), outermost=True)
    calls = tuple(
        (chain, call.lineno, _first_text(call))
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and (chain := chain_of(call.func)) in reader.chains
    )
    lookups = frozenset((chain, key) for chain, key in _list_lookups(node) if chain in reader.chains)
    subclassed = tuple(
        n.lineno for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr == "__subclasses__"
    )
    chains = tuple(sorted(reader.chains))
    return Facts(_hash(node), chains, imports, calls, lookups, tuple(decorators), subclassed)


def _hash(node: ast.AST) -> str:
    out: list[str] = []
    _write(node, out, outermost=True)
    return digest_parts("syntax/1", "".join(out).encode("utf-8", "surrogatepass"))


# The text of the syntax. Python's own `ast.dump` differs from version to version.


def _write(node: ast.AST, out: list[str], *, outermost: bool = False) -> None:
    out.append(f"({type(node).__name__}")
    if isinstance(node, ast.Constant):
        constant = node.value
        out.append(
            f" {type(constant).__name__}:{hex(constant) if type(constant) is int else repr(constant)})"
        )
        return
    if isinstance(node, ast.ImportFrom):
        # Which module this is enters by what is found there: a module may be renamed.
        out.extend(f" {alias.name!r}:{alias.asname!r}" for alias in node.names)
        out.append(")")
        return
    if isinstance(node, ast.Import):
        out.extend(f" {alias.asname or alias.name.partition('.')[0]!r}" for alias in node.names)
        out.append(")")
        return
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if value is None or value == [] or (name in _SKIPPED and (outermost or name != "decorator_list")):
            continue
        if name in ("annotation", "returns"):
            value = unquote(value)
        elif name == "body" and isinstance(node, (*_NAMED, ast.Module)):
            value = strip_docstring(value)
        out.append(f" {name}=")
        if isinstance(value, ast.AST):
            _write(value, out)
        elif isinstance(value, list):
            out.append("[")
            for item in value:
                if isinstance(item, ast.AST):
                    _write(item, out)
                else:
                    out.append(repr(item))
            out.append("]")
        else:
            out.append(repr(value))
    out.append(")")


def strip_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a body without its docstring; a body that has nothing else is `pass`."""
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:] or [ast.Pass()]
    return body


def unquote(annotation: ast.expr) -> ast.expr:
    """Return an annotation in which a quoted type is as if it were not quoted."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return unquote(ast.parse(annotation.value.strip(), mode="eval").body)
        except SyntaxError:
            return annotation
    if isinstance(annotation, ast.BinOp):
        return ast.BinOp(unquote(annotation.left), annotation.op, unquote(annotation.right))
    if isinstance(annotation, ast.Subscript):
        name = (chain_of(annotation.value) or ("",))[-1]
        if name == "Literal":
            return annotation
        inner = annotation.slice
        if isinstance(inner, ast.Tuple):
            # Only the first of Annotated is a type.
            items = [unquote(e) if i == 0 or name != "Annotated" else e for i, e in enumerate(inner.elts)]
            return ast.Subscript(annotation.value, ast.Tuple(items, inner.ctx), annotation.ctx)
        return ast.Subscript(annotation.value, unquote(inner), annotation.ctx)
    if isinstance(annotation, ast.List):
        return ast.List([unquote(e) for e in annotation.elts], annotation.ctx)
    return annotation


# The names that are read


def chain_of(node: ast.AST) -> Chain | None:
    """Return `a.b.c` as a tuple, or None for any other expression."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def _first_text(call: ast.Call) -> str | None:
    return _text_of(call.args[0]) if call.args else None


def _list_lookups(node: ast.AST) -> Iterator[tuple[Chain, str | None]]:
    """Yield each dotted name with the text that is looked up in it; assignments to an item read nothing."""
    key: str | None = None
    inner: list[ast.AST] = list(ast.iter_child_nodes(node))
    holder: ast.AST | None = None
    if isinstance(node, ast.Subscript):
        holder, key = node.value, _text_of(node.slice)
    elif isinstance(node, ast.Call):
        holder, key = node.func, _first_text(node)
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        holder, key = node.comparators[0], _text_of(node.left)
    elif (chain := chain_of(node)) is not None:
        yield chain, None
        return
    if holder is not None and (chain := chain_of(holder)) is not None:
        inner.remove(holder)
        if not isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)):
            yield chain, key
    for child in inner:
        yield from _list_lookups(child)


def _text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class _Reader:
    """Collects the dotted names that code reads and does not bind itself, by Python's rules of scope."""

    def __init__(self, imported: Scope) -> None:
        self.chains: set[Chain] = set()
        self._imported = imported

    def read(self, node: ast.AST, scopes: tuple[Scope, ...], *, outermost: bool = False) -> None:
        if isinstance(node, (ast.Name, ast.Attribute)):
            chain = chain_of(node)
            if chain is None:
                self.read(node.value, scopes)  # type: ignore[union-attr]
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                return
            elif not any(chain[0] in scope for scope in scopes):
                self.chains.add(chain)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            self._read_function(node, scopes, outermost)
        elif isinstance(node, ast.ClassDef):
            self._read_class(node, scopes, outermost)
        elif isinstance(node, _COMPREHENSIONS):
            bound = frozenset(_list_bound(g.target for g in node.generators))
            # What the first one goes over is looked up around the comprehension.
            first = node.generators[0].iter
            self.read(first, scopes)
            children = [c for n in ast.iter_child_nodes(node) for c in _open_generator(n) if c is not first]
            self._read_all(children, (*scopes, bound))
        elif isinstance(node, ast.AnnAssign):
            self.read(unquote(node.annotation), scopes)
            self._read_all([node.target, *([node.value] if node.value else [])], scopes)
        else:
            self._read_all(ast.iter_child_nodes(node), scopes)

    def _read_all(self, nodes: Iterable[ast.AST], scopes: tuple[Scope, ...]) -> None:
        for node in nodes:
            self.read(node, scopes)

    def _read_function(self, node: Function, scopes: tuple[Scope, ...], outermost: bool) -> None:
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
        outside: list[ast.AST] = [*args.defaults, *filter(None, args.kw_defaults)]
        outside += [unquote(a.annotation) for a in every if a.annotation]
        inside = scopes
        if isinstance(node, ast.Lambda):
            body: list[ast.AST] = [node.body]
        else:
            body = list(strip_docstring(node.body))
            inside = (*scopes, _type_parameters(node))
            outside += [unquote(node.returns)] if node.returns else []
            outside += [] if outermost else node.decorator_list
        self._read_all(outside, inside)
        bound = {a.arg for a in every} | (
            set(_list_bound(body)) - self._imported - _list_declared_outside(body)
        )
        self._read_all(body, (*inside, frozenset(bound)))

    def _read_class(self, node: ast.ClassDef, scopes: tuple[Scope, ...], outermost: bool) -> None:
        inside = (*scopes, _type_parameters(node))
        outside = [
            *node.bases,
            *(k.value for k in node.keywords),
            *([] if outermost else node.decorator_list),
        ]
        self._read_all(outside, inside)
        body = strip_docstring(node.body)
        # Names that a class body binds are not seen by the functions in it.
        own = (*inside, frozenset(set(_list_bound(body)) - self._imported))
        for statement in body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._read_all(statement.decorator_list, own)
                self._read_function(statement, inside, outermost=True)
                self._read_all([*statement.args.defaults, *filter(None, statement.args.kw_defaults)], own)
            else:
                self.read(statement, own)


def _open_generator(node: ast.AST) -> list[ast.AST]:
    return list(ast.iter_child_nodes(node)) if isinstance(node, ast.comprehension) else [node]


def _type_parameters(node: ast.AST) -> Scope:
    return frozenset(p.name for p in getattr(node, "type_params", ()))


def _list_bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind in their own scope, imports apart."""
    for node in nodes:
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id
            continue
        if isinstance(node, _NAMED):
            yield node.name
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, _COMPREHENSIONS):
            # Its own targets stay inside; an assignment expression binds around it.
            yield from (n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
            continue
        if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest
        yield from _list_bound(ast.iter_child_nodes(node))


def _list_declared_outside(nodes: Iterable[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            found.update(node.names)
        elif not isinstance(node, (*_NAMED, ast.Lambda)):
            found |= _list_declared_outside(ast.iter_child_nodes(node))
    return found


def _list_imports(node: ast.AST) -> Iterator[Imported]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                top = alias.name.partition(".")[0]
                yield Imported(alias.asname or top, alias.name, 0, None, is_top=alias.asname is None)
        elif isinstance(inner, ast.ImportFrom):
            for alias in inner.names:
                yield Imported(alias.asname or alias.name, inner.module or "", inner.level, alias.name)
