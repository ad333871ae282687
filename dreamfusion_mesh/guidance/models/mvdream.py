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
from dreamfusion_mesh.guidance.models.low_rank import check_room
from dreamfusion_mesh.guidance.models.multiview import set_multiview_attention
from dreamfusion_mesh.guidance.models.mvdream_folder import PORT, load_parts, mvdream_layout
from dreamfusion_mesh.guidance.models.pretrained import load_tokenizer
from dreamfusion_mesh.guidance.models.recorded import recorded_calls
from dreamfusion_mesh.guidance.models.unet import UNetModel
from dreamfusion_mesh.guidance.models.unet_folder import check_sizes, load_schedule
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, open_folder
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.records import Cameras
from dreamfusion_mesh.records.diffusion import Prediction, Schedule

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


@dataclass(frozen=True, eq=False)
class MVDreamModel(UNetModel):
    """MVDream as a GuidanceModel. Without cameras it was trained on other pictures, which is not offered: four views are seen together."""

    def camera_conditions(self, cameras: Cameras) -> Tensor:
        """See `camera_matrices`."""
        return camera_matrices(cameras)

    def text_fingerprint(self) -> str:
        """See UNetModel.text_fingerprint; the original checkpoint holds the text encoder in the file that has all else."""
        parts = ("tokenizer", "text_encoder" if self.files.layout is PORT else "")
        return self.files.text_fingerprint(parts, self.limit, self.schedule.signal.device)

    def _check_settings(self, settings: GuidanceSettings) -> None:
        super()._check_settings(settings)
        if not settings.multiview:
            raise BadInput(f"{self.files.source}: is MVDream, which sees four views together; set {_remedy('guidance.multiview=true')}")

    def check_views(self, settings: ViewSettings) -> None:
        """Raises BadInput for views that MVDream was not trained on: other elevations, or several of them in one step."""
        low, high = settings.elevation_degrees
        if settings.overhead or low < ELEVATIONS[0] or high > ELEVATIONS[1] or not settings.one_orbit:
            raise BadInput(
                f"{self.files.source}: is MVDream, which knows elevations from {ELEVATIONS[0]:g} to {ELEVATIONS[1]:g} degrees, one for all "
                f"four views (given elevation_degrees [{low:g}, {high:g}], overhead {settings.overhead:g}, one_orbit "
                f"{str(settings.one_orbit).lower()}); set {_remedy()}"
            )


def load_mvdream(source: Source, layout: Layout, settings: GuidanceSettings, device: torch.device) -> MVDreamModel:
    """MVDream from a folder that has `layout` (see `mvdream_layout`), frozen, on `device`. Raises BadInput as `load_diffusion` does."""
    folder = open_folder(source, layout)
    tokenizer = load_tokenizer(source, folder, "tokenizer")
    half = settings.half_precision and device.type == "cuda"
    unet, text_encoder, vae, noise = load_parts(source, folder, layout, torch.float16 if half else torch.float32)
    schedule, prediction = load_schedule(source, folder) if layout is PORT else _published_schedule(noise)
    check_room(source, unet.config, settings.loss)
    patch, size = check_sizes(source, unet.config, text_encoder.config, tokenizer, vae.config)
    set_multiview_attention(unet)
    return MVDreamModel(
        files=ModelFiles(source, folder, layout),
        half_precision=settings.half_precision,
        unet=unet.to(device),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        vae=vae.to(device),
        schedule=schedule.to(device),
        prediction=prediction,
        patch=patch,
        size=size,
        limit=int(min(text_encoder.config.max_position_embeddings, tokenizer.model_max_length)),
        takes_cameras=True,
        recorded=recorded_calls(unet, device),
    )


def _published_schedule(noise: dict[str, float]) -> tuple[Schedule, Prediction]:
    """That of the original checkpoint: roots of the noise's variances rise linearly, and the noise is what is predicted."""
    ends = (noise["linear_start"] ** 0.5, noise["linear_end"] ** 0.5)
    betas = torch.linspace(*ends, int(noise["timesteps"]), dtype=torch.float64).square()
    return variance_preserving((1 - betas).cumprod(0).float()), "epsilon"


def _remedy(*first: str) -> str:
    needed = (*first, "coarse.views=4", "fine.views=4") if first else ()
    return ", ".join([*needed, "views.elevation_degrees=[0, 30]", "views.overhead=0", "views.one_orbit=true"]) + ", or use --model mvdream"


__all__ = ["MVDreamModel", "camera_matrices", "load_mvdream", "mvdream_layout"]
