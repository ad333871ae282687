"""Every row can fail: a sound file passes them all, and one thing broken at a time fails exactly the rows that are about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from broken_files import BROKEN, INVALID, failing, measure, shrink_side, with_all_maps
from complete_assets import complete
from written_files import SIZE, box

from dreamfusion_mesh.audit import report
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.report import audit
from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.audit.rows import validity
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Mesh

ABSENT = (8, 11, 12, 15)  # rows about what a file alone has not: tangents, levels, hulls, provenance


@pytest.fixture(autouse=True)
def _own_checks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "find_validator", lambda: None)


def test_a_whole_delivery_passes_every_row(tmp_path: Path) -> None:
    """But for the first, which needs the Khronos validator."""
    found = measure(complete(tmp_path))
    assert {row.number: row.status for row in found.rows} == dict.fromkeys(PROPERTIES, "pass") | {1: "not measured"}, found.table()
    assert found.passed
    assert not found.strictly_passed
    assert found.summary() == "14 of 15 rows passed, 0 failed, 1 not measured"
    assert replace(found, rows=found.rows[1:]).strictly_passed


def test_rows_about_what_is_not_there_are_not_measured(tmp_path: Path) -> None:
    """A file alone, without a normal map, levels, hulls or a word of its origin."""
    found = measure(box().write(tmp_path))
    left = {row.number for row in found.rows if row.status == "not measured"}
    assert (left, failing(found)) == ({1, *ABSENT}, set()), found.table()


def test_rows_on_what_a_viewer_would_show_otherwise_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = complete(tmp_path)
    for part, wanted in {
        "surface": {2, 3, 6, 8, 9, 10, 11, 12, 13, 14},
        "uvs": {4, 5, 6, 8, 10, 11},
        "normals": {8, 9},
        "images": {4, 5, 6, 7, 8, 10, 11},
        "materials": {4, 5, 6, 7, 8, 10, 11},
    }.items():
        monkeypatch.setattr(report, "read_model", lambda *file, part=part: replace(read_model(*file), unread={part: "needs EXT_x"}))
        rows = measure(path).rows[1:]
        assert {row.number for row in rows if row.status == "not measured"} == wanted
        assert {row.detail for row in rows if row.number in wanted} == {"not measured: needs EXT_x"}
        assert {row.status for row in rows if row.number not in wanted} == {"pass"}


@pytest.mark.parametrize("name", BROKEN)
def test_one_fault_fails_the_rows_about_it_alone(name: str, tmp_path: Path) -> None:
    draft, wanted = BROKEN[name]
    found = measure(draft.write(tmp_path))
    assert failing(found) == wanted, found.table()
    assert not found.passed
    assert all(row.detail for row in found.rows if row.status == "fail")


@pytest.mark.parametrize("name", INVALID)
def test_without_a_validator_rows_fail_by_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    draft, wanted = INVALID[name]
    found = measure(draft.write(tmp_path))
    assert failing(found) == wanted, found.table()
    assert found.rows[0].status == "not measured"
    if 2 in wanted:
        assert found.rows[1].detail.startswith("the file cannot be read: ")
        assert {row.status for row in found.rows[2:]} == {"not measured"}


def test_the_figures_are_those_of_the_box(tmp_path: Path) -> None:
    measured = {row.number: row.measured for row in measure(box().write(tmp_path)).rows}
    assert measured[2]["smallest volume"] == pytest.approx(1.0, abs=1e-6)
    assert (measured[3]["triangles"], measured[2]["shells"]) == (1200, 1)
    assert (measured[5]["charts"], measured[5]["smallest gap"]) == (6, 8)
    assert measured[6]["utilisation"] == 6 * 77**2 / SIZE**2
    assert measured[6]["p95/p5"] == pytest.approx(1.0, abs=1e-4)
    assert measured[7] == {"base color": "256 x 256"}


def test_a_full_set_of_maps_passes(tmp_path: Path) -> None:
    found = measure(with_all_maps().write(tmp_path))
    assert failing(found) == set(), found.table()
    assert set(next(row for row in found.rows if row.number == 7).measured) == {"base color", "metallic-roughness", "occlusion", "normal"}


def test_thresholds_are_settings(tmp_path: Path) -> None:
    path = box().write(tmp_path)
    assert failing(measure(path, mip=2)) == set()
    assert failing(measure(path, mip=3)) == {5}
    assert failing(measure(path, utilisation=0.55)) == {6}
    assert failing(measure(path, narrow_texels=78.0)) == {5}
    assert failing(audit(path, AuditSettings(), 1200, 0.999)) == {13}
    assert failing(audit(path, AuditSettings(), 1200)) == set()


def test_the_distance_to_the_refined_mesh_is_measured(tmp_path: Path) -> None:
    draft = box()
    path = draft.write(tmp_path)
    diagonal = 3**0.5 * 1.02
    for scale, wanted in ((1.0, set()), (1.02, {3})):
        reference = Mesh(torch.from_numpy(draft.positions * scale), torch.from_numpy(draft.faces))
        found = audit(path, AuditSettings(), 1200, 1.0, reference)
        assert failing(found) == wanted
        figure = next(row for row in found.rows if row.number == 3).measured["hausdorff"]
        # the far corners are (0.01, 0.02, 0.01) apart
        assert figure == pytest.approx((scale > 1) * 6**0.5 * 0.01 / diagonal, abs=1e-6)


def test_a_gltf_with_files_beside_it_passes_too(tmp_path: Path) -> None:
    document, binary = box().document_and_binary()
    document["buffers"][0]["uri"] = "the data.bin"
    (tmp_path / "the data.bin").write_bytes(binary)
    path = tmp_path / "asset.gltf"
    path.write_text(json.dumps(document).replace("the data", "the%20data"))
    assert {row.status for row in measure(path).rows if row.number not in (1, *ABSENT)} == {"pass"}


def test_a_missing_file_or_another_kind_is_bad_input(tmp_path: Path) -> None:
    for name, words in (("none.glb", "cannot be read"), ("picture.png", "expected a .glb"), ("", "expected a .glb")):
        with pytest.raises(BadInput, match=words):
            measure(tmp_path / name)


def test_the_report_is_plain_json_and_names_the_file(tmp_path: Path) -> None:
    path = box().write(tmp_path)
    found = measure(path)
    parsed = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (parsed["file"], parsed["passed"]) == ("asset.glb", True)
    assert parsed["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {row["number"] for row in parsed["rows"]} == set(PROPERTIES)
    assert found.table().splitlines()[15:] == ["10 of 15 rows passed, 0 failed, 5 not measured"]


def test_a_density_without_bounds_is_still_json(tmp_path: Path) -> None:
    found = measure(shrink_side(0, 0.0, 0.0).write(tmp_path))
    assert json.dumps(found.to_json(), allow_nan=False)
    assert 6 in failing(found)
