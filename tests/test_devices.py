"""Each part of a run works on the device that it is given: to the values and gradients of the CPU, and with no tensor on another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch
from loss_steps import step_of
from one_device import PRETENDED, Edge, OneDevice, assert_on
from surfaces import torus
from tiny_folders import write_folder
from torch import Tensor

from dreamfusion_mesh.config import FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.models import load as loading
from dreamfusion_mesh.guidance.models.pretrained import load_network
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.shape import field as fields
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.start.from_density import occupied_box
from dreamfusion_mesh.shape.subdivide import loop_subdivide
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.coarse import Coarse
from dreamfusion_mesh.stages.start import start_from_field

CPU = torch.device("cpu")
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
LIT = ViewSettings(lambertian=1.0, textureless=0.0, albedo_steps=0)
GUIDANCE = GuidanceSettings(perp_neg=0.5, rescale=0.5, multiview=True, half_precision=False)


class Part(NamedTuple):
    """`work` gives what a part makes on a device, and the gradients; in `edges` it may compute on the CPU."""

    work: Callable[[torch.device], Sequence[Tensor]]
    edges: list[Edge]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rough_field(device: torch.device, normals: str = "analytic") -> HashField:
    """A field whose table matters; drawn on the CPU."""
    field = HashField(SMALL.model_copy(update={"normals": normals}), seeded(), heads={"albedo": 3, "orm": 2}).to(device)
    with torch.no_grad():
        field.table.mul_(3e3)
    return field


def scattered(device: torch.device, count: int = 100) -> Tensor:
    return (2 * torch.rand(count, 3, generator=seeded(1)) - 1).to(device)


def rasterizer_for(device: torch.device) -> Rasterizer:
    return resolve_rasterizer("warp", CPU if device == PRETENDED else device)


def gradients(values: Sequence[Tensor], of: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(sum(value.square().sum() for value in values), of)


def field_with(normals: str) -> Callable[[torch.device], Sequence[Tensor]]:
    def work(device: torch.device) -> Sequence[Tensor]:
        field = rough_field(device, normals)
        sample = field(scattered(device), True)
        assert sample.normals is not None
        made = (sample.density, sample.albedo, sample.normals)
        return *made, *gradients(made, [field.table, field.hidden_weight, field.heads.get_parameter("density.weight")])

    return work


def field_heads(device: torch.device) -> Sequence[Tensor]:
    field, points = rough_field(device), scattered(device).requires_grad_()
    made = (field.density(points), field.albedo(points), field.head("orm", points))
    return *made, *gradients(made, [points, field.table, field.heads.get_parameter("orm.bias")])


def field_in_chunks(device: torch.device) -> Sequence[Tensor]:
    with torch.no_grad(), patch.object(fields, "_CHUNK", 33):
        field, points = rough_field(device), scattered(device)
        sample = field(points, True)
        assert sample.normals is not None
        return sample.density, sample.albedo, sample.normals, field.head("orm", points)


def occupancy(device: torch.device) -> Sequence[Tensor]:
    """Every cell is visited, then a random half of them."""
    grid, field = volume.OccupancyGrid(8, device=device), rough_field(device)
    for step in (0, grid.warm_up):
        grid.update(field.density, seeded(step), step)
    return grid.values, grid.occupied.float()


def volume_render(device: torch.device) -> Sequence[Tensor]:
    grid, field = volume.OccupancyGrid(8, device=device), rough_field(device)
    grid.update(field.density, seeded(2), 0)
    views = random_views(2, LIT, 12, 12, seeded(3), device)
    render = volume.render_volume(field, grid, views, shader(views), 24, seeded(4), True)
    made = (render.rgb, render.alpha, render.depth, render.normal, render.orientation)
    with torch.no_grad(), patch.object(volume, "_CHUNK", 200):  # as the silhouettes are
        flat = volume.render_volume(field, grid, views, shader(views), 24, seeded(4), True, jitter=False)
    return *made, *gradients(made, [field.table, field.hidden_weight]), flat.rgb


def ball(device: torch.device) -> TetSurface:
    ones = torch.ones(3, device=device)
    lattice = tet_lattice(-ones, ones, 8)
    return TetSurface(lattice, torch.cat([lattice.positions(rows) for rows in lattice.in_chunks()]).norm(dim=1) - 0.61)


def tet_surface(device: torch.device) -> Sequence[Tensor]:
    """Marching, the terms that keep it smooth, Loop's subdivision, and half the cell."""
    surface = ball(device)
    mesh = surface.mesh()
    terms = normal_consistency_loss(mesh.vertices, mesh.faces), laplacian_loss(mesh.vertices, mesh.faces), surface.sign_loss()
    made = (mesh.vertices, torch.stack(terms), loop_subdivide(mesh, 1).vertices, vertex_normals(mesh.vertices, mesh.faces))
    return *made, *gradients(made, [surface.sdf, surface.deform]), surface.refined().mesh().vertices


def mesh_render(device: torch.device) -> Sequence[Tensor]:
    mesh, views, field = torus(16, 8).to(device), random_views(2, LIT, 16, 16, seeded(5), device), rough_field(device)
    mesh.vertices.requires_grad_()
    normals = vertex_normals(mesh.vertices, mesh.faces)
    render = render_mesh(rasterizer_for(device), mesh, normals, field.albedo, views, shader(views))
    made = (render.rgb, render.alpha, render.depth, render.normal)
    return *made, *gradients(made, [mesh.vertices, field.table])


def start(device: torch.device) -> Sequence[Tensor]:
    """The silhouettes' threshold, the parts above it, and the surface there."""
    coarse = Coarse(HashField(SMALL, seeded()).to(device), volume.OccupancyGrid(8, device=device))
    surface = start_from_field(coarse, 24, FineSettings(tet_size=8), LIT, 0.02, seeded(6))
    return surface.sdf, surface.mesh().vertices


HERE: list[Edge] = [scattered, torus]  # made by the tests themselves
PARTS = {
    "field": Part(field_with("analytic"), [*HERE, HashField.__init__]),
    "field by differences": Part(field_with("finite_differences"), [*HERE, HashField.__init__]),
    "field's heads": Part(field_heads, [*HERE, HashField.__init__]),
    "field in chunks": Part(field_in_chunks, [*HERE, HashField.__init__]),
    "occupancy": Part(occupancy, [HashField.__init__, volume.uniform, volume.random_cells]),
    "volume": Part(volume_render, [HashField.__init__, volume.uniform, random_views]),
    "surface": Part(tet_surface, []),
    "mesh": Part(mesh_render, [*HERE, HashField.__init__, random_views]),
    "start": Part(start, [HashField.__init__, volume.uniform, turntable, occupied_box]),
}


@cache
def on_the_cpu(name: str) -> Sequence[Tensor]:
    return PARTS[name].work(CPU)


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], share: float) -> None:
    """In the mean of absolute values: a sample on a cell's border, or a pixel on a silhouette, may fall to either side."""
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours.cpu() - theirs).abs().sum() <= share * theirs.abs().sum()
        assert theirs.abs().max() > 0


@pytest.mark.parametrize("name", PARTS)
def test_each_device_gives_what_the_cpu_does(name: str, device: torch.device) -> None:
    found = PARTS[name].work(device)
    assert {value.device.type for value in found} == {device.type}
    assert_close(found, on_the_cpu(name), 0 if device == CPU else 0.01)


@pytest.mark.parametrize("name", PARTS)
def test_no_tensor_strays(name: str) -> None:
    with OneDevice(PARTS[name].edges) as one:
        found = PARTS[name].work(one.device)
    assert_on(PRETENDED, *found)
    assert_close(found, on_the_cpu(name), 1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny latent multi-view model."""
    return write_folder(tmp_path_factory.mktemp("model"), channels=4, prediction="v_prediction", vae=True, multiview=True)


def distilled(folder: Path, device: torch.device) -> Sequence[Tensor]:
    """A model is loaded, bound and asked about four views; the gradient goes through its encoder."""
    guidance = GUIDANCE.model_copy(update={"model": str(folder)})
    model = loading.load_guidance(guidance, device).for_prompt("a red mug", guidance)
    images = torch.rand(4, 16, 16, 3, generator=seeded(1)).to(device).requires_grad_()
    views = random_views(4, LIT, 16, 16, seeded(2), device)
    step = distill(model, step_of(images, views, (0.1, 0.1), (0.9, 0.9), 0.5, seeded(3)), guidance)
    assert step.finite
    return step.loss, step.t, *torch.autograd.grad(step.loss, images)


def test_no_tensor_strays_while_a_model_is_loaded_and_distilled(folder: Path) -> None:
    """Weights and noise by time come from files; on each device that there is, tests/guidance/test_devices.py distils."""
    expected = distilled(folder, CPU)
    with OneDevice([distilled, random_views, distill, load_network, loading.load_schedule]) as one:
        found = distilled(folder, one.device)
    assert_on(PRETENDED, *found)
    assert_close(found, expected, 1e-3)
