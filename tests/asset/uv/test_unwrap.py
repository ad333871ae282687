"""What an unwrap promises, whichever back end cuts: it ends, and what it gives holds in the texture it was made for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from surfaces import SURFACES, as_mesh, cube, sphere, torus

from dreamfusion_mesh import worker
from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv import segment
from dreamfusion_mesh.asset.uv.unwrap import Unwrapped, unwrap
from dreamfusion_mesh.audit.atlas import coverage, uv_layout
from dreamfusion_mesh.audit.rows.gaps import chart_labels, measure_gaps
from dreamfusion_mesh.audit.rows.texel_density import density_ratio
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed

BACK_ENDS = ("uvunwrap", "xatlas", "box")
NEVER = Deadline.after(100_000)


def corner_uvs(mesh: Mesh) -> np.ndarray:
    return mesh.uvs[mesh.face_uvs].double().numpy()


def assert_sound(found: Unwrapped, given: Mesh, size: int) -> None:
    """Row 4 of the audit, and the gaps that were promised, measured by the audit's own code, from the UVs alone."""
    uvs = corner_uvs(found.mesh)
    assert torch.equal(found.mesh.vertices, given.vertices)
    assert torch.equal(found.mesh.faces, given.faces)
    shape = uv_layout(uvs)
    assert (shape.outside, shape.flipped, shape.empty) == (0, 0, 0)
    assert coverage(uvs, 4 * size)[1] == 0
    space = measure_gaps(uvs, chart_labels(found.mesh.face_uvs.numpy()), size, 8.0)
    assert space.charts == found.charts
    assert space.gap >= 2 * found.padding
    assert np.minimum(uvs, 1 - uvs).min() * size >= found.padding


def assert_holds(found: Unwrapped, given: Mesh, size: int, padding: int) -> None:
    """Rows 4 to 6 of the audit."""
    assert_sound(found, given, size)
    assert found.padding == padding
    uvs = corner_uvs(found.mesh)
    assert coverage(uvs, 4 * size)[0] / (4 * size) ** 2 == pytest.approx(found.utilisation, abs=0.005)
    assert found.utilisation >= 0.5
    space = measure_gaps(uvs, chart_labels(found.mesh.face_uvs.numpy()), size, 8.0)
    assert space.narrow <= 0.05 * space.charts
    assert density_ratio(given.vertices.double().numpy()[given.faces.numpy()], uvs) <= 2


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize(("name", "size", "padding"), [("cube", 256, 2), ("sphere", 512, 4), ("torus", 256, 2), ("blob", 1024, 4)])
def test_rows_4_to_6_hold(back_end: str, name: str, size: int, padding: int) -> None:
    given = SURFACES[name]()
    found = unwrap(given, TextureSettings(size=size, padding=padding, unwrap=back_end), NEVER)
    assert (found.method, found.reason) == (back_end, "")
    assert_holds(found, given, size, padding)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_rough_surface_is_not_stretched(back_end: str) -> None:
    """Noise of a third of an edge's length: xatlas by itself leaves a density ratio above 2 here."""
    ball = sphere(4)
    draws = torch.Generator().manual_seed(0)
    given = Mesh(ball.vertices * (1 + 0.015 * torch.randn(len(ball.vertices), 1, generator=draws)), ball.faces)
    assert_holds(unwrap(given, TextureSettings(size=512, padding=2, unwrap=back_end), NEVER), given, 512, 2)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_the_same_mesh_gives_the_same_bits_on_any_number_of_threads(back_end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            monkeypatch.setenv("OMP_NUM_THREADS", str(count))
            monkeypatch.setenv("RAYON_NUM_THREADS", str(count))  # of uvunwrap, in a process that inherits it
            found.append(unwrap(torus(24, 12), TextureSettings(size=256, padding=2, unwrap=back_end), NEVER).mesh)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].uvs, found[1].uvs)
    assert torch.equal(found[0].face_uvs, found[1].face_uvs)


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_size_of_the_object_does_not_matter(back_end: str, scale: float) -> None:
    """xatlas by itself drops faces below an absolute area."""
    given = torus(24, 12)
    scaled = Mesh(given.vertices * scale, given.faces)
    found = unwrap(scaled, TextureSettings(size=256, padding=2, unwrap=back_end), NEVER)
    assert found.method == back_end
    assert_sound(found, scaled, 256)
    assert density_ratio(given.vertices.double().numpy()[given.faces.numpy()], corner_uvs(found.mesh)) <= 2


def test_duplicate_vertices_change_nothing() -> None:
    given = torus(16, 8)
    loose = Mesh(given.vertices[given.faces].reshape(-1, 3), torch.arange(given.faces.numel()).view(-1, 3))
    settings = TextureSettings(size=256, padding=2)
    assert unwrap(loose, settings, NEVER).charts == unwrap(given, settings, NEVER).charts


def test_a_hook_is_cut_where_it_would_waste_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flat crescents in many planes fill a third of their boxes; whole, they would leave most of the square empty."""
    angle = np.linspace(0, 1.6 * np.pi, 81)
    rims = [np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1) for radius in (0.92, 1.0)]
    row = np.arange(80)
    strip = np.concatenate([np.stack([row, row + 81, row + 82], 1), np.stack([row, row + 82, row + 1], 1)])
    copies = [np.concatenate(rims) + np.array([0, 0, 3 * copy]) for copy in range(4)]
    given = as_mesh(np.concatenate(copies), np.concatenate([strip + 162 * copy for copy in range(4)]))
    settings = TextureSettings(size=128, padding=1, unwrap="box")
    found = unwrap(given, settings, NEVER)
    assert_sound(found, given, 128)
    monkeypatch.setattr("dreamfusion_mesh.asset.uv.unwrap._LEAST_FILLED", ())
    whole = unwrap(given, settings, NEVER)
    assert whole.charts == 4
    assert found.utilisation > 1.3 * whole.utilisation


def failing(*names: str):
    """`segment`, in which the libraries `names` fail."""

    def answer(library: str, vertices: np.ndarray, faces: np.ndarray, seconds: float) -> tuple[np.ndarray, ...]:
        if library in names:
            raise WorkerFailed(f"{library} was not done after {seconds:g} s")
        return segment.segment(library, vertices, faces, seconds)

    return answer


@pytest.mark.parametrize(
    ("asked", "fail", "method", "reason"),
    [
        ("auto", (), "uvunwrap", ""),
        ("auto", ("uvunwrap",), "xatlas", "uvunwrap was not done after 4 s; xatlas instead"),
        ("auto", ("uvunwrap", "xatlas"), "box", "uvunwrap was not done after 4 s; xatlas was not done after 4 s; box projection instead"),
        ("uvunwrap", ("uvunwrap",), "box", "uvunwrap was not done after 4 s; box projection instead"),
        ("xatlas", ("xatlas",), "box", "xatlas was not done after 4 s; box projection instead"),
        ("box", ("uvunwrap", "xatlas"), "box", ""),
    ],
)
def test_what_fails_is_replaced_and_told(
    asked: str, fail: tuple[str, ...], method: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a clock that stands still at 2 of 10 seconds: a library may have half of what is left."""
    monkeypatch.setattr("dreamfusion_mesh.asset.uv.unwrap.segment", failing(*fail))
    found = unwrap(cube(), TextureSettings(size=64, padding=1, unwrap=asked), Deadline(10.0, lambda: 2.0))
    assert (found.method, found.reason, found.charts) == (method, reason, 6)
    assert [record.getMessage() for record in caplog.records] == ([f"unwrap: {reason}"] if reason else [])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((np.zeros((4, 2)), np.full((12, 3), 9), np.zeros(12, dtype=np.int64)), "out of range"),
        ((np.full((4, 2), np.nan), np.zeros((12, 3), dtype=np.int64), np.zeros(12, dtype=np.int64)), "out of range"),
        ((np.zeros((4, 2)), np.zeros((11, 3), dtype=np.int64), np.zeros(12, dtype=np.int64)), "out of range"),
        ((np.zeros((4, 2)),), "out of range"),
    ],
)
@pytest.mark.parametrize("back_end", ["uvunwrap", "xatlas"])
def test_an_answer_that_makes_no_sense_is_replaced(back_end: str, answer, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "run_worker", lambda work, arrays, seconds, name: list(answer))
    found = unwrap(cube(), TextureSettings(size=64, padding=1, unwrap=back_end), NEVER)
    assert (found.method, found.reason) == ("box", f"{back_end} gave values {words}; box projection instead")


def test_a_library_that_crashes_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BOOTSTRAP", "import os; os.abort()")
    found = unwrap(cube(), TextureSettings(size=64, padding=1), NEVER)
    assert (found.method, found.charts) == ("box", 6)
    assert found.reason.count("ended with -6") == 2


def needles(count: int) -> Mesh:
    """Tetrahedra a hundred thousand times as long as wide, in all directions."""
    draws = np.random.default_rng(0)
    start, along, aside, up = draws.normal(size=(4, count, 1, 3)) * [[[[1]]], [[[10]]], [[[1e-4]]], [[[1e-4]]]]
    faces = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])
    corners = np.concatenate([start, start + along, start + along + aside, start + up], axis=1)
    return as_mesh(corners.reshape(-1, 3), (faces + 4 * np.arange(count)[:, None, None]).reshape(-1, 3))


def cubes(side: int) -> Mesh:
    one, steps = cube(), np.stack(np.meshgrid(*[1.5 * np.arange(side)] * 3), axis=-1).reshape(-1, 1, 3)
    faces = one.faces.numpy() + 8 * np.arange(side**3)[:, None, None]
    return as_mesh((one.vertices.numpy() + steps).reshape(-1, 3), faces.reshape(-1, 3))


def with_a_sliver() -> Mesh:
    """A ball, and one triangle six times as long as it and next to nothing wide."""
    ball = sphere(4)
    sliver = torch.tensor([[-5, 0, 0], [5, 0, 0], [0, 1e-7, 0]])
    return Mesh(torch.cat([ball.vertices, sliver]), torch.cat([ball.faces, torch.arange(3)[None] + len(ball.vertices)]))


def noisy() -> Mesh:
    ball = sphere(4)
    draws = torch.Generator().manual_seed(0)
    return Mesh(ball.vertices * (1 + 0.1 * torch.randn(len(ball.vertices), 1, generator=draws)), ball.faces)


def fan(count: int) -> Mesh:
    """A cone of many faces round one vertex: uvunwrap takes a time that grows with the square of their number, and heeds no `cancel`."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    row = 1 + np.arange(count)
    return as_mesh(np.concatenate([[[0, 0, 1]], rim]), np.stack([0 * row, row, np.roll(row, -1)], axis=1))


ONE = torch.arange(3)[None]
HOSTILE = {
    "one triangle": Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), ONE),
    "one sliver": Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 1e-7, 0]]), ONE),
    "no area": Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), ONE),
    "one point": Mesh(torch.zeros(3, 3), ONE),
    "a sheet": Mesh(cube().vertices * torch.tensor([1, 1, 1e-6]), cube().faces),
    "a ball and a sliver": with_a_sliver(),
    "noise": noisy(),
    "needles": needles(300),
    "400 cubes": cubes(7),
    "a fan": fan(400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_shapes_come_out_sound_when_there_is_no_time(name: str) -> None:
    found = unwrap(HOSTILE[name], TextureSettings(size=512, padding=2, unwrap="box"), Deadline(0.0, lambda: 1.0))
    assert "time was up" in found.reason
    assert_sound(found, HOSTILE[name], 512)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("noise", "needles", "400 cubes")])
def test_hostile_shapes_come_out_sound_when_there_is(name: str) -> None:
    assert_sound(unwrap(HOSTILE[name], TextureSettings(size=512, padding=2), NEVER), HOSTILE[name], 512)


@pytest.mark.parametrize("moment", [3, 10, 40, 150])
def test_the_deadline_may_pass_at_any_moment(moment: int) -> None:
    """By a clock that goes a second at each look."""
    clock = itertools.count()
    given = SURFACES["blob"]()
    found = unwrap(given, TextureSettings(size=512, padding=2, unwrap="box"), Deadline(moment, lambda: float(next(clock))))
    assert_sound(found, given, 512)
    assert next(clock) < moment + 100  # once it has passed, no loop goes on asking


def test_too_many_charts_get_less_padding_and_a_reason() -> None:
    """200 loose triangles in 128 texels: the gaps asked for alone would fill the square."""
    draws = np.random.default_rng(1)
    corners = draws.normal(size=(200, 1, 3)) + 0.1 * draws.normal(size=(200, 3, 3))
    given = as_mesh(corners.reshape(-1, 3), np.arange(600).reshape(-1, 3))
    found = unwrap(given, TextureSettings(size=128, padding=4), NEVER)
    assert found.charts == 200
    assert found.padding < 4
    assert "padding" in found.reason
    assert_sound(found, given, 128)
    shrunk = np.concatenate([corners + 0.01 * copy for copy in range(21)]).reshape(-1, 3)
    with pytest.raises(RunFailed, match="larger texture"):
        unwrap(as_mesh(shrunk, np.arange(12600).reshape(-1, 3)), TextureSettings(size=64, padding=4), NEVER)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_degenerate_faces_get_uv_area(back_end: str) -> None:
    given = cube()
    vertices = torch.cat([given.vertices, (given.vertices[:1] + given.vertices[1:2]) / 2])
    flat = torch.tensor([[0, 1, 8]])
    found = unwrap(Mesh(vertices, torch.cat([given.faces, flat])), TextureSettings(size=256, padding=2, unwrap=back_end), NEVER)
    assert found.method == back_end
    shape = uv_layout(corner_uvs(found.mesh))
    assert (shape.outside, shape.flipped, shape.empty) == (0, 0, 0)


@pytest.mark.parametrize("back_end", ["auto", *BACK_ENDS])
@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        (Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)), "no faces"),
        (Mesh(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])), "not finite"),
    ],
)
def test_meshes_that_cannot_be_unwrapped_are_refused(back_end: str, mesh: Mesh, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unwrap(mesh, TextureSettings(unwrap=back_end))
