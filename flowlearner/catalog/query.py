"""The search language: text to a tree of comparisons, with the position of whatever does not fit.

    status = FAILED AND (metric.auc >= 0.7 OR param.eta < 0.1) AND NOT tag.team IN ('ops', "web")

A name is an attribute, or `metric.x`, `param.x`, `tag.x`, or `change.x`: what a run that was made of another
has instead. A name that holds other signs is quoted (`metric."log loss"`). Operators: = != < <= > >= ~
(contains) !~ LIKE IN, IS NULL. Keywords in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from flowlearner.errors import QueryError

LONGEST = 10_000
DEEPEST = 50
MOST_COMPARISONS = 200
KEYWORDS = frozenset({"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE"})
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~", "!~")
KINDS = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "change": "change",
    "changes": "change",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
}
EXAMPLE = "such as status = FAILED or metric.auc > 0.7"


@dataclass(frozen=True)
class Name:
    """What is compared: `kind` is "metric", "param", "tag", "change", "attribute", or "" for a bare name."""

    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.text}" if self.kind in ("metric", "param", "tag", "change") else self.text


@dataclass(frozen=True)
class Value:
    """What it is compared with; a quoted value is never a number, a date or null."""

    text: str
    quoted: bool
    position: int


@dataclass(frozen=True)
class Comparison:
    """One comparison; `operator` is one of OPERATORS, "like", "in" or "null"."""

    name: Name
    operator: str
    values: tuple[Value, ...]
    position: int


@dataclass(frozen=True)
class Not:
    part: Tree


@dataclass(frozen=True)
class And:
    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Tree, ...]


Tree: TypeAlias = Comparison | Not | And | Or


def parse_query(query: str) -> Tree | None:
    """Parse a query.

    Returns:
        the tree; None for a blank query, which everything fits.

    Raises:
        QueryError: it does not parse; holds the position.

    Example:
        >>> parse_query("metric.auc > 0.5").name
        Name(kind='metric', text='auc', position=0)
    """
    if len(query) > LONGEST:
        raise QueryError(f"a query has at most {LONGEST} characters, found {len(query)}", query[:60], 0)
    parser = _Parser(query)
    if parser.kind == "end":
        return None
    tree = parser.parse_or(0)
    if parser.kind != "end":
        raise parser.fail(f"expected AND, OR or the end, found {parser.shown}")
    return tree


def list_comparisons(tree: Tree | None) -> Iterator[Comparison]:
    """Yield every comparison of a tree from left to right."""
    if isinstance(tree, Comparison):
        yield tree
    elif isinstance(tree, Not):
        yield from list_comparisons(tree.part)
    elif tree is not None:
        for part in tree.parts:
            yield from list_comparisons(part)


@dataclass(frozen=True)
class _Token:
    kind: str  # "word", "string", "operator", "(", ")", ",", "end"
    text: str
    position: int
    end: int


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<operator><=|>=|!=|<>|==|=|<|>|!~|~)
      | (?P<mark>[(),])
      | (?P<string>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `[^`]*`)
      | (?P<word>[^\s(),<>=!~'"`]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)|(['\"])\2", re.DOTALL)
_SAME = {"==": "=", "<>": "!="}


def _split(query: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None:
            sign = query[position]
            if sign in "'\"`":
                raise QueryError(f"a text that begins with {sign} has no end", query, position)
            raise QueryError(f"unexpected {sign!r}", query, position)
        kind, text = match.lastgroup or "", match.group()
        if kind == "mark":
            kind = text
        elif kind == "string":
            text = _unquote(text)
        elif kind == "operator":
            text = _SAME.get(text, text)
        if kind != "space":
            tokens.append(_Token(kind, text, position, match.end()))
        position = match.end()
    tokens.append(_Token("end", "", len(query), len(query)))
    return tokens


def _unquote(text: str) -> str:
    quote, inner = text[0], text[1:-1]
    if quote == "`":
        return inner
    # Only the quote itself is doubled: "it''s" in double quotes keeps both signs.
    return _ESCAPE.sub(lambda m: m[1] or (m[2] if m[2] == quote else m[0]), inner)


class _Parser:
    """Recursive descent; its depth is bounded, so no text can exhaust the stack."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.tokens = _split(query)
        self.index = 0
        self.count = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    @property
    def kind(self) -> str:
        return self.token.kind

    @property
    def shown(self) -> str:
        return "the end of the query" if self.kind == "end" else repr(self.token.text)

    def fail(self, message: str, token: _Token | None = None) -> QueryError:
        return QueryError(message, self.query, (token or self.token).position)

    def next(self) -> _Token:
        token = self.token
        self.index += 1
        return token

    def is_keyword(self, word: str) -> bool:
        return self.kind == "word" and self.token.text.upper() == word

    def take_keyword(self, word: str) -> bool:
        if self.is_keyword(word):
            self.index += 1
            return True
        return False

    def parse_or(self, depth: int) -> Tree:
        return self._parse_list("OR", Or, lambda: self.parse_and(depth))

    def parse_and(self, depth: int) -> Tree:
        return self._parse_list("AND", And, lambda: self.parse_not(depth))

    def _parse_list(self, word: str, make: type[And] | type[Or], parse: Callable[[], Tree]) -> Tree:
        parts = [parse()]
        while self.take_keyword(word):
            parts.append(parse())
        return parts[0] if len(parts) == 1 else make(tuple(parts))

    def parse_not(self, depth: int) -> Tree:
        if depth > DEEPEST:
            raise self.fail(f"nested more than {DEEPEST} deep")
        if self.take_keyword("NOT"):
            return Not(self.parse_not(depth + 1))
        if self.kind == "(":
            start = self.next()
            tree = self.parse_or(depth + 1)
            if self.kind != ")":
                if self.kind == "end":
                    raise self.fail("this '(' is never closed", start)
                raise self.fail(f"expected AND, OR or ')', found {self.shown}")
            self.next()
            return tree
        return self.parse_comparison()

    def parse_comparison(self) -> Tree:
        self.count += 1
        if self.count > MOST_COMPARISONS:
            raise self.fail(f"more than {MOST_COMPARISONS} comparisons")
        name = self.parse_name()
        token = self.token
        if token.kind == "operator":
            self.next()
            return Comparison(name, token.text, (self.parse_value(),), token.position)
        if self.take_keyword("IS"):
            negated = self.take_keyword("NOT")
            if not self.take_keyword("NULL"):
                raise self.fail(f"expected NULL, found {self.shown}")
            return _negate(Comparison(name, "null", (), token.position), negated)
        negated = self.take_keyword("NOT")
        if self.take_keyword("IN"):
            return _negate(Comparison(name, "in", self.parse_values(), token.position), negated)
        if self.take_keyword("LIKE"):
            return _negate(Comparison(name, "like", (self.parse_value(),), token.position), negated)
        known = "=, !=, <, <=, >, >=, ~, !~, LIKE, IN or IS NULL"
        raise self.fail(f"expected {known} after '{name}', found {self.shown}")

    def parse_name(self) -> Name:
        token = self.token
        if token.kind == "string":
            self.next()
            return Name("", token.text, token.position)
        if token.kind != "word" or token.text.upper() in KEYWORDS:
            raise self.fail(f"expected a comparison {EXAMPLE}, found {self.shown}")
        self.next()
        prefix, dot, rest = token.text.partition(".")
        kind = KINDS.get(prefix.lower(), "") if dot else ""
        if not kind:
            return Name("", token.text, token.position)
        if rest:
            return Name(kind, rest, token.position)
        quoted = self.token
        if quoted.kind == "string" and quoted.position == token.end and quoted.text:
            self.next()
            return Name(kind, quoted.text, token.position)
        raise self.fail(
            f"expected the name of a {kind} after '{token.text}'", _Token("", "", token.end, token.end)
        )

    def parse_value(self) -> Value:
        token = self.token
        is_keyword = token.kind == "word" and token.text.upper() in KEYWORDS - {"NULL"}
        if token.kind not in ("word", "string") or is_keyword:
            raise self.fail(f"expected a value, found {self.shown}")
        self.next()
        return Value(token.text, token.kind == "string", token.position)

    def parse_values(self) -> tuple[Value, ...]:
        if self.kind != "(":
            raise self.fail(f"expected a list such as ('a', 'b') after IN, found {self.shown}")
        start = self.next()
        values = [self.parse_value()]
        while self.kind == ",":
            self.next()
            values.append(self.parse_value())
        if self.kind != ")":
            if self.kind == "end":
                raise self.fail("this '(' is never closed", start)
            raise self.fail(f"expected ',' or ')', found {self.shown}")
        self.next()
        return tuple(values)


def _negate(comparison: Comparison, negated: bool) -> Tree:
    return Not(comparison) if negated else comparison
