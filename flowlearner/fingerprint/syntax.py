"""What the syntax of a piece of code says: a text in which layout is gone, and the names that it reads.

All of it depends on the syntax alone, so that it is worked out once for each parsed file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from flowlearner.canonical import digest_parts

Chain = tuple[str, ...]
Scope = frozenset[str]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUNCTIONS = frozenset((ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DOCUMENTED = frozenset((*_NAMED, ast.Module))
_COMPREHENSIONS = frozenset((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp))
_SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores"))
# Fields that hold texts and numbers, or what says no more than which operator it is.
_LEAVES = _SKIPPED | {"id", "attr", "arg", "asname", "module", "level", "op", "ops", "simple", "is_async"}


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
        node: the syntax.
        digest: hash of the syntax without docstrings, outermost decorators, and modules' names in imports.
        chains: dotted names that are read and not bound inside, sorted.
        imports: what imports inside bind.
        decorators: the outermost decorators.
        subclassed: lines in which `__subclasses__` is read, which finds classes that no name leads to.
    """

    node: ast.AST
    digest: str
    chains: tuple[Chain, ...]
    imports: tuple[Imported, ...]
    decorators: tuple[Decorator, ...] = ()
    subclassed: tuple[int, ...] = ()

    @cached_property
    def calls(self) -> tuple[tuple[Chain, int, str | None], ...]:
        """Each called dotted name with its line and first argument, where that is a text."""
        known = set(self.chains)
        return tuple(
            (chain, call.lineno, _first_text(call))
            for call in iter_nodes(self.node)
            if isinstance(call, ast.Call) and (chain := chain_of(call.func)) in known
        )

    @cached_property
    def lookups(self) -> frozenset[tuple[Chain, str | None]]:
        """Each dotted name that is read, with the text by which something is taken from it.

        That is where it is written there: `name["x"]`, `name("x")`, `"x" in name`.
        """
        known = set(self.chains)
        return frozenset((chain, key) for chain, key in _list_lookups(self.node) if chain in known)


@dataclass(frozen=True)
class Decorator:
    """One decorator: the dotted name applied or called, the hash of its syntax, and all names it reads."""

    head: Chain | None
    digest: str
    chains: tuple[Chain, ...]


def read_facts(node: ast.AST) -> Facts:
    """Return what the syntax of a node says."""
    imports: list[Imported] = []
    subclassed: list[int] = []
    has_outer = False
    children: dict[ast.AST, list[ast.AST]] = {}
    nodes = [node]
    for inner in nodes:
        kind = type(inner)
        if kind in (ast.Import, ast.ImportFrom):
            imports.extend(_list_imports(inner))
        elif kind is ast.Attribute and inner.attr == "__subclasses__":  # type: ignore[attr-defined]
            subclassed.append(inner.lineno)  # type: ignore[attr-defined]
        elif kind in (ast.Global, ast.Nonlocal):
            has_outer = True
        children[inner] = list_children(inner)
        nodes += children[inner]
    reader = _Reader(frozenset(i.name for i in imports), children, has_outer)
    decorators = []
    for decorator in getattr(node, "decorator_list", ()):
        reader.read(decorator, ())
        head = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        decorators.append(Decorator(head, _hash(decorator), tuple(sorted(reader.chains))))
        reader.chains.clear()
    reader.read(node, (), outermost=True)
    chains = tuple(sorted(reader.chains))
    return Facts(node, _hash(node), chains, tuple(imports), tuple(decorators), tuple(subclassed))


def iter_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all that is in it, level by level, but for operators and the like."""
    found = [node]
    for inner in found:
        yield inner
        found += list_children(inner)


def list_children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes in a node, but for operators and the like, which hold nothing."""
    found: list[ast.AST] = []
    # Python's own function for this takes three times as long.
    cls: Any = type(node)
    for name in _list_fields(cls):
        value = getattr(node, name, None)
        if type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


@lru_cache(maxsize=256)
def _list_fields(cls: Any) -> tuple[str, ...]:
    return () if cls is ast.Constant else tuple(name for name in cls._fields if name not in _LEAVES)


def _hash(node: ast.AST) -> str:
    out: list[str] = []
    _write(node, out, outermost=True)
    return digest_parts("syntax/1", "".join(out).encode("utf-8", "surrogatepass"))


# The text of the syntax. Python's own `ast.dump` differs from version to version.


def _write(node: ast.AST, out: list[str], *, outermost: bool = False) -> None:
    cls: Any = type(node)
    if cls is ast.Name:
        out.append(f"(Name id={node.id!r})")  # type: ignore[attr-defined]
        return
    if cls is ast.Constant:
        constant = node.value  # type: ignore[attr-defined]
        text = hex(constant) if type(constant) is int else repr(constant)
        out.append(f"(Constant {type(constant).__name__}:{text})")
        return
    kind, fields = _describe(cls)
    out.append(kind)
    if cls is ast.ImportFrom:
        # Which module this is enters by what is found there: a module may be renamed.
        out.extend(f" {alias.name!r}:{alias.asname!r}" for alias in node.names)  # type: ignore[attr-defined]
        out.append(")")
        return
    if cls is ast.Import:
        names = (alias.asname or alias.name.partition(".")[0] for alias in node.names)  # type: ignore[attr-defined]
        out.extend(f" {name!r}" for name in names)
        out.append(")")
        return
    for name, label in fields:
        value: Any = getattr(node, name, None)
        if value is None or value == [] or (outermost and name == "decorator_list"):
            continue
        if name in ("annotation", "returns"):
            value = unquote(value)
        elif name == "body" and cls in _DOCUMENTED:
            value = strip_docstring(value)
        out.append(label)
        if type(value) is list:
            out.append("[")
            for item in value:
                if isinstance(item, ast.AST):
                    _write(item, out)
                else:
                    out.append(repr(item))
            out.append("]")
        elif isinstance(value, ast.AST):
            _write(value, out)
        else:
            out.append(repr(value))
    out.append(")")


@lru_cache(maxsize=256)
def _describe(cls: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return how a node of a class begins, and its fields that count, each with what comes before it."""
    return f"({cls.__name__}", tuple((name, f" {name}=") for name in cls._fields if name not in _SKIPPED)


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
    inner = list_children(node)
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

    def __init__(
        self, imported: Scope, children: dict[ast.AST, list[ast.AST]], has_outer: bool = True
    ) -> None:
        self.chains: set[Chain] = set()
        self._imported = imported
        self._known = children
        self._has_outer = has_outer

    def _children(self, node: ast.AST) -> list[ast.AST]:
        found = self._known.get(node)
        return list_children(node) if found is None else found

    def read(self, node: Any, scopes: tuple[Scope, ...], *, outermost: bool = False) -> None:
        cls = type(node)
        if cls is ast.Name:
            if type(node.ctx) is ast.Load and not _is_bound(node.id, scopes):
                self.chains.add((node.id,))
        elif cls is ast.Attribute:
            chain = chain_of(node)
            if chain is None:
                self.read(node.value, scopes)
            elif not _is_bound(chain[0], scopes):
                self.chains.add(chain)
        elif cls in _FUNCTIONS:
            self._read_function(node, scopes, outermost)
        elif cls is ast.ClassDef:
            self._read_class(node, scopes, outermost)
        elif cls in _COMPREHENSIONS:
            bound = frozenset(self._list_bound(g.target for g in node.generators))
            # What the first one goes over is looked up around the comprehension.
            first = node.generators[0].iter
            self.read(first, scopes)
            children = [c for n in self._children(node) for c in self._open_generator(n) if c is not first]
            self._read_all(children, (*scopes, bound))
        elif cls is ast.AnnAssign:
            self.read(unquote(node.annotation), scopes)
            self._read_all([node.target, *([node.value] if node.value else [])], scopes)
        else:
            self._read_all(self._children(node), scopes)

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
            set(self._list_bound(body)) - self._imported - self._list_declared_outside(body)
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
        own = (*inside, frozenset(set(self._list_bound(body)) - self._imported))
        for statement in body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._read_all(statement.decorator_list, own)
                self._read_function(statement, inside, outermost=True)
                self._read_all([*statement.args.defaults, *filter(None, statement.args.kw_defaults)], own)
            else:
                self.read(statement, own)

    def _open_generator(self, node: ast.AST) -> list[ast.AST]:
        return self._children(node) if isinstance(node, ast.comprehension) else [node]

    def _list_bound(self, nodes: Iterable[Any]) -> Iterator[str]:
        """Yield the names that statements bind in their own scope, imports apart."""
        for node in nodes:
            cls = type(node)
            if cls is ast.Name:
                if type(node.ctx) is not ast.Load:
                    yield node.id
            elif cls in _NAMED:
                yield node.name
            elif cls in _COMPREHENSIONS:
                # Its own targets stay inside; an assignment expression binds around it.
                yield from (n.target.id for n in iter_nodes(node) if isinstance(n, ast.NamedExpr))
            elif cls is not ast.Lambda:
                if cls in (ast.ExceptHandler, ast.MatchAs, ast.MatchStar) and node.name:
                    yield node.name
                elif cls is ast.MatchMapping and node.rest:
                    yield node.rest
                yield from self._list_bound(self._children(node))

    def _list_declared_outside(self, nodes: Iterable[Any]) -> set[str]:
        found: set[str] = set()
        for node in nodes if self._has_outer else ():
            if isinstance(node, (ast.Global, ast.Nonlocal)):
                found.update(node.names)
            elif not isinstance(node, (*_NAMED, ast.Lambda)):
                found |= self._list_declared_outside(self._children(node))
        return found


def _is_bound(name: str, scopes: tuple[Scope, ...]) -> bool:
    # Not with `any`: this is asked of every name.
    for scope in scopes:  # noqa: SIM110
        if name in scope:
            return True
    return False


def _type_parameters(node: ast.AST) -> Scope:
    return frozenset(p.name for p in getattr(node, "type_params", ()))


def _list_imports(node: Any) -> Iterator[Imported]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield Imported(alias.asname or alias.name, node.module or "", node.level, alias.name)
        else:
            top = alias.name.partition(".")[0]
            yield Imported(alias.asname or top, alias.name, 0, None, is_top=alias.asname is None)
