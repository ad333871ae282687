"""MVDream: four views of one object, a quarter turn apart, drawn together by a U-Net that is given their cameras.

Source: Shi et al., arXiv:2308.16512, sections 3.1 and 3.2, and what its authors published: the camera's 4 x 4 matrix goes through an MLP of
two layers into the embedding of the time; self-attention spans the views; pictures are 256 pixels a side, elevations 0 to 30 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings, ViewSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.autoencoder import autoencoder_files, read_layout
from dreamfusion_mesh.guidance.models.compiled import compiled_blocks
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.low_rank import check_peft
from dreamfusion_mesh.guidance.models.multiview import set_multiview_attention
from dreamfusion_mesh.guidance.models.mvdream_parts import load_parts
from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.recorded import recorded_calls
from dreamfusion_mesh.guidance.models.unet import UNet, check_unet, side
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, open_folder
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.records import Cameras

ELEVATIONS = (0.0, 30.0)  # degrees, of the views that it was trained on
_AXES = (2, 0, 1)  # of (x, y, z) with +Y up and the front towards +Z, the ones that are x, y and z with +Z up and the front towards +X


def camera_matrices(cameras: Cameras) -> Tensor:
    """The camera conditions [B, 16] of MVDream: camera-to-world matrices, row by row, in a world with +Z up and the front towards +X.

    Columns are right, up, back and position; positions are of length 1, as distance and field of view are not given.
    """
    moved = cameras.to_world.clone()
    moved[:, :3] = cameras.to_world[:, _AXES]
    moved[:, :3, 3] = torch.nn.functional.normalize(moved[:, :3, 3], dim=1)
    return moved.flatten(1)


class MVDreamUNet(UNet):
    """A U-Net that takes the cameras' matrices, and four views together."""

    def camera_numbers(self, cameras: Cameras) -> Tensor:
        """See `camera_matrices`."""
        return camera_matrices(cameras)


@dataclass(frozen=True, eq=False)
class MVDreamModel(DiffusionModel):
    """MVDream as a GuidanceModel. Without cameras it was trained on other pictures, which is not offered: four views are seen together."""

    def _check_settings(self, settings: GuidanceSettings) -> None:
        super()._check_settings(settings)
        check_mvdream_settings(self.files.source, settings)

    def check_views(self, settings: ViewSettings) -> None:
        """Raises BadInput for views that MVDream was not trained on: other elevations, or several of them in one step."""
        low, high = settings.elevation_degrees
        if settings.overhead or low < ELEVATIONS[0] or high > ELEVATIONS[1] or not settings.one_orbit:
            raise BadInput(
                f"{self.files.source}: is MVDream, which knows elevations from {ELEVATIONS[0]:g} to {ELEVATIONS[1]:g} degrees, one for all "
                f"four views (given elevation_degrees [{low:g}, {high:g}], overhead {settings.overhead:g}, one_orbit "
                f"{str(settings.one_orbit).lower()}); set {_remedy(self.files.source)}"
            )


def check_mvdream_settings(source: Source, settings: GuidanceSettings) -> None:
    """Raises BadInput where MVDream, which need not be loaded, is to see each view alone, or to learn without the package for it."""
    if not settings.multiview:
        raise BadInput(f"{source}: is MVDream, which sees four views together; set {_remedy(source, 'guidance.multiview=true')}")
    if settings.loss == "vsd":
        check_peft()


def load_mvdream(source: Source, layout: Layout, settings: GuidanceSettings, dtype: torch.dtype, device: torch.device) -> MVDreamModel:
    """MVDream from a folder that has `layout` (see `mvdream_layout`), frozen, on `device`. Raises BadInput as `load_diffusion` does."""
    chosen = autoencoder_files(settings.autoencoder)
    read = read_layout(layout, chosen)
    folder = open_folder(source, read)
    placement = Placement(device, settings.offload == "layers")
    parts = load_parts(source, folder, layout, dtype, placement, chosen)
    own = parts.unet.config
    check_unet(source, own, parts.text)
    set_multiview_attention(parts.unet)
    network = placement.place(parts.unet)
    return MVDreamModel(
        files=ModelFiles(source, folder, read, chosen),
        loaded_with=settings.loaded_with,
        denoiser=MVDreamUNet(network, takes_cameras=True),
        text=parts.text,
        latents=parts.latents.to(device),
        schedule=parts.schedule.to(device),
        prediction=parts.prediction,
        size=side(source, own) * parts.latents.scale,
        recorded=None if settings.compile else recorded_calls(network, placement),
        compiled=compiled_blocks(network, settings),
    )


def _remedy(source: Source, *first: str) -> str:
    """The settings that MVDream needs, and how to have them all."""
    needed = (*first, "coarse.views=4", "fine.views=4") if first else ()
    listed = ", ".join([*needed, "views.elevation_degrees=[0, 30]", "views.overhead=0", "views.one_orbit=true"])
    return f"{listed}, or give --model mvdream beside --set guidance.model={source.name}"
