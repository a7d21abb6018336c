"""flowlearner: typed workflows whose every run is remembered, shared and repeatable.

Names load on first use, so importing the package imports neither Prefect nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowlearner.artifacts import Codec, register_codec
    from flowlearner.client import Client, Run, Sweep
    from flowlearner.engine.logs import report
    from flowlearner.errors import (
        ArtifactError,
        CatalogError,
        CompileError,
        DefinitionError,
        FlowLearnerError,
        InputError,
        NotFoundError,
        OperatorError,
        ParameterError,
        PlatformError,
        QueryError,
        ResourceError,
        RunFailed,
        SweepFailed,
        UsageError,
        UserError,
    )
    from flowlearner.facade import Workflow, workflow
    from flowlearner.operation import Operator, operator
    from flowlearner.types import (
        Choice,
        Columns,
        File,
        LogRange,
        Metric,
        Model,
        Pickled,
        Range,
        Secret,
        Seed,
        Static,
    )

__version__ = "0.1.0"

_HOMES = {
    "flowlearner.artifacts": ("Codec", "register_codec"),
    "flowlearner.client": ("Client", "Run", "Sweep"),
    "flowlearner.engine.logs": ("report",),
    "flowlearner.errors": (
        "ArtifactError",
        "CatalogError",
        "CompileError",
        "DefinitionError",
        "FlowLearnerError",
        "InputError",
        "NotFoundError",
        "OperatorError",
        "ParameterError",
        "PlatformError",
        "QueryError",
        "ResourceError",
        "RunFailed",
        "SweepFailed",
        "UsageError",
        "UserError",
    ),
    "flowlearner.operation": ("Operator", "operator"),
    "flowlearner.types": (
        "Choice",
        "Columns",
        "File",
        "LogRange",
        "Metric",
        "Model",
        "Pickled",
        "Range",
        "Secret",
        "Seed",
        "Static",
    ),
    "flowlearner.facade": ("Workflow", "workflow"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArtifactError",
    "CatalogError",
    "Choice",
    "Client",
    "Codec",
    "Columns",
    "CompileError",
    "DefinitionError",
    "File",
    "FlowLearnerError",
    "InputError",
    "LogRange",
    "Metric",
    "Model",
    "NotFoundError",
    "Operator",
    "OperatorError",
    "ParameterError",
    "Pickled",
    "PlatformError",
    "QueryError",
    "Range",
    "ResourceError",
    "Run",
    "RunFailed",
    "Secret",
    "Seed",
    "Static",
    "Sweep",
    "SweepFailed",
    "UsageError",
    "UserError",
    "Workflow",
    "operator",
    "register_codec",
    "report",
    "workflow",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'flowlearner' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
