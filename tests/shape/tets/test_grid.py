"""The tetrahedral grid fills its box, face to face, and cannot turn over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.tets.grid import Lattice, tet_lattice
from dreamfusion_mesh.shape.tets.surface import REACH

_PAIRS = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


def _box(low: tuple[float, float, float], high: tuple[float, float, float], size: int) -> TetGrid:
    return tet_lattice(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), size).grid()


def _volumes(corners: Tensor) -> Tensor:
    a, b, c, d = corners.unbind(-2)
    return ((b - a) * torch.linalg.cross(c - a, d - a)).sum(dim=-1) / 6


@pytest.fixture(scope="module")
def slab() -> TetGrid:
    return _box((-1, -0.5, -0.25), (1, 0.5, 0.25), 8)


def test_tets_are_positive_and_fill_the_box(slab: TetGrid) -> None:
    volumes = _volumes(slab.vertices[slab.tets])
    assert slab.cell == 0.25
    assert float(volumes.min()) == pytest.approx(0.25**3 / 12, rel=1e-12)
    assert float(volumes.sum()) == pytest.approx(2 * 1 * 0.5, rel=1e-12)


def test_faces_inside_have_two_tets_and_faces_on_the_box_one(slab: TetGrid) -> None:
    triples = slab.tets[:, torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])].reshape(-1, 3).sort(dim=1).values
    faces, uses = triples.unique(dim=0, return_counts=True)
    corners = slab.vertices[faces]
    low, high = slab.vertices.amin(dim=0), slab.vertices.amax(dim=0)
    on_box = ((corners == low).all(dim=1) | (corners == high).all(dim=1)).any(dim=1)
    assert torch.equal(uses, torch.where(on_box, 1, 2))


def test_edges_are_the_tets_own_each_once(slab: TetGrid) -> None:
    assert torch.equal(slab.edges[slab.tet_edges], slab.tets[:, _PAIRS].sort(dim=-1).values)
    assert len(slab.edges.unique(dim=0)) == len(slab.edges)
    assert len(slab.tet_edges.unique()) == len(slab.edges)
    assert len(slab.tets.unique()) == len(slab.vertices)


def test_a_side_that_is_no_whole_number_of_cells_is_widened_evenly() -> None:
    grid = _box((0, 0, 0), (1, 0.6, 0.1), 4)
    low, high = grid.vertices.amin(dim=0), grid.vertices.amax(dim=0)
    assert torch.allclose(low, torch.tensor([0, -0.075, -0.075], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(high, torch.tensor([1, 0.675, 0.175], dtype=torch.float64), atol=1e-12)


def test_a_float32_box_with_whole_numbers_of_cells_is_not_widened() -> None:
    grid = tet_lattice(torch.tensor([-0.7, -0.35, -0.7]), torch.tensor([0.7, 0.35, 0.7]), 30).grid()
    assert torch.allclose(grid.vertices.amax(dim=0), torch.tensor([0.7, 0.35, 0.7]), atol=1e-6)
    assert grid.vertices.dtype == torch.float32


def test_the_reach_of_the_deformation_turns_no_tet_over(slab: TetGrid) -> None:
    """A tet's volume is linear in each coordinate, so its least lies at a corner of the cube of all moves: 4096 to look at."""
    moves = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=12)), dtype=torch.float64).reshape(-1, 4, 3) * slab.cell
    on_box = ((slab.vertices == slab.vertices.amin(dim=0)) | (slab.vertices == slab.vertices.amax(dim=0))).any(dim=1)
    inner = slab.vertices[slab.tets[~on_box[slab.tets].any(dim=1)][0]]
    assert float(_volumes(inner + REACH * moves).min()) > 0
    assert float(_volumes(inner + 0.251 * moves).min()) < 0


def test_the_same_arguments_give_the_same_bits(slab: TetGrid) -> None:
    again = Lattice(slab.vertices[0], slab.cell, (8, 4, 2)).grid()
    for name in ("vertices", "tets", "edges", "tet_edges"):
        assert torch.equal(getattr(slab, name), getattr(again, name))


@pytest.fixture(scope="module")
def lattice() -> Lattice:
    return Lattice(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), 0.25, (4, 3, 5))


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_part_is_what_a_search_of_the_whole_grid_finds(lattice: Lattice, share: float) -> None:
    draws, whole = torch.Generator().manual_seed(7), lattice.grid()
    inside, near = (torch.rand(lattice.vertex_count, generator=draws) < share for _ in range(2))
    rows, part = lattice.part(inside, near & (share < 0.5))
    corners = inside[whole.tets]
    chosen = (corners.any(dim=1) & ~corners.all(dim=1)) | (near & (share < 0.5))[whole.tets].any(dim=1)
    assert bool(chosen.any()) == (0 < share < 1)
    assert torch.equal(rows, whole.tets[chosen].unique())
    assert torch.equal(rows[part.tets], whole.tets[chosen])
    assert torch.equal(rows[part.edges], whole.edges[whole.tet_edges[chosen].unique()])
    assert torch.equal(rows[part.edges[part.tet_edges]], whole.edges[whole.tet_edges[chosen]])
    assert torch.equal(part.vertices, whole.vertices[rows])


def test_changing_edges_are_what_a_search_of_the_whole_grid_finds(lattice: Lattice) -> None:
    inside, edges = torch.rand(lattice.vertex_count, generator=torch.Generator().manual_seed(3)) < 0.3, lattice.grid().edges
    assert torch.equal(lattice.changing_edges(inside), edges[inside[edges[:, 0]] != inside[edges[:, 1]]])


def test_chunks_cover_every_vertex_and_walls_every_vertex_on_the_box(lattice: Lattice) -> None:
    rows = torch.cat(list(lattice.in_chunks()))
    assert torch.equal(rows, torch.arange(lattice.vertex_count))
    vertices, marks = lattice.positions(rows), torch.zeros(lattice.vertex_count, dtype=torch.bool)
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    assert torch.equal(high - low, torch.tensor([1.0, 0.75, 1.25], dtype=torch.float64))
    for wall in lattice.walls(marks):
        wall.fill_(True)
    assert torch.equal(marks, ((vertices == low) | (vertices == high)).any(dim=1))
    assert torch.equal(marks, lattice.on_boundary(rows))


def _red(corners: Tensor) -> Tensor:
    """[T, 4, 3] to [8 T, 4, 3]: a small tetrahedron at each corner, and four round the octahedron's shortest diagonal."""
    middle = {(i, j): (corners[:, i] + corners[:, j]) / 2 for i, j in itertools.combinations(range(4), 2)}
    middle |= {(j, i): spot for (i, j), spot in middle.items()}
    parts = [torch.stack([corners[:, i], *(middle[i, j] for j in range(4) if j != i)], dim=1) for i in range(4)]
    diagonals = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    lengths = torch.stack([(middle[p] - middle[q]).norm(dim=1) for p, q in diagonals], dim=1)
    assert bool((lengths.sort(dim=1).values.diff(dim=1)[:, 0] > 1e-9).all())  # the shortest is one alone
    inner = []
    for p, q in diagonals:
        (a, b), (c, d) = p, q
        ring = [(a, c), (c, b), (b, d), (d, a)]
        inner.append(
            torch.stack(
                [torch.stack([middle[p], middle[q], middle[m], middle[n]], dim=1) for m, n in zip(ring, ring[1:] + ring[:1], strict=True)],
                1,
            )
        )
    shortest = torch.stack(inner, dim=1)[torch.arange(len(corners)), lengths.argmin(dim=1)]
    return torch.cat([*parts, *shortest.unbind(1)])


def test_inner_tets_are_refined_red(lattice: Lattice) -> None:
    coarse, fine = lattice.grid(), lattice.refined().grid()
    at_wall = lattice.on_boundary(torch.arange(lattice.vertex_count))[coarse.tets].sum(dim=1) == 3

    def keys(corners: Tensor) -> list[tuple[int, ...]]:
        """Tetrahedra as sets of places, these counted in quarter cells."""
        places = ((corners - lattice.origin) / (lattice.cell / 4)).round().long()
        return list(map(tuple, (places @ torch.tensor([10_000, 100, 1])).sort(dim=1).values.tolist()))

    ours, red = keys(fine.vertices[fine.tets]), keys(_red(coarse.vertices[coarse.tets[~at_wall]]))
    assert len(set(ours)) == len(ours) == 8 * len(coarse.tets)
    assert len(set(red)) == len(red) == 8 * int((~at_wall).sum())
    assert set(red) <= set(ours)


def test_every_tet_holds_eight_of_the_refined_lattice() -> None:
    """So a function that is linear on the tetrahedra stays the same function, on the walls too."""
    lattice = Lattice(torch.zeros(3, dtype=torch.float64), 1.0, (2, 3, 2))
    coarse, fine = lattice.grid(), lattice.refined().grid()
    corners = torch.cat([coarse.vertices[coarse.tets], torch.ones(len(coarse.tets), 4, 1, dtype=torch.float64)], dim=2)
    spots = torch.cat([fine.vertices, torch.ones(len(fine.vertices), 1, dtype=torch.float64)], dim=1)
    within = ((spots @ torch.linalg.inv(corners)) > -1e-9).all(dim=2)  # barycentric: [coarse, fine vertex]
    holds = within[:, fine.tets].all(dim=2)
    assert torch.equal(holds.sum(dim=1), torch.full((len(coarse.tets),), 8))
    assert torch.equal(holds.sum(dim=0), torch.ones(len(fine.tets), dtype=torch.int64))


def test_carried_values_are_those_of_the_tets_linear_functions(lattice: Lattice) -> None:
    """Any values at all: a new vertex is an old one or the middle of an edge, and takes the value there."""
    grid, fine = lattice.grid(), lattice.refined()
    values = torch.randn(lattice.vertex_count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spots = torch.cat([grid.vertices, grid.vertices[grid.edges].mean(dim=1)])
    expected = torch.cat([values, values[grid.edges].mean(dim=1)])
    places = torch.cat(list(fine.in_chunks()))
    distance = torch.cdist(fine.positions(places), spots)
    assert len(spots) == fine.vertex_count
    assert float(distance.amin(dim=1).max()) < 1e-12
    assert torch.equal(lattice.carry(values), expected[distance.argmin(dim=1)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lattice(torch.zeros(3), 1.0, (4, 0, 4)), r"Lattice.counts: \[4, 0, 4\]"),
        (lambda: Lattice(torch.zeros(3), 0.0, (4, 4, 4)), r"Lattice.cell: 0.0"),
        (lambda: Lattice(torch.tensor([0.0, math.nan, 0.0]), 1.0, (4, 4, 4)), r"Lattice.origin: .*nan"),
        (lambda: Lattice(torch.zeros(3), 1.0, (1024, 1024, 1024)), r"2150632449 vertices, expected at most 2147483647"),
        (lambda: tet_lattice(torch.zeros(2), torch.ones(2), 4), r"low \[2\], high \[2\]"),
        (lambda: Lattice(torch.zeros(3), 1.0, (2, 2, 2)).part(torch.zeros(35), torch.zeros(35)), r"inside: torch.float32 \[35\]"),
        (lambda: Lattice(torch.zeros(3), 1.0, (2, 2, 2)).changing_edges(torch.zeros(3, dtype=torch.bool)), r"inside: torch.bool \[3\]"),
        (lambda: Lattice(torch.zeros(3), 1.0, (2, 2, 2)).carry(torch.zeros(3)), r"values: shape \[3\], expected \[35, ...\]"),
    ],
)
def test_bad_input_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("high", "size"), [((1, 1, 0), 4), ((1, 1, float("nan")), 4), ((1, 1, 1), 0)])
def test_a_box_without_volume_or_cells_is_refused(high: tuple[float, float, float], size: int) -> None:
    with pytest.raises(ValueError, match="tet_lattice: "):
        _box((0, 0, 0), high, size)
