"""An asset as Wavefront OBJ with its material library and maps."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import export_surface
from dreamfusion_mesh.asset.export.engines import ENGINES, MAP_SUFFIXES
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.asset.export.png import PngFiles
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.records import Asset, Material, TextureMap

# Of the maps, and of channels by themselves. A normal map has two: `norm`, of the extension for physically based rendering, comes first
# for readers to which `map_Bump` means heights (three.js), while Blender and Unity know a normal map by `map_Bump` alone.
_KEYWORDS = {"base_color": ["map_Kd"], "roughness": ["map_Pr"], "metallic": ["map_Pm"], "normal": ["norm", "map_Bump -bm 1"]}


def obj_files(asset: Asset, settings: AssetSettings | None = None, images: PngFiles | None = None) -> dict[str, bytes]:
    """File names and bytes: NAME.obj, NAME.mtl, and every map: NAME_basecolor.png, NAME_orm.png, NAME_roughness.png ...

    Positions, UVs (origin bottom-left) and normals keep indices of their own, so seams do not split the surface, and enough digits to give
    the same float32 back. The library has no word for occlusion, which lies in the red of NAME_orm.png for those who load images by hand.
    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    name, engine, images = safe_name(asset.name), ENGINES[(settings or AssetSettings()).engine], images or PngFiles()
    found, material = export_surface(asset.mesh), engine.material.format(name=name)
    faces = np.stack([found.face_positions, found.face_uvs, found.face_normals], axis=2).reshape(-1, 9) + 1
    lines = [
        f"# dreamfusion_mesh {__version__}; metres, +Y up, front +Z",
        f"mtllib {name}.mtl",
        f"o {(engine.group or engine.mesh).format(name=name)}",
        *_numbers("v", found.positions),
        *_numbers("vt", found.uvs),
        *_numbers("vn", found.normals),
        f"usemtl {material}",
        "s 1",
        *("f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in faces.tolist()),
    ]
    pictures = {f"{name}_{kind}.png": images.png(pixels) for kind, pixels in _pictures(asset.material, engine.green_down).items()}
    return {f"{name}.obj": _text(lines), f"{name}.mtl": _text(_library(asset.material, material, name)), **pictures}


def _library(material: Material, title: str, name: str) -> list[str]:
    """The library's lines. Where a map holds roughness or metalness, the factor is in it and written as 1: readers differ in whether they
    multiply the two.
    """
    with_orm = "orm" in material.maps
    roughness, metallic = (1.0, 1.0) if with_orm else (material.roughness_factor, material.metallic_factor)
    color = " ".join(f"{factor:.9g}" for factor in material.base_color_factor)
    plain = ["Ka 0 0 0", f"Kd {color}", "Ks 0 0 0", "Ke 0 0 0", "d 1", "illum 2"]
    written = ["base_color", *(["roughness", "metallic"] if with_orm else []), *(["normal"] if "normal" in material.maps else [])]
    lines = [f"{keyword} {name}_{MAP_SUFFIXES.get(kind, kind)}.png" for kind in written for keyword in _KEYWORDS[kind]]
    return [f"newmtl {title}", *plain, f"Pr {roughness:.9g}", f"Pm {metallic:.9g}", *lines]


def _pictures(material: Material, green_down: bool) -> dict[str, np.ndarray]:
    """Pixels by the suffix of the image's name; OBJ has an image of its own for each channel of data."""
    found = {MAP_SUFFIXES[role]: image.pixels for role, image in material.maps.items()}
    if "orm" in material.maps:
        orm = material.maps["orm"]
        found |= {"roughness": _scaled(orm, 1, material.roughness_factor), "metallic": _scaled(orm, 2, material.metallic_factor)}
    if green_down and "normal" in found:
        found["normal"] = np.where([False, True, False], 255 - found["normal"], found["normal"])
    return found


def _scaled(image: TextureMap, channel: int, factor: float) -> np.ndarray:
    return np.round(image.pixels[:, :, channel].astype(np.float64) * factor).astype(np.uint8)


def _numbers(keyword: str, rows: np.ndarray) -> list[str]:
    pattern = " ".join([keyword, *["%.9g"] * rows.shape[1]])
    return [pattern % tuple(row) for row in rows.tolist()]


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("ascii")
