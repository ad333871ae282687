"""Row 7: one metallic-roughness material with sound maps and every factor written out."""

from __future__ import annotations

from dreamfusion_mesh.audit.readers.factors import NORMAL_SCALE, OCCLUSION_STRENGTH
from dreamfusion_mesh.audit.readers.images import ImageInfo, decode
from dreamfusion_mesh.audit.readers.written import Map, Materials, Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.errors import BadInput

_FACTORS = {  # of each map
    "base color": ("baseColorFactor",),
    "metallic-roughness": ("metallicFactor", "roughnessFactor"),
    "normal": (NORMAL_SCALE,),
    "occlusion": (OCCLUSION_STRENGTH,),
    "emissive": ("emissiveFactor",),
}
_GREY = ("roughness", "metallic", "bump")  # an OBJ's maps of one channel


def pbr_row(written: Written) -> Row:
    """Row 7."""
    materials = written.materials
    if materials is None:
        return unmeasured_row(7, f"no material is read from {written.kind} files")
    if materials.count != 1:
        return measured_row(7, {"materials": materials.count}, [f"{materials.count} materials, expected 1", *materials.problems])
    problems, images = map_problems(materials.maps)
    problems += materials.problems
    problems += hidden_maps(materials)
    problems += [f"{factor} is not written out" for factor in materials.missing_factors]
    measured: Figures = {role: f"{image.width} x {image.height}" for role, image in images.items()}
    return measured_row(7, measured, problems)


def map_problems(maps: tuple[Map, ...]) -> tuple[list[str], dict[str, ImageInfo]]:
    """What keeps a material's maps from being game-ready, and each role's image. Base colour must be there."""
    problems, images = [], dict[str, ImageInfo]()
    for entry in maps:
        try:
            images[entry.role] = decode(entry.data, entry.role)
        except BadInput as error:
            problems.append(str(error))
    if not any(entry.role == "base color" for entry in maps):
        problems.append("no base color texture")
    for role, image in images.items():
        problems += _image_problems(role, image)
    sizes = {(image.width, image.height) for image in images.values()}
    if len(sizes) > 1:
        problems.append(f"maps of different sizes: {', '.join(f'{w} x {h}' for w, h in sorted(sizes))}")
    color = {entry.key for entry in maps if entry.role in ("base color", "emissive")}
    shared = color & {entry.key for entry in maps if entry.role not in ("base color", "emissive")}
    if shared:
        problems.append(f"{', '.join(sorted(shared))} is read both as sRGB colour and as linear data")
    return problems, images


def hidden_maps(materials: Materials) -> list[str]:
    """The maps that factors of zero hide, a line each."""
    problems = []
    for role, names in _FACTORS.items():
        values = [value for name in names for value in materials.factors.get(name, (1.0,))[:3]]
        if not any(values) and any(entry.role == role for entry in materials.maps):
            problems.append(f"{role}: hidden, since {' and '.join(names)} {'is' if len(names) == 1 else 'are'} 0")
    return problems


def _image_problems(role: str, image: ImageInfo) -> list[str]:
    problems = []
    if image.mime != "image/png":
        problems.append(f"{role}: {image.mime}, expected PNG")
    if image.bits != 8:
        problems.append(f"{role}: {image.bits} bits a channel, expected 8")
    if image.mode not in (("L", "RGB") if role in _GREY else ("RGB", "RGBA")):
        problems.append(f"{role}: channels {image.mode}, expected {'L or ' if role in _GREY else ''}RGB")
    wanted = "sRGB" if role in ("base color", "emissive") else "linear"
    if image.color not in ("", wanted):
        problems.append(f"{role}: the PNG says {image.color}, which contradicts {wanted}")
    if image.width != image.height or image.width & (image.width - 1):
        problems.append(f"{role}: {image.width} x {image.height}, expected a square with a power of two a side")
    return problems
