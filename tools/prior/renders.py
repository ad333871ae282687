"""Scenes seen by the project's own renderer: its cameras, its lights, its rasterizer, its shading, and its words for what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.config import GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.guidance.prompts import view_words
from dreamfusion_mesh.records import Cameras, Lights, Shading, Views
from dreamfusion_mesh.render.cameras import clip_from_world, orbit
from dreamfusion_mesh.render.raster.render import downsample
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views, random_views
from tools.prior.captions import caption_of
from tools.prior.finishes import apply
from tools.prior.world import Built

SIZE = 64
# Cameras and lights as SDS draws them; more of the views that are rarer there, because each needs learning.
VIEWS = ViewSettings(lambertian=0.45, textureless=0.25, overhead=0.15)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Renders of scenes and their captions.

    rgb    [B, 64, 64, 3] in [0, 1]
    alpha  [B, 64, 64, 1] coverage
    scene  [B] int64      which scene each shows
    """

    rgb: Tensor
    alpha: Tensor
    captions: list[str]
    scene: Tensor
    views: Views


def photograph(
    scenes: Sequence[Built],
    count: int,
    rasterizer: Rasterizer,
    draws: torch.Generator,
    device: torch.device | str,
    supersample: int = 3,
    settings: ViewSettings = VIEWS,
    angles: Tensor | None = None,
) -> Pictures:
    """`count` random views of each scene, captioned; all in one call of the rasterizer.

    With angles [len(scenes) * count, 2], azimuth and elevation in radians, the cameras stand there without jitter, the light above them;
    shading and backgrounds are drawn all the same.
    """
    side = SIZE * supersample
    views = join_views([random_views(count, settings, side, side, draws, device) for _ in scenes])
    if angles is not None:
        views = _moved(views, angles.to(device), settings)
    scene = torch.arange(len(scenes), device=device).repeat_interleave(count)
    rgb, alpha = render(scenes, scene, views, rasterizer, supersample)
    return Pictures(rgb, alpha, words_of(scenes, scene, views), scene, views)


def _moved(views: Views, angles: Tensor, settings: ViewSettings) -> Views:
    azimuth, elevation = angles.unbind(1)
    middle = [torch.full_like(azimuth, sum(span) / 2) for span in (settings.distance, settings.fov_y_degrees)]
    cameras = orbit(azimuth, elevation, middle[0], middle[1].deg2rad(), views.cameras.height, views.cameras.width)
    lights = plain_views(cameras, Shading.LAMBERTIAN, (0.0, 0.0, 0.0), settings.ambient, settings.diffuse).lights
    return replace(views, cameras=cameras, lights=lights)


def words_of(scenes: Sequence[Built], scene: Tensor, views: Views) -> list[str]:
    """The caption of each view, as guidance words it."""
    settings = GuidanceSettings()
    rows = view_words(views.cameras.azimuth, views.cameras.elevation, settings.front_degrees, settings.overhead_degrees)
    clay = views.shading == Shading.TEXTURELESS
    triples = zip(scene.tolist(), rows.tolist(), clay.tolist(), strict=True)
    return [caption_of(scenes[which].phrase, row, grey) for which, row, grey in triples]


@torch.no_grad()
def render(scenes: Sequence[Built], scene: Tensor, views: Views, rasterizer: Rasterizer, supersample: int) -> tuple[Tensor, Tensor]:
    """rgb [B, H, W, 3] and alpha [B, H, W, 1] of scenes[scene[b]] seen in view b, averaged down by `supersample`.

    Corners are not shared, so scenes of any shape have the same faces once they are filled up with corners behind the camera.
    """
    device = scene.device
    most = max(len(built.corners) for built in scenes)
    table = torch.stack([_corner_table(built, most) for built in scenes]).to(device)[scene]
    faces = torch.arange(3 * most, device=device).reshape(-1, 3)
    cameras = views.cameras
    clip = torch.cat((table[..., :3], torch.ones_like(table[..., :1])), -1) @ clip_from_world(cameras, 0.1, 10.0).transpose(1, 2)
    clip = torch.where(table[..., 10:11] < 0, torch.tensor([0.0, 0.0, 0.0, -1.0], device=device), clip)
    fragments = rasterizer.rasterize(clip, faces, (cameras.height, cameras.width))
    surface = rasterizer.interpolate(table[..., :10].contiguous(), fragments, faces).reshape(-1, 10)
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    view = seen // (cameras.height * cameras.width)
    points, normals, colour, finish = surface[seen].split((3, 3, 3, 1), dim=1)
    normals = normalize(normals, dim=1)
    seeds = torch.tensor([built.seed for built in scenes], device=device)[scene][view]
    albedo = apply(colour, points, normals, finish[:, 0].round().long(), seeds)
    rgb = views.background.repeat_interleave(cameras.height * cameras.width, dim=0)
    rgb[seen] = shader(views)(albedo, normals, view)
    shape = (len(views), cameras.height, cameras.width)
    alpha = (fragments.face >= 0).to(rgb.dtype)[..., None]
    return downsample(rgb.reshape(*shape, 3), supersample), downsample(alpha, supersample)


def _corner_table(built: Built, most: int) -> Tensor:
    """[3 most, 11]: position, normal, colour, finish, and 1 for a corner, -1 for filling."""
    faces = len(built.corners)
    flat = torch.cat((built.colour, built.finish[:, None].float(), torch.ones(faces, 1)), 1)[:, None].expand(-1, 3, -1)
    table = torch.cat((built.corners, built.normals, flat), -1).reshape(-1, 11)
    return torch.cat((table, table.new_tensor([0.0] * 10 + [-1.0]).expand(3 * (most - faces), -1)))


def join_views(parts: Sequence[Views]) -> Views:
    """All the views, one after another; they share their size."""
    cameras, lights = [part.cameras for part in parts], [part.lights for part in parts]

    def of(records: Sequence[Cameras] | Sequence[Lights], name: str) -> Tensor:
        return torch.cat([getattr(record, name) for record in records])

    to_world, fov_y, azimuth, elevation = (of(cameras, name) for name in ("to_world", "fov_y", "azimuth", "elevation"))
    joined = Cameras(to_world, fov_y, azimuth, elevation, cameras[0].height, cameras[0].width)
    lit = Lights(of(lights, "directions"), of(lights, "ambient"), of(lights, "diffuse"))
    return Views(joined, lit, torch.cat([part.shading for part in parts]), torch.cat([part.background for part in parts]))
