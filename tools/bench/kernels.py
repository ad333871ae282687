"""The renderers' figures, forward and backward: each row's contenders take turns in one run, and are held against the row's target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import FieldSettings, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.kernels.hashgrid import encode, hash_grid
from dreamfusion_mesh.render.cameras import clip_from_world, turntable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import REACH, TetSurface
from tools.bench.direct_tets import direct_marching_tets
from tools.bench.records import Figure, in_milliseconds, missing

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Contenders of one figure. The first one is ours; `target` bounds its seconds, or its ratio to the second contender.

    at_least  True where the second contender should take at least `target` times as long, False where ours may take at most that
    """

    contenders: Mapping[str, Work]
    target: float | None = None
    at_least: bool = False


def measure(device: torch.device, rounds: int) -> Iterator[Figure]:
    """Every row that `device` can show; the others say why not."""
    makers: list[tuple[str, Callable[[], Row]]] = [
        ("marching tetrahedra, 128 cells", lambda: tets(device, 128)),
        ("hash grid, 2^18 points x 12 levels", lambda: hash_encoding(device)),
        ("NeRF step, 4 views of 64", lambda: nerf_step(device)),
        ("normals of 2^16 points", lambda: normals(device)),
        ("rasterizer, 4 views of 512, 80k triangles", lambda: rasterizers(device, 512)),
        ("rasterizer, 4 views of 1024, 80k triangles", lambda: rasterizers(device, 1024)),
    ]
    for name, make in makers:
        try:
            row = make()
        except BadInput as reason:
            yield missing(name, reason)
        else:
            yield from figures(name, row, timings(row.contenders, rounds, device))


def timings(contenders: Mapping[str, Work], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each contender in each of the rounds, in which all take their turn; two more rounds warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 2):
        for name, work in contenders.items():
            wait(device)
            started = time.perf_counter()
            work()
            wait(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: taken[2:] for name, taken in seconds.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def figures(name: str, row: Row, taken: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    """The seconds of each contender, and of two their ratio in each round."""
    alone = len(taken) == 1
    for contender, seconds in taken.items():
        yield in_milliseconds(f"{name}: {contender}", seconds, row.target if alone else None)
    if not alone:
        ours, others = list(taken.values())[:2]
        ratios = [other / our if row.at_least else our / other for our, other in zip(ours, others, strict=True)]
        word = "times faster" if row.at_least else "times as long"
        yield Figure(f"{name}: {word}", "x", tuple(ratios), target=row.target, at_least=row.at_least)


def tets(device: torch.device, cells: int) -> Row:
    """A ball in which distances drift as an optimiser moves them, so that ours looks the neighbourhood up anew now and then."""
    ends = torch.ones(3, device=device)
    lattice = tet_lattice(-ends, ends, cells)
    spots = lattice.positions(torch.arange(lattice.vertex_count, device=device))
    whole = lattice.grid().tets
    surface = TetSurface(lattice, spots.norm(dim=1) - 0.7)
    drift = 0.02 * lattice.cell * torch.sin(5 * spots[:, 1])

    def direct() -> Tensor:
        moved = torch.addcmul(spots, surface.deform.tanh(), spots.new_tensor(REACH * lattice.cell))
        return direct_marching_tets(moved, surface.sdf, whole)[0]

    def step(extract: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            surface.sdf.add_(drift)
        extract().square().sum().backward()
        surface.zero_grad()

    contenders = {"ours": lambda: step(lambda: surface.mesh().vertices), "unique every step": lambda: step(direct)}
    return Row(contenders, 5.0, at_least=True)


def hash_encoding(device: torch.device) -> Row:
    """Uniformly random points, the worst case for the caches."""
    grid = hash_grid(levels=12, features=2, table_size_log2=19, coarsest=16, finest=2048)
    draws = torch.Generator().manual_seed(0)
    table = (1e-4 * torch.rand(grid.rows, 2, generator=draws)).to(device).requires_grad_()
    points, upstream = torch.rand(2**18, 3, generator=draws).to(device), torch.rand(2**18, grid.width, generator=draws).to(device)

    def step() -> None:
        encode(points, table, grid).backward(upstream)
        table.grad = None

    return Row({"ours": step}, 0.6 if device.type == "cpu" else None)


def nerf_step(device: torch.device) -> Row:
    """Views drawn, rendered with normals and differentiated, without guidance; the occupancy grid has settled on the first blob."""
    config = load_config("default")
    draws = torch.Generator().manual_seed(0)
    field = HashField(config.coarse.field, draws).to(device)
    occupancy = OccupancyGrid(config.coarse.occupancy_size, 1.0, device)
    for _ in range(16):
        occupancy.update(field.density, draws, 0)

    def step() -> None:
        views = random_views(4, config.views, 64, 64, draws, device)
        render = render_volume(field, occupancy, views, shader(views), config.coarse.samples, draws, True)
        (render.rgb.square().mean() + render.orientation.mean()).backward()
        field.zero_grad()

    return Row({"ours": step}, 0.8 if device.type == "cpu" else 0.012)


def normals(device: torch.device) -> Row:
    """Density, albedo and normals at points, and the gradient of all three."""
    points = (torch.rand(2**16, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(device)

    def ask(field: HashField) -> None:
        sample = field(points, True)
        assert sample.normals is not None
        (sample.density.sum() + sample.albedo.sum() + sample.normals.square().sum()).backward()
        field.zero_grad()

    fields = {
        name: HashField(FieldSettings(normals=way), torch.Generator().manual_seed(1)).to(device)
        for name, way in (("through the encoding", "analytic"), ("finite differences", "finite_differences"))
    }
    return Row({name: (lambda field=field: ask(field)) for name, field in fields.items()}, 2.0, at_least=True)


def rasterizers(device: torch.device, size: int) -> Row:
    """Rasterize, interpolate four values and antialias; new faces each time, as where a surface is extracted anew each step."""
    vertices, faces = bumpy_sphere(141)
    clip_matrix = clip_from_world(turntable(4, 0.3, 2.6, math.radians(40), size, size, device), 0.1, 10.0)
    points = torch.cat((vertices, torch.ones_like(vertices[:, :1])), dim=1).to(device).requires_grad_()
    colors = torch.rand(len(vertices), 4, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    target = torch.rand(4, size, size, 4, generator=torch.Generator().manual_seed(1)).to(device)
    placed = faces.to(device)

    def draw(clip: Tensor, triangles: Tensor) -> Tensor:
        fragments = ours.rasterize(clip, triangles, (size, size))
        return ours.antialias(ours.interpolate(colors, fragments, triangles), fragments, clip, triangles)

    def step(draw: Callable[[Tensor, Tensor], Tensor]) -> None:
        image = draw(points @ clip_matrix.transpose(1, 2), placed.clone())
        (image - target).square().mean().backward()
        points.grad = colors.grad = None

    ours = resolve_rasterizer("warp", device)
    if device.type == "cpu":
        return Row({"ours": lambda: step(draw)}, 0.25 if size == 512 else None)
    theirs = nvdiffrast(device, colors, size)
    return Row({"ours": lambda: step(draw), "nvdiffrast": lambda: step(theirs)}, 1.2)


def nvdiffrast(device: torch.device, colors: Tensor, size: int) -> Callable[[Tensor, Tensor], Tensor]:
    """nvdiffrast as its users call it: its own antialiasing, and none of our checks or conventions."""
    resolve_rasterizer("nvdiffrast", device)  # says what is missing
    import nvdiffrast.torch as dr

    context = dr.RasterizeCudaContext(device=device)

    def draw(clip: Tensor, triangles: Tensor) -> Tensor:
        faces = triangles.int()
        raster, _ = dr.rasterize(context, clip.contiguous(), faces, (size, size))
        image, _ = dr.interpolate(colors, raster, faces)
        return dr.antialias(image, raster, clip.contiguous(), faces)

    return draw


def bumpy_sphere(rings: int) -> tuple[Tensor, Tensor]:
    """4 rings^2 triangles (those at the poles without area), counter-clockwise seen from outside."""
    turn, tilt = torch.arange(2 * rings) * (math.pi / rings), torch.linspace(0, math.pi, rings + 1)
    v, u = torch.meshgrid(tilt, turn, indexing="ij")
    radius = 0.7 + 0.05 * torch.sin(9 * v) * torch.cos(7 * u)
    vertices = torch.stack((v.sin() * u.sin(), v.cos(), v.sin() * u.cos()), dim=-1) * radius[..., None]
    row, column = torch.meshgrid(torch.arange(rings), torch.arange(2 * rings), indexing="ij")
    a, b = row * 2 * rings + column, row * 2 * rings + (column + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    faces = torch.cat((torch.stack((a, c, b), dim=-1).reshape(-1, 3), torch.stack((b, c, d), dim=-1).reshape(-1, 3)))
    return vertices.reshape(-1, 3), faces
