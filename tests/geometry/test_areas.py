"""Areas and volumes against a box's own, and their gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from cubes import cube, joined
from uv_rectangles import rectangle

from dreamfusion_mesh.geometry.areas import area_vectors, cross_2d, face_areas, shell_volumes, signed_volume, uv_areas
from dreamfusion_mesh.geometry.topology import shells
from dreamfusion_mesh.records import Mesh

BOX = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)


def test_areas_and_volume_are_those_of_the_box() -> None:
    solid = cube()
    vertices = solid.vertices * BOX
    assert face_areas(vertices, solid.faces).sum().item() == pytest.approx(2 * (6 + 10 + 15), rel=1e-12)
    assert signed_volume(vertices, solid.faces).item() == pytest.approx(30, rel=1e-12)
    assert signed_volume(vertices, solid.faces.flip(1)).item() == pytest.approx(-30, rel=1e-12)


def test_area_vectors_of_a_closed_surface_cancel() -> None:
    solid = cube()
    assert torch.allclose(area_vectors(solid.vertices * BOX, solid.faces).sum(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-12)


def test_a_volume_does_not_depend_on_where_the_mesh_is() -> None:
    solid = cube()
    assert signed_volume(solid.vertices * BOX + 1e6, solid.faces).item() == pytest.approx(30, rel=1e-6)


def test_shells_have_volumes_of_their_own() -> None:
    pair = joined(cube(), Mesh(cube(low=4.0, side=2.0).vertices, cube().faces.flip(1)))
    volumes = shell_volumes(pair.vertices, pair.faces, shells(pair.faces))
    assert volumes.tolist() == pytest.approx([1.0, -8.0], rel=1e-12)


def test_the_gradient_of_a_volume_is_that_of_finite_differences() -> None:
    solid = cube()
    vertices = solid.vertices.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: signed_volume(v, solid.faces), (vertices,))


def test_uv_areas_sum_to_the_rectangle_and_are_negative_where_mirrored() -> None:
    corners = rectangle(10, 10, 20, 24, 64)
    assert uv_areas(corners).sum() == pytest.approx(20 * 24 / 64**2, rel=1e-12)
    assert uv_areas(torch.from_numpy(corners)).tolist() == uv_areas(corners).tolist()
    assert uv_areas(corners[:, ::-1]).tolist() == (-uv_areas(corners)).tolist()


def test_the_cross_product_of_whole_numbers_is_exact() -> None:
    one, other = torch.tensor([2**30, 1]), torch.tensor([1, 2**30])
    assert cross_2d(one, other).item() == 2**60 - 1
    assert cross_2d(one.numpy(), other.numpy()) == 2**60 - 1
