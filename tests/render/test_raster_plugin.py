"""Loading nvdiffrast's compiled plugin, with a stand-in package that compiles and imports its own as diffrp-nvdiffrast 0.3.3.1 does."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_ins
from raster_twin import random_scene
from torch.utils import cpp_extension

from dreamfusion_mesh.render.raster import nvdiffrast as raster_nvdiffrast
from dreamfusion_mesh.render.raster.backend import Absent, Unusable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

# Initialised in two phases, as pybind11 3 does; Python's own header alone compiles in a second.
PLAIN = """
#include <Python.h>
static PyObject* answer(PyObject*, PyObject*) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef_Slot slots[] = {{0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "plugin", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};
#define CONCATENATED(a, b) a##b
#define INIT(name) CONCATENATED(PyInit_, name)
PyMODINIT_FUNC INIT(TORCH_EXTENSION_NAME)() { return PyModuleDef_Init(&definition); }
"""
PYBIND11 = """
#include <pybind11/pybind11.h>
struct State {};
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { pybind11::class_<State>(m, "State"); m.def("answer", [] { return 42; }); }
"""


def need_compiler() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not cpp_extension.is_ninja_available() or shutil.which(cpp_extension.get_cxx_compiler()) is None or not header.is_file():
        pytest.skip("no compiler: ninja, a C++ compiler or Python's headers were not found")


def get_plugin(name: str, source: Path, with_cuda: bool) -> Any:
    """The steps of nvdiffrast.torch.ops._get_plugin: load what is built, else compile; then import by name."""
    try:
        cpp_extension._import_module_from_library(name, cpp_extension._get_build_directory(name, False), True)
    except ImportError:
        cpp_extension.load(name=name, sources=[str(source)], extra_cflags=["-O0"], with_cuda=with_cuda, verbose=False)
    return importlib.import_module(name)


def install_compiled(patch: pytest.MonkeyPatch, folder: Path, name: str, code: str, with_cuda: bool = False) -> None:
    """The stand-in, whose context needs a plugin that is compiled on first use."""
    source = folder / "plugin.cpp"
    source.write_text(code)

    class Context(stand_ins.Nvdiffrast.RasterizeCudaContext):
        def __init__(self, device: object = None) -> None:
            super().__init__(device)
            self.answer = get_plugin(name, source, with_cuda).answer()

    patch.setenv("TORCH_EXTENSIONS_DIR", str(folder / "built"))
    stand_ins.install(patch, "nvdiffrast")
    patch.setattr(sys.modules["nvdiffrast.torch"], "RasterizeCudaContext", Context)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.mark.parametrize(
    ("name", "code"), [("nvdiffrast_plugin_plain", PLAIN), pytest.param("nvdiffrast_plugin_pybind11", PYBIND11, marks=pytest.mark.sweep)]
)
def test_compiled_plugin_is_imported_by_name_from_its_build_folder(patch: pytest.MonkeyPatch, tmp_path: Path, name: str, code: str) -> None:
    need_compiler()
    install_compiled(patch, tmp_path, name, code)
    path = list(sys.path)
    with pytest.raises(ModuleNotFoundError) as refused:  # what the package alone comes to
        sys.modules["nvdiffrast.torch"].RasterizeCudaContext(device="cpu")
    assert refused.value.name == name
    made = resolve_rasterizer("nvdiffrast", "cpu")
    try:
        assert made._context.answer == 42
        assert sys.path == path
        clip, faces = random_scene(0)
        assert (made.rasterize(clip.float(), faces, (16, 16)).face >= 0).any()
        assert resolve_rasterizer("nvdiffrast", "cpu")._context.answer == 42
    finally:
        del sys.modules[name]


def refused_causes() -> tuple[tuple[str, Absent | None], ...]:
    with pytest.raises(Unusable) as refused:
        resolve_rasterizer("nvdiffrast", "cpu")
    assert "\n" not in str(refused.value)
    return tuple((cause.words, cause.absent) for cause in refused.value.causes)


def fake_tools(patch: pytest.MonkeyPatch, folder: Path, ninja: str) -> None:
    """A CUDA toolkit, and a ninja that runs the shell lines `ninja` when asked to build."""
    for tool, lines in (("nvcc", "exit 0"), ("c++", "exit 0"), ("ninja", f'[ "$1" = --version ] && exit 0\n{ninja}')):
        path = folder / "bin" / tool
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
    patch.setattr(cpp_extension, "CUDA_HOME", str(folder))
    patch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    patch.setenv("CXX", "c++")
    patch.setenv("TORCH_DONT_CHECK_COMPILER_ABI", "1")


def test_compile_error_is_reported_as_one(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_tools(patch, tmp_path, "echo '[1/2] c++ plugin.cpp'; echo 'plugin.cpp:1: fatal error: nothing.h: no such file'; exit 1")
    install_compiled(patch, tmp_path, "nvdiffrast_plugin_broken", "")
    ((words, absent),) = refused_causes()
    assert words == "compiling it failed (plugin.cpp:1: fatal error: nothing.h: no such file)"
    assert absent is None


@pytest.mark.parametrize(("tool", "named"), [("nvcc", "a CUDA toolkit"), ("ninja", "ninja"), ("c++", "a C++ compiler"), ("", "")])
def test_missing_build_tool_is_named(patch: pytest.MonkeyPatch, tmp_path: Path, tool: str, named: str) -> None:
    fake_tools(patch, tmp_path, "exit 1")
    patch.setenv("PATH", str(tmp_path / "bin"))
    if tool:
        (tmp_path / "bin" / tool).unlink()
    assert (raster_nvdiffrast._missing_tool() or "") == named


def test_missing_toolkit_is_no_compiler_and_no_failure(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    patch.setattr(cpp_extension, "CUDA_HOME", None)
    install_compiled(patch, tmp_path, "nvdiffrast_plugin_no_toolkit", "", with_cuda=True)
    ((words, absent),) = refused_causes()
    assert words.startswith("it is not compiled yet and a CUDA toolkit was not found (")
    assert absent is Absent.COMPILER


def test_built_plugin_that_does_not_load_is_reported_as_an_import(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_tools(patch, tmp_path, "echo 'no library' > nvdiffrast_plugin_garbled.so")
    install_compiled(patch, tmp_path, "nvdiffrast_plugin_garbled", "")
    ((words, absent),) = refused_causes()
    file = tmp_path / "built" / "nvdiffrast_plugin_garbled" / "nvdiffrast_plugin_garbled.so"
    assert re.fullmatch(rf"it is compiled, but its plugin does not import \({re.escape(str(file))}: .+\)", words)
    assert absent is None


def test_built_plugin_that_lacks_a_module_is_reported_as_an_import(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "nvdiffrast_plugin_needy"

    def ask(device: object = None) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    patch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    Path(cpp_extension._get_build_directory(name, False), f"{name}.py").write_text("import a_module_that_nobody_has")
    stand_ins.install(patch, "nvdiffrast")
    patch.setattr(sys.modules["nvdiffrast.torch"], "RasterizeCudaContext", ask)
    ((words, absent),) = refused_causes()
    assert words == "it is compiled, but its plugin does not import (No module named 'a_module_that_nobody_has')"
    assert absent is None


def test_other_missing_modules_are_not_looked_for_among_builds(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(device: object = None) -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    patch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    stand_ins.install(patch, "nvdiffrast")
    patch.setattr(sys.modules["nvdiffrast.torch"], "RasterizeCudaContext", ask)
    ((words, absent),) = refused_causes()
    assert words == "loading it failed (No module named 'numpy')"
    assert absent is None
    assert not list(tmp_path.iterdir())
