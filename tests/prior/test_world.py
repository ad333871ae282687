"""Kinds are sound solids that fit the cameras; scenes are the seed's alone and differ between seeds."""

import numpy as np
import pytest
import torch

from tools.prior.captions import Scene, Thing
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw, Role
from tools.prior.shapes import ball, box, cone, corner_normals, cylinder, extrude, lathe, star, torus, tube
from tools.prior.world import LONGEST, RADIUS, build, draw_scene

SEEDS = range(4)


def draw_of(seed):
    return Draw(torch.Generator().manual_seed(seed))


def directed_edges(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def is_closed(faces):
    """Every directed edge once, and its opposite once."""
    there = {tuple(edge) for edge in directed_edges(faces).tolist()}
    return len(there) == 3 * len(faces) and all((b, a) in there for a, b in there)


ROUND = 64  # sides
NGON = ROUND / 2 * np.sin(2 * np.pi / ROUND)  # area of the polygon in the unit circle
SOLIDS = {  # exact volumes of what is made of flat faces
    "box": (box(1, 2, 3, 0), 6.0),
    "cylinder": (cylinder(0.5, 2, sides=ROUND), NGON * 0.5),
    "cone": (cone(1, 3, sides=ROUND), NGON),
    "frustum": (cylinder(2, 3, top=1, sides=ROUND), NGON * 7),
    "star": (extrude(star(5, 1, 0.4), 2), 2 * 5 * 0.4 * np.sin(np.pi / 5)),
    "tube": (tube([(0, 0, 0), (1, 0, 0), (2, 0, 0)], 0.5, ROUND), NGON * 0.5),
    "hollow": (lathe([(0, 0), (1, 0), (1, 2), (0.5, 2), (0.5, 1), (0, 1)], ROUND), NGON * 1.75),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_have_their_volume(name):
    solid, volume = SOLIDS[name]
    assert is_closed(solid.faces)
    assert solid.volume() == pytest.approx(volume, rel=1e-9)
    assert solid.scaled(-1, 1, 1).volume() == pytest.approx(volume, rel=1e-9)
    assert solid.turn("x", 30).turn("y", 50).turn("z", 70).at(3, 2, 1).volume() == pytest.approx(volume, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "volume"),
    [
        (lambda n: ball(1, 2, 3, n), 8 * np.pi),
        (lambda n: torus(2, 0.5, n, n), np.pi**2),
        (lambda n: ball(0.7, sides=n), 4 / 3 * np.pi * 0.343),
    ],
)
def test_curved_solids_come_to_their_volume_from_within(make, volume):
    lacking = [volume - make(sides).volume() for sides in (32, 64)]
    assert 3.9 < lacking[0] / lacking[1] < 4.1
    assert 0 < lacking[1] < 0.006 * volume
    assert is_closed(make(32).faces)


def test_a_bevel_takes_from_the_edges_alone():
    plain, cut = box(1, 1, 1, 0), box(1, 1, 1, 0.1)
    assert is_closed(cut.faces)
    assert np.ptp(cut.vertices, 0) == pytest.approx(np.ptp(plain.vertices, 0), abs=1e-12)
    assert 0.95 * plain.volume() < cut.volume() < plain.volume()


def test_turning_is_right_handed():
    assert box(1, 1, 1).at(1).turn("y", 90).vertices.mean(0) == pytest.approx([0, 0, -1], abs=1e-12)


def test_normals_are_creased_at_a_box_and_smooth_on_a_ball():
    flat, round_ = box(1, 1, 1, 0), ball(1, sides=40)
    normals = corner_normals(flat.vertices, flat.faces)
    assert np.abs(normals).max(2) == pytest.approx(np.ones(normals.shape[:2]), abs=1e-12)
    smooth = corner_normals(round_.vertices, round_.faces)
    assert (smooth * round_.vertices[round_.faces]).sum(2).min() > 0.999


def test_there_are_kinds_enough():
    assert len(KINDS) >= 48
    words = [word for kind in KINDS.values() for word in kind.words]
    assert len(words) == len(set(words))
    assert all(word.isalpha() and word == word.lower() for word in words)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_made_of_closed_outward_solids(name):
    for seed in SEEDS:
        parts = KINDS[name].build(draw_of(seed))
        assert {Role.MAIN, Role.ACCENT} <= {part.role for part in parts}
        for part in parts:
            assert is_closed(part.solid.faces), (seed, part.role)
            assert part.solid.volume() > 1e-6, (seed, part.role)
            assert np.isfinite(part.solid.vertices).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_fits_and_is_the_seeds_alone(name):
    made = [build(Scene(Thing(name)), draw_of(seed)) for seed in (0, 0, 1, 2)]
    for built in made:
        corners = built.corners.reshape(-1, 3)
        low, high = corners.amin(0), corners.amax(0)
        assert (low + high).abs().max() < 1e-5
        assert corners.norm(dim=1).max() <= RADIUS + 1e-5
        assert (high - low).max() <= LONGEST + 1e-5
        assert max(corners.norm(dim=1).max() / RADIUS, (high - low).max() / LONGEST) > 0.83
        assert (built.normals.norm(dim=2) - 1).abs().max() < 1e-5
        assert built.colour.min() >= 0
        assert built.colour.max() <= 1
    for part in ("corners", "normals", "colour", "finish"):
        assert torch.equal(getattr(made[0], part), getattr(made[1], part))
    shapes = [built.corners if len(built.corners) == len(made[0].corners) else None for built in made[2:]]
    assert all(shape is None or (shape - made[0].corners).abs().max() > 0.01 for shape in shapes)


def test_a_thing_stands_on_its_base():
    for seed in range(6):
        for base in (name for name, kind in KINDS.items() if kind.carries):
            scene = Scene(Thing("mug", "red"), Thing(base, "blue"))
            built = build(scene, draw_of(seed))
            first = len(build_faces("mug", seed))
            upper, lower = built.corners[:first], built.corners[first:]
            assert upper[..., 1].min() == pytest.approx(float(lower[..., 1].max()), abs=0.02)
            assert built.corners.reshape(-1, 3).norm(dim=1).max() <= RADIUS + 1e-5


def build_faces(name, seed):
    return np.concatenate([part.solid.faces for part in KINDS[name].build(draw_of(seed))])


def test_sizes_are_told_apart():
    def longest(size, seed):
        return float(build(Scene(Thing("car", "red", size=size)), draw_of(seed)).corners.reshape(-1, 3).norm(dim=1).max())

    for seed in SEEDS:
        small, plain, large = (longest(size, seed) for size in ("small", None, "large"))
        assert small < 0.8 * plain < plain < large


def test_scenes_are_the_seeds_alone_and_reach_every_kind():
    first, again = ([draw_scene(draw) for _ in range(600)] for draw in (draw_of(3), draw_of(3)))
    assert first == again
    assert {scene.thing.kind for scene in first} == set(KINDS)
    assert 0.05 < np.mean([scene.base is not None for scene in first]) < 0.15
