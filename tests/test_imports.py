"""Imports run one way through the package's parts, and those of one level do not import one another."""

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dreamfusion_mesh"
LEVELS = [
    ["errors", "limits"],
    ["files", "terminal", "out_of_memory", "web_page"],
    ["process"],
    ["worker"],
    ["records", "config"],
    ["contracts"],
    ["kernels"],
    ["geometry"],
    ["guidance", "shape", "render", "asset", "audit"],
    ["stages"],
    ["run"],
    ["deliver"],
    ["pipeline"],
    ["batch"],
    ["evaluate", "view"],
    ["doctor", "progress"],
    ["cli"],
    ["__main__"],
]
LONGEST_MODULE = 300  # lines
LONGEST_PIPELINE = 119  # lines: the whole way from prompt to files, to be read at once
RANK = {part: rank for rank, parts in enumerate(LEVELS) for part in parts}


def imported_parts(file: Path) -> set[str]:
    """Parts of the package that `file` imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("dreamfusion_mesh.")} - {"__version__"}


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts != ("__init__.py",))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_downwards(file: Path) -> None:
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in imported_parts(file):
        assert other == part or RANK[other] < RANK[part], f"{file.name} ({part}) imports {other}"


def test_every_part_has_a_level() -> None:
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES}
    assert parts == set(RANK)


def test_a_backward_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from dreamfusion_mesh.pipeline import generate\n    import dreamfusion_mesh.shape.field\n")
    assert imported_parts(file) == {"pipeline", "shape"}


def test_only_the_command_line_prints() -> None:
    for file in FILES:
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert file.relative_to(PACKAGE).parts[0] == "cli" or not printing, f"{file.name} prints in lines {printing}"


def test_no_module_is_over_300_lines() -> None:
    trees = [PACKAGE, PACKAGE.parent / "tools", PACKAGE.parent / "tests"]
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for tree in trees for file in tree.rglob("*.py")}
    assert not {str(file): length for file, length in lengths.items() if length > LONGEST_MODULE}


def test_the_pipeline_is_under_120_lines() -> None:
    assert len((PACKAGE / "pipeline.py").read_text(encoding="utf-8").splitlines()) <= LONGEST_PIPELINE


def test_every_package_is_installed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    named = set(project["tool"]["setuptools"]["packages"])
    there = {".".join(init.parent.relative_to(PACKAGE.parent).parts) for init in PACKAGE.rglob("__init__.py")}
    assert named == there | {"dreamfusion_mesh.presets"}
