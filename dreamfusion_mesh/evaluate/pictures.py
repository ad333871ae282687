"""An asset as the judge sees it: from all around, in colour and as grey clay, framed and lit as the embedded model's world is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.texels import texels_of
from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.records import Pictures
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.records import Fragments, Mesh, Shading, Views, linear_to_srgb
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.raster.render import SurfaceColor, downsample, render_surface
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.texture import texture_lookup
from dreamfusion_mesh.render.views import plain_views

AZIMUTHS = 12
ELEVATION = math.radians(30)  # as DreamFusion measures R-Precision
LONGEST, RADIUS = 1.4, 0.83  # scene units: the longest side of the framed asset's box, and the farthest that it reaches from its middle
BACKGROUND = 0.5  # grey, display-referred
SUPERSAMPLE = 3


@dataclass(frozen=True, eq=False)
class Surface:
    """What pictures are taken of.

    normals       [N, 3]        unit
    normal_faces  [F, 3] int64  rows of `normals`; None: those of the vertices
    color         display-referred
    """

    mesh: Mesh
    normals: Tensor
    normal_faces: Tensor | None
    color: SurfaceColor


def pictures_of(
    file: Path, rasterizer: Rasterizer, size: int, device: torch.device | str, azimuths: int = AZIMUTHS, engine: str = "generic"
) -> Pictures:
    """A .glb as it is on disk, seen [azimuths, size, size, 3] from all around; its normal map, which changes no shape, is left out.

    engine  by whose names the file's levels of detail and hulls are known
    Raises BadInput in one line where it cannot be read as one coloured surface.
    """
    try:
        surface = _read_surface(read_model(read_bytes(file), file, engine), rasterizer, device)
    except BadInput as error:
        where = shown(file)
        raise BadInput(*(line if line.startswith(where) else f"{where}: {line}" for line in error.lines)) from None
    return photograph(surface, rasterizer, size, azimuths)


@torch.no_grad()
def photograph(surface: Surface, rasterizer: Rasterizer, size: int, azimuths: int = AZIMUTHS) -> Pictures:
    """A surface of any size and place, seen [azimuths, size, size, 3] from all around."""
    mesh = surface.mesh
    middle, scale = framing(mesh.vertices[mesh.faces].reshape(-1, 3))
    framed = replace(mesh, vertices=(mesh.vertices - middle) * scale)

    def seen(shading: Shading) -> Tensor:
        pictures = []
        for view in range(azimuths):
            views = judging_views(shading, size * SUPERSAMPLE, azimuths, framed.vertices.device, slice(view, view + 1))
            found = render_surface(rasterizer, framed, surface.normals, surface.normal_faces, surface.color, views, shader(views))
            pictures.append(downsample(found.rgb, SUPERSAMPLE))
        return torch.cat(pictures)

    return Pictures(seen(Shading.LAMBERTIAN), seen(Shading.TEXTURELESS))


def judging_views(shading: Shading, side: int, azimuths: int, device: torch.device | str, part: slice = slice(None)) -> Views:
    """`part` of the [azimuths] views of `side` pixels all around, the front first, lit as the embedded model's world is."""
    settings = ViewSettings()
    distance, fov_y = sum(settings.distance) / 2, math.radians(sum(settings.fov_y_degrees) / 2)
    around = turntable(azimuths, ELEVATION, distance, fov_y, side, side, device)
    return plain_views(around.part(part), shading, [BACKGROUND] * 3, settings.ambient, settings.diffuse)


def framing(points: Tensor) -> tuple[Tensor, Tensor]:
    """What moves points [N, 3], and then scales them, so that they just fit: the middle [3] of their box, and a factor []."""
    low, high = points.amin(0), points.amax(0)
    middle = (low + high) / 2
    longest, reach = (high - low).amax(), (points - middle).norm(dim=1).amax()
    return middle, torch.minimum(LONGEST / longest.clamp_min(1e-12), RADIUS / reach.clamp_min(1e-12))


def _read_surface(written: Written, rasterizer: Rasterizer, device: torch.device | str) -> Surface:
    """Raises BadInput for a file that has more than one material, or whose shape or colours cannot be read."""
    if written.unread:
        raise BadInput(next(iter(written.unread.values())))
    vertices = torch.from_numpy(written.vertices)
    middle, size = vertices.mean(0), vertices.abs().amax().clamp_min(1e-30)
    vertices = ((vertices - middle) / size).float().to(device)  # in float64 first, so that nothing is lost far from the origin
    faces = torch.from_numpy(written.faces).to(device)
    corner_rows = torch.arange(3 * len(faces), device=device).reshape(-1, 3)
    normals, rows = vertex_normals(vertices.double(), faces, "angle").float(), None
    if written.corner_normals is not None and np.isfinite(written.corner_normals).all():
        normals, rows = torch.from_numpy(written.corner_normals.reshape(-1, 3)).float().to(device), corner_rows
    uvs = None if written.corner_uvs is None else torch.from_numpy(written.corner_uvs.reshape(-1, 2)).float().to(device)
    mesh = Mesh(vertices, faces, uvs, None if uvs is None else corner_rows)
    return Surface(mesh, normals, rows, _base_color(written, mesh, rasterizer))


def _base_color(written: Written, mesh: Mesh, rasterizer: Rasterizer) -> SurfaceColor:
    materials = written.materials
    if materials is None or materials.problems:
        raise BadInput(f"its colours cannot be judged: {materials.problems[0] if materials else 'no material is read'}")
    if not materials.factors:
        expected = "one glTF material for the whole surface is expected"
        raise BadInput(f"its colours cannot be judged: {expected} (materials, or surfaces without one: {materials.count})")
    factor = torch.tensor(materials.factors["baseColorFactor"][:3], device=mesh.vertices.device)
    image = next((entry for entry in materials.maps if entry.role == "base color"), None)
    if image is not None and mesh.uvs is None:
        raise BadInput("its colours cannot be judged: it has a base colour map and no UVs")
    look_up = None if image is None else texture_lookup(mesh, texels_of(image.data, "base color"), rasterizer)

    def color(fragments: Fragments, seen: Tensor, points: Tensor) -> Tensor:
        linear = factor.expand(len(seen), 3) if look_up is None else look_up(fragments, seen) * factor
        return linear_to_srgb(linear)

    return color
