"""The spec file of a sweep: YAML with the words of the command line, its mistakes told by line and column."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from flowlearner.definition import Definition
from flowlearner.errors import NotFoundError, ParameterError, UsageError, shorten, suggest
from flowlearner.interface import Param
from flowlearner.params import ARTIFACT_PREFIX, conform_given, read_param
from flowlearner.spec import Mismatch
from flowlearner.sweep.domains import parse_domain
from flowlearner.sweep.search import SEARCHES, STOPS
from flowlearner.sweep.space import make_dimension, make_space
from flowlearner.sweep.submit import EXECUTORS, MODES
from flowlearner.types import Choice

NONE = "none"
CONDITIONAL = ("space", "when")
PROBLEMS_SHOWN = 20
MAX_DEPTH = 50
_NULL = ("", "~", "null", "Null", "NULL")
_INT = re.compile(r"[-+]?\d[\d_]*")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class SweepSpec:
    """What a spec file says; what it leaves out is None or empty.

    Attributes:
        workflow: with its file's path as the current folder sees it.
        params: fixed parameters by name, as nodes of the file: their types are the workflow's.
        space: domains by name, as nodes; None for a name alone. None in all: the file says nothing of it.
        nodes: where the values of other keys stand, and as `space.NAME` the names of the space.
    """

    path: Path
    workflow: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None
    nodes: Mapping[str, Any] = field(default_factory=dict)
    metric: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    trials: int | None = None
    search: str | None = None
    stop: str | None = None
    seed: int | None = None
    run_seed: int | None = None
    parallel: int | None = None
    max_failures: int | None = None
    executor: str | None = None
    experiment: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None

    def place(self, key: str) -> str:
        """Return where a value stands, as file, line and column."""
        return _place(self.path, self.nodes[key])


class _Wrong(Exception):
    """A value is not what its place takes."""

    def __init__(self, message: str, node: Any) -> None:
        super().__init__(message)
        self.node = node


def read_spec(path: str | os.PathLike[str]) -> SweepSpec:
    """Read a spec file; whether it fits its workflow is for `bind_spec`.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no YAML, or says what no sweep takes; every mistake is listed.
    """
    found = Path(path)
    root = _compose(found, _read_text(found))
    if root is None:
        raise UsageError(f"{found} is empty; a spec names at least a workflow and a space")
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(
            f"{_place(found, root)}: expected keys such as 'workflow: flights.py:delays', found {_kind(root)}"
        )
    pairs, wrongs = _pairs(root, KEYS)
    values: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for key, node in pairs.items():
        nodes[key] = node
        try:
            values[key] = KEYS[key](found, key, node)
        except _Wrong as wrong:
            wrongs.append(wrong)
    _refuse(found, wrongs)
    if "space" in pairs:
        nodes |= {f"space.{n.value}": n for n in _list_keys(pairs["space"])}
    return SweepSpec(found, **values, nodes=nodes)


def _list_keys(node: Any) -> list[Any]:
    return [k for k, _ in node.value] if isinstance(node, yaml.MappingNode) else list(node.value)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise NotFoundError(f"no spec file '{path}'.{suggest(path.name, beside)}") from None
    except IsADirectoryError:
        raise UsageError(f"'{path}' is a folder; --spec takes a YAML file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: it is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _compose(path: Path, text: str) -> Any:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        context = f" ({error.context})" if error.context else ""
        raise UsageError(f"{place}: this is no YAML{context}: {error.problem}{_find_hint(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        sign = (
            f"the character {chr(error.character)!r}" if isinstance(error.character, int) else "a character"
        )
        raise UsageError(f"{path}:{line}:{column}: this is no YAML: {sign} may not stand in it") from None
    except RecursionError:
        raise UsageError(f"{path}: it is nested too deeply") from None


def _find_hint(error: Any) -> str:
    problem = error.problem or ""
    if "mapping values are not allowed" in problem:
        return "; put text that holds ': ' between quotes"
    if "cannot start any token" in problem:
        return "; indent by blanks, and put text with this sign between quotes"
    return ""


def _place(path: Path, node: Any) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _refuse(path: Path, wrongs: Sequence[_Wrong]) -> None:
    """Raise UsageError with every mistake, in the order of the file."""
    ordered = sorted(wrongs, key=lambda w: (w.node.start_mark.line, w.node.start_mark.column))
    problems = [f"{_place(path, w.node)}: {w}" for w in ordered]
    if len(problems) == 1:
        raise UsageError(problems[0])
    if problems:
        rest = len(problems) - PROBLEMS_SHOWN
        lines = problems[:PROBLEMS_SHOWN] + ([f"and {rest} more"] if rest > 0 else [])
        raise UsageError("\n  ".join([f"{path} has {len(problems)} problems:", *lines]))


def _pairs(node: Any, known: Iterable[str] | None = None) -> tuple[dict[str, Any], list[_Wrong]]:
    """Return a mapping's values by key, and what is wrong with its keys."""
    found: dict[str, Any] = {}
    wrongs = []
    names = list(known or ())
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            wrongs.append(_Wrong(f"expected a name, found {_kind(key)}", key))
        elif known is not None and name not in names:
            message = f"unknown key '{name}'; there are {', '.join(names)}.{suggest(name, names)}"
            wrongs.append(_Wrong(message, key))
        elif name in found:
            wrongs.append(_Wrong(f"'{name}' is given twice", key))
        else:
            found[name] = value
    return found, wrongs


def _read_mapping(node: Any, known: Iterable[str] | None = None) -> dict[str, Any]:
    found, wrongs = _pairs(node, known)
    if wrongs:
        raise wrongs[0]
    return found


def _kind(node: Any) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if _is_null(node) else f"'{node.value}'"


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULL


def _is_text(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and not _is_null(node)


# The keys, each read as the field of SweepSpec of its name


def _read_workflow(path: Path, key: str, node: Any) -> str:
    if not _is_text(node):
        raise _Wrong(f"{key}: expected FILE:WORKFLOW, such as flights.py:delays, found {_kind(node)}", node)
    target = str(node.value)
    head = target.rpartition(":")[0] or target
    is_file = head.endswith(".py") or os.sep in head or (path.parent / head).is_file()
    return os.path.normpath(path.parent / target) if is_file else target


def _read_params(path: Path, key: str, node: Any) -> dict[str, Any]:
    del path
    if _is_null(node):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise _Wrong(f"{key}: expected values by name, such as {{max_depth: 4}}, found {_kind(node)}", node)
    return _read_mapping(node)


def _read_space(path: Path, key: str, node: Any) -> dict[str, Any]:
    del path
    if isinstance(node, yaml.SequenceNode) and all(map(_is_text, node.value)):
        return {n.value: None for n in node.value}
    if not isinstance(node, yaml.MappingNode):
        raise _Wrong(
            f"{key}: expected domains by name, such as {{max_depth: 2..10}}, found {_kind(node)}", node
        )
    return {n: None if _is_null(v) else v for n, v in _read_mapping(node).items()}


def _read_texts(allowed: Sequence[str] | None, path: Path, key: str, node: Any) -> tuple[str, ...]:
    """Read one text or a list of them."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return tuple(_read_word(allowed, path, key, n) for n in nodes)


def _read_word(allowed: Sequence[str] | None, path: Path, key: str, node: Any) -> str:
    del path
    wanted = f"one of {', '.join(allowed)}" if allowed else "text"
    if not _is_text(node) or (allowed and node.value not in allowed):
        near = suggest(node.value, allowed) if allowed and _is_text(node) else ""
        raise _Wrong(f"{key}: expected {wanted}, found {_kind(node)}{near and '.' + near}", node)
    return str(node.value)


def _read_whole(least: int, path: Path, key: str, node: Any) -> int:
    del path
    text = node.value if _is_text(node) else ""
    if not _INT.fullmatch(text) or int(text.replace("_", "")) < least:
        raise _Wrong(f"{key}: expected a whole number of at least {least}, found {_kind(node)}", node)
    return int(text.replace("_", ""))


def _read_tags(path: Path, key: str, node: Any) -> dict[str, str]:
    if not isinstance(node, yaml.MappingNode):
        raise _Wrong(f"{key}: expected texts by name, such as {{team: ops}}, found {_kind(node)}", node)
    return {n: _read_word(None, path, f"{key}: {n}", v) for n, v in _read_mapping(node).items()}


KEYS: Mapping[str, Callable[[Path, str, Any], Any]] = {
    "workflow": _read_workflow,
    "params": _read_params,
    "space": _read_space,
    "metric": partial(_read_texts, None),
    "mode": partial(_read_texts, MODES),
    "trials": partial(_read_whole, 1),
    "search": partial(_read_word, SEARCHES),
    "stop": partial(_read_word, (*STOPS, NONE)),
    "seed": partial(_read_whole, 0),
    "run_seed": partial(_read_whole, 0),
    "parallel": partial(_read_whole, 1),
    "max_failures": partial(_read_whole, 0),
    "executor": partial(_read_word, EXECUTORS),
    "experiment": partial(_read_word, None),
    "tags": _read_tags,
    "notes": partial(_read_word, None),
}


# What needs the workflow


@dataclass(frozen=True)
class BoundSpec:
    """A spec's parameters and space as values of its workflow's types; space is None where it names none."""

    params: Mapping[str, Any]
    space: Mapping[str, Any] | None


def bind_spec(spec: SweepSpec, definition: Definition, without: Sequence[str] = ()) -> BoundSpec:
    """Read a spec's parameters and domains as its workflow declares them.

    Args:
        without: parameters that were given otherwise, so that the spec's word on them does not count.

    Raises:
        UsageError: a name is unknown, or a value does not fit; every mistake is listed with its place.
    """
    params = definition.interface.by_name
    reader = _ValueReader(spec.path, definition)
    names = [*spec.params.items(), *((name, spec.nodes[f"space.{name}"]) for name in spec.space or ())]
    takes = f"workflow '{definition.name}' takes {shorten(params)}"
    wrongs = [
        _Wrong(f"no parameter '{name}'; {takes}.{suggest(name, params)}", node)
        for name, node in names
        if name not in params
    ]
    wrongs += _check_metrics(spec, definition)
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for values, given, read in (
        (found[0], spec.params, reader.read_param),
        (found[1], spec.space or {}, reader.read_domain),
    ):
        for name, node in given.items():
            if name not in params or name in without:
                continue
            try:
                values[name] = read(params[name], node)
            except _Wrong as wrong:
                wrongs.append(wrong)
            except (ValueError, TypeError, Mismatch) as error:
                place = node if node is not None else spec.nodes[f"space.{name}"]
                wrongs.append(_Wrong(f"'{name}': {_strip(params[name], error)}", place))
    wrongs += [
        _Wrong(f"'{name}' is among params too; leave one out", spec.nodes[f"space.{name}"])
        for name in found[1]
        if name in found[0]
    ]
    _refuse(spec.path, wrongs)
    if spec.space is not None and not without:
        _check_space(spec, definition, found[1])
    return BoundSpec(found[0], None if spec.space is None else found[1])


def _check_metrics(spec: SweepSpec, definition: Definition) -> list[_Wrong]:
    known = [o.name for o in definition.interface.outputs if o.type.kind == "metric"]
    where = f"metric: workflow '{definition.name}'"
    returns = f"it returns {shorten(known)}"
    return [
        _Wrong(
            f"{where} returns no metric '{name}'; {returns}.{suggest(name, known)}",
            spec.nodes["metric"],
        )
        for name in spec.metric
        if name not in known
    ]


def _check_space(spec: SweepSpec, definition: Definition, domains: Mapping[str, Any]) -> None:
    """Check what concerns several domains: their conditions."""
    try:
        make_space(definition, domains, {})
    except ParameterError as error:
        _, _, message = str(error).partition(", space: ")
        named = re.match(r"'(\w+)'", message)
        key = f"space.{named[1]}" if named else "space"
        raise UsageError(f"{spec.place(key if key in spec.nodes else 'space')}: {message or error}") from None


def _strip(param: Param, error: Exception) -> str:
    return str(error).removeprefix(f"parameter '{param.name}': ")


class _ValueReader:
    """Reads values of a file as a workflow's types.

    A single value is read as `-p NAME=VALUE` reads it, for the parameter's type says more than YAML's guess:
    `no` is text where text is wanted, and 1e-3 is a number.
    """

    def __init__(self, path: Path, definition: Definition) -> None:
        self._path = path
        self._read = partial(read_param, definition)

    def read_param(self, param: Param, node: Any) -> Any:
        """Return a value that fits the parameter."""
        return conform_given(param, self._read_value(param, node))

    def _read_value(self, param: Param, node: Any) -> Any:
        if _is_null(node):
            return None
        if not isinstance(node, yaml.ScalarNode) or param.type.base in (Any, object):
            return _plain(node, 0)
        return self._read(param, self._find_path(param, node.value))

    def _find_path(self, param: Param, text: str) -> str:
        """Return the path of a file beside the spec as the current folder sees it."""
        is_path = param.type.is_table or param.type.kind in ("file", "model") or param.type.base is Path
        if not is_path or "://" in text or text.startswith((ARTIFACT_PREFIX, "~")):
            return text
        return os.path.normpath(self._path.parent / text)

    def read_domain(self, param: Param, node: Any) -> Any:
        """Return a domain as `make_space` takes it, once it is known to fit the parameter."""
        given: Any = None
        if isinstance(node, yaml.MappingNode):
            given = self._read_mapping(param, node)
        elif node is not None:
            given = self._read_plain_domain(param, node)
        make_dimension(param, given, self._read)
        return given

    def _read_plain_domain(self, param: Param, node: Any) -> Any:
        if isinstance(node, yaml.SequenceNode):
            if not node.value:
                raise _Wrong(f"'{param.name}': a list of values is needed, found an empty one", node)
            return [self._read_item(param, n) for n in node.value]
        if not _is_text(node):
            raise _Wrong(f"'{param.name}': expected a domain such as 2..10, found {_kind(node)}", node)
        if param.type.is_table or param.type.kind == "file":
            raise _Wrong(f"'{param.name}': expected a list of files, found '{node.value}'", node)
        if node.style is None and node.value.startswith("log(") and ")" not in node.value:
            raise _Wrong(f"'{param.name}': put a domain with a comma between quotes: \"log(0.01,0.5)\"", node)
        return node.value

    def _read_item(self, param: Param, node: Any) -> Any:
        try:
            return self.read_param(param, node)
        except (ValueError, TypeError, Mismatch) as error:
            raise _Wrong(f"'{param.name}': {_strip(param, error)}", node) from None

    def _read_mapping(self, param: Param, node: Any) -> Any:
        if node.value and all(_is_null(v) for _, v in node.value):
            # {gbtree,dart} without quotes.
            return [self._read_item(param, k) for k, _ in node.value]
        parts = _read_mapping(node, CONDITIONAL)
        when = parts.get("when")
        if not isinstance(when, yaml.MappingNode):
            found = "nothing" if when is None else _kind(when)
            raise _Wrong(f"'{param.name}': when: expected values by name, found {found}", when or node)
        inner = parts.get("space")
        given: Any = param.type.bounds
        if inner is not None and not _is_null(inner):
            given = self._read_plain_domain(param, inner)
        if given is None:
            raise _Wrong(f"'{param.name}': the workflow declares no range for it; give one as 'space'", node)
        domain: Any = parse_domain(given, param, self._read) if isinstance(given, str) else given
        conditions = {name: _list_texts(value) for name, value in _read_mapping(when).items()}
        if isinstance(domain, (list, Choice)):
            return Choice(getattr(domain, "values", domain), when=conditions)
        return replace(domain, when=conditions)


def _list_texts(node: Any) -> Any:
    """Return a condition's values as texts, which the named parameter's type reads."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [n.value if isinstance(n, yaml.ScalarNode) else _plain(n, 0) for n in nodes]


def _plain(node: Any, depth: int) -> Any:
    """Return a value by YAML 1.2's rules: of plain words only true, false and null are more than text."""
    if depth > MAX_DEPTH:
        raise _Wrong("it is nested too deeply, or holds itself", node)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(n, depth + 1) for n in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_plain(k, depth + 1): _plain(v, depth + 1) for k, v in node.value}
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _NULL:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    return (
        float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        if _FLOAT.fullmatch(text)
        else text
    )
