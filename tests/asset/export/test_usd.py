"""The USDZ as OpenUSD itself reads and checks it."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from assets import asset, mapped
from PIL import Image

from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.usd import check_usd, usdz_bytes
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.errors import BadInput

pytest.importorskip("pxr.UsdValidation", reason="usd-core is not installed; pip install -e .[usd]")


@pytest.mark.parametrize("maps", [False, True])
def test_openusd_finds_no_error(maps: bool, tmp_path: Path) -> None:
    from pxr import Usd, UsdValidation

    (tmp_path / "thing.usdz").write_bytes(usdz_bytes(asset("torus", maps)))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    names = {validator.GetMetadata().name for validator in validators}
    assert {"usdUtilsValidators:UsdzPackageValidator", "usdShadeValidators:NormalMapTextureValidator"} <= names
    errors = UsdValidation.ValidationContext(validators).Validate(Usd.Stage.Open(str(tmp_path / "thing.usdz")))
    assert [error.GetErrorAsString() for error in errors] == []


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    """So that finding nothing means something."""
    from pxr import Usd, UsdValidation

    stage = Usd.Stage.CreateNew(str(tmp_path / "bare.usda"))
    stage.DefinePrim("/x")
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = " ".join(error.GetErrorAsString() for error in UsdValidation.ValidationContext(validators).Validate(stage))
    assert "metersPerUnit" in errors
    assert "defaultPrim" in errors


def test_the_surface_comes_back_in_metres_with_y_up(tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom

    (tmp_path / "thing.usdz").write_bytes(usdz_bytes(asset("torus")))
    stage, mesh = Usd.Stage.Open(str(tmp_path / "thing.usdz")), mapped("torus")
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1.0)
    root = stage.GetDefaultPrim()
    assert (root.GetPath(), root.GetTypeName()) == ("/thing", "Xform")
    surface = UsdGeom.Mesh(stage.GetPrimAtPath("/thing/surface"))
    points, rows = np.array(surface.GetPointsAttr().Get()), np.array(surface.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert np.array_equal(points[rows], mesh.vertices[mesh.faces].numpy())
    assert len(points) == len(mesh.vertices)  # seams split no vertex
    assert np.array_equal(np.array(surface.GetExtentAttr().Get()), [points.min(axis=0), points.max(axis=0)])
    uvs = UsdGeom.PrimvarsAPI(surface).GetPrimvar("st").ComputeFlattened()
    assert np.array_equal(np.array(uvs).reshape(-1, 3, 2), mesh.uvs[mesh.face_uvs].numpy())
    assert surface.GetSubdivisionSchemeAttr().Get() == "none"


def test_every_map_is_connected_with_its_colour_space(tmp_path: Path) -> None:
    from pxr import Usd, UsdShade

    made = asset("cube", maps=True)
    (tmp_path / "thing.usdz").write_bytes(usdz_bytes(made))
    stage = Usd.Stage.Open(str(tmp_path / "thing.usdz"))
    material, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath("/thing/surface")).ComputeBoundMaterial()
    shader = material.ComputeSurfaceSource("")[0]
    assert shader.GetIdAttr().Get() == "UsdPreviewSurface"
    expected = {
        "diffuseColor": ("basecolor", "rgb", "sRGB", (1, 1, 1, 1)),
        "occlusion": ("orm", "r", "raw", (1, 0.6, 0.9, 1)),
        "roughness": ("orm", "g", "raw", (1, 0.6, 0.9, 1)),
        "metallic": ("orm", "b", "raw", (1, 0.6, 0.9, 1)),
        "normal": ("normal", "rgb", "raw", (2, 2, 2, 1)),
    }
    for name, (map_name, channel, space, scale) in expected.items():
        (source,), _ = shader.GetInput(name).GetConnectedSources()
        texture = UsdShade.Shader(source.source)
        assert (texture.GetPath().name, source.sourceName) == (map_name, channel)
        assert texture.GetInput("sourceColorSpace").Get() == space
        assert tuple(texture.GetInput("scale").Get()) == pytest.approx(scale)
        assert str(texture.GetInput("file").Get().path) == f"textures/thing_{map_name}.png"
    assert tuple(UsdShade.Shader(stage.GetPrimAtPath("/thing/material/normal")).GetInput("bias").Get()) == (-1, -1, -1, 0)
    with zipfile.ZipFile(tmp_path / "thing.usdz") as archive:
        for role, file in (("base_color", "basecolor"), ("orm", "orm"), ("normal", "normal")):
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(f"textures/thing_{file}.png"))))
            assert np.array_equal(pixels, made.material.maps[role].pixels)


def test_factors_stand_alone_where_there_is_no_map(tmp_path: Path) -> None:
    from pxr import Usd, UsdShade

    (tmp_path / "thing.usdz").write_bytes(usdz_bytes(asset("cube")))
    stage = Usd.Stage.Open(str(tmp_path / "thing.usdz"))
    shader = UsdShade.Shader(stage.GetPrimAtPath("/thing/material/surface"))
    assert [shader.GetInput(name).Get() for name in ("roughness", "metallic")] == pytest.approx([0.6, 0.1])


@pytest.mark.parametrize("title", ["thing", "x" * 63, "2 red-mushrooms.v1"])
def test_files_lie_stored_at_multiples_of_64_bytes_without_dates(title: str, tmp_path: Path) -> None:
    from pxr import Usd

    data = usdz_bytes(asset("cube", maps=True, title=title))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0].endswith(".usdc")
        for entry in archive.infolist():
            assert (entry.compress_type, entry.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            start = entry.header_offset + 30 + len(entry.filename) + int.from_bytes(data[entry.header_offset + 28 :][:2], "little")
            assert start % 64 == 0
            assert data[start : start + entry.file_size] == archive.read(entry)
    (tmp_path / "x.usdz").write_bytes(data)
    stage = Usd.Stage.Open(str(tmp_path / "x.usdz"))
    assert stage.GetDefaultPrim()


def test_the_same_asset_gives_the_same_bytes() -> None:
    """In another folder for temporary files, whose name must not be in it."""
    assert usdz_bytes(asset("cube", maps=True)) == usdz_bytes(asset("cube", maps=True))


def test_it_is_written_on_request_alone() -> None:
    assert asset_files(asset("cube"), AssetSettings(usdz=True))["thing.usdz"] == usdz_bytes(asset("cube"))
    assert "thing.usdz" not in asset_files(asset("cube"), AssetSettings())


def test_without_usd_core_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    check_usd(AssetSettings())
    with pytest.raises(BadInput, match=r"^asset\.usdz: needs usd-core, .*; pip install 'dreamfusion-mesh\[usd\]', or leave it out"):
        check_usd(AssetSettings(usdz=True))
