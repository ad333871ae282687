"""What a small file may cost: its parts are looked at once each, and those that share their bytes only up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_files import measure
from written_files import box, png

from dreamfusion_mesh.audit import structure
from dreamfusion_mesh.audit.readers import gltf, obj, scene

MANY = 3000


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """The first arguments of every call of a module's function from now on."""
    calls: list[Any] = []
    function = getattr(module, name)

    def count(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments[0])
        return function(*arguments, **named)

    monkeypatch.setattr(module, name, count)
    return calls


def many_accessors(document: dict[str, Any]) -> None:
    document["accessors"] += [dict(document["accessors"][2]) for _ in range(MANY)]


def many_nodes(document: dict[str, Any]) -> None:
    document["nodes"] = [{"children": list(range(1, MANY))}, *({"mesh": 0} for _ in range(MANY - 1))]


@pytest.mark.parametrize("change", [many_accessors, many_nodes])
def test_a_list_is_looked_through_a_few_times_however_long_it_is(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch, gltf, "items")
    assert measure(replace(box(1), change=change).write(tmp_path)).rows[0].status == "pass"
    assert len(calls) < 20


def test_primitives_that_share_their_bytes_are_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(document: dict[str, Any]) -> None:
        document["meshes"][0]["primitives"] *= 100

    monkeypatch.setattr(structure, "MAX_DECODED_BYTES", 500_000)
    monkeypatch.setattr(scene, "MAX_TRIANGLES", 120)
    read = counted(monkeypatch, scene, "_part")
    row = measure(replace(box(1), change=change).write(tmp_path)).rows[0]
    assert "primitives: more than 500000 bytes in all" in row.detail
    assert "more than the 120 triangles" in row.detail
    assert len(read) == 11  # of twelve triangles each


def test_images_that_share_their_bytes_are_decoded_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(document: dict[str, Any]) -> None:
        document["images"] *= 100

    monkeypatch.setattr(structure, "MAX_DECODED_TEXELS", 300_000)
    decoded = counted(monkeypatch, structure, "decode")
    row = measure(replace(box(1), image=png(256), change=change).write(tmp_path)).rows[0]
    assert "images: more than 300000 texels in all" in row.detail
    assert len(decoded) == 4


def test_a_map_that_is_named_again_and_again_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = box(1).write_obj(tmp_path)
    library = tmp_path / "asset.mtl"
    library.write_text(library.read_text().replace("map_Kd", "map_Kd missing.png\n" * 50 + "map_Kd") + "map_Kd color.png\n" * 50)
    read = counted(monkeypatch, obj, "read_bytes")
    assert measure(path).rows[6].status == "pass"
    assert [file.name for file in read] == ["asset.mtl", "color.png"]


def test_many_materials_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    names = "".join(f"usemtl {name % MANY}\n" for name in range(2 * MANY))
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\n{names}f 1 2 3\n")
    assert measure(path).rows[6].measured == {"materials": MANY}
