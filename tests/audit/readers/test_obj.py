"""An OBJ and its MTL are measured where they can be, and a line that cannot be read is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from broken_files import failing, measure, shift_side, without
from written_files import box, png

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.errors import BadInput


def test_an_obj_is_measured_where_it_can_be(tmp_path: Path) -> None:
    statuses = {row.number: row.status for row in measure(box().write_obj(tmp_path)).rows}
    assert statuses == dict.fromkeys(PROPERTIES, "pass") | {1: "not measured"}
    (tmp_path / "rough.png").write_bytes(png(mode="L"))
    path = box().write_obj(tmp_path)
    library = tmp_path / "asset.mtl"
    library.write_text(library.read_text() + "map_Pr rough.png\n")
    assert failing(measure(path)) == set()
    library.write_text(library.read_text() + "norm rough.png\n")
    assert failing(measure(path)) == {7}
    assert failing(measure(without(box(), 7).write_obj(tmp_path))) == {2}
    assert failing(measure(shift_side(0, 5.0, 0.0).write_obj(tmp_path))) == {5}
    assert failing(measure(replace(box(), image=png(255)).write_obj(tmp_path))) == {7}


@pytest.mark.parametrize("line", ["f 1 2", "f 1 2 99999", "f 1 2 0", "f 1 2 x", "v 0 0", "v a b c", "vt"])
def test_an_obj_line_that_cannot_be_read_is_named(line: str, tmp_path: Path) -> None:
    path = box(1).write_obj(tmp_path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(BadInput, match=rf"asset.obj, line \d+: '{line}'"):
        measure(path)


def test_an_obj_reads_no_file_elsewhere(tmp_path: Path) -> None:
    path = box(1).write_obj(tmp_path)
    path.write_text(path.read_text().replace("mtllib asset.mtl", "mtllib ../asset.mtl"))
    with pytest.raises(BadInput, match="not a file beside"):
        measure(path)
