"""What a person rejects at a glance, against shapes that have a known number of it."""

from __future__ import annotations

import manifold3d
import numpy as np
import pytest
import torch
import trimesh
from surfaces import SURFACES

from dreamfusion_mesh.geometry.defects import TELLING_PITS, Defects, defects, pit_share
from dreamfusion_mesh.records import Mesh

Solid = manifold3d.Manifold


def looked_at(solid: manifold3d.Manifold, longest_edge: float = 0.05) -> Defects:
    """The defects of a solid that stands on z = 0, cut into small triangles."""
    found = solid.rotate([-90, 0, 0]).refine_to_length(longest_edge).to_mesh()
    return defects(np.asarray(found.vert_properties)[:, :3], np.asarray(found.tri_verts))


def mushroom() -> manifold3d.Manifold:
    cap = Solid.sphere(0.6, 64) ^ Solid.cube([2, 2, 2]).translate([-1, -1, 0])
    return Solid.cylinder(0.6, 0.2, 0.25, 48) + cap.translate([0, 0, 0.5])


def mug() -> manifold3d.Manifold:
    handle = Solid(manifold3d.Mesh64(*_ring())).translate([0.55, 0, 0.5])
    return (Solid.cylinder(1, 0.5, 0.5, 64) + handle) - Solid.cylinder(1, 0.42, 0.42, 64).translate([0, 0, 0.08])


def _ring() -> tuple[np.ndarray, np.ndarray]:
    ring = trimesh.creation.torus(0.25, 0.07, 32, 16)
    turned = ring.vertices[:, [0, 2, 1]] * [1, -1, 1]
    return np.ascontiguousarray(turned, dtype=np.float64), ring.faces.astype(np.uint64)


def drum(pits: int, depth: float) -> manifold3d.Manifold:
    """A cylinder with narrow cones sunk into its wall."""
    body, draws = Solid.cylinder(1, 1, 1, 64), np.random.default_rng(0)
    cone = Solid.cylinder(depth + 0.1, 0.01, 0.06, 16).rotate([0, 90, 0]).translate([1 - depth, 0, 0])
    for _ in range(pits):
        body -= cone.translate([0, 0, draws.uniform(0.1, 0.9)]).rotate([0, 0, draws.uniform(0, 360)])
    return body


@pytest.mark.parametrize("shape", SURFACES)
def test_clean_surfaces_have_nothing_to_tell_but_the_hole_of_a_ring(shape: str) -> None:
    mesh = SURFACES[shape]()
    found = defects(mesh.vertices, mesh.faces)
    assert found == Defects(1, 0, (int(shape == "torus"),), 0, 0.0, 0.0, 0.0)
    assert found.lines() == (["1 hole through the solid"] if shape == "torus" else [])


@pytest.mark.parametrize(("solid", "genus", "pits"), [(mushroom, 0, 0.0), (mug, 1, 2e-4)])
def test_edges_corners_and_cups_are_no_pits(solid: object, genus: int, pits: float) -> None:
    """The handle of a mug meets its wall at a sharp angle: a few points there count."""
    found = looked_at(solid())  # type: ignore[operator]
    assert (found.parts, found.genus) == (1, (genus,))
    assert found.pits <= pits
    assert found.lines() == ["1 hole through the solid"] * genus


def test_holes_that_cross_inside_are_counted_as_topology_has_it() -> None:
    """A block drilled through along one axis, two and three that meet in the middle: 1, 3 and 5 handles."""
    drill = Solid.cylinder(3, 0.2, 0.2, 24, center=True)
    block, counts = Solid.cube([1, 1, 1], center=True), []
    for turn in ([0, 0, 0], [90, 0, 0], [0, 90, 0]):
        block -= drill.rotate(turn)
        counts.append(looked_at(block, 1.0).holes)
    assert counts == [1, 3, 5]


def test_a_pitted_drum_is_told_from_a_plain_one() -> None:
    assert looked_at(drum(0, 0.2)).pits == 0.0
    few, many = looked_at(drum(6, 0.2)).pits, looked_at(drum(40, 0.2)).pits
    assert TELLING_PITS < few < many / 4
    assert many > 0.05
    assert looked_at(drum(40, 0.02)).pits < TELLING_PITS  # dents
    assert looked_at(drum(40, 0.2)).lines() == [f"{many:.1%} of the surface lies in narrow pits"]


def test_the_share_in_pits_is_that_of_wells_floors_and_lower_walls() -> None:
    """Wells half as deep again as wide, in a plate: their floors and the lower third of their walls at least, no more than both."""
    radius, plate = 0.04, Solid.cube([1, 1, 0.5])
    for x in (0.2, 0.5, 0.8):
        for y in (0.2, 0.5, 0.8):
            plate -= Solid.cylinder(1, radius, radius, 48).translate([x, y, 0.5 - 3 * radius])
    area = plate.surface_area()
    floors, walls = 9 * np.pi * radius**2 / area, 9 * 2 * np.pi * radius * 3 * radius / area
    assert floors + walls / 3 < looked_at(plate).pits < floors + walls


def test_parts_and_what_hangs_below_the_largest_are_told() -> None:
    """A ball on the ground's level, debris 5 % of the whole height below it."""
    debris = trimesh.creation.icosphere(subdivisions=2, radius=0.02).apply_translation([0.3, -0.58, 0])
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    both = trimesh.util.concatenate([debris, ball])
    found = defects(both.vertices, both.faces)
    assert found.parts == 2
    assert found.below_height == pytest.approx(0.1 / 1.1, rel=1e-6)
    assert found.below_area == pytest.approx(debris.area / (debris.area + ball.area), rel=1e-6)
    assert found.lines() == ["2 separate parts", "a small part hangs 9.1% of the height below the largest"]


def test_the_area_below_the_base_is_cut_where_faces_cross_it() -> None:
    large = trimesh.creation.box([2, 2, 2])
    post = trimesh.creation.box([1, 1, 1]).apply_translation([3, -1.25, 0])  # from -1.75 to -0.75
    both = trimesh.util.concatenate([large, post])
    found = defects(both.vertices, both.faces)
    assert found.below_area == pytest.approx((4 * 0.75 + 1) / (24 + 6), rel=1e-9)
    assert found.lines()[1] == "the largest part floats: 27.3% of the height lies below its base"


def test_cavities_are_no_parts() -> None:
    outer, inner = trimesh.creation.icosphere(subdivisions=3), trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    inner.invert()
    both = trimesh.util.concatenate([outer, inner])
    found = defects(both.vertices, both.faces)
    assert (found.parts, found.cavities, found.genus) == (1, 1, (0, 0))
    assert found.lines() == ["1 closed cavity inside"]


def test_openings_are_boundaries_and_no_holes() -> None:
    """A ring without three faces apart from one another, and a bow tie of two balls that touch in one vertex."""
    ring = SURFACES["torus"]()
    apart = torch.tensor([0, len(ring.faces) // 3, 2 * len(ring.faces) // 3])
    kept = torch.ones(len(ring.faces), dtype=torch.bool)
    kept[apart] = False
    found = defects(ring.vertices, ring.faces[kept])
    assert (found.genus, found.boundaries) == ((1,), 3)
    assert found.lines() == ["1 hole through the solid", "3 openings in the surface"]
    ball = trimesh.creation.icosphere(subdivisions=1)
    other = ball.copy().apply_translation(2 * ball.vertices[0])
    other.vertices[np.abs(other.vertices - ball.vertices[0]).sum(axis=1).argmin()] = ball.vertices[0]
    bow = trimesh.util.concatenate([ball, other])
    assert defects(bow.vertices, bow.faces).genus == (0, 0)


def test_a_fan_of_faces_on_one_edge_is_measured_as_sheets() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1]])
    found = defects(vertices, torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))
    assert (found.holes, found.boundaries) == (0, 3)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e9, 1e300])
def test_size_and_place_change_nothing(scale: float) -> None:
    mesh = drum(6, 0.2).refine_to_length(0.05).to_mesh64()
    vertices, faces = np.asarray(mesh.vert_properties), np.asarray(mesh.tri_verts)
    here, there = defects(vertices, faces), defects((vertices + np.array([0.25, 0, 0.5])) * scale, faces)
    assert there.pits == pytest.approx(here.pits, rel=0.05)
    assert there.genus == here.genus


@pytest.mark.parametrize("flat", [[[0.0, 0, 0]] * 3, [[0.0, 0, 0], [0, 1, 0], [0, 2, 0]], [[0.0, 0, 0], [0, 1, 0], [1, 0, 0]]])
def test_what_has_no_volume_or_no_area_is_measured_too(flat: list[list[float]]) -> None:
    found = defects(np.array(flat), np.array([[0, 1, 2]]))
    assert found.pits == 0.0
    assert found.parts == 1


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one face"):
        defects(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="not finite"):
        defects(np.array([[0.0, 0, 0], [0, 1, 0], [np.nan, 0, 0]]), np.array([[0, 1, 2]]))


def test_the_same_surface_gives_the_same_figures() -> None:
    mesh = SURFACES["blob"]()
    assert pit_share(mesh) == pit_share(Mesh(mesh.vertices.double(), mesh.faces))
