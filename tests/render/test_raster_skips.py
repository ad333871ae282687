"""When the back ends' tests are skipped, and when they fail: decided by the causes' kinds, not by their words."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stand_ins
import torch
from back_ends import resolve_or_skip

from dreamfusion_mesh.render.raster import kaolin as raster_kaolin
from dreamfusion_mesh.render.raster import nvdiffrast as raster_nvdiffrast
from dreamfusion_mesh.render.raster.backend import Absent, Cause, Unusable

OPTIONAL = {"nvdiffrast": (raster_nvdiffrast, "torch"), "kaolin": (raster_kaolin, "render")}


@pytest.fixture
def with_card(monkeypatch: pytest.MonkeyPatch) -> None:
    for adapter, _ in OPTIONAL.values():
        monkeypatch.setattr(adapter, "not_on_cuda", lambda device: None)


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Take a package out of sys.modules for the test; what the test imports under its name goes afterwards, what was there comes back."""
    forgotten: list[str] = []

    def modules() -> list[str]:
        return [module for module in sys.modules if module.partition(".")[0] in forgotten]

    def take_out(name: str) -> None:
        forgotten.append(name)
        for module in modules():
            monkeypatch.delitem(sys.modules, module)

    yield take_out
    for module in modules():
        del sys.modules[module]


def install_broken(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str) -> None:
    """A package on the path whose import runs `code`."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize("name", OPTIONAL)
def test_package_that_is_not_installed_skips(
    name: str, monkeypatch: pytest.MonkeyPatch, with_card: None, forget: Callable[[str], None]
) -> None:
    forget(name)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(pytest.skip.Exception, match=f"{name}: package not installed"):
        resolve_or_skip(name, "cpu")


@pytest.mark.parametrize("name", OPTIONAL)
def test_missing_card_skips(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.install(monkeypatch, name)
    monkeypatch.setattr(OPTIONAL[name][0], "not_on_cuda", lambda device: Cause("none", Absent.CARD))
    with pytest.raises(pytest.skip.Exception, match=f"{name}: no card"):
        resolve_or_skip(name, "cpu")


@pytest.mark.parametrize(
    "code",
    ["raise RuntimeError('built for another torch')", "raise ImportError('libcudart.so.12')", "import a_module_that_nobody_has", ""],
    ids=["error", "library", "dependency", "placeholder"],
)
@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("card", [True, False])
def test_broken_package_fails(
    name: str, code: str, card: bool, monkeypatch: pytest.MonkeyPatch, forget: Callable[[str], None], tmp_path: Path
) -> None:
    forget(name)
    install_broken(monkeypatch, tmp_path, name, code)
    monkeypatch.setattr(OPTIONAL[name][0], "not_on_cuda", lambda device: None if card else Cause("none", Absent.CARD))
    with pytest.raises(Unusable) as failed:
        resolve_or_skip(name, "cpu")
    assert failed.value.is_broken
    assert f"{name}.{OPTIONAL[name][1]}" in str(failed.value)


def test_back_end_that_imports_and_fails_to_draw_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def rasterize(*given: object, **more: object) -> None:
        raise RuntimeError("no kernel image is available")

    stand_ins.install(monkeypatch, "nvdiffrast")
    monkeypatch.setattr(sys.modules["nvdiffrast.torch"], "rasterize", rasterize)
    with pytest.raises(Unusable, match=r"drawing with it failed on cpu \(no kernel image"):
        resolve_or_skip("nvdiffrast", "cpu")


def test_missing_compiler_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.install(monkeypatch, "nvdiffrast")
    monkeypatch.setattr(raster_nvdiffrast, "_make_context", lambda ops, device: torch.utils.cpp_extension._join_cuda_home("bin"))
    monkeypatch.setattr(torch.utils.cpp_extension, "CUDA_HOME", None)
    with pytest.raises(pytest.skip.Exception, match="nvdiffrast: no compiler"):
        resolve_or_skip("nvdiffrast", "cpu")
