"""The files of an asset."""

from __future__ import annotations

from dreamfusion_mesh.asset.export.glb import collision_bytes, glb_bytes, level_bytes
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.asset.export.obj import obj_files
from dreamfusion_mesh.asset.export.png import PngFiles
from dreamfusion_mesh.asset.export.usd import usdz_bytes
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.records import Asset


def asset_files(asset: Asset, settings: AssetSettings) -> dict[str, bytes]:
    """File names and bytes; the names are the same for every engine, what is in the files is named as the engine wants it.

    NAME.glb, NAME_LOD1.glb ..., NAME_collision.glb where there are hulls, NAME.obj with its library, a PNG for every map, and NAME.usdz
    where `settings.usdz`. The same asset gives the same bytes.
    Raises ValueError where a mesh has no faces, no UVs, or values that are not finite; BadInput where usd-core is missing.
    """
    name, images = safe_name(asset.name), PngFiles()
    files = {f"{name}.glb": glb_bytes(asset, settings, images)}
    files |= {f"{name}_LOD{number}.glb": level_bytes(asset, number, settings, images) for number in range(1, len(asset.lods) + 1)}
    if asset.hulls:
        files[f"{name}_collision.glb"] = collision_bytes(asset, settings)
    files |= obj_files(asset, settings, images)
    if settings.usdz:
        files[f"{name}.usdz"] = usdz_bytes(asset, images)
    return files
