"""A file of any surface is answered by a table: one triangle, no area, no material, huge and tiny scales, numbers that are none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from broken_files import failing, measure, with_all_maps
from complete_assets import complete, hulls_glb
from written_files import Draft, box

from dreamfusion_mesh.audit.picture import audit_picture
from dreamfusion_mesh.audit.report import audit
from dreamfusion_mesh.audit.rows import validity
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.records import Mesh


@pytest.fixture(autouse=True)
def _no_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "find_validator", lambda: None)


def scaled(factor: float) -> Draft:
    return replace(with_all_maps(), positions=box().positions * factor)


def node(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["nodes"][0].update(values)


def with_nan(values: str) -> Draft:
    draft = with_all_maps()
    changed = getattr(draft, values).copy()
    changed[7, 1] = np.nan
    return replace(draft, **{values: changed})


ODD: dict[str, tuple[Draft, set[int]]] = {  # with rows that must fail, among others
    "one triangle": (replace(with_all_maps(), faces=box().faces[:1]), {2}),
    "no area": (replace(with_all_maps(), positions=box().positions * [1, 0, 0]), {2, 6}),
    "a point": (scaled(0.0), {2, 6}),
    "no material": (replace(with_all_maps(), change=lambda document: document["meshes"][0]["primitives"][0].pop("material")), {7}),
    "tiny": (scaled(1e-30), {13}),
    "huge": (scaled(1e30), {13}),
    "a node of 1e300": (replace(box(), change=node(scale=[1e300] * 3)), {2}),
    "a node of 1e-300": (replace(box(), change=node(scale=[1e-300] * 3)), {13}),
    "a node of 1e30, moved by 1e35": (replace(box(), change=node(scale=[1e30] * 3, translation=[1e35, 0, 0])), {13}),
    "a position that is no number": (with_nan("positions"), {2}),
    "a normal that is no number": (with_nan("normals"), {8, 9}),
    "a tangent that is no number": (with_nan("tangents"), {8}),
    "a UV that is no number": (with_nan("uvs"), {2}),
    "UVs outside the square": (replace(with_all_maps(), uvs=box().uvs * 3 - 1), {4}),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_surface_is_answered_by_a_table(name: str, tmp_path: Path) -> None:
    """With levels, a hull and a refined surface beside it, so that every row is asked."""
    draft, wanted = ODD[name]
    complete(tmp_path)
    path, sound = draft.write(tmp_path), box()
    reference = Mesh(torch.from_numpy(sound.positions), torch.from_numpy(sound.faces))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(path, AuditSettings(), 1200, 1.0, reference)
        picture = audit_picture(found)
    assert picture
    assert wanted <= failing(found), found.table()
    assert json.dumps(found.to_json(), allow_nan=False)
    assert "nan" not in " ".join(str(value) for row in found.rows for value in row.measured.values() if row.status == "pass")


@pytest.mark.parametrize("kind", ["point", "triangle", "empty"])
def test_odd_levels_and_hulls_fail_their_rows(kind: str, tmp_path: Path) -> None:
    path, draft = complete(tmp_path), with_all_maps()
    odd = replace(draft, positions=draft.positions * 0) if kind == "point" else replace(draft, faces=draft.faces[:1])
    (tmp_path / "asset_LOD1.glb").write_bytes(odd.glb() if kind != "empty" else b"")
    (tmp_path / "asset_collision.glb").write_bytes(hulls_glb(odd) if kind != "empty" else b"")
    assert failing(measure(path)) == {11, 12, 15}
