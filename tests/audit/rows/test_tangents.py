"""Row 8: tangents that are not MikkTSpace's, and normal maps that are not of that basis, are found."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
import trimesh
from assets import mapped
from framed import FLAT, box_mesh, changed, filled, framed
from surfaces import as_mesh

from dreamfusion_mesh.audit.angles import geometric_normals
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.tangents import tangents_row
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh

SIZE = 256


def turned(tangents: np.ndarray, normals: np.ndarray, degrees: float) -> np.ndarray:
    """Tangents [F, 3, 4] turned about their normals."""
    angle, result = np.radians(degrees), tangents.copy()
    result[..., :3] = np.cos(angle) * tangents[..., :3] + np.sin(angle) * np.cross(normals, tangents[..., :3])
    return result


@lru_cache(maxsize=1)
def bumpy() -> Mesh:
    """The coarse sphere's surface with waves 1.5 % of its size high."""
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.8)
    waves = np.sin(14 * ball.vertices[:, 0]) * np.cos(11 * ball.vertices[:, 1] + 1) * np.sin(9 * ball.vertices[:, 2] + 2)
    return as_mesh(ball.vertices * (1 + 0.02 * waves[:, None]), ball.faces)


def baked(written: Written, reference: Mesh, size: int = SIZE) -> np.ndarray:
    """A normal map by brute force: each texel whose centre lies in a face takes the direction of the reference's nearest vertex."""
    from scipy.spatial import KDTree

    vertices = reference.vertices.double().numpy()
    around, tree = geometric_normals(vertices, reference.faces.numpy())[1], KDTree(vertices)
    image = filled(FLAT, size)
    for face in range(len(written.faces)):
        (ax, ay), b, c = (corners := written.corner_uvs[face] * size)
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
        x, y = (grid.ravel() + 0.5 for grid in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
        shares = np.linalg.solve(np.stack([b - [ax, ay], c - [ax, ay]], axis=1), np.stack([x - ax, y - ay]))
        weights = np.stack([1 - shares.sum(axis=0), *shares], axis=1)
        inside = (weights >= 0).all(axis=1)
        weights, rows = weights[inside], size - 1 - y[inside].astype(int)
        normal, tangent = weights @ written.corner_normals[face], weights @ written.corner_tangents[face][:, :3]
        across = written.corner_tangents[face, 0, 3] * np.cross(normal, tangent)
        wanted = around[tree.query(weights @ written.vertices[written.faces[face]])[1]]
        local = [np.linalg.solve(np.stack(basis, axis=1), n) for *basis, n in zip(tangent, across, normal, wanted, strict=True)]
        local = np.array(local).reshape(-1, 3)
        local /= np.linalg.norm(local, axis=1, keepdims=True)
        image[rows, x[inside].astype(int)] = np.round(127.5 + 127.5 * local)
    return image


@lru_cache(maxsize=1)
def clean() -> tuple[Written, np.ndarray]:
    written = framed(mapped("sphere"))
    pixels = baked(written, bumpy())
    return framed(mapped("sphere"), normal=pixels), pixels


def check(row: Row, status: str, words: str = "") -> None:
    assert row.status == status, row.detail
    assert words in row.detail


def test_mikktspace_tangents_and_a_map_baked_in_them_pass() -> None:
    written, _ = clean()
    row = tangents_row(written, bumpy())
    check(row, "pass")
    assert row.measured["wrong w"] == 0
    assert row.measured["degrees from MikkTSpace p99"] < 0.01
    assert row.measured["without the map"] > 4
    assert row.measured["degrees from the refined surface"] < row.measured["without the map"] / 3


def test_tangents_that_are_turned_or_stretched_or_of_the_other_hand_fail() -> None:
    written, _ = clean()
    tangents = written.corner_tangents
    check(tangents_row(replace(written, corner_tangents=turned(tangents, written.corner_normals, 3.0)), None), "fail", "from MikkTSpace's")
    check(tangents_row(changed(written, "corner_tangents", (5, 1, 3), -tangents[5, 1, 3]), None), "fail", "1 corners' w has the wrong sign")
    for factor in (1.01, 0.0, np.nan):
        check(tangents_row(changed(written, "corner_tangents", 5, tangents[5] * factor), None), "fail", "not unit with w = +-1")


def test_a_normal_map_needs_tangents_and_a_file_without_one_needs_none() -> None:
    written, _ = clean()
    check(tangents_row(replace(written, corner_tangents=None), bumpy()), "fail", "no TANGENT is written")
    check(tangents_row(replace(written, corner_normals=None), bumpy()), "fail", "no normals")
    plain = framed(mapped("sphere"))
    check(tangents_row(replace(plain, corner_tangents=None), None), "not measured", "there is no normal map")
    check(tangents_row(plain, None), "pass", "there is no normal map")
    check(tangents_row(replace(plain, kind="OBJ"), None), "not measured")


def test_a_map_in_another_basis_is_found() -> None:
    """Green or red turned round, or baked in tangents that were turned by a quarter."""
    written, pixels = clean()
    for channel in (0, 1):
        wrong = pixels.copy()
        wrong[..., channel] = 255 - wrong[..., channel]
        check(tangents_row(framed(mapped("sphere"), normal=wrong), bumpy()), "fail", "the normal map is of another basis")
    elsewhere = replace(written, corner_tangents=turned(written.corner_tangents, written.corner_normals, 90.0))
    check(tangents_row(framed(mapped("sphere"), normal=baked(elsewhere, bumpy())), bumpy()), "fail", "is of another basis")


@pytest.mark.parametrize(("scale", "words"), [(-1.0, "is of another basis"), (5.0, "leads away")])
def test_the_files_scale_of_the_map_is_applied(scale: float, words: str) -> None:
    written, _ = clean()
    assert written.materials is not None
    scaled = replace(written, materials=replace(written.materials, factors={"normalTexture.scale": (scale,)}))
    check(tangents_row(scaled, bumpy()), "fail", words)


def test_a_map_of_another_surface_leads_away_from_the_refined_one() -> None:
    pixels = clean()[1]
    check(tangents_row(framed(mapped("sphere"), normal=np.roll(pixels, 60, axis=(0, 1))), bumpy()), "fail", "leads away")


@pytest.mark.parametrize("color", [(200, 60, 30), (128, 128, 0), (0, 0, 0)])
def test_an_image_that_holds_no_normals_fails_without_a_refined_mesh_too(color: tuple[int, int, int]) -> None:
    check(tangents_row(framed(mapped("sphere"), normal=filled(color)), None), "fail", "hold no unit normal")


@pytest.mark.parametrize("tilt", [0, 1, 3])
def test_flat_patches_are_128_128_255(tilt: int) -> None:
    """A box of 10 x 10 squares a side: those that touch no edge are flat, smooth normals included. A refined surface may bend there."""
    mesh = box_mesh()
    written = framed(mesh, normal=filled((128 + tilt, 128, 255)))
    refined = weld(mesh)
    row = tangents_row(written, refined)
    assert row.measured["flat texels"] > 1000
    check(row, "pass" if tilt <= 1 else "fail", "" if tilt <= 1 else "of flat patches are not (128, 128, 255)")
    bent = Mesh(refined.vertices + torch.sin(20 * refined.vertices[:, [1, 2, 0]]) * 0.01, refined.faces)
    assert "there is no flat patch" in tangents_row(written, bent).detail
