"""Owns `make bench`: each bench_*.py runs as a child; one table, a JSON file for each in bench-results/."""

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

from pairs import make_console, make_table

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench-results"
TIME_LIMIT_S = 1800
# Those that run only where they are named, or with --long: they take more than some minutes.
LONG = ("pages", "sweep_asha")


def find_benchmarks(names: list[str], long: bool = False) -> list[Path]:
    """List the files of these names ("import" for bench_import.py), or all; an unknown name is refused.

    Args:
        names: which; without one all, and of those in LONG none unless `long` says so.
        long: whether all means these, too.
    """
    found = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(found)}")
    return [found[name] for name in names or found if names or long or name not in LONG]


def run_child(path: Path, folder: Path, flags: list[str]) -> list[dict[str, Any]] | None:
    """Run one benchmark in its own process; None if it gave no results."""
    output = folder / f"{path.stem}.json"
    try:
        subprocess.run([sys.executable, path, "--json", output, *flags], timeout=TIME_LIMIT_S, check=False)
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


def write_results(path: Path, machine: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Keep the results of one benchmark, with what they were measured on."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def main() -> int:
    """Run, show and write; the status is 1 where a target is missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which to run, such as `import`; all without one")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, for development: no verdict")
    parser.add_argument("--long", action="store_true", help=f"also {', '.join(LONG)}, where none is named")
    options = parser.parse_args()
    flags, mark = (["--quick"], "-quick") if options.quick else ([], "")
    console = make_console()
    machine = describe_machine()
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in find_benchmarks(options.names, options.long):
            console.print(f"{path.stem} ...", style="dim")
            measured = run_child(path, Path(folder), flags)
            if measured is None:
                failed.append(path.name)
                continue
            results += measured
            write_results(RESULTS / f"{path.stem.removeprefix('bench_')}{mark}.json", machine, measured)
    console.print(make_table(results))
    console.print(f"written to {RESULTS.name}/")
    if failed:
        console.print(f"no results from {', '.join(failed)}", style="red")
    return 0 if not failed and all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
