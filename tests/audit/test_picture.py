"""The picture of an audit shows what the rows measured: overlaps, narrow charts, densities; and it is drawn of any file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from broken_files import measure, shift_side, shrink_side
from PIL import Image
from written_files import SIZE, Draft, box

from dreamfusion_mesh.audit.picture import PANEL, audit_picture, heat, is_audit_picture
from dreamfusion_mesh.audit.readers.written import unread_surface

RED, ORANGE = (255, 40, 40), (255, 170, 0)


def panels(draft: Draft, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The two squares of the picture, UV layout and texel density, [PANEL, PANEL, 3] each."""
    pixels = np.asarray(Image.open(io.BytesIO(audit_picture(measure(draft.write(folder))))))
    return pixels[46 : 46 + PANEL, 24 : 24 + PANEL], pixels[46 : 46 + PANEL, 48 + PANEL : 48 + 2 * PANEL]


def share(panel: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((panel == color).all(axis=2).mean())


def test_a_sound_file_has_no_marks_and_one_density(tmp_path: Path) -> None:
    layout, density = panels(box(), tmp_path)
    assert (share(layout, RED), share(layout, ORANGE)) == (0, 0)
    assert share(density, (235, 235, 235)) == pytest.approx(6 * 77**2 / SIZE**2, abs=0.005)


def test_an_overlap_is_red_where_it_is(tmp_path: Path) -> None:
    """A chart moved by 5 texels over and 84 down lies on the chart below, but for those 5 and for one row."""
    layout, _ = panels(shift_side(0, 5.0, 84.0), tmp_path)
    assert share(layout, RED) == pytest.approx(72 * 76 / SIZE**2, abs=0.005)
    rows, columns = np.nonzero((layout == RED).all(axis=2))
    scale = SIZE / PANEL
    assert (rows.min() * scale, columns.min() * scale) == pytest.approx((93, 13), abs=1)


def test_a_narrow_chart_is_orange_and_drawn_at_its_density(tmp_path: Path) -> None:
    layout, density = panels(shrink_side(0, 7 / 77, 1.0), tmp_path)
    assert share(layout, ORANGE) == pytest.approx(7 * 77 / SIZE**2, rel=0.2)
    assert share(density, tuple(heat(np.array([np.log2(7 / 77)]))[0])) == pytest.approx(7 * 77 / SIZE**2, rel=0.2)


def test_heat_runs_from_blue_over_white_to_red() -> None:
    assert heat(np.array([-5.0, -2.0, 0.0, 2.0])).tolist() == [[50, 90, 230], [50, 90, 230], [235, 235, 235], [225, 60, 40]]


def test_what_cannot_be_drawn_says_so_in_a_picture_as_large(tmp_path: Path) -> None:
    found = measure(box().write(tmp_path))
    whole = Image.open(io.BytesIO(audit_picture(found)))
    assert found.written is not None
    bare = replace(found.written, corner_uvs=None, split_faces=None)
    for written in (None, unread_surface("glTF", {"surface": "needs EXT_x", "uvs": "needs EXT_x"}), bare):
        picture = Image.open(io.BytesIO(audit_picture(replace(found, written=written))))
        assert picture.size == whole.size
        assert share(np.asarray(picture)[46 : 46 + PANEL, 24 : 24 + PANEL], (44, 44, 50)) > 0.9


def test_uvs_far_outside_and_letters_of_every_kind_are_no_trouble(tmp_path: Path) -> None:
    draft = box()
    uvs = draft.uvs.copy()
    uvs[:121] += 1e30
    path = replace(draft, uvs=uvs).write(tmp_path)
    named = path.rename(tmp_path / "蘑菇\n\x1b.glb")
    layout, _ = panels(replace(draft, uvs=uvs), tmp_path)
    assert 0.3 < 1 - share(layout, (44, 44, 50)) < 0.6
    assert is_audit_picture(audit_picture(measure(named)))


def test_a_picture_is_known_for_one(tmp_path: Path) -> None:
    made = audit_picture(measure(box(1).write(tmp_path)))
    assert is_audit_picture(made)
    assert is_audit_picture(made[:4096])
    assert not is_audit_picture(box().image)
    assert not is_audit_picture(b"")
