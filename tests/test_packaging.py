"""README, pyproject.toml and the pins name the same versions of Python, and the pins are what is tested."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADMITTED = SpecifierSet(PROJECT["project"]["requires-python"])
PYTHONS = [f"3.{minor}" for minor in range(100) if ADMITTED.contains(f"3.{minor}.0")]


def pins():
    """Normalised name to requirement of each line of constraints.txt."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, filter(None, lines))}


PINS = pins()


def dependencies():
    project = PROJECT["project"]
    return [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["test"])]


def exact(pin):
    (only,) = pin.specifier
    assert only.operator == "==", f"{pin}: expected one exact version"
    return only.version


@pytest.mark.parametrize("name", PINS)
def test_a_pin_runs_on_every_python_that_is_promised(name):
    """By the metadata of the pinned version itself."""
    pin = PINS[name]
    assert pin.marker is None, f"{pin}: holds for some machines alone"
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    if not pin.specifier.contains(installed.version, prereleases=True):
        made_from_pins = Path(sys.prefix, ".installed-tests").exists()  # written by `make test`
        assert not made_from_pins, f"{name} {installed.version} is installed, constraints.txt has {pin}"
        pytest.skip(f"{name} {installed.version} is installed, not {pin}, in an environment that `make test` did not make")
    wanted = SpecifierSet(installed.metadata["Requires-Python"] or "")
    refused = [python for python in PYTHONS if not wanted.contains(f"{python}.0")]
    assert not refused, f"{pin} wants Python {wanted}, which leaves out {refused}"


@pytest.mark.parametrize("wanted", dependencies(), ids=lambda requirement: requirement.name)
def test_a_dependency_is_pinned_within_its_range(wanted):
    assert canonicalize_name(wanted.name) in PINS, f"{wanted.name}: not in constraints.txt"
    pin = PINS[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(exact(pin), prereleases=True), f"{pin} is not in the range of {wanted}"


def test_every_file_names_the_same_versions_of_python():
    assert len(PYTHONS) > 1
    first, last = PYTHONS[0], PYTHONS[-1]
    classified = [line.rpartition(" :: ")[2] for line in PROJECT["project"]["classifiers"] if ":: Python ::" in line]
    assert classified == PYTHONS
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{first.replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == first
