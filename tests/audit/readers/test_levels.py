"""Levels of detail and hulls that one glTF holds are told apart by MSFT_lod, or by the names of the engine it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_files import box

from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.errors import BadInput

WIDTHS = (1.0, 2.0, 3.0)  # of the box that each node draws


def named(*names: str, roots: tuple[int, ...] | None = None, **extra: Any) -> Callable[[dict[str, Any]], None]:
    """A node of each name; the first draws a box of width 1, the second of 2, the third of 3."""

    def change(document: dict[str, Any]) -> None:
        document["nodes"] = [{"mesh": 0, "name": name, "scale": [width, 1, 1]} for name, width in zip(names, WIDTHS, strict=False)]
        document["nodes"][0] |= extra
        document["scenes"][0]["nodes"] = list(range(len(names)) if roots is None else roots)

    return change


def read(change: Callable[[dict[str, Any]], None], engine: str) -> Written:
    return read_scene(parse_gltf(replace(box(1), change=change).glb(), Path()), engine)


def width(vertices: np.ndarray) -> float:
    return float(np.ptp(vertices[:, 0]))


@pytest.mark.parametrize("engine", ["generic", "unreal", "unity", "godot"])
def test_msft_lod_names_the_nodes_of_each_level(engine: str) -> None:
    found = read(named("a", "b", "c", roots=(0,), extensions={"MSFT_lod": {"ids": [1, 2]}}), engine)
    assert [width(found.vertices), *(width(level.vertices) for level in found.levels)] == [1, 2, 3]
    assert len(found.faces) == 12
    assert all(level.materials is not None and len(level.materials.maps) == 1 for level in found.levels)


def test_what_has_no_levels_is_drawn_in_all_of_them() -> None:
    found = read(named("a", "b", "c", roots=(0, 2), extensions={"MSFT_lod": {"ids": [1]}}), "generic")
    assert [len(found.faces), *(len(level.faces) for level in found.levels)] == [24, 24]
    assert width(found.levels[0].vertices) == 3


def test_unity_knows_levels_and_the_collider_by_name() -> None:
    change = named("asset_LOD0", "asset_LOD1", "asset_collider")
    found = read(change, "unity")
    assert (width(found.vertices), [width(level.vertices) for level in found.levels]) == (1, [2])
    assert [(hull.name, width(hull.vertices), len(hull.vertices), len(hull.faces)) for hull in found.hulls] == [
        ("asset_collider", 3, 8, 12)
    ]
    plain = read(change, "generic")
    assert (len(plain.faces), plain.levels, plain.hulls) == (36, (), ())
    alone = read(named("asset_LOD2"), "unity")
    assert (len(alone.faces), alone.levels) == (12, ())


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("unreal", "UCX_SM_asset_01"),
        ("unreal", "UBX_SM_asset_01"),
        ("unity", "asset_collider.001"),
        ("godot", "asset-convcolonly"),
        ("godot", "asset-colonly2"),
        ("godot", "asset_01-convcolonly"),
    ],
)
def test_hulls_are_not_drawn(engine: str, name: str) -> None:
    change = named("SM_asset", name, "SM_other")
    found = read(change, engine)
    assert len(found.faces) == 24
    assert [(hull.name, width(hull.vertices)) for hull in found.hulls] == [(name, 2)]
    assert len(read(change, "generic").faces) == 36


def test_what_hangs_below_a_hull_is_one_too() -> None:
    def change(document: dict[str, Any]) -> None:
        named("SM_asset", "UCX_SM_asset_01", "more", roots=(0, 1))(document)
        document["nodes"][1]["children"] = [2]

    assert [hull.name for hull in read(change, "unreal").hulls] == ["UCX_SM_asset_01", "more"]


def test_a_file_of_hulls_alone_shows_them() -> None:
    found = read(named("UCX_SM_asset_01", "UCX_SM_asset_02"), "unreal")
    assert (len(found.faces), len(found.hulls)) == (24, 2)


def test_nodes_that_godot_leaves_out_are_not_drawn() -> None:
    assert len(read(named("asset", "helper-noimp"), "godot").faces) == 12


def test_levels_past_all_that_are_read_are_refused() -> None:
    with pytest.raises(BadInput, match="17 levels, at most 16"):
        read(named("a", extensions={"MSFT_lod": {"ids": [0] * 17}}), "generic")
    with pytest.raises(BadInput, match="levels up to 16 are read"):
        read(named("asset_LOD0", "asset_LOD999999999"), "unity")
    with pytest.raises(BadInput, match="two parents, or is its own"):
        read(named("a", extensions={"MSFT_lod": {"ids": [0]}}), "generic")
