"""Where the Khronos validator is looked for: in the named folder alone, else in node's own places, never in an untrusted one."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from privileges import permissions_hold

import dreamfusion_mesh
from dreamfusion_mesh.audit.khronos import VALIDATOR_VARIABLE, find_validator
from dreamfusion_mesh.errors import BadInput

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for node is a shell script, and its global folder lies elsewhere")


def package(node_modules: Path) -> Path:
    """A stand-in for the installed package."""
    folder = node_modules / "gltf-validator"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text("{}")
    return folder


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prefix with its own node, the only one on PATH; nothing is named, and the working folder is another."""
    node = tmp_path / "prefix" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", str(node.parent))
    monkeypatch.delenv(VALIDATOR_VARIABLE, raising=False)
    monkeypatch.delenv("NODE_PATH", raising=False)
    return tmp_path / "prefix"


def test_the_validator_is_found_among_the_global_packages(prefix: Path) -> None:
    assert find_validator() is None
    assert package(prefix / "lib" / "node_modules") == find_validator()


def test_node_path_comes_before_the_global_packages(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(prefix / "lib" / "node_modules")
    listed = package(tmp_path / "listed")
    monkeypatch.setenv("NODE_PATH", os.pathsep.join([str(tmp_path / "absent"), str(tmp_path / "listed")]))
    assert find_validator() == listed


def test_the_named_folder_comes_before_all_others(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(prefix / "lib" / "node_modules")
    named = package(tmp_path / "named" / "node_modules")
    monkeypatch.setenv(VALIDATOR_VARIABLE, str(tmp_path / "named"))
    assert find_validator() == named


@pytest.mark.parametrize(
    ("named", "cause"),
    [
        ("closed/inner", "cannot be read (you may not enter the folder {}/closed); change its permissions, or name another place"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9 is not UTF-8; rename it"),
    ],
)
def test_a_named_folder_that_cannot_be_looked_up_is_named_by_its_cause(
    named: str, cause: str, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / "closed" / "inner" / "node_modules")
    (tmp_path / "closed").chmod(0o600)
    monkeypatch.setenv(VALIDATOR_VARIABLE, str(tmp_path / named))
    with permissions_hold(), pytest.raises(BadInput) as caught:
        find_validator()
    assert str(caught.value).startswith(f"{VALIDATOR_VARIABLE}: {tmp_path}")
    assert cause.format(tmp_path) in str(caught.value)
    (tmp_path / "closed").chmod(0o700)


def test_a_named_folder_without_it_is_bad_input_even_where_another_has_it(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(prefix / "lib" / "node_modules")
    monkeypatch.setenv(VALIDATOR_VARIABLE, str(tmp_path))
    with pytest.raises(BadInput, match=f"{VALIDATOR_VARIABLE}: .*npm install gltf-validator"):
        find_validator()


@pytest.mark.parametrize("node_path", ["", "node_modules", "./node_modules", ":"])
def test_the_working_folder_is_not_looked_in(node_path: str, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(Path.cwd() / "node_modules")
    package(Path.cwd() / "lib" / "node_modules")
    monkeypatch.setenv("NODE_PATH", node_path)
    assert find_validator() is None


def test_no_module_looks_into_the_tests() -> None:
    """A checkout's tests are no part of an installed package; they name their own validator in the environment."""
    for file in Path(dreamfusion_mesh.__file__).parent.rglob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)]
        named = [text for text in texts if isinstance(text, str) and (text == "tests" or text.startswith("tests/"))]
        assert not named, f"{file.name}: {named}"


def test_without_node_it_is_not_found(prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package(prefix / "lib" / "node_modules")
    monkeypatch.setenv("PATH", str(tmp_path / "work"))
    assert find_validator() is None
