"""A state that a stage did not leave, or that was damaged, is refused by the name of the tensor; nothing later fails on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from small_fields import SMALL
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FitSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.coarse import load_coarse, new_coarse
from dreamfusion_mesh.stages.fine import Surface, load_surface, surface_state
from dreamfusion_mesh.stages.fit import Fit, Hooks, StepLoss
from dreamfusion_mesh.stages.restore import load_mesh
from dreamfusion_mesh.stages.start import resumed_surface

CPU = torch.device("cpu")
COARSE = CoarseSettings(steps=3, occupancy_size=8, field=SMALL)
TETRAHEDRON = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))

Damage = tuple[str, Callable[[Tensor], Tensor] | None, str]


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def coarse_state() -> State:
    """What a coarse stage without steps leaves, said to be finished."""
    coarse = new_coarse(COARSE, draws(), CPU)
    modules = {"field": coarse.field, "occupancy": coarse.occupancy}
    return Fit("coarse", COARSE, modules, {}, draws(), CPU, done=COARSE.steps).state()


def fine_state() -> State:
    return surface_state(Surface(TETRAHEDRON, HashField(SMALL, draws())))


def part_state() -> State:
    lattice = tet_lattice(-torch.ones(3), torch.ones(3), 4)
    spots = torch.cat([lattice.positions(rows) for rows in lattice.in_chunks()])
    return {f"module.surface.{key}": value for key, value in TetSurface(lattice, spots.norm(dim=1) - 0.5).state_dict().items()}


def stepped() -> Fit:
    """A fit that has done two of its four steps."""
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizers = {"line": torch.optim.Adam(module.parameters(), lr=0.1)}
    fit = Fit("coarse", FitSettings(steps=2), {"line": module}, optimizers, draws(), CPU)
    fit.run(lambda *_: StepLoss(module.weight.square().sum() + module.bias.sum(), True, {}), Hooks())
    fit.settings = FitSettings(steps=4)
    return fit


def damaged(state: State, name: str, change: Callable[[Tensor], Tensor] | None) -> State:
    """The state with one tensor changed, added or, for None, gone."""
    other = {key: value for key, value in state.items() if key != name}
    return other if change is None else {**other, name: change(state.get(name, torch.zeros(2)))}


def first(value: float) -> Callable[[Tensor], Tensor]:
    """Puts `value` in the first place."""
    return lambda tensor: tensor.clone().index_put_((*(torch.tensor(0),) * tensor.dim(),), torch.tensor(value, dtype=tensor.dtype))


FIELD = "module.field.table"
OF_THE_FIELD: list[Damage] = [
    (FIELD, first(math.nan), "holds NaN or infinity"),
    (FIELD, lambda table: table[:5].clone(), r"torch.float32 \[5, 2\], expected torch.float32 \["),
    (FIELD, lambda table: table.double(), r"torch.float64 .*expected torch.float32"),
    (FIELD, None, "is missing"),
    ("stray", lambda none: none, "is no tensor of this checkpoint"),
]
OF_A_FIT: list[Damage] = [
    ("fit.counts", None, "is missing"),
    ("fit.counts", lambda counts: counts.float(), r"torch.float32 \[2\], expected torch.int64 \[2\]"),
    ("fit.counts", lambda counts: -1 - counts, "holds values below 0"),
    ("fit.counts", lambda counts: counts.flip(0) + 1, "of them skipped"),
    ("fit.draws", None, "is missing"),
    ("fit.draws", lambda state: state[:10].clone(), "size"),
    ("fit.draws", lambda state: torch.full_like(state, 255), "[Ii]nvalid"),
]
OF_COARSE: list[Damage] = [
    *OF_THE_FIELD,
    *OF_A_FIT,
    ("fit.counts", lambda counts: counts - torch.tensor([1, 0]), r"2 steps are done, of 3"),
    ("module.occupancy.occupied", lambda cells: cells.float(), r"torch.float32 .*expected torch.bool"),
    ("module.occupancy.values", first(math.inf), "holds NaN or infinity"),
]
OF_A_MESH: list[Damage] = [
    ("vertices", first(math.nan), "holds NaN or infinity"),
    ("vertices", lambda points: points.double(), r"torch.float64 \[4, 3\], expected torch.float32 \['\?', 3\]"),
    ("vertices", lambda points: points[:, :2].clone(), r"\[4, 2\]"),
    ("vertices", lambda points: points[:3].clone(), "corners from 0 to 3, of 3 vertices"),
    ("vertices", first(1e30), r"coordinates up to 1e\+30, expected at most 4"),
    ("vertices", None, "is missing"),
    ("faces", first(-1), "corners from -1 to 3, of 4 vertices"),
    ("faces", first(4), "corners from 0 to 4, of 4 vertices"),
    ("faces", lambda faces: faces.int(), "torch.int32"),
    ("faces", lambda faces: faces[:0].clone(), "no faces"),
    ("faces", None, "is missing"),
]
OF_A_SURFACE: list[Damage] = [
    ("counts", lambda counts: 0 * counts, "expected three ranks of cells"),
    ("counts", lambda counts: counts + 1, r"sdf: torch.float32 \[189\] on cpu, expected torch.float32 \[341\]"),
    ("counts", lambda counts: counts * 2**40, "expected at most"),
    ("counts", lambda counts: counts.double(), r"torch.float64 \[3\], expected torch.int64 \[3\]"),
    ("counts", lambda counts: counts[0].clone(), r"torch.int64 \[\], expected torch.int64 \[3\]"),
    ("cell", lambda cell: -cell, "expected a finite length above 0"),
    ("cell", lambda cell: cell * 1e300, r"reaches to 2e\+300, expected at most 8"),
    ("cell", lambda cell: cell.float(), r"torch.float32 \[\], expected torch.float64 \[\]"),
    ("origin", lambda origin: origin * 1e38, r"reaches to 1e\+38"),
    ("origin", first(math.nan), "holds NaN or infinity"),
    ("sdf", first(math.inf), "holds NaN or infinity"),
    ("sdf", lambda sdf: sdf[:7].clone(), r"lookup_sdf: torch.float32 \[189\], expected torch.float32 \[7\]"),
    ("sdf", lambda sdf: sdf[0].clone(), r"torch.float32 \[\]"),
    ("deform", lambda deform: deform[:7].clone(), r"\[7, 3\], expected torch.float32 \[189, 3\]"),
    ("lookup_sdf", first(math.nan), "holds NaN or infinity"),
    ("sdf", None, "is missing"),
    ("deform", None, "is missing"),
    ("stray", lambda none: none, "is no tensor of this checkpoint"),
]
WEIGHT = "optimizer.line.0"
OF_A_STEPPED_FIT: list[Damage] = [
    *OF_A_FIT,
    ("fit.counts", lambda counts: counts + torch.tensor([7, 0]), "9 steps are done, of 4"),
    ("module.line.weight", first(math.nan), "holds NaN or infinity"),
    (f"{WEIGHT}.exp_avg", None, "is missing"),
    (f"{WEIGHT}.exp_avg", first(math.inf), "holds NaN or infinity"),
    (f"{WEIGHT}.exp_avg", lambda average: average.T.clone(), r"\[3, 2\], expected torch.float32 \[2, 3\]"),
    (f"{WEIGHT}.exp_avg_sq", first(-1.0), "holds values below 0"),
    (f"{WEIGHT}.step", lambda step: -step, "holds values below 1"),
    (f"{WEIGHT}.step", lambda step: step.double(), "torch.float64"),
    ("optimizer.line.7.exp_avg", lambda none: none, "is no tensor of this checkpoint"),
    ("optimizer.line", lambda none: none, "is no tensor of this checkpoint"),
    ("stray", lambda none: none, "is no tensor of this checkpoint"),
]


def names(cases: list[Damage]) -> list[str]:
    return [f"{name.rpartition('.')[2]}-{reason[:20]}" for name, _, reason in cases]


def test_undamaged_states_are_read() -> None:
    generator = torch.Generator()
    assert torch.equal(load_coarse(coarse_state(), COARSE, generator, CPU).field.table, new_coarse(COARSE, draws(), CPU).field.table)
    assert torch.equal(generator.get_state(), draws().get_state())
    assert torch.equal(load_surface(fine_state(), SMALL, CPU).mesh.faces, TETRAHEDRON.faces)
    surface = resumed_surface(Hooks(resume=part_state()), CPU)
    assert surface is not None
    assert len(surface.mesh().faces) > 0
    assert resumed_surface(Hooks(), CPU) is None


@pytest.mark.parametrize("case", OF_COARSE, ids=names(OF_COARSE))
def test_a_coarse_state_that_does_not_fit_is_named(case: Damage) -> None:
    name, change, reason = case
    with pytest.raises(ValueError, match=reason):
        load_coarse(damaged(coarse_state(), name, change), COARSE, draws(), CPU)


@pytest.mark.parametrize("case", OF_THE_FIELD, ids=names(OF_THE_FIELD))
def test_a_fine_state_whose_field_does_not_fit_is_named(case: Damage) -> None:
    name, change, reason = case
    with pytest.raises(ValueError, match=rf"{name}: {reason}"):
        load_surface(damaged(fine_state(), name, change), SMALL, CPU)


@pytest.mark.parametrize("case", OF_A_MESH, ids=names(OF_A_MESH))
def test_a_mesh_that_is_none_is_named(case: Damage) -> None:
    name, change, reason = case
    with pytest.raises(ValueError, match=rf"mesh\.(vertices|faces): .*{reason}"):
        load_surface(damaged(fine_state(), f"mesh.{name}", change), SMALL, CPU)
    plain = {"vertices": TETRAHEDRON.vertices, "faces": TETRAHEDRON.faces}
    with pytest.raises(ValueError, match=rf"^(vertices|faces): .*{reason}"):
        load_mesh(damaged(plain, name, change), "", 4.0)


@pytest.mark.parametrize("case", OF_A_SURFACE, ids=names(OF_A_SURFACE))
def test_a_surface_under_way_that_is_none_is_named_with_its_file(case: Damage) -> None:
    name, change, reason = case
    state = damaged(part_state(), f"module.surface.{name}", change)
    with pytest.raises(BadInput, match=rf"^x/fine\.part: does not fit this run \(.*{reason}.*\); delete it to redo its stage$"):
        resumed_surface(Hooks(resume=state, source="x/fine.part"), CPU)


@pytest.mark.parametrize("case", OF_A_STEPPED_FIT, ids=names(OF_A_STEPPED_FIT))
def test_a_fit_that_cannot_go_on_names_the_tensor_and_stays_as_it_was(case: Damage) -> None:
    name, change, reason = case
    state, fresh = stepped().state(), stepped()
    before = fresh.state()
    with pytest.raises(ValueError, match=reason):
        fresh.load(damaged(state, name, change))
    after = fresh.state()
    assert all(torch.equal(after[key], value) for key, value in before.items())
