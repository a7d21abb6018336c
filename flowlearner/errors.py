"""Every exception that flowlearner raises, in one tree.

FlowLearnerError
├── UserError                 exit status 1: the user's operator or input failed
│   ├── InputError            a file, table or value that cannot be used (also ValueError)
│   ├── UnstableValueError    a value without a canonical encoding (also TypeError)
│   ├── OperatorError         an operator raised, timed out or broke its contract
│   ├── RunFailed             a run ended in FAILED, CANCELLED or CRASHED; holds the run
│   └── SweepFailed           a sweep did; holds the sweep
├── UsageError                exit status 2: wrong usage; nothing has run
│   ├── DefinitionError       a decorated function that cannot be an operator or workflow (also TypeError)
│   ├── CompileError          a workflow that does not compile; holds every problem
│   ├── ParameterError        a parameter of unknown name, wrong type or out of range (also ValueError)
│   ├── CodeError             the code of an earlier run does not import any more
│   ├── ResourceError         a node that this machine can never run
│   ├── QueryError            a search query that does not parse (also ValueError); holds the position
│   └── NotFoundError         an id, name, file or output that does not exist (also LookupError)
└── PlatformError             exit status 3: the platform failed
    ├── CatalogError          the catalog is locked, corrupt, unreachable or of a newer schema
    ├── LeaseLost             another process took the run for dead and has recorded its end
    ├── ArtifactError         a stored artifact is missing, truncated or corrupt
    ├── StorageError          bytes could not be written: disk full, no permission
    └── ServerError           the Prefect server does not start or answer
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowlearner.client import Run, Sweep

LIST_LIMIT = 10
QUERY_SHOWN = 100


class FlowLearnerError(Exception):
    """Root of the tree; `exit_status` is what the command line ends with.

    Attributes:
        run_id: of the run that it has ended, where one had begun.
    """

    exit_status = 3
    run_id: str | None = None


class UserError(FlowLearnerError):
    """The user's operator or input failed."""

    exit_status = 1


class UsageError(FlowLearnerError):
    """Wrong usage; nothing has run."""

    exit_status = 2


class PlatformError(FlowLearnerError):
    """The platform failed."""

    exit_status = 3


class InputError(UserError, ValueError):
    """A file, table or value given to a run cannot be used."""


class UnstableValueError(UserError, TypeError):
    """A value, or a part of it, has no canonical encoding."""


class OperatorError(UserError):
    """An operator raised, was killed, timed out, or returned what it does not declare."""


class RunFailed(UserError):
    """A run did not complete.

    Attributes:
        run: the finished run with its nodes and errors.
    """

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


class SweepFailed(UserError):
    """A sweep did not complete; trials that fail while others do not are no reason for it.

    Attributes:
        sweep: the sweep with its trials.
    """

    def __init__(self, message: str, sweep: Sweep) -> None:
        super().__init__(message)
        self.sweep = sweep


class DefinitionError(UsageError, TypeError):
    """A decorated function cannot be an operator or a workflow."""


class ParameterError(UsageError, ValueError):
    """A workflow parameter is missing, unknown, of another type, or out of range."""


class CodeError(UsageError):
    """The code of an earlier run does not import any more."""


class ResourceError(UsageError):
    """A node asks for more than this machine has."""


class NotFoundError(UsageError, LookupError):
    """An id, name, file or output does not exist."""


class QueryError(UsageError, ValueError):
    """A search query does not parse.

    Attributes:
        query: the whole text.
        position: 0-based offset of the first character that does not fit.
    """

    def __init__(self, message: str, query: str, position: int) -> None:
        start = max(0, position - QUERY_SHOWN // 2)
        # One sign for each, so that the mark stands below its place.
        shown = "".join(c if c.isprintable() else " " for c in query[start : start + QUERY_SHOWN])
        super().__init__(f"{message}\n  {shown}\n  {' ' * (position - start)}^")
        self.query = query
        self.position = position


@dataclass(frozen=True)
class Problem:
    """One mistake found by compiling.

    Attributes:
        message: where, expected, found, what to do.
        workflow: name of the workflow being compiled.
        node: name of the node, or None for the workflow itself.
        location: "file:line", or None where there is none.
        kind: a short machine-readable word, such as "type" or "missing-argument".
    """

    message: str
    workflow: str
    node: str | None = None
    location: str | None = None
    kind: str = "other"

    def __str__(self) -> str:
        place = f"workflow '{self.workflow}'"
        if self.node:
            place += f", node '{self.node}'"
        if self.location:
            place += f" ({self.location})"
        return f"{place}: {self.message}"


class CompileError(UsageError):
    """A workflow does not compile. Nothing has run.

    Attributes:
        problems: every mistake that was found, in source order.
    """

    def __init__(self, workflow: str, problems: Sequence[Problem]) -> None:
        self.workflow = workflow
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))
        super().__init__(f"workflow '{workflow}' does not compile, {count} {noun}:\n{lines}")


class CatalogError(PlatformError):
    """The catalog is locked, corrupt, unreachable, or of a newer schema."""


class LeaseLost(PlatformError):
    """The run was taken for dead, and another process has recorded its end; nothing more is recorded."""


def make_lease_lost(what: str, record_id: str) -> LeaseLost:
    """Return what the process of a run or sweep raises once another one has recorded it as CRASHED."""
    return LeaseLost(
        f"{what} {record_id}: another process took this one for dead, since it was stopped or out of reach, "
        f"and what it does from now on is not recorded. See what is: flowlearner {what}s show {record_id[:8]}"
    )


class ArtifactError(PlatformError):
    """A stored artifact is missing, truncated or corrupt.

    Attributes:
        problem: what is wrong in a few words, without the place and the cure.
    """

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem or message


class StorageError(PlatformError, OSError):
    """Bytes could not be written or read: disk full, no permission."""

    def __str__(self) -> str:
        # OSError would put "[Errno 28]" before it.
        return self.strerror or super().__str__()


class ServerError(PlatformError):
    """The Prefect server does not start or does not answer."""


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or None."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or an empty string."""
    nearest = find_nearest(name, known)
    return f" Did you mean '{nearest}'?" if nearest else ""


def shorten(names: Iterable[object], limit: int = LIST_LIMIT) -> str:
    """Join names by commas; a list longer than `limit` is cut and says how many are left."""
    items = [str(n) for n in names]
    if not items:
        return "(none)"
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {rest} more" if rest > 0 else "")
