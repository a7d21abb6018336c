"""Runs one node: resolve its inputs, call the operator, check and store what it returns."""

from __future__ import annotations

import contextlib
import copy
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlearner import errors
from flowlearner.artifacts import ArtifactStore, choose_codec, get_codec
from flowlearner.cache import UNSET, BoundValue
from flowlearner.engine.logs import NodeContext, current_node, make_recordable
from flowlearner.errors import (
    FlowLearnerError,
    InputError,
    OperatorError,
    PlatformError,
    UserError,
    shorten,
    suggest,
)
from flowlearner.graph import Node
from flowlearner.interface import Output, Param
from flowlearner.operation import Operator
from flowlearner.records import (
    CAUSED_BY,
    RAISED_WHILE,
    Artifact,
    ErrorInfo,
    LogLine,
    MetricPoint,
    OutputRecord,
)
from flowlearner.secrecy import WatchedWrite
from flowlearner.spec import Mismatch, TypeSpec, conform, is_namedtuple, list_item_specs, type_text
from flowlearner.types import Columns

if TYPE_CHECKING:
    from flowlearner.engine.binding import Binder


_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_STANDARD_LIBRARY = str(Path(os.__file__).parent) + os.sep
MAX_SCALAR_CHARS = 1000
MAX_MESSAGE_CHARS = 10_000
MAX_TRACEBACK_CHARS = 50_000
MAX_CHAIN = 5
# Shorter secrets appear in other texts by chance.
MIN_SECRET_CHARS = 4


@dataclass(frozen=True)
class Outcome:
    """What a call gave: stored outputs, reported metrics, log lines."""

    outputs: tuple[OutputRecord, ...]
    artifacts: tuple[Artifact, ...]
    metrics: tuple[MetricPoint, ...]
    lines: tuple[LogLine, ...]


class NodeFailure(Exception):
    """A call failed; `platform` is set where the fault is not the user's."""

    def __init__(
        self,
        info: ErrorInfo,
        *,
        metrics: tuple[MetricPoint, ...] = (),
        lines: tuple[LogLine, ...] = (),
        platform: bool = False,
    ) -> None:
        super().__init__(f"{info.type}: {info.message}")
        self.info = info
        self.metrics = metrics
        self.lines = lines
        self.platform = platform

    def __reduce__(self) -> Any:
        return (_rebuild_failure, (self.info, self.metrics, self.lines, self.platform))


def _rebuild_failure(info: Any, metrics: Any, lines: Any, platform: Any) -> NodeFailure:
    return NodeFailure(info, metrics=metrics, lines=lines, platform=platform)


class NodeCancelled(BaseException):
    """The run was cancelled while the node ran; not an Exception, so that user code does not swallow it."""


def call_operator(
    operator: Operator[Any, Any], inputs: Mapping[str, BoundValue], store: ArtifactStore, context: NodeContext
) -> Outcome:
    """Call an operator in this process and store its outputs.

    Args:
        inputs: a bound value for each parameter.
        context: receives logs, prints and reported metrics.

    Raises:
        NodeFailure: the operator raised, returned what it does not declare, or the store failed.
    """
    token = current_node.set(context)
    try:
        values = {
            p.name: receive(inputs[p.name], p, store, f"operator '{operator.name}', input '{p.name}'")
            for p in operator.interface.params
        }
        with _flushing(context):
            returned = operator.fn(**values)
        del values
        named = name_outputs(operator, returned)
        outputs, artifacts = store_outputs(operator, named, store, context.secrets)
    except NodeCancelled:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit, too, is the operator's failure and not our end
        info = describe_error(error, context.secrets)
        raise NodeFailure(
            info,
            metrics=tuple(context.metrics),
            lines=tuple(context.lines),
            platform=isinstance(error, PlatformError),
        ) from None
    finally:
        context.ended = True
        current_node.reset(token)
    return Outcome(outputs, artifacts, tuple(context.metrics), tuple(context.lines))


@contextlib.contextmanager
def _flushing(context: NodeContext) -> Iterator[None]:
    try:
        yield
    finally:
        context.flush()


def receive(bound: BoundValue, param: Param, store: ArtifactStore, where: str) -> Any:
    """Return a value of the consumer's own, as the type that it declares.

    Stored values are decoded for each consumer, so what a consumer sees does not depend on
    whether the producer ran or hit, and changing it reaches no other node.

    Raises:
        InputError: the value does not fit the declared type or columns.
    """
    value = _build(bound, param.type, store)
    if bound.artifact is None and not bound.items and param.type.kind == "seed":
        return value
    try:
        value = conform(value, param.type, where)
    except Mismatch as error:
        raise InputError(str(error)) from None
    if param.type.columns is not None and value is not None:
        check_columns(value, param.type.columns, where, closed=False)
    return value


def _build(bound: BoundValue, spec: TypeSpec, store: ArtifactStore) -> Any:
    if bound.artifact is not None:
        codec = get_codec(bound.artifact.codec)
        return codec.decode(store.open(bound.artifact), spec.hint, bound.artifact.type)
    if bound.make is not None:
        specs = list_item_specs(spec.base, bound.make, len(bound.items))
        items = [_build(i, s, store) for i, s in zip(bound.items, specs, strict=True)]
        if bound.make is dict:
            return dict(zip(bound.keys, items, strict=True))
        return bound.make(*items) if is_namedtuple(bound.make) else bound.make(items)
    value = bound.value
    if value is UNSET:
        raise InputError("a value is not available")
    immutable = value is None or isinstance(value, (bool, int, float, str, bytes))
    return value if immutable or isinstance(value, Operator) else copy.deepcopy(value)


def name_outputs(operator: Operator[Any, Any], returned: Any) -> dict[str, Any]:
    """Return outputs by name, each as its declared type.

    Raises:
        OperatorError: the operator returned something else than it declares.
    """
    interface = operator.interface
    where = f"operator '{operator.name}' returned"
    if interface.output_class is not None:
        cls = interface.output_class
        # By the names of the fields: in a child process the value's class may be a copy of the declared one.
        fits = isinstance(returned, tuple) and getattr(returned, "_fields", cls._fields) == cls._fields
        if not fits or len(returned) != len(cls._fields):
            fields = getattr(returned, "_fields", None)
            given = (
                f"({shorten(fields)})"
                if fields
                else f" of {len(returned)}"
                if isinstance(returned, tuple)
                else ""
            )
            raise OperatorError(
                f"{where} {type_text(type(returned))}{given}, "
                f"but declares {cls.__name__}({shorten(cls._fields)})"
            )
        values = dict(zip(cls._fields, returned, strict=True))
    elif not interface.outputs:
        if returned is not None:
            raise OperatorError(f"{where} {type_text(type(returned))}, but declares None")
        values = {}
    else:
        values = {interface.outputs[0].name: returned}
    named: dict[str, Any] = {}
    for output in interface.outputs:
        try:
            named[output.name] = conform(values[output.name], output.type, f"output '{output.name}'")
        except Mismatch as error:
            raise OperatorError(
                f"operator '{operator.name}' returned another type than it declares: {error}. "
                "Return that type, or change the annotation after '->'."
            ) from None
        if output.type.columns is not None and named[output.name] is not None:
            what = f"operator '{operator.name}', output '{output.name}'"
            try:
                check_columns(named[output.name], output.type.columns, what, closed=True)
            except InputError as error:
                raise OperatorError(str(error)) from None
    return named


def store_outputs(
    operator: Operator[Any, Any], named: Mapping[str, Any], store: ArtifactStore, secrets: Sequence[str] = ()
) -> tuple[tuple[OutputRecord, ...], tuple[Artifact, ...]]:
    """Encode and store outputs; return their records and artifacts in declared order."""
    records: list[OutputRecord] = []
    artifacts: list[Artifact] = []
    for output in operator.interface.outputs:
        where = f"operator '{operator.name}', output '{output.name}'"
        try:
            record, artifact = store_value(output, named[output.name], store, secrets)
        except UserError as error:
            raise OperatorError(f"{where}: {error}") from error
        records.append(record)
        artifacts.append(artifact)
    return tuple(records), tuple(artifacts)


def store_value(
    output: Output, value: Any, store: ArtifactStore, secrets: Sequence[str] = ()
) -> tuple[OutputRecord, Artifact]:
    """Encode and store one output.

    Raises:
        UserError: the value cannot be stored, or holds the text of a secret.
        StorageError: its bytes cannot be written.
    """
    codec = choose_codec(output.type.hint, value)
    encoded = codec.encode(value, output.type.hint)
    texts = [s for s in secrets if len(s) >= MIN_SECRET_CHARS]
    if texts:
        encoded = replace(encoded, write=WatchedWrite(encoded.write, texts))
    artifact = store.put(encoded)
    scalar = value if is_scalar(value) else None
    return OutputRecord(output.name, artifact.hash, artifact.type, scalar), artifact


def is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_SCALAR_CHARS
    return isinstance(value, (bool, int, float))


def check_columns(table: Any, columns: Columns, where: str, *, closed: bool) -> None:
    """Check a table against a column contract.

    Raises:
        InputError: a column is missing, of another type, or (where the list is closed) not in it.
    """
    found = _column_kinds(table)
    missing = [n for n in columns.names if n not in found]
    surplus = [n for n in found if n not in columns.names] if closed else []
    problems = []
    if missing:
        near = suggest(missing[0], found)
        problems.append(f"missing {shorten(missing)}" + (near and f".{near}"))
    if surplus:
        problems.append(f"undeclared {shorten(surplus)}")
    for name, wanted in columns.types:
        if name in found and wanted is not Any and not _fits(found[name], wanted):
            problems.append(f"column '{name}' is {found[name]}, expected {type_text(wanted)}")
    if problems:
        raise InputError(
            f"{where}: expects columns {shorten(columns.names)}; found {shorten(found)}. "
            f"Problems: {'; '.join(problems)}"
        )


def check_artifact_columns(artifact: Artifact, param: Param, store: ArtifactStore) -> None:
    """Check a table that a workflow is given against the columns that its parameter declares.

    Raises:
        InputError: a column is missing or of another type.
    """
    if param.type.columns is not None and artifact.checksum:
        table = get_codec(artifact.codec).decode(store.open(artifact), Any, artifact.type)
        if table is not None:
            check_columns(table, param.type.columns, f"parameter '{param.name}'", closed=False)


def check_limits(node: Node, binder: Binder, store: ArtifactStore) -> None:
    """Check what a node reads against what the nested workflows that it is in declare.

    Before it may hit: what is not allowed here may have been somewhere else.

    Raises:
        InputError: a value is outside of a range or choice, a column is missing or of another type.
    """
    for limit in node.limits:
        param = Param(limit.where, limit.type)
        bound = binder.bind(limit.binding, param)
        if limit.type.columns is not None and bound.artifact is not None:
            check_artifact_columns(bound.artifact, param, store)
        else:
            receive(bound, param, store, f"parameter '{limit.where}'")


_WORDS: dict[Any, tuple[str, ...]] = {
    float: ("float", "int"),
    int: ("int",),
    bool: ("bool",),
    str: ("str",),
    bytes: ("bytes",),
}


def _fits(found: str, wanted: Any) -> bool:
    if found == "null":
        # A column without a single value, as that of an empty table, contradicts no type.
        return True
    words = _WORDS.get(wanted)
    if words is None:
        text = wanted if isinstance(wanted, str) else getattr(wanted, "__name__", str(wanted))
        return found == text or (text in ("date", "datetime", "Timestamp") and found in ("datetime", "date"))
    return found in words


def _column_kinds(table: Any) -> dict[str, str]:
    import pyarrow as pa

    schema = (
        table.schema if isinstance(table, pa.Table) else pa.Schema.from_pandas(table, preserve_index=False)
    )
    return {field.name: _kind_word(field.type) for field in schema}


def _kind_word(kind: Any) -> str:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _kind_word(kind.value_type)
    tests = (
        ("bool", t.is_boolean),
        ("int", t.is_integer),
        ("float", lambda k: t.is_floating(k) or t.is_decimal(k)),
        ("str", lambda k: t.is_string(k) or t.is_large_string(k) or t.is_string_view(k)),
        ("bytes", lambda k: t.is_binary(k) or t.is_large_binary(k)),
        ("datetime", t.is_timestamp),
        ("date", t.is_date),
    )
    return next((word for word, test in tests if test(kind)), str(kind))


def describe_error(error: BaseException, secrets: Sequence[str] = ()) -> ErrorInfo:
    """Return a failure as it is stored: without this package's own frames, secrets replaced."""
    message = _message_of(error)
    if isinstance(error, SystemExit):
        message = f"the operator called sys.exit({error.code!r})"
    # What this package found wrong by itself is all in its message; libraries' frames would explain nothing.
    is_own = isinstance(error, FlowLearnerError) and not _list_frames(error)
    text = "" if is_own else "".join(_format_chain(error))
    message = make_recordable(message, secrets)[:MAX_MESSAGE_CHARS]
    text = make_recordable(text, secrets)[:MAX_TRACEBACK_CHARS]
    return ErrorInfo(make_recordable(type(error).__name__, secrets), message, text)


def _message_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # noqa: BLE001 - whatever the user's __str__ raises
        return f"{type(error).__name__}, whose message cannot be shown ({type(broken).__name__})"


def _list_frames(error: BaseException) -> list[str]:
    """Return the files of user's code, or of libraries that it called, that an error passed through."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return [file for file in files if not file.startswith((_PACKAGE, _STANDARD_LIBRARY))]


def _format_chain(error: BaseException) -> Iterator[str]:
    """Yield the parts of a traceback, what was raised last first: it names the operator's own line."""
    item = traceback.TracebackException.from_exception(error)
    for _ in range(MAX_CHAIN):
        _drop_own_frames(item)
        yield from item.format(chain=False)
        if item.__cause__ is not None:
            item, link = item.__cause__, CAUSED_BY
        elif item.__context__ is not None and not item.__suppress_context__:
            item, link = item.__context__, RAISED_WHILE
        else:
            return
        yield f"\n{link}\n\n"


def _drop_own_frames(item: traceback.TracebackException) -> None:
    item.stack = traceback.StackSummary.from_list(
        [frame for frame in item.stack if not frame.filename.startswith(_PACKAGE)]
    )
    for inner in item.exceptions or ():
        _drop_own_frames(inner)


def rebuild_platform_error(info: ErrorInfo) -> PlatformError:
    """Return a stored platform failure as an exception again; it may come from a child process."""
    cls = getattr(errors, info.type, PlatformError)
    return (
        cls(info.message)
        if isinstance(cls, type) and issubclass(cls, PlatformError)
        else PlatformError(info.message)
    )
