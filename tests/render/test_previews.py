"""The preview shows the asset as it is: framed, upright, each side where it belongs, its texture the right way up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from one_device import OneDevice
from torch import Tensor

from dreamfusion_mesh.asset.export.corners import export_surface
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.previews import BACKGROUND, FRAMES, Texture, preview_sheet, smooth_surface, to_picture, turntable_frames
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

SIZE = 32
QUAD = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def rasterizer() -> Rasterizer:
    return resolve_rasterizer("auto", "cpu")


def box(low: tuple[float, ...] = (-0.5, 0, -0.5), high: tuple[float, ...] = (0.5, 1, 0.5)) -> Mesh:
    """Six quads; every side's UVs are the whole square, upright as seen from outside (from above: the front is below)."""
    sides = (
        [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
        [[1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0]],
        [[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]],
        [[0, 1, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]],
    )
    corners = np.array(sides, dtype=np.float64).reshape(-1, 3) * (np.array(high) - low) + low
    faces = (QUAD[None] + 4 * np.arange(6)[:, None, None]).reshape(-1, 3)
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    face_uvs = np.tile(QUAD, (6, 1))
    return Mesh(torch.from_numpy(corners).float(), torch.from_numpy(faces), torch.from_numpy(uvs).float(), torch.from_numpy(face_uvs))


def white(points: Tensor) -> Tensor:
    return torch.ones_like(points)


def red_in_front(points: Tensor) -> Tensor:
    return torch.where(points[:, 2:] > 0, torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])).to(points)


def pictures(sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[8, S, S, 3] lit and [8, S, S, 3] textureless, from azimuth 0 in steps of 45 degrees."""
    size = sheet.shape[0] // 4
    cells = sheet.reshape(4, size, 4, size, 3).transpose(0, 2, 1, 3, 4).reshape(16, size, size, 3)
    return cells[:8], cells[8:]


def object_in(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - round(BACKGROUND * 255)).max(axis=-1) > 1


def redness(picture: np.ndarray) -> tuple[int, int]:
    inside = picture[object_in(picture)].astype(int)
    return int((inside[:, 0] > 2 * inside[:, 2]).sum()), int((inside[:, 2] > 2 * inside[:, 0]).sum())


def test_eight_views_are_shown_twice_and_textureless_is_grey(rasterizer: Rasterizer) -> None:
    sheet = preview_sheet(box(), red_in_front, rasterizer, SIZE)
    assert (sheet.shape, sheet.dtype) == ((4 * SIZE, 4 * SIZE, 3), np.uint8)
    lit, clay = pictures(sheet)
    assert (clay == clay[..., :1]).all()
    assert (lit != clay).any(axis=(1, 2, 3)).all()
    assert all(0.15 < object_in(picture).mean() < 0.8 for picture in (*lit, *clay))


def test_the_front_is_seen_first_and_the_turn_goes_towards_x(rasterizer: Rasterizer) -> None:
    lit, _ = pictures(preview_sheet(box(), red_in_front, rasterizer, SIZE))
    front, back = redness(lit[0]), redness(lit[4])
    assert front[0] > 5 * front[1]  # the raised camera sees a little of the top's far half
    assert back[1] > 5 * back[0]
    side = lit[2]  # from +X the front is at the left
    half = SIZE // 2
    assert redness(side[:, :half])[0] > 20 * redness(side[:, :half])[1]
    assert redness(side[:, half:])[1] > 20 * redness(side[:, half:])[0]


def test_the_texture_stands_upright_and_is_not_mirrored(rasterizer: Rasterizer) -> None:
    """Four quarters of one image: seen from the front they lie on the front side as in the image."""
    quarters = np.zeros((64, 64, 3), np.uint8)
    quarters[:32, :32], quarters[:32, 32:], quarters[32:, :32], quarters[32:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    lit, _ = pictures(preview_sheet(box(), quarters, rasterizer, 64))
    for view in (0, 2, 4, 6):
        rows, columns = np.nonzero(object_in(lit[view]))
        bottom, left, right = rows.max(), columns.min(), columns.max()
        upper, lower = bottom - (right - left) * 3 // 4, bottom - (right - left) // 5
        near, far = left + (right - left) // 5, right - (right - left) // 5
        seen = [lit[view][row, column].astype(int) for row, column in ((upper, near), (upper, far), (lower, near), (lower, far))]
        assert seen[0][0] > 3 * max(seen[0][1], seen[0][2])
        assert seen[1][1] > 3 * max(seen[1][0], seen[1][2])
        assert seen[2][2] > 3 * max(seen[2][0], seen[2][1])
        assert min(seen[3][0], seen[3][1]) > 3 * seen[3][2]


def test_a_texture_looked_up_equals_the_colour_it_was_made_from(rasterizer: Rasterizer) -> None:
    flat = np.full((8, 8, 3), (200, 120, 40), np.uint8)
    asked = preview_sheet(box(), lambda points: torch.tensor([200, 120, 40]).to(points).expand_as(points) / 255, rasterizer, SIZE)
    assert np.abs(preview_sheet(box(), flat, rasterizer, SIZE).astype(int) - asked).max() <= 1


def test_size_and_position_do_not_change_the_picture(rasterizer: Rasterizer) -> None:
    plain = preview_sheet(box(), white, rasterizer, SIZE).astype(int)
    large = preview_sheet(box((99.5, 100, -50.5), (100.5, 101, -49.5)), white, rasterizer, SIZE)
    small = preview_sheet(box((-5e-4, 0, -5e-4), (5e-4, 1e-3, 5e-4)), white, rasterizer, SIZE)
    assert np.abs(small - plain).max() <= 1
    assert np.abs(large - plain).mean() < 0.1


def test_a_tall_object_fits_and_leaves_a_margin(rasterizer: Rasterizer) -> None:
    lit, _ = pictures(preview_sheet(box((-0.1, 0, -0.1), (0.1, 2, 0.1)), white, rasterizer, 64))
    for picture in lit:
        inside = object_in(picture)
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()
        assert inside.any(axis=1).sum() > 0.8 * 64


def test_light_comes_from_above(rasterizer: Rasterizer) -> None:
    _, clay = pictures(preview_sheet(box(), white, rasterizer, 64))
    rows, columns = np.nonzero(object_in(clay[0]))
    middle = clay[0][rows.min() : rows.max(), (columns.min() + columns.max()) // 2, 0].astype(int)
    assert middle[3] > middle[-4] + 20  # the top side against the front


def test_edges_are_smooth(rasterizer: Rasterizer) -> None:
    """A slanted edge gives values between the object's and the background's."""
    _, clay = pictures(preview_sheet(box((-0.2, 0, -1), (0.2, 0.02, 1)), white, rasterizer, 64))
    values = np.unique(clay[1][..., 0])
    assert len(values) > 10


def test_the_sheet_comes_out_the_same(rasterizer: Rasterizer) -> None:
    assert np.array_equal(preview_sheet(box(), white, rasterizer, 16), preview_sheet(box(), white, rasterizer, 16))


def test_it_is_shaded_with_the_normals_that_are_exported() -> None:
    """Duplicate vertices, as this box has them, are one in the file."""
    mesh = box((-0.3, 0, -0.7), (0.5, 1, 0.4))
    shown, normals = smooth_surface(mesh)
    exported = export_surface(mesh)
    assert len(shown.vertices) == len(exported.positions) == 8
    assert np.array_equal(shown.vertices[shown.faces].numpy(), exported.positions[exported.face_positions])
    assert np.array_equal(normals[shown.faces].numpy(), exported.normals[exported.face_normals])


def test_each_device_shows_the_same_picture(device: torch.device) -> None:
    texture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = preview_sheet(box().to(device), texture, resolve_rasterizer("warp", device), SIZE).astype(int)
    differs = np.abs(found - preview_sheet(box(), texture, resolve_rasterizer("warp", "cpu"), SIZE))
    assert (differs > 1).mean() < 0.01


@pytest.mark.parametrize("texture", [np.full((8, 8, 3), (200, 120, 40), np.uint8), white], ids=["an image", "a function"])
def test_the_preview_stays_on_one_device(rasterizer: Rasterizer, texture: Texture) -> None:
    """Cameras are placed on the CPU, so that they are the same on every device; the finished sheet goes to numpy."""
    mesh = box()
    expected = preview_sheet(mesh, texture, rasterizer, SIZE)
    with OneDevice(edges=[turntable, to_picture]) as one:
        assert np.array_equal(preview_sheet(mesh.to(one.device), texture, rasterizer, SIZE), expected)


def test_unusable_input_is_refused(rasterizer: Rasterizer) -> None:
    bare = Mesh(box().vertices, box().faces)
    with pytest.raises(ValueError, match="no uvs"):
        preview_sheet(bare, np.zeros((4, 4, 3), np.uint8), rasterizer, SIZE)
    with pytest.raises(ValueError, match=r"texture: float32 \[4, 4, 3\]"):
        preview_sheet(box(), np.zeros((4, 4, 3), np.float32), rasterizer, SIZE)
    with pytest.raises(ValueError, match="0 faces"):
        preview_sheet(Mesh(box().vertices, box().faces[:0]), white, rasterizer, SIZE)


def test_a_turntable_begins_with_the_preview_and_passes_all_its_views(rasterizer: Rasterizer) -> None:
    lit, _ = pictures(preview_sheet(box(), red_in_front, rasterizer, SIZE))
    frames = turntable_frames(box(), red_in_front, rasterizer, SIZE)
    assert len(frames) == FRAMES
    for view, picture in enumerate(lit):
        assert np.abs(frames[view * FRAMES // len(lit)].astype(int) - picture).max() <= 1
    assert np.array_equal(frames[0], lit[0])


def test_a_turntable_goes_round_evenly(rasterizer: Rasterizer) -> None:
    """A red front turns away, frame by frame, until half a turn, and comes back as it went; which way, the preview's views tell."""
    reds = np.array([redness(picture)[0] for picture in turntable_frames(box(), red_in_front, rasterizer, SIZE)])
    half = FRAMES // 2
    assert (np.diff(reds[1 : half + 1]) < 0).all()
    assert reds[half] < reds[0] / 5
    assert np.abs(reds[1:half] - reds[:half:-1]).max() <= 0.02 * reds[0]


def test_no_turntable_of_an_empty_mesh(rasterizer: Rasterizer) -> None:
    with pytest.raises(ValueError, match="0 faces at 16 pixels"):
        turntable_frames(Mesh(box().vertices, box().faces[:0]), white, rasterizer, 16)
