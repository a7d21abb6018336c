"""Owns `make bench`: each bench_*.py runs as a child; one table, and bench-results/latest.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pairs import make_table
from rich.console import Console

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench-results"
TIME_LIMIT_S = 1800


def find_benchmarks(names: list[str]) -> list[Path]:
    """List the files of these names ("import" for bench_import.py), or all; an unknown name is refused."""
    found = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(found)}")
    return [found[name] for name in names] if names else list(found.values())


def run_child(path: Path, folder: Path) -> list[dict[str, Any]] | None:
    """Run one benchmark in its own process; None if it gave no results."""
    output = folder / f"{path.stem}.json"
    try:
        subprocess.run([sys.executable, path, "--json", output], timeout=TIME_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"{path.name}: stopped after {TIME_LIMIT_S} s", file=sys.stderr)
    if not output.exists():
        return None
    results: list[dict[str, Any]] = json.loads(output.read_text())
    return results


def describe_machine() -> dict[str, Any]:
    """What a reader needs in order to compare two files of results."""
    packages = {found.name: found.version for found in distributions()}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": dict(sorted(packages.items())),
    }


def main() -> int:
    """Run, show and write; the status is 1 where a target is missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which to run, such as `import`; all without one")
    options = parser.parse_args()
    console = Console()
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in find_benchmarks(options.names):
            console.print(f"{path.stem} ...", style="dim")
            measured = run_child(path, Path(folder))
            if measured is None:
                failed.append(path.name)
            else:
                results += [{"benchmark": path.stem, **result} for result in measured]
    console.print(make_table(results))
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": describe_machine(), "results": results, "failed": failed}
    (RESULTS / "latest.json").write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"written to {RESULTS.name}/latest.json")
    if failed:
        console.print(f"no results from {', '.join(failed)}", style="red")
    return 0 if not failed and all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
