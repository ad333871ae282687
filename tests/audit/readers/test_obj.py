"""An OBJ and its MTL are measured where they can be, as exporters write them, and a line that cannot be read is named."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from broken_files import failing, measure, shift_side, without
from written_files import box, png

from dreamfusion_mesh.audit.readers import mtl, polygons
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.readers.written import Materials, Written
from dreamfusion_mesh.errors import BadInput

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def read(folder: Path, text: str | bytes, library: str | bytes | None = None, name: str = "a.mtl") -> Written:
    """An OBJ of this text, beside a library and an image color.png."""
    for file, content in (("a.obj", text), (name, library), ("color.png", png(16))):
        if content is not None:
            (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_model((folder / "a.obj").read_bytes(), folder / "a.obj")


def materials(written: Written) -> Materials:
    assert written.materials is not None
    return written.materials


def maps(written: Written) -> dict[str, str]:
    return {entry.role: entry.key for entry in materials(written).maps}


def test_an_obj_is_measured_where_it_can_be(tmp_path: Path) -> None:
    statuses = {row.number: row.status for row in measure(box().write_obj(tmp_path)).rows}
    assert {number for number, status in statuses.items() if status == "pass"} >= {2, 3, 4, 5, 6, 7, 13}
    assert (statuses[1], "fail" in statuses.values()) == ("not measured", False)
    (tmp_path / "rough.png").write_bytes(png(mode="L"))
    path = box().write_obj(tmp_path)
    library = tmp_path / "asset.mtl"
    library.write_text(library.read_text() + "map_Pr rough.png\nmap_Bump -bm 1 rough.png\n")
    assert failing(measure(path)) == set()
    library.write_text(library.read_text() + "norm rough.png\n")
    assert failing(measure(path)) == {7}
    assert failing(measure(without(box(), 7).write_obj(tmp_path))) == {2}
    assert failing(measure(shift_side(0, 5.0, 0.0).write_obj(tmp_path))) == {5}
    assert failing(measure(replace(box(), image=png(255)).write_obj(tmp_path))) == {7}


@pytest.mark.parametrize(
    "line", ["f 1 2", "f 1 2 99999", "f 1 2 0", "f 1 2 x", "v 0 0", "v a b c", "vt", "vn 0 0", f"f 1 2 {9**30}", "f 1/1/9 2 3"]
)
def test_an_obj_line_that_cannot_be_read_is_named(line: str, tmp_path: Path) -> None:
    path = box(1).write_obj(tmp_path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(BadInput, match=rf"asset.obj, line \d+: '{line}'"):
        measure(path)


@pytest.mark.parametrize("word", ["nan", "inf", "1e39", "-1e400"])
def test_numbers_that_are_not_finite_are_refused(word: str, tmp_path: Path) -> None:
    for text in (f"v 0 0 0\nv 1 0 0\nv 0 {word} 0\nf 1 2 3\n", f"{SQUARE}vt 0 {word}\nf 1/5 2/5 3/5\n"):
        with pytest.raises(BadInput, match=r"a\.obj: (positions|UVs): has numbers that are not finite, or are larger"):
            read(tmp_path, text)


@pytest.mark.parametrize("name", ["../asset.mtl", "/etc/passwd", "C:\\asset.mtl", "gone.mtl", "folder", "sub/../../asset.mtl"])
def test_a_library_elsewhere_or_missing_fails_the_material_alone(name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (tmp_path / "asset.mtl").write_text("newmtl box\nmap_Kd color.png\n")
    path = box(1).write_obj(home)
    path.write_text(path.read_text().replace("mtllib asset.mtl", f"mtllib {name}"))
    found = read_model(path.read_bytes(), path)
    assert len(found.faces) == 12
    assert materials(found).maps == ()
    assert materials(found).problems[-1] == "material 'box' is in no library"
    assert len(materials(found).problems) == 2
    assert 7 in failing(measure(path))
    assert 2 not in failing(measure(path))


@pytest.mark.parametrize("name", ["../color.png", "/etc/passwd", "gone.png", "link.png", "color.png\0", "file:///etc/passwd"])
def test_a_texture_elsewhere_or_missing_fails_the_material_alone(name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "color.png").write_bytes(png(16))
    (home / "link.png").symlink_to(tmp_path / "color.png")
    found = read(home, SQUARE + "mtllib a.mtl\nusemtl m\nf 1/1 2/2 3/3\n", f"newmtl m\nmap_Kd {name}\n")
    assert len(found.faces) == 1
    assert materials(found).maps == ()
    (problem,) = materials(found).problems
    assert problem.startswith("base color: ")


def test_names_may_have_spaces_quotes_and_letters_of_any_encoding(tmp_path: Path) -> None:
    body = SQUARE + "f 1/1 2/2 3/3\n"
    head, face = body[: body.index("f ")], "f 1/1 2/2 3/3\n"
    (tmp_path / "my color.png").write_bytes(png(16))
    for name, written in (("my  box", "my  box"), ("box#1", "box#1"), ("box", '"box"'), ("Würfel", "Würfel")):
        for encoding in ("utf-8", "latin-1", "utf-8-sig"):
            text = f"mtllib a b.mtl\r\n{head}usemtl {written}\t\r\n{face}".encode(encoding)
            library = f"newmtl {name}\r\nKd 1 1 1\r\nmap_Kd my color.png\r\n".encode(encoding)
            found = read(tmp_path, text, library, "a b.mtl")
            assert materials(found).problems == ()
            assert maps(found) == {"base color": "my color.png"}


def test_libraries_are_merged_and_the_first_definition_counts(tmp_path: Path) -> None:
    (tmp_path / "b.mtl").write_text("newmtl m\nmap_Kd other.png\nnewmtl n\nmap_Kd color.png\n")
    library = "newmtl m\nmap_Kd color.png\nnewmtl m\nmap_Kd third.png\n"
    for statement in ("mtllib a.mtl\nmtllib b.mtl", "mtllib a.mtl b.mtl", "mtllib gone.mtl a.mtl  b.mtl", 'mtllib "a.mtl" "b.mtl"'):
        for name in ("m", "n"):
            found = read(tmp_path, f"{statement}\n{SQUARE}usemtl {name}\nf 1/1 2/2 3/3\n", library)
            assert maps(found) == {"base color": "color.png"}
            assert len(materials(found).problems) == ("gone" in statement)


def test_materials_that_no_face_uses_do_not_count(tmp_path: Path) -> None:
    text = f"mtllib a.mtl\n{SQUARE}usemtl unused\nusemtl m\ng group\ns 1\no thing\nf 1/1 2/2 3/3\nusemtl gone\n"
    assert materials(read(tmp_path, text, "newmtl m\nmap_Kd color.png\n")).count == 1
    bare = materials(read(tmp_path, f"{SQUARE}f 1 2 3\n"))
    assert (bare.count, bare.maps, bare.problems) == (0, (), ())
    assert materials(read(tmp_path, f"mtllib a.mtl\n{SQUARE}f 1 2 3\nusemtl m\nf 1 2 3\n")).count == 2


@pytest.mark.parametrize(
    "options",
    [
        "-bm 0.5",
        "-clamp on -blendu off -blendv on",
        "-imfchan r -texres 1024",
        "-o 0 0 0 -s 1 1 1",
        "-mm 0 1",
        "-t 0 0 0",
        "-boost 2 -cc on",
    ],
)
@pytest.mark.parametrize("form", ["{0} my color.png", "my color.png {0}", '{0} "my color.png"', "{0}   ./maps\\my color.png"])
def test_options_stand_before_or_after_the_name(options: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for folder in (tmp_path, tmp_path / "maps"):
        (folder / "my color.png").write_bytes(png(16))
    library = f"newmtl m\nmap_Kd {form.format(options)}\nMAP_BUMP {form.format(options)}\n"
    found = read(tmp_path, f"mtllib a.mtl\n{SQUARE}usemtl m\nf 1/1 2/2 3/3\n", library)
    assert materials(found).problems == ()
    assert set(maps(found)) == {"base color", "bump"}
    assert found.unread == {}


def test_options_that_move_a_texture_move_the_uvs(tmp_path: Path) -> None:
    text = f"mtllib a.mtl\n{SQUARE}usemtl m\nf 1/1 2/2 3/3\n"
    found = read(tmp_path, text, "newmtl m\nmap_Kd -s 4 2 1 -o 0.25 0 color.png\nnorm -s 4 2 -o 0.25 color.png\n")
    assert found.unread == {}
    assert np.array_equal(found.corner_uvs[0], [[0.25, 0], [4.25, 0], [4.25, 2]])  # type: ignore[index]
    differ = read(tmp_path, text, "newmtl m\nmap_Kd -s 4 4 color.png\nnorm color.png\n")
    assert differ.unread == {"uvs": "a.obj: its maps differ in the options -o and -s, and one layout is measured"}
    shaken = read(tmp_path, text, "newmtl m\nmap_Kd -t 0.1 color.png\nnorm -mm 0.5 1 color.png\n")
    assert shaken.unread == {
        "uvs": "a.obj: the option -t of map_kd is not applied",
        "images": "a.obj: the option -mm of norm is not applied",
    }


def test_continued_lines_comments_and_negative_rows(tmp_path: Path) -> None:
    for text in ("f 1/1 2/2 \\\n 3/3 4/4", "f -4/-4 -3/-3 -2/-2 -1/-1 # a square", "\tf\t1/1  2/2 3/3 4/4  \r", "f 1/1 2/2 3/3 4/4\\"):
        found = read(tmp_path, f"# made by hand\n{SQUARE}{text}\n")
        assert found.vertices[found.faces].tolist() == [[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]]


def test_normals_are_read_where_every_corner_has_one(tmp_path: Path) -> None:
    text = f"{SQUARE}vn 0 0 1\nvn 0 0 2\n"
    found = read(tmp_path, f"{text}f 1/1/1 2/2/1 3/3/2\n")
    assert np.array_equal(found.corner_normals, [[[0, 0, 1], [0, 0, 1], [0, 0, 2]]])  # type: ignore[arg-type]
    assert read(tmp_path, f"{text}f 1//1 2//1 3//2\n").corner_uvs is None
    assert read(tmp_path, f"{text}f 1//1 2//1 3//2\n").corner_normals is not None
    assert read(tmp_path, f"{text}f 1//1 2//1 3//2\nf 1 2 3\n").corner_normals is None


def test_colours_and_weights_of_vertices_are_passed_over(tmp_path: Path) -> None:
    plain = read(tmp_path, f"{SQUARE}f 1 2 3\n")
    for extra in (" 1.0", " 0.5 0.5 0.5", " 0.5 0.5 0.5 1"):
        coloured = read(tmp_path, SQUARE.replace(" 0\nv", f" 0{extra}\nv").replace("0 1 0\n", f"0 1 0{extra}\n", 1) + "f 1 2 3\n")
        assert np.array_equal(coloured.vertices, plain.vertices)


def area(written: Written) -> float:
    corners = written.vertices[written.faces]
    return float(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()) / 2


def test_polygons_that_are_not_convex_are_cut_without_overlap(tmp_path: Path) -> None:
    """A star of ten corners whose fan from its first corner would leave it, whichever way it faces."""
    angles = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2, 1.0, 0.3)
    star = np.stack([reach * np.cos(angles), reach * np.sin(angles), np.zeros(10)], axis=1)
    wanted = 5 * 0.3 * np.sin(np.pi / 5)
    for places in (star, star[:, [1, 2, 0]], star[:, [2, 0, 1]], star[::-1]):
        for first in range(2):
            corners = np.roll(places, first, axis=0)
            lines = "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + "f " + " ".join(map(str, range(1, 11)))
            found = read(tmp_path, lines + "\n")
            assert len(found.faces) == 8
            assert area(found) == pytest.approx(wanted)


def test_a_polygon_too_large_to_be_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "MOST_CUTS", 15)
    bent = "v 0 0 0\nv 2 0 0\nv 0.2 0.2 0\nv 0 2 0\n"
    assert len(read(tmp_path, f"{bent}f 1 2 3 4\n").faces) == 2  # a fan from the first corner does
    with pytest.raises(BadInput, match=r"a\.obj: 1 polygons of up to 4 corners are not convex; write triangles"):
        read(tmp_path, f"{bent}f 2 3 4 1\n")


@pytest.mark.parametrize("line", ["l 1 2", "p 1", "curv 0 1 1 2"])
def test_lines_and_points_are_no_surface(line: str, tmp_path: Path) -> None:
    assert set(read(tmp_path, f"{SQUARE}f 1 2 3\n{line}\n").unread) == {"surface", "uvs", "normals"}
    assert len(read(tmp_path, f"{SQUARE}{line}\n").faces) == 0


def test_a_text_too_long_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtl, "MAX_TEXT_BYTES", 20)
    with pytest.raises(BadInput, match=r"a\.obj: 32 bytes of text, more than the 20 that are read"):
        read(tmp_path, "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")


def test_every_truncation_and_flipped_byte_is_read_or_refused(tmp_path: Path) -> None:
    path = box(1).write_obj(tmp_path)
    library = tmp_path / "asset.mtl"
    library.write_text(library.read_text() + "map_Bump -bm 0.5 -s 2 2 color.png\nnorm -o 0.1 color.png\n")
    whole, draws, refused = {file: file.read_bytes() for file in (path, library)}, np.random.default_rng(0), 0
    for trial in range(600):
        file = (path, library)[trial % 2]
        changed = bytearray(whole[file])
        if trial % 3:
            changed[draws.integers(len(changed))] = draws.integers(256)
        else:
            del changed[draws.integers(len(changed)) :]
        file.write_bytes(changed)
        message = refusal(path)
        assert "\n" not in message
        refused += bool(message)
        file.write_bytes(whole[file])
    assert 0 < refused < 300


def refusal(path: Path) -> str:
    """The message that the file is refused with; "" where it is read, without a warning."""
    try:
        with warnings.catch_warnings(action="error"):
            read_model(path.read_bytes(), path)
    except BadInput as error:
        return str(error)
    return ""
