"""An asset as Wavefront OBJ with its material library and maps."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import export_surface
from dreamfusion_mesh.asset.export.names import MAP_SUFFIXES, safe_name
from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.records import Asset, Material, TextureMap

_KEYWORDS = {"base_color": "map_Kd", "normal": "norm"}  # of the maps that are written as they are


def obj_files(asset: Asset) -> dict[str, bytes]:
    """File names and bytes: NAME.obj, NAME.mtl, NAME_basecolor.png and the material's other maps.

    Positions, UVs (origin bottom-left) and normals keep indices of their own, so seams do not split the surface, and enough digits to give
    the same float32 back. Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    name = safe_name(asset.name)
    found = export_surface(asset.mesh)
    faces = np.stack([found.face_positions, found.face_uvs, found.face_normals], axis=2).reshape(-1, 9) + 1
    lines = [
        f"# dreamfusion_mesh {__version__}; metres, +Y up, front +Z",
        f"mtllib {name}.mtl",
        f"o {name}",
        *_numbers("v", found.positions),
        *_numbers("vt", found.uvs),
        *_numbers("vn", found.normals),
        f"usemtl {name}",
        "s 1",
        *("f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in faces.tolist()),
    ]
    library, images = _material(asset.material, name)
    return {f"{name}.obj": _text(lines), f"{name}.mtl": _text(library), **{file: png_bytes(image) for file, image in images.items()}}


def _material(material: Material, name: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """The library's lines and its images by file name. Where a map holds roughness or metalness, the factor is in it and written as 1:
    readers differ in whether they multiply the two.
    """
    written = [row for role, image in material.maps.items() for row in _images(role, image, material)]
    roughness, metallic = (1.0, 1.0) if "orm" in material.maps else (material.roughness_factor, material.metallic_factor)
    color = " ".join(f"{factor:.9g}" for factor in material.base_color_factor)
    plain = ["Ka 0 0 0", f"Kd {color}", "Ks 0 0 0", "Ke 0 0 0", "d 1", "illum 2"]
    lines = [f"{keyword} {name}_{suffix}.png" for keyword, suffix, _ in written]
    library = [f"newmtl {name}", *plain, f"Pr {roughness:.9g}", f"Pm {metallic:.9g}", *lines]
    return library, {f"{name}_{suffix}.png": pixels for _, suffix, pixels in written}


def _images(role: str, image: TextureMap, material: Material) -> list[tuple[str, str, np.ndarray]]:
    """Keyword, suffix of the file's name, and pixels: OBJ has an image of its own for each channel of data."""
    if role == "orm":
        roughness, metallic = _scaled(image, 1, material.roughness_factor), _scaled(image, 2, material.metallic_factor)
        return [("map_Pr", "roughness", roughness), ("map_Pm", "metallic", metallic)]
    return [(_KEYWORDS[role], MAP_SUFFIXES[role], image.pixels)]


def _scaled(image: TextureMap, channel: int, factor: float) -> np.ndarray:
    return np.round(image.pixels[:, :, channel].astype(np.float64) * factor).astype(np.uint8)


def _numbers(keyword: str, rows: np.ndarray) -> list[str]:
    pattern = " ".join([keyword, *["%.9g"] * rows.shape[1]])
    return [pattern % tuple(row) for row in rows.tolist()]


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("ascii")
