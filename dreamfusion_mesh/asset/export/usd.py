"""An asset as USDZ, by usd-core (extra [usd]). The same asset gives the same bytes.

Sources: UsdPreviewSurface specification (https://openusd.org/release/spec_usdpreviewsurface.html): inputs, UsdUVTexture's scale, bias and
sourceColorSpace; USDZ specification (https://openusd.org/release/spec_usdz.html): stored, each file at a multiple of 64 bytes, the
default layer first.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import export_surface
from dreamfusion_mesh.asset.export.engines import MAP_SUFFIXES
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.asset.export.png import PngFiles
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Asset, Material

_ALIGNMENT = 64  # bytes
_PADDING = 0x1986  # number of the extra field that fills up to it, as usd's own writer has it
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows
_TYPES = {"base_color": "sRGB", "orm": "raw", "normal": "raw"}


def check_usd(settings: AssetSettings) -> None:
    """Raises BadInput where `settings` ask for a USDZ and usd-core cannot be imported."""
    if settings.usdz:
        try:
            import pxr.Usd  # noqa: F401
        except ImportError as error:
            remedy = "pip install 'dreamfusion-mesh[usd]', or leave it out with --set asset.usdz=false"
            raise BadInput(f"asset.usdz: needs usd-core, which cannot be imported ({error}); {remedy}") from None


def usdz_bytes(asset: Asset, images: PngFiles | None = None) -> bytes:
    """One mesh and its material as UsdPreviewSurface with every map, in metres, +Y up; seams do not split the surface.

    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite; BadInput where usd-core is missing.
    """
    check_usd(AssetSettings(usdz=True))
    name, images = safe_name(asset.name), images or PngFiles()
    files = {f"{name}_{MAP_SUFFIXES[role]}.png": images.png(image.pixels) for role, image in asset.material.maps.items()}
    with tempfile.TemporaryDirectory(prefix="dreamfusion_mesh_usd_") as folder:
        layer = Path(folder) / f"{name}.usdc"
        _write_stage(layer, asset, name)
        return _package({layer.name: layer.read_bytes(), **{f"textures/{file}": content for file, content in files.items()}})


def _write_stage(path: Path, asset: Asset, name: str) -> None:
    from pxr import Kind, Tf, Usd, UsdGeom, UsdShade

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.GetRootLayer().documentation = f"dreamfusion_mesh {__version__}"
    root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(name)}").GetPrim()
    stage.SetDefaultPrim(root)
    Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
    mesh = _add_mesh(stage, f"{root.GetPath()}/surface", asset)
    material = _add_material(stage, f"{root.GetPath()}/material", asset.material, name)
    UsdShade.MaterialBindingAPI.Apply(mesh).Bind(material)
    stage.GetRootLayer().Save()


def _add_mesh(stage: Any, path: str, asset: Asset) -> Any:
    from pxr import Sdf, UsdGeom, Vt

    found = export_surface(asset.mesh)
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(found.positions))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([found.positions.min(axis=0), found.positions.max(axis=0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(found.face_positions), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(found.face_positions.reshape(-1).astype(np.int32)))
    normals = np.zeros_like(found.positions)
    normals[found.face_positions] = found.normals[found.face_normals]
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    uvs = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    uvs.Set(Vt.Vec2fArray.FromNumpy(found.uvs))
    uvs.SetIndices(Vt.IntArray.FromNumpy(found.face_uvs.reshape(-1).astype(np.int32)))
    return mesh.GetPrim()


def _add_material(stage: Any, path: str, material: Material, name: str) -> Any:
    from pxr import Sdf, UsdShade

    types = Sdf.ValueTypeNames
    found = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("useSpecularWorkflow", types.Int).Set(0)
    found.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    reader = UsdShade.Shader.Define(stage, f"{path}/uvs")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", types.String).Set("st")
    uvs = reader.CreateOutput("result", types.Float2)

    roughness, metallic = material.roughness_factor, material.metallic_factor
    scales = {"base_color": (*material.base_color_factor, 1.0), "orm": (1.0, roughness, metallic, 1.0), "normal": (2.0, 2.0, 2.0, 1.0)}
    for role in material.maps:
        texture = _add_texture(stage, f"{path}/{MAP_SUFFIXES[role]}", f"textures/{name}_{MAP_SUFFIXES[role]}.png", uvs)
        texture.CreateInput("sourceColorSpace", types.Token).Set(_TYPES[role])
        texture.CreateInput("scale", types.Float4).Set(scales[role])
        if role == "normal":
            texture.CreateInput("bias", types.Float4).Set((-1.0, -1.0, -1.0, 0.0))
        for name_in, kind, channel in _INPUTS[role]:
            source = texture.CreateOutput(channel, types.Float3 if channel == "rgb" else types.Float)
            surface.CreateInput(name_in, getattr(types, kind)).ConnectToSource(source)
    if "orm" not in material.maps:
        surface.CreateInput("roughness", types.Float).Set(roughness)
        surface.CreateInput("metallic", types.Float).Set(metallic)
    return found


_INPUTS = {  # of UsdPreviewSurface: name, type, and the texture's channels that it is connected to
    "base_color": [("diffuseColor", "Color3f", "rgb")],
    "orm": [("occlusion", "Float", "r"), ("roughness", "Float", "g"), ("metallic", "Float", "b")],
    "normal": [("normal", "Normal3f", "rgb")],
}


def _add_texture(stage: Any, path: str, file: str, uvs: Any) -> Any:
    from pxr import Sdf, UsdShade

    texture = UsdShade.Shader.Define(stage, path)
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(file)
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(uvs)
    for direction in ("wrapS", "wrapT"):
        texture.CreateInput(direction, Sdf.ValueTypeNames.Token).Set("clamp")
    return texture


def _package(files: dict[str, bytes]) -> bytes:
    """A USDZ: a ZIP of stored files, the default layer first, each one's content at a multiple of 64 bytes, without dates."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file, _NO_DATE)
            start = target.tell() + 30 + len(file.encode()) + 4  # fixed part of the local header, name, head of the extra field
            filler = bytes(-start % _ALIGNMENT)
            entry.extra = _PADDING.to_bytes(2, "little") + len(filler).to_bytes(2, "little") + filler
            archive.writestr(entry, content)
    return target.getvalue()
