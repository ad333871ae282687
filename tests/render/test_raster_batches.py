"""A batch of views that each see a mesh of their own is those views drawn alone."""

import pytest
import torch
from raster_twin import on_screen, sphere
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer

HEIGHT, WIDTH = 21, 26
CUBE = torch.tensor(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)


def placed(vertices: Tensor) -> Tensor:
    """[V, 4] float64 clip positions with perspective, whose values float32 holds, too."""
    clip = on_screen(vertices[:, :2] * 8 + 12.3, HEIGHT, WIDTH, -0.4 * vertices[:, 2])
    return (clip * (1.2 - 0.3 * vertices[:, 2:])).float().double()


def scenes() -> list[tuple[Tensor, Tensor]]:
    ball, ball_faces = sphere(2)
    corners = torch.cartesian_prod(*[torch.tensor([-0.6, 0.6], dtype=torch.float64)] * 3)
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.4, 0.5], [0.4, 0, -0.7], [-0.5, 0.7, 0]], dtype=torch.float64))
    return [(placed(ball), ball_faces), (placed(corners @ turn), CUBE), (torch.zeros(0, 4).double(), torch.zeros(0, 3).long())]


def batched(meshes: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Padded with vertices that no face uses, and with faces of three equal vertices."""
    vertices, count = (max(len(mesh[part]) for mesh in meshes) for part in (0, 1))
    clip, faces = torch.full((len(meshes), vertices, 4), 0.25, dtype=torch.float64), torch.zeros(len(meshes), count, 3).long()
    for view, (own, rows) in enumerate(meshes):
        clip[view, : len(own)], faces[view, : len(rows)] = own, rows
    return clip, faces


def everything(rasterizer: Rasterizer, clip: Tensor, faces: Tensor, values: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Fragments, the picture, and gradients in the positions and the attributes."""
    clip, values = clip.clone().requires_grad_(), values.clone().requires_grad_()
    fragments = rasterizer.rasterize(clip, faces, (HEIGHT, WIDTH))
    image = rasterizer.antialias(rasterizer.interpolate(values, fragments, faces), fragments, clip, faces)
    total = (image * weights[..., :3]).sum() + (fragments.depth * weights[..., 3]).sum()
    gradients = torch.autograd.grad(total, (clip, values))
    return fragments.face, fragments.bary.detach(), fragments.depth.detach(), image.detach(), *gradients


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_batch_of_different_meshes_matches_each_drawn_alone(rasterizer: Rasterizer, order: list[int]) -> None:
    meshes = [scenes()[i] for i in order]
    clip, faces = batched(meshes)
    draws = torch.Generator().manual_seed(0)
    weights = torch.randn(3, HEIGHT, WIDTH, 4, generator=draws).double()
    per_view = torch.randn(3, clip.shape[1], 3, generator=draws).double()
    together = everything(rasterizer, clip, faces, per_view, weights)
    shared = everything(rasterizer, clip, faces, per_view[0], weights)
    total = torch.zeros_like(per_view[0])
    for view, (own, rows) in enumerate(meshes):
        alone = everything(rasterizer, own[None], rows, per_view[view, : len(own)], weights[view : view + 1])
        seen = (alone[0] >= 0).sum().item()
        assert (seen == 0) if len(rows) == 0 else 80 < seen < HEIGHT * WIDTH
        for mine, part in zip(alone[:4], together[:4], strict=True):
            assert torch.equal(mine[0], part[view])
        torch.testing.assert_close(together[4][view, : len(own)], alone[4][0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together[5][view, : len(own)], alone[5], rtol=1e-5, atol=1e-5)
        assert not together[4][view, len(own) :].any()
        assert not together[5][view, len(own) :].any()
        own_values = everything(rasterizer, own[None], rows, per_view[0, : len(own)], weights[view : view + 1])
        assert torch.equal(own_values[3][0], shared[3][view])
        total[: len(own)] += own_values[5]
    assert total.abs().max() > 1
    torch.testing.assert_close(shared[5], total, rtol=1e-5, atol=1e-5)


def test_mesh_repeated_per_view_matches_mesh_shared_by_all_views(rasterizer: Rasterizer) -> None:
    clip, faces = scenes()[0]
    both = torch.stack((clip, clip.flip(0).roll(5, 0)))
    draws = torch.Generator().manual_seed(1)
    values, weights = torch.randn(len(clip), 3, generator=draws).double(), torch.randn(2, HEIGHT, WIDTH, 4, generator=draws).double()
    once, each = (everything(rasterizer, both, rows, values, weights) for rows in (faces, faces.expand(2, *faces.shape)))
    assert all(torch.equal(*pair) for pair in zip(once[:4], each[:4], strict=True))
    for pair in zip(once[4:], each[4:], strict=True):
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-5)


def test_no_views_and_no_faces_give_empty_images(rasterizer: Rasterizer) -> None:
    for views, count in ((0, 4), (2, 0)):
        clip = torch.ones(views, 3, 4, requires_grad=True)
        faces = torch.zeros(views, count, 3).long()
        fragments = rasterizer.rasterize(clip, faces, (4, 5))
        image = rasterizer.antialias(rasterizer.interpolate(torch.ones(3, 2), fragments, faces), fragments, clip, faces)
        assert image.shape == (views, 4, 5, 2)
        assert not image.any()
        (image.sum() + fragments.bary.sum() + fragments.depth.sum()).backward()
        assert clip.grad is not None
        assert not clip.grad.any()
