"""Engines read an asset back as it was written: triangles, material, textures, bounds, and the same picture of its base colour."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from assets import PROVENANCE, full_asset, mapped
from PIL import Image
from unlit import read_png, ssim, unlit_picture

from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.audit.engines.blender import import_in_blender
from dreamfusion_mesh.audit.engines.installed import ENGINES
from dreamfusion_mesh.audit.engines.record import EngineFailed, Imported, Shot, answer_of
from dreamfusion_mesh.audit.engines.three import MODULES_VARIABLE, import_in_three
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.records import Asset, Material, Mesh, TextureMap

HOME = Path(__file__).parent
TEXELS, PIXELS = 256, 256
GREY = 0.27
LEAST_SSIM = 0.95
PICTURES: dict[str, Callable[..., Imported]] = {"Blender": import_in_blender, "three.js": import_in_three}


@pytest.fixture(autouse=True, scope="module")
def _own_node_modules() -> Iterator[None]:
    """three.js is found where `make engine-tests` installs it, unless the environment names another place."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(MODULES_VARIABLE) and (HOME / "node_modules" / "three").is_dir():
            patch.setenv(MODULES_VARIABLE, str(HOME))
        yield


def installed(engine: str) -> Callable[[Path], Imported]:
    """Its importer; skips where the engine is not installed."""
    find, importer = ENGINES[engine]
    if find() is None:
        pytest.skip(f"{engine} is not installed; `make engine-tests` installs it")
    return importer


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    installed(request.param)
    return str(request.param)


def smooth_noise(channels: int, seed: int) -> np.ndarray:
    """uint8 [TEXELS, TEXELS, channels] that differs from its mirror images, with little in it that mip maps would blur."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((TEXELS, TEXELS), Image.Resampling.BICUBIC))


def asset() -> Asset:
    """Standing on the ground as a delivery does, off centre in itself so that turned axes are seen."""
    placed = mapped("torus")
    stretch = placed.vertices.new_tensor([0.5, 0.35, 0.25])
    vertices = (placed.vertices - placed.vertices.amin(dim=0)) * stretch
    normal = np.full((TEXELS, TEXELS, 3), (128, 128, 255), dtype=np.uint8)
    maps = {
        "base_color": TextureMap(smooth_noise(3, 0), "srgb"),
        "orm": TextureMap(smooth_noise(3, 1), "linear"),
        "normal": TextureMap(normal, "linear"),
    }
    return Asset("thing", Mesh(vertices, placed.faces, placed.uvs, placed.face_uvs), Material(maps, 1.0, 1.0), PROVENANCE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines") / "thing.glb"
    path.write_bytes(glb_bytes(asset()))
    return path


def shot() -> Shot:
    """From in front, above and to the right, so that no axis is like another."""
    azimuth, elevation, distance = math.radians(35), math.radians(25), 2.4
    low, high = asset().mesh.vertices.amin(dim=0), asset().mesh.vertices.amax(dim=0)
    middle = ((low + high) / 2).numpy()
    back = np.array([math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)])
    right = np.array([math.cos(azimuth), 0, -math.sin(azimuth)])
    rows = np.eye(4)
    rows[:3, :4] = np.stack([right, np.cross(back, right), back, middle + distance * back], axis=1)
    return Shot(PIXELS, 30.0, tuple(tuple(map(float, row)) for row in rows), 0.1, 10.0, GREY)


def test_an_engine_reads_the_same_asset(engine: str, file: Path) -> None:
    found, wanted = ENGINES[engine][1](file), asset()
    low, high = (part.tolist() for part in (wanted.mesh.vertices.amin(dim=0), wanted.mesh.vertices.amax(dim=0)))
    assert found.triangles == len(wanted.mesh.faces)
    assert found.materials == ("thing",)
    assert set(found.images) == {(TEXELS, TEXELS)}
    assert len(found.images) >= len(wanted.material.maps)  # Godot keeps an image for each slot
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


def test_an_engine_paints_the_same_picture(engine: str, file: Path, tmp_path: Path) -> None:
    if engine not in PICTURES:
        pytest.skip(f"{engine} has no display to draw on")
    picture = tmp_path / "picture.png"
    PICTURES[engine](file, shot(), picture)
    ours, theirs = unlit_picture(file, shot()), read_png(picture.read_bytes())
    rows, columns = np.nonzero((ours != round(GREY * 255)).any(axis=2))
    box = slice(rows.min(), rows.max()), slice(columns.min(), columns.max())  # the background would count as agreement
    assert np.ptp(rows) > 0.3 * PIXELS
    assert ssim(ours[box], theirs[box]) >= LEAST_SSIM
    assert ssim(ours[box], theirs[:, ::-1][box]) < 0.8


FINEST, LEVELS, HULLS = 2304, (1280, 12), (12, 12)  # triangles of `full_asset`
HULL_NODES = ("thing_collision_01", "thing_collision_02")
# What `asset.engine` and file hold: names of their nodes, triangles of all of them, and the materials that they name.
WRITTEN: dict[tuple[str, str], tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    ("unreal", "thing.glb"): (("SM_thing", "UCX_SM_thing_01", "UCX_SM_thing_02"), FINEST + sum(HULLS), ("M_thing",)),
    ("unity", "thing.glb"): (
        ("thing", "thing_LOD0", "thing_LOD1", "thing_LOD2", "thing_01_collider", "thing_02_collider"),
        FINEST + sum(LEVELS) + sum(HULLS),
        ("thing", "thing_LOD2"),
    ),
    ("generic", "thing_LOD1.glb"): (("thing_LOD1",), LEVELS[0], ("thing",)),  # which shares the asset's material
    ("generic", "thing_collision.glb"): (HULL_NODES, sum(HULLS), ()),
}


def written(asset_engine: str, name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(asset_files(full_asset(), AssetSettings(engine=asset_engine))[name])
    return path


@pytest.mark.parametrize(("asset_engine", "name"), WRITTEN, ids=[f"{asset_engine} {name}" for asset_engine, name in WRITTEN])
@pytest.mark.parametrize("reader", PICTURES)
def test_every_file_of_a_delivery_is_read_as_it_is_named(reader: str, asset_engine: str, name: str, tmp_path: Path) -> None:
    importer = installed(reader)
    nodes, triangles, materials = WRITTEN[asset_engine, name]
    found = importer(written(asset_engine, name, tmp_path))
    assert set(nodes) <= set(found.nodes)
    if reader == "Blender":  # three.js adds the scene itself
        assert len(found.nodes) == len(nodes)
    assert found.triangles == triangles
    assert tuple(material for material in found.materials if material) == materials  # three.js gives hulls a nameless one
    assert len(found.images) == 3 * len(materials)


def test_godot_draws_the_asset_alone_and_makes_shapes_of_its_hulls(tmp_path: Path) -> None:
    found = installed("Godot")(written("godot", "thing.glb", tmp_path))
    kinds = [node.split()[0] for node in found.nodes]
    assert found.triangles == FINEST
    assert found.materials == ("thing",)
    assert kinds.count("MeshInstance") == 1
    assert [node for node in found.nodes if node.startswith("StaticBody")] == ["StaticBody thing_01", "StaticBody thing_02"]
    assert kinds.count("CollisionShape") == len(HULLS)


def test_an_engine_that_refuses_a_file_says_so(engine: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF" + bytes(16))
    with pytest.raises(EngineFailed, match=engine):
        ENGINES[engine][1](broken)


def test_an_answer_is_taken_from_the_last_marked_line() -> None:
    bounds = '"low": [0, 0, 0], "high": [1, 1, 1]'
    line = f'{{"version": 1, "triangles": 2, "materials": ["b", "a"], "images": [[4, 8]], {bounds}, "nodes": []}}'
    found = answer_of("Engine", f"noise\nFOUND {line}tail\nmore noise")
    assert (found.version, found.triangles, found.materials, found.images) == ("1", 2, ("a", "b"), ((4, 8),))


@pytest.mark.parametrize("output", ["", "noise", "FOUND {}", "FOUND [", 'FOUND {"error": "no such file"}'])
def test_output_without_an_answer_is_a_failure(output: str) -> None:
    with pytest.raises(EngineFailed, match="Engine"):
        answer_of("Engine", output)
