"""MVDream from both of its published layouts: what it predicts, what its cameras mean, which views it takes, and every loss through it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import PROMPT, asked, bind, load, normal
from mvdream_twin import Twin
from safetensors.torch import load_file
from tiny_mvdream import TINY, write_checkpoint, write_port

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.models.mvdream import camera_matrices
from dreamfusion_mesh.records import Cameras, Mesh, Shading
from dreamfusion_mesh.render.cameras import orbit, turntable
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views, random_views
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fit import Hooks

CPU = torch.device("cpu")
LAYOUTS = ["port", "checkpoint"]
ORBIT = ViewSettings(elevation_degrees=(0, 30), overhead=0, one_orbit=True)


@pytest.fixture(scope="module")
def mvdream(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny MVDream in each layout; not to be changed."""
    parent = tmp_path_factory.mktemp("mvdream")
    return {"port": write_port(parent / "port"), "checkpoint": write_checkpoint(parent / "checkpoint")}


def published(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The U-Net's tensors in a folder under their published names, and its parameters."""
    (file,) = [*folder.glob("unet/*.safetensors"), *folder.glob("*.safetensors")]
    prefix = "model.diffusion_model."
    found = {name.removeprefix(prefix): value for name, value in load_file(file).items() if name.startswith(prefix) or "unet" in str(file)}
    return found, TINY | {"context_dim": found["input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]}


def around(count: int = 4, elevation: float = 0.3) -> Cameras:
    return turntable(count, elevation, 2.6, 0.7, 32, 32, CPU)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_predicts_what_the_description_says_of_the_published_tensors(mvdream: dict[str, Path], layout: str) -> None:
    model = bind(mvdream[layout], multiview=True)
    noisy, t, cameras = normal(8, 4, 4, 4), torch.tensor([300] * 4 + [801] * 4), camera_matrices(around(8))
    text = model.text.states[:8]
    found = asked(model, noisy, t, text, cameras, 4)
    wanted = Twin(*published(mvdream[layout]), views=4)(noisy, t, text, cameras)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    blind = Twin(*published(mvdream[layout]), views=4)(noisy, t, text, None)
    assert (blind - wanted).abs().max() > 1e-2, "the cameras matter"


def test_the_original_checkpoint_has_the_published_noise_autoencoder_and_words(mvdream: dict[str, Path]) -> None:
    one = load(mvdream["checkpoint"], multiview=True)
    port = load(mvdream["port"], multiview=True)
    torch.testing.assert_close(one.schedule.signal, port.schedule.signal, rtol=1e-5, atol=1e-6)  # diffusers' scaled_linear
    assert (one.prediction, one.size, one.text.limit) == ("epsilon", 8, 24)
    assert one.latents.vae.config.scaling_factor == 0.18215
    assert one.text.readers[0].encoder.config.num_hidden_layers == 1
    states = one.text.encode([PROMPT, "a blue chair"]).states
    assert states.shape == (2, 24, 64)
    assert (states[0] - states[1]).abs().max() > 1e-2
    assert one.encode(torch.rand(2, 32, 32, 3)).shape == (2, 4, 4, 4)


def test_equal_views_are_seen_together_as_each_is_alone_and_others_are_not(mvdream: dict[str, Path]) -> None:
    model = bind(mvdream["port"], multiview=True)
    text, t = model.text.states[:1].expand(4, -1, -1), torch.full((4,), 300)
    noisy, cameras = normal(1, 4, 4, 4).expand(4, -1, -1, -1), camera_matrices(around(1)).expand(4, -1)
    alone, together = (asked(model, noisy, t, text, cameras, views) for views in (1, 4))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    noisy = normal(4, 4, 4, 4)
    alone, together = (asked(model, noisy, t, text, cameras, views) for views in (1, 4))
    assert (together - alone).flatten(1).abs().amax(1).min() > 1e-3


def test_cameras_are_the_sixteen_numbers_of_the_published_code() -> None:
    """get_camera(4, elevation=30, azimuth_start=90) of mvdream/camera_utils.py, by hand: front, side, back."""
    half, root = 0.5, math.sqrt(0.75)
    front = [0, -half, root, root, 1, 0, 0, 0, 0, root, half, half, 0, 0, 0, 1]
    side = [-1, 0, 0, 0, 0, -half, root, root, 0, root, half, half, 0, 0, 0, 1]
    back = [0, half, -root, -root, -1, 0, 0, 0, 0, root, half, half, 0, 0, 0, 1]
    found = camera_matrices(around(4, math.radians(30)))
    torch.testing.assert_close(found[:3], torch.tensor([front, side, back]), rtol=0, atol=1e-6)


def test_a_moved_camera_keeps_its_direction_and_loses_its_distance() -> None:
    values = (torch.tensor([value]) for value in (0.4, 0.2, 3.1, 0.7))
    cameras = orbit(*values, 8, 8, position_offset=torch.tensor([[0.1, -0.2, 0.3]]), target=torch.tensor([[0.2, 0.1, 0.0]]))
    found = camera_matrices(cameras).reshape(4, 4)
    assert found[:3, 3].norm() == pytest.approx(1)
    assert torch.linalg.det(found[:3, :3]) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found[:3, 2], cameras.to_world[0, [2, 0, 1], 2])


def test_an_arrow_seen_by_its_cameras_is_the_arrow_that_we_render() -> None:
    """An arrow to the front with a fin on top, drawn from four sides by our cameras; and, in MVDream's world, by its 16 numbers."""
    arrow = torch.tensor([[0.0, 0, 0.9], [-0.3, 0, -0.3], [0.3, 0, -0.3], [0, 0.5, -0.3]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    cameras, rasterizer = turntable(4, 0.0, 2.6, 0.7, 96, 96, CPU), resolve_rasterizer("warp", CPU)
    views = plain_views(cameras, Shading.ALBEDO, (0, 0, 0), 0.3, 0.7)
    seen = render_mesh(rasterizer, Mesh(arrow, faces), arrow, lambda points: torch.ones_like(points), views, shader(views)).alpha[..., 0]
    numbers = camera_matrices(cameras).reshape(-1, 4, 4)
    theirs = arrow[:, [2, 0, 1]] - 2.6 * numbers[:, None, :3, 3]  # the positions have lost their distance
    right, up, back = (torch.einsum("bvi,bi->bv", theirs, numbers[:, :3, axis]) for axis in range(3))
    slope, size = math.tan(0.35), 96
    columns, rows = (right / -back / slope + 1) * size / 2, (1 - up / -back / slope) * size / 2
    for view in range(4):
        lit = seen[view].nonzero() + 0.5
        corners = torch.stack((rows[view], columns[view]), dim=1)
        torch.testing.assert_close(lit.amin(0), corners.amin(0), rtol=0, atol=3)  # a thin tip fills no pixel
        torch.testing.assert_close(lit.amax(0), corners.amax(0), rtol=0, atol=3)  # a thin tip fills no pixel
    tip = columns[:, 0] - size / 2
    assert tip[0] == pytest.approx(0, abs=1e-4)  # towards us, away from us, and to either side
    assert (-back)[0, 0] < (-back)[2, 0]
    assert tip[1] < -15
    assert tip[3] > 15
    assert (rows[:, 3] < size / 2 - 10).all()  # the fin is up


def test_views_of_one_orbit_share_what_a_camera_is_but_for_its_azimuth() -> None:
    draws = torch.Generator().manual_seed(3)
    cameras = random_views(4, ORBIT, 8, 8, draws, CPU).cameras
    apart = random_views(4, ViewSettings(), 8, 8, torch.Generator().manual_seed(3), CPU).cameras
    distance = cameras.positions.norm(dim=1)
    for shared in (cameras.elevation, cameras.fov_y, distance):
        torch.testing.assert_close(shared, shared[:1].expand(4))
    assert 0 <= cameras.elevation[0] <= math.radians(30)
    turns = torch.remainder(cameras.azimuth.diff(), 2 * math.pi)
    torch.testing.assert_close(turns, torch.full((3,), math.pi / 2))
    assert apart.elevation.unique().numel() == 4
    torch.testing.assert_close(apart.azimuth, cameras.azimuth)  # the same draws


@pytest.mark.parametrize("loss", ["sds", "csd", "cfd", "sdi", "ism", "vsd"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_loss_runs(mvdream: dict[str, Path], layout: str, loss: str) -> None:
    settings = {"sdi": {"inversions": 2}} if loss == "sdi" else {}
    model = bind(mvdream[layout], loss=loss, multiview=True, perp_neg=0.0 if layout == "port" else 0.5, **settings)
    small = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
    coarse = CoarseSettings(steps=2, size=8, views=4, samples=16, occupancy_size=8, checkpoint_seconds=0, field=small)
    _, state = fit_field(model, coarse, ORBIT, model.settings, torch.Generator().manual_seed(0), CPU, Hooks())
    assert all(value.isfinite().all() for value in state.values() if isinstance(value, torch.Tensor) and value.is_floating_point())


def test_settings_that_it_was_not_made_for_are_refused_with_all_that_it_needs(mvdream: dict[str, Path]) -> None:
    needed = r"views\.elevation_degrees=\[0, 30\], views\.overhead=0, views\.one_orbit=true"
    needed += r", or give --model mvdream beside --set guidance\.model=.*port$"
    model = load(mvdream["port"], multiview=True)
    with pytest.raises(BadInput, match=rf"four views together; set guidance\.multiview=true, coarse\.views=4, fine\.views=4, {needed}"):
        model.for_prompt(PROMPT, GuidanceSettings(model=model.model))
    model.check_views(ORBIT)
    for changed in ({"elevation_degrees": (-5, 30)}, {"elevation_degrees": (0, 45)}, {"overhead": 0.1}, {"one_orbit": False}):
        with pytest.raises(BadInput, match=rf"elevations from 0 to 30 degrees.*set {needed}"):
            model.check_views(ORBIT.model_copy(update=changed))


def test_encodings_of_texts_depend_on_the_text_encoder(tmp_path: Path, mvdream: dict[str, Path]) -> None:
    first = load(mvdream["checkpoint"], multiview=True).text_fingerprint()
    assert first == load(mvdream["checkpoint"], multiview=True).text_fingerprint()
    assert first != load(write_checkpoint(tmp_path / "other", seed=1), multiview=True).text_fingerprint()


def test_provenance_names_the_files_of_either_layout(mvdream: dict[str, Path]) -> None:
    settings = GuidanceSettings(model=str(mvdream["checkpoint"]), multiview=True)
    assert list(load_guidance(settings, "cpu").provenance()["files"]) == ["sd-v2.1-base-4view.safetensors"]
    port = load(mvdream["port"], multiview=True).provenance()["files"]
    assert sorted(port) == ["text_encoder/model.safetensors", *(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))]
