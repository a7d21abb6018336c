"""Holds what the project's own files promise: bounds, constraints, packaging and a light import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(text) for group in (PROJECT["dependencies"], *EXTRAS.values()) for text in group]
HEAVY = {
    "alembic",
    "altair",
    "matplotlib",
    "pandas",
    "prefect",
    "pyarrow",
    "sklearn",
    "sqlalchemy",
    "xgboost",
}


def find_pins(name: str) -> list[str]:
    """Versions that the constraints pin for a package here; more than one only by mistake."""
    pins = [Requirement(line) for line in CONSTRAINTS if line]
    return [
        next(iter(pin.specifier)).version
        for pin in pins
        if canonicalize_name(pin.name) == name and (pin.marker is None or pin.marker.evaluate())
    ]


def test_constraints_hold_only_exact_versions() -> None:
    exact = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][\w.!+]*( ; .+)?")
    assert [line for line in CONSTRAINTS if not exact.fullmatch(line)] == []


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_constraints_pin_each_requirement_within_its_bounds(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    applies = requirement.marker is None or requirement.marker.evaluate()
    if name == PROJECT["name"] or not applies:
        return
    (pin,) = find_pins(name)
    assert requirement.specifier.contains(pin)


@pytest.mark.parametrize(
    ("name", "refused", "accepted"),
    [
        ("prefect", ["3.8.7", "3.9.1"], ["3.8.8"]),
        ("fastapi", ["0.119.0", "0.151.0"], ["0.139.0", "0.150.0"]),
        ("sqlalchemy", ["1.4.54", "2.1.0"], ["2.0.58"]),
    ],
)
def test_bounds_keep_out_what_breaks_the_prefect_server(
    name: str, refused: list[str], accepted: list[str]
) -> None:
    (requirement,) = (found for found in REQUIREMENTS if found.name == name)
    assert not any(requirement.specifier.contains(version) for version in refused)
    assert all(requirement.specifier.contains(version) for version in accepted)


def test_importing_the_root_loads_nothing_heavy() -> None:
    code = "import sys, flowlearner; print(*{name.partition('.')[0] for name in sys.modules})"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert HEAVY & set(child.stdout.split()) == set()


@pytest.mark.slow
def test_wheel_holds_the_packages_and_all_their_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("flowlearner", "operators", "examples", "ui")
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - names == set()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(packages)
