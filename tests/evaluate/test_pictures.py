"""What the judge is shown: a file as it is on disk, framed and lit as the world that it knows."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from judged_world import built, world_pictures
from PIL import Image
from written_files import box

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.pictures import AZIMUTHS, BACKGROUND, LONGEST, RADIUS, Surface, framing, photograph, pictures_of
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import CLAY

RASTERIZER = resolve_rasterizer("auto", "cpu")
SIZE = 32


def pictures(draft, folder, azimuths=4):
    return pictures_of(draft.write(folder), RASTERIZER, SIZE, "cpu", azimuths)


def test_a_surface_looks_as_the_worlds_own_renderer_draws_it():
    """The same scene by two renderers: but for antialiased edges the same pixels."""
    scene = built("a red car", 3)
    faces = torch.arange(scene.corners.shape[0] * 3).reshape(-1, 3)
    mesh = Mesh(scene.corners.reshape(-1, 3) * 7 + 3, faces)
    color = scene.colour
    normals = scene.normals.reshape(-1, 3)
    surface = Surface(mesh, normals, faces, lambda fragments, seen, points: color[fragments.face.reshape(-1)[seen]])
    found, wanted = photograph(surface, RASTERIZER, 64), world_pictures(scene)
    for ours, theirs in ((found.colour, wanted.colour), (found.textureless, wanted.textureless)):
        assert ours.shape == (AZIMUTHS, 64, 64, 3)
        far = (ours - theirs).abs()
        assert far.mean() < 0.002
        assert (far.amax(dim=3) > 0.02).float().mean() < 0.05


def test_surfaces_just_fit():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 2.0]) + 9
    middle, scale = framing(points)
    placed = (points - middle) * scale
    extent, reach = (placed.amax(0) - placed.amin(0)).max(), placed.norm(dim=1).max()
    assert extent <= LONGEST + 1e-5
    assert reach <= RADIUS + 1e-5
    assert max(extent / LONGEST, reach / RADIUS) == pytest.approx(1)
    assert framing(torch.zeros(3, 3))[1].isfinite()


def test_a_file_shows_its_base_color_and_its_clay(tmp_path):
    """A box of one red, 128 of 255: its colour times the light, and clay's grey times the same light."""
    found = pictures(box(2), tmp_path)
    assert found.colour.shape == found.textureless.shape == (4, SIZE, SIZE, 3)
    assert found.colour[:, 0, 0] == pytest.approx(torch.full((4, 3), BACKGROUND))
    inside = found.colour[:, SIZE // 2, SIZE // 2]
    clay = found.textureless[:, SIZE // 2, SIZE // 2]
    assert (clay[:, 0] == clay[:, 1]).all()
    assert torch.allclose(inside[:, 0], clay[:, 0] / CLAY * 128 / 255, atol=1e-3)
    assert (inside[:, 1:] == 0).all()
    assert (found.textureless - found.textureless[:1]).abs().mean() < 0.01  # four sides alike


def test_place_and_size_in_the_file_do_not_matter(tmp_path):
    draft = box(2)
    far = replace(draft, positions=draft.positions * 0.01 + [500.0, 0.0, -3.0])
    (tmp_path / "far").mkdir()
    near, away = pictures(draft, tmp_path), pictures(far, tmp_path / "far")
    assert (near.colour - away.colour).abs().mean() < 0.005


def factor(values):
    def change(document):
        document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = values

    return change


def test_the_base_color_factor_multiplies_light(tmp_path):
    """A quarter of the light of 128 / 255, 0.2159, is encoded as 0.2581."""
    found = pictures(replace(box(2), change=factor([0.25, 1.0, 1.0, 1.0])), tmp_path)
    red, clay = (images[:, SIZE // 2, SIZE // 2, 0] for images in (found.colour, found.textureless))
    assert torch.allclose(red, clay / CLAY * 0.2581, atol=1e-3)


def test_what_cannot_be_pictured_is_told_in_a_line(tmp_path):
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF")
    (tmp_path / "bare").mkdir()
    bare = replace(box(2), change=lambda document: document["meshes"][0]["primitives"][0].pop("material")).write(tmp_path / "bare")
    for file, words in ((broken, "GLB header"), (tmp_path / "none.glb", "No such file"), (bare, "colours cannot be judged")):
        with pytest.raises(BadInput, match=words) as error:
            pictures_of(file, RASTERIZER, SIZE, "cpu")
        assert str(error.value).startswith(str(file))
        assert len(error.value.lines) == 1


def test_the_texture_is_read_where_the_uvs_say(tmp_path):
    """Six tiles of the map, six sides of the box: its left half red, its right half blue."""
    texels = np.zeros((256, 256, 3), np.uint8)
    texels[:, :128], texels[:, 128:] = (255, 0, 0), (0, 0, 255)
    data = io.BytesIO()
    Image.fromarray(texels).save(data, "PNG")
    found = pictures(replace(box(2), image=data.getvalue()), tmp_path).colour
    sides = {("red" if view[..., 0].mean() > view[..., 2].mean() else "blue") for view in found[:, 18:26, 12:20]}
    assert sides == {"red", "blue"}
