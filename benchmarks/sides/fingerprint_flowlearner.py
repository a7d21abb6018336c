"""Our side: the fingerprint of an operator and of all that it reaches."""

from __future__ import annotations

from collections.abc import Callable

from pairs import time_once
from sides.fifty import HELPERS, MODULES, load_project


def make() -> Callable[[], float]:
    """Rounds: the first is cold, with everything imported and nothing hashed before in this process."""
    step = load_project().step

    def measure() -> float:
        seconds = time_once(step.fingerprint)
        found = step.fingerprint()
        helpers = [name for name in found.parts if name.startswith("helper_")]
        assert len(helpers) == MODULES * HELPERS, helpers
        assert found.problems == ()
        return seconds

    return measure
