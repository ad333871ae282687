"""An asset as Wavefront OBJ with its material library and maps."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import surface
from dreamfusion_mesh.asset.export.glb import png_bytes
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.records import Asset, TextureSet


def obj_files(asset: Asset) -> dict[str, bytes]:
    """File names and bytes: NAME.obj, NAME.mtl, NAME_basecolor.png and the material's other maps.

    Positions, UVs (origin bottom-left) and normals keep indices of their own, so seams do not split the surface, and enough digits to give
    the same float32 back. Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    name = safe_name(asset.name)
    found = surface(asset.mesh)
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
    material, maps = _material(asset.textures, name)
    return {f"{name}.obj": _text(lines), f"{name}.mtl": _text(material), **{file: png_bytes(image) for file, image in maps.items()}}


def _material(textures: TextureSet, name: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """The library's lines and its maps by file name. Where a map holds roughness or metalness, the factor is in it and written as 1:
    readers differ in whether they multiply the two.
    """
    maps = {f"{name}_basecolor.png": textures.base_color}
    roughness, metallic = textures.roughness, textures.metallic
    lines = [f"map_Kd {name}_basecolor.png"]
    if textures.orm is not None:
        maps[f"{name}_roughness.png"] = _scaled(textures.orm[:, :, 1], roughness)
        maps[f"{name}_metallic.png"] = _scaled(textures.orm[:, :, 2], metallic)
        lines += [f"map_Pr {name}_roughness.png", f"map_Pm {name}_metallic.png"]
        roughness = metallic = 1.0
    if textures.normal is not None:
        maps[f"{name}_normal.png"] = textures.normal
        lines.append(f"norm {name}_normal.png")
    plain = ["Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "Ke 0 0 0", "d 1", "illum 2"]
    return [f"newmtl {name}", *plain, f"Pr {roughness:.9g}", f"Pm {metallic:.9g}", *lines], maps


def _scaled(channel: np.ndarray, factor: float) -> np.ndarray:
    return np.round(channel.astype(np.float64) * factor).astype(np.uint8)


def _numbers(keyword: str, rows: np.ndarray) -> list[str]:
    pattern = " ".join([keyword, *["%.9g"] * rows.shape[1]])
    return [pattern % tuple(row) for row in rows.tolist()]


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("ascii")
