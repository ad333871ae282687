"""The files of an asset."""

from __future__ import annotations

from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.asset.export.obj import obj_files
from dreamfusion_mesh.records import Asset


def asset_files(asset: Asset) -> dict[str, bytes]:
    """File names and bytes: NAME.glb, then NAME.obj with its material library and maps. The same asset gives the same bytes.

    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    return {f"{safe_name(asset.name)}.glb": glb_bytes(asset), **obj_files(asset)}
