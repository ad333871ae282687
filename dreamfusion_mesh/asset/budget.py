"""An asset within a number of bytes: its maps shrink first, and where the smallest are too much, its triangles go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Asset, Lod, Material, TextureMap, linear_to_srgb, srgb_to_linear

SMALLEST_MAP = 64  # texels a side, of the sizes a texture may be set to
FEWEST_TRIANGLES = 50  # of those a mesh may be set to

_log = logging.getLogger(__name__)

_ATTEMPTS = 8  # at making the asset anew
_MARGIN = 0.97  # of the triangles that should fit: vertices do not go exactly with them


@dataclass(frozen=True, eq=False)
class Fitted:
    """An asset that fits, and lines for the user on what it lost."""

    asset: Asset
    warnings: tuple[str, ...]


def within_bytes(asset: Asset, most: int | None, to_file: Callable[[Asset], bytes], redo: Callable[[int, int], Asset]) -> Fitted:
    """The asset so that its file has at most `most` bytes; as it is where it has, or where `most` is None.

    All of the largest maps are halved together, so that maps of one size stay so, down to SMALLEST_MAP texels; where that is not enough
    the asset gets fewer triangles. At last it is made anew for the maps' size, since halving them halves the gaps between charts, too.
    to_file  the file that is counted
    redo     the asset made anew with at most so many triangles, for maps of so many texels a side, its levels of detail too
    Raises RunFailed, with the least size found, where the smallest maps and the fewest triangles that `redo` gets to are still too much.
    """
    if most is None:
        return Fitted(asset, ())
    triangles, size = len(asset.mesh.faces), _side(asset.material)
    current, found, laid_out = asset, len(to_file(asset)), size
    tried = list[tuple[int, int]]()
    while found > most or _side(current.material) < laid_out:
        if found <= most:
            laid_out = _side(current.material)
            current = redo(len(current.mesh.faces), laid_out)
        elif (smaller := with_halved_maps(current)) is not None:
            current = smaller
        else:
            _check_progress(current, found, most, triangles, tried)
            tried.append((len(current.mesh.faces), found))
            laid_out = _side(current.material)
            current = redo(_fewer(tried, most), laid_out)
        found = len(to_file(current))
    lost = []
    if len(current.mesh.faces) < triangles:
        lost.append(f"{len(current.mesh.faces)} triangles instead of {triangles}")
    if _side(current.material) < size:
        lost.append(f"maps of {_side(current.material)} texels instead of {size}")
    warnings = (f"mesh.max_bytes: {' and '.join(lost)}, to stay within {most} bytes",) if lost else ()
    for line in warnings:
        _log.warning("%s", line)
    return Fitted(current, warnings)


def _check_progress(asset: Asset, found: int, most: int, triangles: int, tried: list[tuple[int, int]]) -> None:
    """Raise RunFailed where fewer triangles are not to be had: the asset, in `found` bytes, is as small as it gets."""
    count, before = len(asset.mesh.faces), tried[-1][0] if tried else triangles + 1
    if count <= FEWEST_TRIANGLES or count >= before or len(tried) == _ATTEMPTS:
        smallest = f"{count} triangles and maps of {_side(asset.material)} texels take {found} bytes"
        raise RunFailed(f"mesh.max_bytes: {most} is too little: {smallest}; raise it to at least that")


def _fewer(tried: list[tuple[int, int]], most: int) -> int:
    """Triangles that should fit, from pairs of triangles and bytes that did not: on a line through the last two, or through zero."""
    count, found = tried[-1]
    before, larger = tried[-2] if len(tried) > 1 else (0, 0)
    slope = (found - larger) / (count - before) if count != before and (found - larger) * (count - before) > 0 else found / count
    return max(FEWEST_TRIANGLES, min(count - 1, int(_MARGIN * (count - (found - most) / slope))))


def with_halved_maps(asset: Asset) -> Asset | None:
    """The asset with the largest of its maps at half the size, those of its levels too; None where none can be smaller."""
    materials = {id(material): material for material in (asset.material, *(lod.material for lod in asset.lods))}
    smaller = {key: _halved(material) for key, material in materials.items()}
    if smaller[id(asset.material)] is None:
        return None
    found = {key: made or materials[key] for key, made in smaller.items()}
    lods = tuple(Lod(lod.mesh, found[id(lod.material)]) for lod in asset.lods)
    return replace(asset, material=found[id(asset.material)], lods=lods)


def _halved(material: Material) -> Material | None:
    side = _side(material)
    if side < 2 * SMALLEST_MAP:
        return None
    maps = {role: halved_map(role, image) if max(image.pixels.shape[:2]) == side else image for role, image in material.maps.items()}
    return replace(material, maps=maps)


def _side(material: Material) -> int:
    """Texels along the longest side of its largest map."""
    maps: Mapping[str, TextureMap] = material.maps
    return max(max(image.pixels.shape[:2]) for image in maps.values())


def halved_map(role: str, image: TextureMap) -> TextureMap:
    """A map at half the size, each texel the mean of four: of light where it is sRGB, of unit vectors where it is the normal map.

    An odd row or column at the end counts twice.
    """
    pixels = np.pad(image.pixels, ((0, image.pixels.shape[0] % 2), (0, image.pixels.shape[1] % 2), (0, 0)), mode="edge")
    height, width, channels = pixels.shape
    values = torch.arange(256, dtype=torch.float64) / 255
    if image.color_space == "srgb":
        values = srgb_to_linear(values)
    quads = values.float()[torch.from_numpy(pixels).int()].reshape(height // 2, 2, width // 2, 2, channels)
    mean = quads.mean(dim=(1, 3))
    if role == "normal":
        mean = torch.nn.functional.normalize(mean * 2 - 1, dim=2) / 2 + 0.5
    if image.color_space == "srgb":
        mean = linear_to_srgb(mean)
    return TextureMap((mean * 255).round().clamp(0, 255).to(torch.uint8).numpy(), image.color_space)
