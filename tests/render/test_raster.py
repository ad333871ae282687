"""The rasterizer's contract: coverage, order, interpolated points, bad input."""

import math

import pytest
import torch
from raster_twin import SQUARE, on_screen, pixel_centres, polygon, random_scene, sphere, twin_rasterize, within
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Fragments
from dreamfusion_mesh.render.cameras import clip_from_world, orbit, rays


def covered(rasterizer: Rasterizer, points: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """[H, W] how many of the faces, each drawn alone, cover each centre."""
    clip = on_screen(points, height, width)[None]
    return sum((rasterizer.rasterize(clip, face[None], (height, width)).face[0] >= 0).long() for face in faces)  # type: ignore[return-value]


@pytest.mark.parametrize("size", [(17, 23), (32, 8), (1, 1), (5, 64), (16, 16)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixels_off_edges_match_brute_force(rasterizer: Rasterizer, size: tuple[int, int], seed: int) -> None:
    clip, faces = random_scene(seed)
    found = rasterizer.rasterize(clip, faces, size)
    expected, clear = twin_rasterize(clip, faces, *size, rasterizer.limits.edge)
    if rasterizer.limits.edge == 0 or size != (1, 1):
        assert clear.double().mean() > (0.98 if rasterizer.limits.edge == 0 else 0.6)
    assert torch.equal(found.face[clear], expected.face[clear])
    tolerance = within(rasterizer, 1e-9, 1e-5)
    torch.testing.assert_close(found.bary[clear], expected.bary[clear], rtol=0, atol=tolerance)
    torch.testing.assert_close(found.depth[clear], expected.depth[clear], rtol=0, atol=tolerance)


def test_random_scenes_cross_the_near_plane_and_reach_behind_the_camera() -> None:
    w = torch.cat([clip[:, faces, 3] for clip, faces in map(random_scene, range(3))])
    assert ((w.amin(dim=-1) < 0) & (w.amax(dim=-1) > 0)).sum() > 4
    assert (w.amax(dim=-1) < 0).any()


def test_faces_behind_the_camera_are_not_drawn(rasterizer: Rasterizer) -> None:
    """Without a near plane to hide it: here z / w is small on both sides."""
    for seed in range(4):
        clip, faces = random_scene(seed)
        clip[..., 2] = 0.02 * torch.randn(clip.shape[:2], generator=torch.Generator().manual_seed(seed))
        found = rasterizer.rasterize(clip, faces, (21, 20))
        expected, clear = twin_rasterize(clip, faces, 21, 20, rasterizer.limits.edge)
        assert clear.double().mean() > (0.95 if rasterizer.limits.edge == 0 else 0.75)
        assert torch.equal(found.face[clear], expected.face[clear])
    behind = torch.tensor([[[-9.0, -9, 0, -1], [9, -9, 0, -1], [0, 9, 0, -1]]])
    assert (rasterizer.rasterize(behind, torch.tensor([[0, 1, 2]]), (9, 9)).face == -1).all()


def test_float32_matches_brute_force(rasterizer: Rasterizer) -> None:
    clip, faces = random_scene(3)
    single = rasterizer.rasterize(clip.float(), faces, (31, 33))
    expected, clear = twin_rasterize(clip.float(), faces, 31, 33, rasterizer.limits.edge)
    assert single.bary.dtype == single.depth.dtype == torch.float32
    assert torch.equal(single.face[clear], expected.face[clear])
    torch.testing.assert_close(single.bary[clear].double(), expected.bary[clear], rtol=0, atol=within(rasterizer, 1e-6, 1e-5))


def test_interpolated_points_match_exact_ray_intersections(rasterizer: Rasterizer) -> None:
    cameras = orbit(*(torch.tensor([a, b], dtype=torch.float64) for a, b in ((0.4, 2.0), (0.3, -0.2), (2.2, 1.9), (0.8, 0.9))), 24, 31)
    vertices, faces = sphere(2)
    homogeneous = torch.cat((vertices, torch.ones_like(vertices[:, :1])), dim=1)
    fragments = rasterizer.rasterize(homogeneous @ clip_from_world(cameras, 0.1, 10.0).transpose(1, 2), faces, (24, 31))
    points = rasterizer.interpolate(vertices, fragments, faces)
    origins, directions = rays(cameras)
    seen = fragments.face >= 0
    a, b, c = vertices[faces[fragments.face[seen]]].unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    t = ((a - origins[seen]) * normal).sum(dim=1) / (directions[seen] * normal).sum(dim=1)
    assert seen.sum() > 200
    expected = origins[seen] + t[:, None] * directions[seen]
    inside = (fragments.bary[seen] > 0).all(dim=1)  # where corners are rounded, a centre just outside is given the nearest point
    assert inside.double().mean() > (0.99 if rasterizer.limits.edge == 0 else 0.95)
    torch.testing.assert_close(points[seen][inside], expected[inside], rtol=0, atol=within(rasterizer, 1e-9, 1e-5))
    assert (points[~seen] == 0).all()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_nearest_face_wins_and_ties_go_to_the_first(rasterizer: Rasterizer, order: list[int]) -> None:
    corners = torch.tensor([[-3.0, -3], [30, -3], [-3, 30]])
    clip = torch.cat((on_screen(corners, 8, 8, 0.5), on_screen(corners, 8, 8, 0.5 - 1e-5)))[None]
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])[order]
    assert (rasterizer.rasterize(clip, faces, (8, 8)).face == order.index(1)).all()
    same = torch.tensor([[2, 0, 1], [1, 0, 2], [0, 1, 2]])
    assert (rasterizer.rasterize(clip, same, (8, 8)).face <= (0 if rasterizer.limits.first_of_equals else 2)).all()
    assert (rasterizer.rasterize(clip, same, (8, 8)).face >= 0).all()


def test_near_and_far_planes_clip(rasterizer: Rasterizer) -> None:
    corners = torch.tensor([[0.0, 0], [16, 0], [16, 1], [0, 1]], dtype=torch.float64)
    across = on_screen(corners, 1, 16, torch.tensor([-2.0, 2, 2, -2], dtype=torch.float64))[None]
    face = rasterizer.rasterize(across, SQUARE, (1, 16)).face[0, 0] >= 0
    assert face.tolist() == [4 <= column < 12 for column in range(16)]


@pytest.mark.parametrize(("shift", "size"), [(0.5, (16, 16)), (0.0, (16, 16)), (0.5, (16, 32)), (0.25, (13, 19)), (1 / 3, (19, 13))])
def test_tessellated_sheet_covers_each_centre_once(rasterizer: Rasterizer, shift: float, size: tuple[int, int]) -> None:
    draws = torch.Generator().manual_seed(5)
    cells = 6
    step = torch.arange(cells + 1).double()
    grid = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1)
    inner = (grid > 0).all(dim=-1) & (grid < cells).all(dim=-1)
    nudge = (
        torch.randint(-1, 2, grid.shape, generator=draws).double() if shift != 1 / 3 else torch.rand(grid.shape, generator=draws).double()
    )
    points = (grid * 2 + torch.where(inner[..., None], nudge * 0.75, 0) + shift).reshape(-1, 2)
    corner = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).reshape(-1)
    a, b, c, d = corner, corner + 1, corner + cells + 2, corner + cells + 1
    faces = torch.cat((torch.stack((a, b, c), dim=1), torch.stack((a, d, c), dim=1)))
    count = covered(rasterizer, points, faces, *size)
    centres = torch.arange(max(size)).double() + 0.5
    inside = (centres >= shift) & (centres < 2 * cells + shift)
    expected = (inside[: size[0], None] & inside[None, : size[1]]).long()
    if rasterizer.limits.edge > 0:  # the sheet's own rim may be taken or left
        rim = (centres == shift) | (centres == 2 * cells + shift)
        expected = torch.where(rim[: size[0], None] | rim[None, : size[1]], count.clamp_max(1), expected)
    assert torch.equal(count, expected)


def test_triangle_fan_covers_its_centre_once(rasterizer: Rasterizer) -> None:
    for sides in (3, 4, 7, 12):
        points, faces, _ = polygon(sides, 0.0)
        assert (covered(rasterizer, points * 40 + 4.5, faces, 9, 9) == 1).all()


def test_sheet_reaching_behind_the_camera_has_no_cracks(rasterizer: Rasterizer) -> None:
    """The plane y = -1 from far behind the camera to far before it fills the lower half of the picture."""
    step = torch.linspace(-40, 40, 9, dtype=torch.float64)
    x, z = (part.reshape(-1) for part in torch.meshgrid(step, step + 0.3, indexing="xy"))
    clip = torch.stack((x, torch.full_like(x, -1), -z * 0.9, -z), dim=-1)[None]
    corner = (torch.arange(8)[:, None] * 9 + torch.arange(8)).reshape(-1)
    faces = torch.cat((torch.stack((corner, corner + 1, corner + 10), dim=1), torch.stack((corner, corner + 10, corner + 9), dim=1)))
    total = sum((rasterizer.rasterize(clip, face[None], (40, 40)).face[0] >= 0).long() for face in faces)
    below = -pixel_centres(40, 40)[..., 1]
    horizon = (below - 1 / 39.7).abs() * 20 <= rasterizer.limits.edge
    assert torch.equal(total[~horizon], (below > 1 / 39.7).long()[~horizon])
    assert total.max() == 1


def test_degenerate_faces_cover_nothing_and_back_faces_are_drawn(rasterizer: Rasterizer) -> None:
    points = torch.tensor([[0.5, 0.5], [4.5, 4.5], [8.5, 8.5], [8.5, 0.5]], dtype=torch.float64)
    clip = on_screen(points, 16, 16)[None]
    empty = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 1, 3], [0, 3, 0], [2, 2, 2]])
    assert (rasterizer.rasterize(clip, empty, (16, 16)).face == -1).all()
    there = rasterizer.rasterize(clip, torch.tensor([[0, 2, 3]]), (16, 16)).face
    back = rasterizer.rasterize(clip, torch.tensor([[3, 2, 0]]), (16, 16)).face
    assert torch.equal(there, back)
    assert (there == 0).sum() == 36 or (rasterizer.limits.edge > 0 and 28 <= (there == 0).sum() <= 45)


def test_tiny_faces_cover_exactly_the_centres_they_contain(rasterizer: Rasterizer) -> None:
    reach = max(1e-4, 2 * rasterizer.limits.edge)
    speck = torch.tensor([[-1.0, -1], [1, -1], [0, 1]], dtype=torch.float64) * reach
    seen = rasterizer.rasterize(on_screen(speck + 4.5, 9, 9)[None], torch.tensor([[0, 1, 2]]), (9, 9)).face[0] >= 0
    assert seen.sum() == 1
    assert seen[4, 4]
    beside = rasterizer.rasterize(on_screen(speck + 4.5 + min(10 * reach, 0.5), 9, 9)[None], torch.tensor([[0, 1, 2]]), (9, 9)).face
    assert (beside == -1).all()


def test_edges_are_placed_to_a_ten_millionth_of_a_pixel(rasterizer: Rasterizer) -> None:
    """Or just beyond the grid that corners are rounded to, where they are."""
    height, width = 7, 19
    reach = max(1e-7, 1.01 * rasterizer.limits.edge)
    for column in range(width):
        for step in (-reach, reach):
            corner = torch.tensor([column + 0.5 + step, -90.0], dtype=torch.float64)
            points = torch.stack((corner, corner + torch.tensor([0.0, 900]), corner + torch.tensor([900.0, 0])))
            seen = rasterizer.rasterize(on_screen(points, height, width)[None], torch.tensor([[0, 1, 2]]), (height, width)).face[0] == 0
            first = column + (1 if step > 0 else 0)
            assert torch.equal(seen, (torch.arange(width) >= first).expand(height, width))


@pytest.mark.parametrize(
    ("views", "vertices", "count", "size"), [(1, 3, 1, (1, 5)), (2, 3, 1, (4, 1)), (1, 4, 0, (3, 3)), (2, 0, 0, (2, 2)), (0, 3, 1, (2, 2))]
)
def test_empty_input_gives_empty_images_with_zero_gradients(
    rasterizer: Rasterizer, views: int, vertices: int, count: int, size: tuple[int, int]
) -> None:
    clip = torch.ones(views, vertices, 4, requires_grad=True)
    attributes = torch.ones(vertices, 2, requires_grad=True)
    faces = torch.arange(3).expand(count, 3)
    fragments = rasterizer.rasterize(clip, faces, size)
    assert fragments.face.shape == (views, *size)
    assert (fragments.face == -1).all()
    image = rasterizer.antialias(rasterizer.interpolate(attributes, fragments, faces), fragments, clip, faces)
    assert image.shape == (views, *size, 2)
    (image.sum() + fragments.bary.sum() + fragments.depth.sum()).backward()
    assert clip.grad is not None
    assert attributes.grad is not None
    assert not clip.grad.any()
    assert not attributes.grad.any()


def test_bad_input_is_refused_by_name(rasterizer: Rasterizer) -> None:
    raw, device = rasterizer.inner, rasterizer.device
    square, ones = SQUARE.to(device), torch.ones(1, 4, 4, 1, device=device)
    clip = on_screen(torch.tensor([[0.0, 0], [4, 0], [4, 4], [0, 4]]), 4, 4)[None].to(device)
    fragments = raw.rasterize(clip, square, (4, 4))
    broken = clip.clone()
    broken[0, 2, 1] = math.nan
    cases = [
        (r"clip: shape \[4, 4\]", lambda: raw.rasterize(clip[0], square, (4, 4))),
        (r"clip: dtype torch.float16 of shape \[1, 4, 4\]", lambda: raw.rasterize(clip.half(), square, (4, 4))),
        ("view 0, vertex 2", lambda: raw.rasterize(broken, square, (4, 4))),
        ("view 0, vertex 2", lambda: raw.antialias(ones, fragments, broken, square)),
        (r"clip: shape \[1, 4, 4\] holds NaN or infinity", lambda: raw.rasterize(clip / 0, square, (4, 4))),
        (r"faces: torch.int32 \[2, 3\]", lambda: raw.rasterize(clip, square.int(), (4, 4))),
        (r"faces: torch.int64 \[2, 2\]", lambda: raw.rasterize(clip, square[:, :2], (4, 4))),
        (
            r"faces: torch.int64 \[2, 2, 3\].*expected torch.int64 \[F, 3\] or \[1, F, 3\]",
            lambda: raw.rasterize(clip, square.expand(2, 2, 3), (4, 4)),
        ),
        (r"faces: shape \[1, 3\] with vertices 0 to 4, expected 0 to 3", lambda: raw.rasterize(clip, square[:1] * 2, (4, 4))),
        (r"faces: shape \[1, 1, 3\] with vertices 0 to 4", lambda: raw.rasterize(clip, square[None, :1] * 2, (4, 4))),
        ("faces: .* -1 to", lambda: raw.rasterize(clip, square - 1, (4, 4))),
        (r"faces: .*\[2, 3\] on meta", lambda: raw.rasterize(clip, square.to("meta"), (4, 4))),
        ("size: -1 x 4", lambda: raw.rasterize(clip, square, (-1, 4))),
        ("size: 0 x 4 for 1 views", lambda: raw.rasterize(clip, square, (0, 4))),
        ("size: 4 x 0 for 1 views", lambda: raw.rasterize(clip, square, (4, 0))),
        (r"attributes: shape \[2, 4, 3\]", lambda: raw.interpolate(torch.ones(2, 4, 3, device=device), fragments, square)),
        (r"attributes: torch.float64 \[4, 3\]", lambda: raw.interpolate(torch.ones(4, 3, device=device).double(), fragments, square)),
        (r"attributes: torch.float32 \[4, 3\] on meta", lambda: raw.interpolate(torch.ones(4, 3, device="meta"), fragments, square)),
        ("faces: .* expected 0 to 2", lambda: raw.interpolate(torch.ones(3, 3, device=device), fragments, square)),
        ("fragments: face 1", lambda: raw.interpolate(torch.ones(4, 3, device=device), fragments, square[:1])),
        ("fragments: face 1", lambda: raw.antialias(ones, fragments, clip, square[:1])),
        (
            r"fragments: .* depth \[1, 4\]",
            lambda: raw.antialias(ones, Fragments(fragments.face, fragments.bary, fragments.depth[:, 0]), clip, square),
        ),
        (
            r"image: shape \[1, 4, 5, 1\], expected \[1, 4, 4",
            lambda: raw.antialias(torch.ones(1, 4, 5, 1, device=device), fragments, clip, square),
        ),
        (r"image: torch.float64 \[1, 4, 4, 1\]", lambda: raw.antialias(ones.double(), fragments, clip, square)),
        (r"image: torch.float32 \[1, 4, 4, 1\] on meta", lambda: raw.antialias(ones.to("meta"), fragments, clip, square)),
        (r"clip: shape \[2, 4, 4\], expected \[1, V, 4\]", lambda: raw.antialias(ones, fragments, clip.expand(2, 4, 4), square)),
    ]
    if torch.float64 not in raw.limits.precisions:
        cases.append(("clip: dtype torch.float64", lambda: raw.rasterize(clip.double(), square, (4, 4))))
    for words, call in cases:
        with pytest.raises(ValueError, match=words):
            call()
