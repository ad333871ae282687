"""What a small file may cost: its parts are looked at once each, and those that share their bytes only up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_files import measure
from written_files import Draft, box

from dreamfusion_mesh.audit.readers import accessors, gltf, mtl, nodes, scene
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.errors import BadInput

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
    assert len(read_model(replace(box(1), change=change).glb(), tmp_path / "x.glb").vertices) == 8
    assert len(calls) < 20


def refused(draft: Draft, folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_model(draft.glb(), folder / "x.glb")
    return str(caught.value)


def many_primitives(document: dict[str, Any]) -> None:
    document["meshes"][0]["primitives"] *= 100


def test_primitives_that_share_their_bytes_are_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = counted(monkeypatch, scene, "read_primitive")
    monkeypatch.setattr(scene, "MAX_TRIANGLES", 120)
    assert "more than the 120 triangles" in refused(replace(box(1), change=many_primitives), tmp_path)
    assert len(read) == 10  # of twelve triangles each
    monkeypatch.undo()
    monkeypatch.setattr(gltf, "MAX_VALUES", 5000)
    assert "more than the 5000 numbers" in refused(replace(box(1), change=many_primitives), tmp_path)
    monkeypatch.undo()
    for limit in ("MAX_PRIMITIVES", "MAX_DRAWN"):
        monkeypatch.setattr(scene, limit, 99)
        assert "more than the" in refused(replace(box(1), change=many_primitives), tmp_path)
        monkeypatch.undo()


def test_instances_are_drawn_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few bytes each, and of none where no buffer view holds their places."""

    def instances(count: int, **entry: Any) -> Draft:
        def change(document: dict[str, Any]) -> None:
            found = {"componentType": 5126, "count": count, "type": "VEC3"} | entry
            document["accessors"].append(found)
            instancing = {"attributes": {"TRANSLATION": len(document["accessors"]) - 1}}
            document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": instancing}

        return replace(box(1), change=change)

    for count in (2**31, 2**62, nodes.MAX_DRAWN + 1):
        assert f"{count} instances, from 1 to {nodes.MAX_DRAWN} are read" in refused(instances(count), tmp_path)
    assert "needs" not in refused(instances(5000, bufferView=0), tmp_path)
    monkeypatch.setattr(scene, "MAX_TRIANGLES", 12 * 400)
    assert "more than the 4800 triangles" in refused(instances(401), tmp_path)
    assert len(read_model(instances(400).glb(), tmp_path / "x.glb").faces) == 4800


@pytest.mark.parametrize("sparse", [False, True])
def test_values_that_no_buffer_holds_are_read_up_to_a_limit(sparse: bool, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        entry = document["accessors"][0]
        entry.pop("bufferView")
        entry["count"] = 10**9
        if sparse:
            places = {"bufferView": 3, "componentType": 5125}
            entry["sparse"] = {"count": 1, "indices": places, "values": {"bufferView": 0}}

    assert f"at most {accessors.MAX_ZEROS} are read" in refused(replace(box(1), change=change), tmp_path)


def test_a_map_that_is_named_again_and_again_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = box(1).write_obj(tmp_path)
    library = tmp_path / "asset.mtl"
    library.write_text(library.read_text().replace("map_Kd", "map_Kd missing.png\n" * 50 + "map_Kd") + "map_Kd color.png\n" * 50)
    read = counted(monkeypatch, mtl, "read_bytes")
    assert measure(path).rows[6].status == "pass"
    assert [file.name for file in read] == ["asset.mtl", "color.png"]


def test_many_materials_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    names = "".join(f"usemtl {name % MANY}\nf 1 2 3\n" for name in range(2 * MANY))
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\n{names}usemtl of no face\n")
    assert measure(path).rows[6].measured == {"materials": MANY}
