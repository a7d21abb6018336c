"""What in a value is secret, as its declared type says; recorded, shown and hashed it is concealed."""

from __future__ import annotations

import ast
import copy
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, get_args
from urllib.parse import quote, quote_plus

from flowlearner.errors import InputError
from flowlearner.spec import (
    TypeSpec,
    fits,
    holds_kind,
    is_namedtuple,
    is_union,
    list_field_specs,
    list_item_specs,
    make_spec,
)

HIDDEN = "***"
# A line of a key or certificate; shorter ones appear in other texts by chance.
MIN_SECRET_LINE = 8
_TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def holds_secret(spec: TypeSpec) -> bool:
    """Tell whether a declared type is a Secret, or has one in its containers, members or fields."""
    return holds_kind(spec, "secret")


def conceal(value: Any, spec: TypeSpec, found: list[str] | None = None) -> Any:
    """Return a value in which each secret is `***`; all else is as it was.

    Args:
        value: a value of the declared type.
        found: receives the texts that are secret.
    """
    texts: list[str] = [] if found is None else found
    if value is None or not holds_secret(spec):
        return value
    if spec.kind == "secret":
        texts.append(str(value))
        return HIDDEN
    base = spec.base
    if is_union(base):
        fitting = [s for s in map(make_spec, get_args(base)) if fits(value, s)]
        chosen = next((s for s in fitting if holds_secret(s)), None)
        return value if chosen is None else conceal(value, chosen, texts)
    cls = type(value)
    if isinstance(value, dict):
        key, item = (make_spec(a) for a in get_args(base))
        return {
            f"{HIDDEN}{i}" if conceal(k, key, texts) != k else k: conceal(v, item, texts)
            for i, (k, v) in enumerate(value.items())
        }
    if fields := list_field_specs(cls):
        hidden = {n: conceal(getattr(value, n), s, texts) for n, s in fields.items() if hasattr(value, n)}
        return value._replace(**hidden) if is_namedtuple(cls) else _replace_fields(value, hidden)
    if isinstance(value, (list, tuple)):
        specs = list_item_specs(base, cls, len(value))
        return cls(conceal(v, s, texts) for v, s in zip(value, specs, strict=True))
    if isinstance(value, (set, frozenset)):
        item = make_spec(get_args(base)[0])
        return cls(conceal(v, item, texts) for v in value)
    return HIDDEN


def list_spellings(texts: Iterable[str]) -> tuple[str, ...]:
    """Return how secrets may stand in other texts, the longest first.

    They stand there as they are, line by line, as Python, JSON and URLs write them, also twice over, and
    quoted for a shell. What is encoded in other ways is another text.
    """
    found = {form for text in texts for form in _spell(text)}
    found |= {form.replace("'", "'\"'\"'") for form in found}
    return tuple(sorted(found - {""}, key=len, reverse=True))


def _spell(text: str) -> Iterator[str]:
    yield text
    yield from (line for line in text.splitlines() if len(line) >= MIN_SECRET_LINE)
    once = set(_escape(text))
    yield from once
    yield from (twice for form in once for twice in _escape(form))
    yield repr(text.encode("utf-8", "surrogatepass"))[2:-1]


def _escape(text: str) -> Iterator[str]:
    yield from (repr(text)[1:-1], ascii(text)[1:-1])
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield from (quote(text, errors="surrogatepass"), quote_plus(text, errors="surrogatepass"))
    yield quote(text, safe="", errors="surrogatepass")


def hide_in_source(source: str, spellings: Sequence[str]) -> str:
    """Return Python source in whose texts and comments secrets are `***`; names and numbers stay.

    What is short may be there by chance and stays, too.
    """
    long = [s for s in spellings if len(s) >= MIN_SECRET_LINE and s in source]
    if not long:
        return source
    pattern = re.compile("|".join(map(re.escape, long)))
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        # A cell of a notebook may have more than Python in it.
        return pattern.sub(HIDDEN, source)
    lines = io.StringIO(source).readlines()
    begins = [0, *accumulate(map(len, lines))]
    pieces, end = [], 0
    for token in tokenize.generate_tokens(iter([*lines, ""]).__next__):
        if token.type in _TEXTS:
            (row, column), (last_row, last_column) = token.start, token.end
            begin, until = begins[row - 1] + column, begins[last_row - 1] + last_column
            pieces += [source[end:begin], pattern.sub(HIDDEN, source[begin:until])]
            end = until
    return "".join(pieces) + source[end:]


def _replace_fields(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return a copy with other fields, which no validation of the class sees."""
    clone = copy.copy(value)
    for name, item in fields.items():
        object.__setattr__(clone, name, item)
    return clone


class WatchedWrite:
    """Writes a value, and stops where the bytes have the text of a secret.

    Args:
        write: writes the value to a file.
        texts: the secrets.
    """

    def __init__(self, write: Callable[[Any], None], texts: Sequence[str]) -> None:
        self._write = write
        encoded = _encode(texts)
        self._pattern = re.compile(b"|".join(map(re.escape, encoded)))
        # A few words are found ten times as fast as all the ways to write what is around them.
        self._words = re.compile(b"|".join(map(re.escape, _encode(_list_words(texts)))))
        self._overlap = max(map(len, encoded)) - 1

    def _holds_secret(self, data: Any) -> bool:
        return self._words.search(data) is not None and self._pattern.search(data) is not None

    def __call__(self, sink: Any) -> None:
        self._write(_WatchedSink(sink, self._holds_secret, self._overlap))


def _encode(texts: Iterable[str]) -> list[bytes]:
    """Return texts as files have them; arrays of numpy have four bytes a character."""
    return [t.encode(e, "surrogatepass") for t in texts for e in ("utf-8", "utf-32-le")]


def _list_words(texts: Sequence[str]) -> list[str]:
    """Return words such that each text has one of them; escaped, it still does."""
    words: list[str] = []
    for text in reversed(texts):
        if not any(word in text for word in words):
            words.append(max(re.findall(r"[A-Za-z0-9]+", text), key=len, default=text))
    return words


class _WatchedSink:
    """A file that looks at what is written to it."""

    def __init__(self, sink: Any, holds_secret: Callable[[Any], bool], overlap: int) -> None:
        self._sink = sink
        self._holds_secret = holds_secret
        self._overlap = overlap
        # A secret may begin in one piece and end in the next.
        self._rest = b""

    def write(self, data: Any) -> Any:
        view = memoryview(data).cast("B")
        seam = self._rest + bytes(view[: self._overlap])
        if self._holds_secret(seam) or self._holds_secret(view):
            raise InputError("it holds the text of a Secret, which would be stored. Return it without")
        self._rest = (self._rest + bytes(view[-self._overlap :]))[-self._overlap :]
        return self._sink.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)
