"""Measures what `import flowlearner` costs beyond `import pandas, pyarrow`, which its users import anyway."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark

LIMIT_S = 0.15
PEER = "import pandas, pyarrow"
TIMED = """
from time import perf_counter
start = perf_counter()
{statements}
print(perf_counter() - start)
"""


def time_imports(statements: str) -> float:
    """Seconds that the statements take in a fresh interpreter; starting it does not count."""
    child = subprocess.run(
        [sys.executable, "-c", TIMED.format(statements=statements)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(child.stdout)


def measure(count: int) -> list[dict[str, Any]]:
    """The root alone, and with the two names that every workflow imports, which load what runs need."""
    results = []
    for statement in ("import flowlearner", "from flowlearner import operator, workflow"):
        ours = partial(time_imports, f"{PEER}\n{statement}")
        pairs = collect_pairs(ours, partial(time_imports, PEER), pairs=count)
        extra_s = pairs.extra_median
        bounded = statement == "import flowlearner"
        target = f"<= {LIMIT_S} s more" if bounded else "none, only shown"
        ok = extra_s <= LIMIT_S or not bounded
        results.append(make_result(statement, pairs, f"{target} (found {extra_s:.3f} s)", ok))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
