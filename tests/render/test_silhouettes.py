"""The rasterizer's contract, second half: antialiased silhouettes measure areas, and their gradients the areas' derivatives."""

import math

import pytest
import torch
from raster_twin import SQUARE, jitter, on_screen, polygon, random_scene, rounded, sphere, twin_rasterize, within
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Fragments

CORNERS = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)


def alpha(rasterizer: Rasterizer, clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    fragments = rasterizer.rasterize(clip, faces, (height, width))
    return rasterizer.antialias((fragments.face >= 0).to(clip)[..., None], fragments, clip, faces)


def painted(rasterizer: Rasterizer, clip: Tensor, faces: Tensor, colors: Tensor, size: int) -> Tensor:
    """[B, size, size, C] antialiased; `colors` [F + 1, C], the last is the background's."""
    fragments = rasterizer.rasterize(clip, faces, (size, size))
    return rasterizer.antialias(colors.to(clip)[fragments.face], fragments, clip, faces)


def offsets(rasterizer: Rasterizer, steps: int) -> Tensor:
    """Sub-pixel offsets to average over: off the grid that corners are rounded to, where they are; fewer for the slow stand-ins."""
    steps = steps // 2 if rasterizer.stand_in else steps
    return jitter(steps) if rasterizer.limits.edge == 0 else jitter(steps + 1)


@pytest.mark.parametrize("side", [13.25, 4.5, 1.75])
def test_square_has_its_area_and_derivative(rasterizer: Rasterizer, side: float) -> None:
    """Averaged over sub-pixel offsets both are exact: rows and columns are counted right on average."""
    length = torch.tensor(side, dtype=torch.float64, requires_grad=True)
    place = on_screen(CORNERS * length + jitter(16) + 7.25, 32, 64)
    area = alpha(rasterizer, place, SQUARE, 32, 64).sum(dim=(1, 2, 3))
    assert (area - side**2).abs().max() < 1
    assert area.mean().item() == pytest.approx(side**2, rel=within(rasterizer, 1e-9, 1e-6))
    area.mean().backward()
    assert length.grad is not None
    assert length.grad.item() == pytest.approx(2 * side, rel=within(rasterizer, 1e-9, 1e-6))


@pytest.mark.parametrize(("sides", "turn"), [(200, 0.0), (3, 0.3), (4, 0.5), (7, 1.0)])
def test_polygon_has_its_area_and_derivative(rasterizer: Rasterizer, sides: int, turn: float) -> None:
    points, faces, share = polygon(sides, turn)
    radius = torch.tensor(40.25, dtype=torch.float64, requires_grad=True)
    area = alpha(rasterizer, on_screen(points * radius + offsets(rasterizer, 8) + 48, 97, 96), faces, 97, 96).sum(dim=(1, 2, 3))
    assert area.mean().item() == pytest.approx(share * 40.25**2, rel=rounded(rasterizer, 2e-4, 5e-4))
    area.mean().backward()
    assert radius.grad is not None
    assert radius.grad.item() == pytest.approx(2 * share * 40.25, rel=rounded(rasterizer, 8e-3, 9.5e-3))


@pytest.mark.parametrize(("rounds", "mirrored"), [(2, False), (3, False), (3, True), (5, False)])
def test_sphere_has_its_area_however_small_its_triangles(rasterizer: Rasterizer, rounds: int, mirrored: bool) -> None:
    """At 8,192 triangles on 400 pixels hardly one is seen by a centre; the outline is whole all the same."""
    vertices, faces = sphere(rounds, mirrored)
    radius = torch.tensor(11.25, dtype=torch.float64, requires_grad=True)
    clip = on_screen(vertices[:, :2] * radius + offsets(rasterizer, 16) + 16, 32, 32, -0.5 * vertices[:, 2])
    area = alpha(rasterizer, clip, faces, 32, 32).sum(dim=(1, 2, 3))
    front = vertices[faces][..., :2]
    u, v = front[:, 1] - front[:, 0], front[:, 2] - front[:, 0]
    share = 0.25 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).abs().sum().item()
    assert area.mean().item() == pytest.approx(share * 11.25**2, rel=rounded(rasterizer, 1e-4, 2e-3))
    assert (area - share * 11.25**2).abs().max() < rounded(rasterizer, 1.5, 2.0)
    area.mean().backward()
    assert radius.grad is not None
    assert radius.grad.item() == pytest.approx(2 * share * 11.25, rel=rounded(rasterizer, 5e-3, 8e-3))


DISC = polygon(60, 0.0)


@pytest.mark.parametrize(
    ("points", "faces", "across"), [(CORNERS * 9.25 - 4, SQUARE, 9.25), (DISC[0] * 7, DISC[1], 14 * math.cos(math.pi / 60))]
)
def test_moving_a_shape_changes_its_area_only_at_the_image_border(
    rasterizer: Rasterizer, points: Tensor, faces: Tensor, across: float
) -> None:
    """Nothing where it is whole; its height at the rim where the picture's right side cuts it through the middle."""
    for width, expected in ((32, 0.0), (12, -across)):
        move = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        area = (
            alpha(rasterizer, on_screen(points + move + 12 + offsets(rasterizer, 16), 32, width), faces, 32, width)
            .sum(dim=(1, 2, 3))
            .mean()
        )
        area.backward()
        assert move.grad is not None
        assert move.grad.tolist() == pytest.approx([expected, 0.0], abs=1e-2 * across)


def test_antialias_gradients_match_finite_differences(precise_rasterizer: Rasterizer) -> None:
    """In the image and in the clip positions, with shapes that hide one another, reach behind the camera and end at the picture's rim."""
    rasterizer = precise_rasterizer
    draws = torch.Generator().manual_seed(2)
    for seed in (1,) if rasterizer.stand_in else (1, 2):
        clip, faces = random_scene(seed, count=4)
        fragments = rasterizer.rasterize(clip, faces, (5, 6))
        image = torch.randn(2, 5, 6, 2, generator=draws, dtype=torch.float64, requires_grad=True)
        assert twin_rasterize(clip, faces, 5, 6)[1].all()

        def smooth(image: Tensor, moved: Tensor, faces: Tensor = faces, fragments: Fragments = fragments) -> Tensor:
            return rasterizer.antialias(image, fragments, moved, faces)

        assert not torch.equal(smooth(image, clip), image)
        assert fragments.face.max() >= 0
        assert torch.autograd.gradcheck(smooth, (image, clip.requires_grad_()), eps=1e-7, atol=1e-5, rtol=1e-5)


def test_pixel_blended_from_all_sides_stays_between_its_neighbours(rasterizer: Rasterizer) -> None:
    speck = on_screen(CORNERS * 0.3 + 4.36, 9, 9)[None].requires_grad_()
    made = alpha(rasterizer, speck, SQUARE, 9, 9)
    assert made.min() >= 0
    assert made[0, 4, 4] <= 0.3
    colors = torch.tensor([[0.2], [0.5], [0.9]])
    assert torch.autograd.gradcheck(lambda clip: painted(rasterizer, clip, SQUARE, colors, 9), speck, eps=1e-7, atol=1e-6)


def test_hidden_and_inner_edges_are_not_blended(rasterizer: Rasterizer) -> None:
    vertices, faces = sphere(3)
    hidden = on_screen(vertices[:, :2] * 5 + 12, 24, 24, 0.5 - 0.1 * vertices[:, 2])
    points, fan, _ = polygon(40, 0.1)
    wall, wall_faces = on_screen(points * 60 + 11.7, 24, 24, -0.5), fan + len(vertices)
    clip, both = torch.cat((hidden, wall))[None], torch.cat((faces, wall_faces))
    draws = torch.Generator().manual_seed(0)
    colors = torch.rand(len(both) + 1, 3, generator=draws)
    fragments = rasterizer.rasterize(clip, both, (24, 24))
    assert fragments.face.unique().numel() == 40
    image = colors.double()[fragments.face]
    assert torch.equal(rasterizer.antialias(image, fragments, clip, both), image)


def test_silhouette_blends_with_the_surface_behind_it(rasterizer: Rasterizer) -> None:
    """A small square before a large one: the colours' sums are their visible areas."""
    far, near = CORNERS * 18 + 3, CORNERS * 7.25 + 8.5
    clip = torch.cat((on_screen(far + jitter(8), 32, 32, 0.2), on_screen(near + jitter(8), 32, 32, -0.2)), dim=1)
    faces = torch.cat((SQUARE, SQUARE + 4))
    colors = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 0]])
    large, small = painted(rasterizer, clip, faces, colors, 32).sum(dim=(1, 2)).mean(dim=0)
    assert small.item() == pytest.approx(7.25**2, rel=1e-9)
    assert large.item() == pytest.approx(18**2 - 7.25**2, rel=1e-9)


def test_outer_of_two_silhouettes_between_two_pixels_counts(rasterizer: Rasterizer) -> None:
    inner = torch.tensor(9.25, dtype=torch.float64, requires_grad=True)
    front, back = (CORNERS - 0.5) * inner + 16, (CORNERS - 0.5) * 9.75 + 16
    clip = torch.cat((on_screen(front + jitter(8), 32, 32, -0.2), on_screen(back + jitter(8), 32, 32, 0.2)), dim=1)
    area = alpha(rasterizer, clip, torch.cat((SQUARE, SQUARE + 4)), 32, 32).sum(dim=(1, 2, 3)).mean()
    assert area.item() == pytest.approx(9.75**2, rel=1e-9)
    assert torch.autograd.grad(area, inner)[0].abs() < 1e-9


def test_silhouettes_of_faces_that_no_pixel_sees_are_not_blended(rasterizer: Rasterizer) -> None:
    """A needle between the centres before a single face, and the far side of an edge that passes behind the camera."""
    draws = torch.Generator().manual_seed(3)
    needle = on_screen(torch.tensor([[6.6, -3.0], [6.9, -3.0], [6.7, 40.0]], dtype=torch.float64), 16, 16, -0.5)
    face = on_screen(torch.tensor([[-9.0, -9], [60, -9], [-9, 60]], dtype=torch.float64), 16, 16, 0.5)
    image = torch.rand(1, 16, 16, 2, generator=draws).double()
    clip, faces = torch.cat((needle, face))[None], torch.arange(6).reshape(2, 3)
    fragments = rasterizer.rasterize(clip, faces, (16, 16))
    assert (fragments.face == 1).all()
    assert torch.equal(rasterizer.antialias(image, fragments, clip, faces), image)

    points, fan, _ = polygon(40, 0.1)
    wall = on_screen(points * 60 + 8.3, 16, 16, 0.9)
    through = torch.tensor([[0.3, 0.2, 0.0, 1.0], [0.5, 0.6, 0.0, 1.0], [0.4, 0.3, 0.0, -1.0]], dtype=torch.float64)
    clip, faces = torch.cat((wall, through))[None], torch.cat((fan, torch.tensor([[41, 42, 43]])))
    fragments = rasterizer.rasterize(clip, faces, (16, 16))
    front = (fragments.face == 40).double()[:, None]
    near_front = torch.nn.functional.max_pool2d(front, 3, stride=1, padding=1)[:, 0] > 0
    assert 0 < near_front.sum() < 200
    changed = (rasterizer.antialias(image, fragments, clip, faces) != image).any(dim=-1)
    assert changed.any()
    assert not (changed & ~near_front).any()


def test_antialias_keeps_constant_images_and_the_range_of_colours(rasterizer: Rasterizer) -> None:
    clip, faces = random_scene(5, count=40)
    plain = painted(rasterizer, clip, faces, torch.full((41, 1), 0.7), 33)
    torch.testing.assert_close(plain, torch.full_like(plain, 0.7), rtol=0, atol=1e-7)
    draws = torch.Generator().manual_seed(1)
    mixed = painted(rasterizer, clip, faces, torch.rand(41, 3, generator=draws), 33)
    assert mixed.min() >= 0
    assert mixed.max() <= 1


def test_gradient_descent_on_a_silhouette_finds_the_position(rasterizer: Rasterizer) -> None:
    """A sphere four pixels off comes within 0.05 px of where its outline was drawn."""
    vertices, faces = sphere(3)

    def seen(shift: Tensor) -> Tensor:
        clip = on_screen(vertices[:, :2].float() * 7 + 16 + shift, 32, 32, -0.5 * vertices[:, 2].float())
        return alpha(rasterizer, clip[None], faces, 32, 32)

    goal = seen(torch.tensor([2.37, -3.11]))
    shift = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    for _ in range(80):
        optimizer.zero_grad()
        (seen(shift) - goal).square().sum().backward()
        optimizer.step()
        schedule.step()
    assert (shift.detach() - torch.tensor([2.37, -3.11])).norm() < 0.05
