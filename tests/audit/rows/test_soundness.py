"""Soundness of surfaces whose answers are known, and of damaged ones, on which geometry.soundness must agree."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
import trimesh

from dreamfusion_mesh.audit.readers.written import Materials, Written, from_corners
from dreamfusion_mesh.audit.rows.soundness import measure_soundness
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
OUTWARD = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def written(vertices: np.ndarray, faces: np.ndarray) -> Written:
    return from_corners("glTF", vertices[faces], None, Materials(1))


def faults(vertices: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    found = asdict(measure_soundness(vertices, np.asarray(faces)))
    return {name: value for name, value in found.items() if value and name not in ("shells", "smallest_share", "smallest_volume")}


def test_a_closed_outward_shell_is_sound() -> None:
    found = measure_soundness(TETRAHEDRON, OUTWARD)
    assert faults(TETRAHEDRON, OUTWARD) == {}
    assert (found.shells, found.smallest_share) == (1, 1.0)
    assert found.smallest_volume == pytest.approx(1 / 6, rel=1e-12)


def test_volumes_hold_far_from_the_origin() -> None:
    assert measure_soundness(TETRAHEDRON + 1e6, OUTWARD).smallest_volume == pytest.approx(1 / 6, rel=1e-6)


def test_each_fault_is_counted() -> None:
    assert faults(TETRAHEDRON, OUTWARD[:3]) == {"open_edges": 3}
    assert faults(TETRAHEDRON, OUTWARD[:, ::-1]) == {"inward_shells": 1}
    assert faults(TETRAHEDRON, np.concatenate([OUTWARD[:3], OUTWARD[3:, ::-1]])) == {"inconsistent_edges": 3}
    assert faults(TETRAHEDRON, np.concatenate([OUTWARD, OUTWARD[:1]])) == {"non_manifold_edges": 3, "duplicate_faces": 1}


def test_two_shells_at_one_edge_are_not_manifold() -> None:
    """Two tetrahedra that share two corners: the edge between them has four faces."""
    mirrored = np.array([[0.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, -1]])
    both = written(np.concatenate([TETRAHEDRON, mirrored]), np.concatenate([OUTWARD, OUTWARD + 4]))
    assert faults(both.vertices, both.faces) == {"non_manifold_edges": 1}


def test_shells_that_meet_at_a_corner_stay_two() -> None:
    both = written(np.concatenate([TETRAHEDRON, -TETRAHEDRON]), np.concatenate([OUTWARD, OUTWARD[:, ::-1] + 4]))
    assert len(both.vertices) == 7
    assert measure_soundness(both.vertices, both.faces).shells == 2
    assert faults(both.vertices, both.faces) == {}


def test_a_face_without_height_is_degenerate() -> None:
    """An edge split by a corner that lies on it: closed, but one face is a line."""
    vertices = np.concatenate([TETRAHEDRON, [[0.5, 0, 0]]])
    faces = np.concatenate([OUTWARD[1:], [[0, 2, 1]], [[0, 4, 1]]])
    assert faults(vertices, faces)["degenerate_faces"] == 1
    assert faults(TETRAHEDRON, np.concatenate([OUTWARD, [[0, 1, 1]]]))["degenerate_faces"] == 1


def test_corners_are_joined_by_exact_position() -> None:
    apart = written(np.concatenate([TETRAHEDRON[:, [0, 1, 2]], [[-0.0, 0.0, 1e-9]]]), np.concatenate([OUTWARD[:3], [[1, 2, 3]]]))
    assert len(apart.vertices) == 4
    split = (
        TETRAHEDRON[OUTWARD].reshape(-1, 3) * np.where(np.arange(12)[:, None] % 2, 1.0, -1.0) * np.where(np.arange(12)[:, None] % 2, 1, -1)
    )
    assert faults(*_surface(written(split, np.arange(12).reshape(4, 3)))) == {}


def solids(draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two balls, a ring and a box of random sizes apart from one another, each of them inside out in one of three cases."""
    parts = [trimesh.creation.icosphere(2), trimesh.creation.icosphere(1), trimesh.creation.torus(1, 0.3, 12, 8), trimesh.creation.box()]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    vertices = [part.vertices * draws.uniform(0.5, 2, 3) + [9 * i, 0, 0] for i, part in enumerate(parts)]
    faces = [(part.faces[:, ::-1] if draws.random() < 1 / 3 else part.faces) + start for part, start in zip(parts, starts, strict=True)]
    return np.concatenate(vertices), np.concatenate(faces)


def damage(vertices: np.ndarray, faces: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """The faces in another order, up to five missing, turned, doubled, loose, on an edge that has two already, or without area."""

    def some() -> np.ndarray:
        return draws.choice(len(faces), draws.integers(0, 6), replace=False)

    faces = np.delete(faces, some(), axis=0)
    turned = some()
    faces[turned] = faces[turned, ::-1]
    hung = faces[some()]
    hung[:, 2] = draws.integers(0, len(vertices), len(hung))
    loose = draws.integers(0, len(vertices), (len(some()), 3))
    added = [faces[some()], faces[some()][:, [1, 2, 0]], faces[some()][:, ::-1], faces[some()][:, [0, 1, 1]], hung, loose]
    return draws.permutation(np.concatenate([faces, *added]))


def counts(vertices: np.ndarray, faces: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """What the audit and geometry.soundness count on the same faces, each after joining corners in its own way."""
    read = written(vertices, faces)
    audited = measure_soundness(read.vertices, read.faces)
    welded = weld(Mesh(torch.from_numpy(vertices), torch.from_numpy(faces)))
    own = soundness(welded)
    assert len(read.vertices) == len(welded.vertices)
    names = {
        "open_edges": "open_edges",
        "non_manifold_edges": "nonmanifold_edges",
        "inconsistent_edges": "inconsistent_edges",
        "degenerate_faces": "degenerate_faces",
        "duplicate_faces": "duplicate_faces",
        "inward_shells": "inverted_shells",
        "shells": "shells",
        "smallest_share": "smallest_shell",
    }
    return {name: getattr(audited, name) for name in names}, {name: getattr(own, other) for name, other in names.items()}


@pytest.mark.parametrize("seed", range(20))
def test_geometry_soundness_agrees_on_closed_solids(seed: int) -> None:
    vertices, faces = solids(np.random.default_rng(seed))
    audited, own = counts(vertices, faces)
    assert audited == own
    assert {name for name, value in audited.items() if value} <= {"inward_shells", "shells", "smallest_share"}
    one = measure_soundness(vertices, faces)
    parts = trimesh.Trimesh(vertices, faces, process=False).split(only_watertight=False)
    assert one.smallest_volume == pytest.approx(min(part.volume for part in parts), rel=1e-9)


def test_geometry_soundness_agrees_on_damaged_solids() -> None:
    """But for which shells look inwards: what is open has no volume of its own."""
    seen: dict[str, set[float]] = {}
    for seed in range(40):
        draws = np.random.default_rng(seed)
        vertices, faces = solids(draws)
        audited, own = counts(vertices, damage(vertices, faces, draws))
        inward = (audited.pop("inward_shells"), own.pop("inward_shells"))
        assert audited == own, (seed, inward)
        for name, value in audited.items():
            seen.setdefault(name, set()).add(value)
    assert all(len(values) > 1 for values in seen.values()), seen


def _surface(found: Written) -> tuple[np.ndarray, np.ndarray]:
    return found.vertices, found.faces
