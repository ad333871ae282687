"""PLY, STL and OFF are read exactly as written, and whatever is wrong with one is a single BadInput line, never a traceback."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from broken_files import failing, measure

from dreamfusion_mesh.audit.readers import trimesh_reader
from dreamfusion_mesh.audit.readers.trimesh_reader import read_with_trimesh
from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.errors import BadInput

FILES = {"binary.ply": "ply", "text.ply": "ply", "binary.stl": "stl", "text.stl": "stl_ascii", "text.off": "off"}
HEADER = "ply\nformat {}\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
FACES = "element face {}\nproperty list uchar int vertex_indices\nend_header\n"
TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"


def ball() -> trimesh.Trimesh:
    """A ball one unit across that stands on the ground; its corners are float32 numbers, which binary files hold."""
    found = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    found.apply_translation([0, 0.5, 0])
    return trimesh.Trimesh(found.vertices.astype(np.float32).astype(np.float64), found.faces, process=False)


def content(name: str) -> bytes:
    """The ball as a file of that name."""
    options = {"encoding": "ascii"} if name == "text.ply" else {"digits": 20} if name.endswith("off") else {}
    found = ball().export(file_type=FILES[name], **options)
    return found if isinstance(found, bytes) else found.encode()


def text_ply(vertices: int, faces: int, body: str, form: str = "ascii 1.0") -> bytes:
    return (HEADER.format(form, vertices) + FACES.format(faces) + body).encode()


def refusal(data: bytes, name: str) -> str:
    """The message that the file is refused with; "" where it is read."""
    message = ""
    try:
        read_with_trimesh(data, Path(name))
    except BadInput as error:
        message = str(error)
    assert "\n" not in message
    assert not message or message.startswith(f"{name}: ")
    return message


@pytest.mark.parametrize("name", FILES)
def test_every_corner_is_read_where_it_was_written(name: str) -> None:
    found = read_with_trimesh(content(name), Path(name))
    wanted = ball().triangles
    tolerance = 1e-7 if name == "text.ply" or name == "text.stl" else 0.0  # trimesh writes eight digits there
    assert found.vertices[found.faces] == pytest.approx(wanted, abs=tolerance, rel=0)
    assert found.kind == Path(name).suffix[1:].upper()
    assert found.corner_uvs is None


@pytest.mark.parametrize("name", FILES)
def test_what_such_a_file_does_not_hold_is_not_measured(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content(name))
    found = measure(tmp_path / name)
    statuses = {row.number: row.status for row in found.rows}
    assert statuses == dict.fromkeys(PROPERTIES, "not measured") | {2: "pass", 3: "pass", 13: "pass"}, found.table()
    assert all(row.detail.startswith("not measured: ") for row in found.rows if row.status == "not measured")


def test_faults_of_the_surface_are_found(tmp_path: Path) -> None:
    whole = ball()
    for faces, wanted in ((whole.faces[1:], {2}), (whole.faces[:, ::-1], {2})):
        (tmp_path / "asset.stl").write_bytes(trimesh.Trimesh(whole.vertices, faces, process=False).export(file_type="stl"))
        assert failing(measure(tmp_path / "asset.stl")) == wanted


@pytest.mark.parametrize(("uvs", "flipped", "outside"), [("0 0,1 0,0 1", 0, 0), ("0 0,0 1,1 0", 1, 0), ("0 0,2 0,0 1", 0, 1)])
def test_uvs_of_a_ply_are_measured_as_far_as_no_texture_is_needed(uvs: str, flipped: int, outside: int, tmp_path: Path) -> None:
    rows = "".join(f"{corner} {uv}\n" for corner, uv in zip(TRIANGLE.splitlines(), uvs.split(","), strict=True))
    header = HEADER.format("ascii 1.0", 3) + "property float s\nproperty float t\n" + FACES.format(1)
    (tmp_path / "a.ply").write_text(header + rows + "3 0 1 2\n")
    found = {row.number: row for row in measure(tmp_path / "a.ply").rows}
    assert (found[4].status == "fail") == bool(flipped or outside)
    if found[4].status == "fail":
        assert (found[4].measured["flipped faces"], found[4].measured["corners outside"]) == (flipped, outside)
    assert all("no texture is read from PLY files" in found[number].detail for number in (4, 5, 6))


def test_uvs_of_a_ply_split_corners_and_not_the_surface() -> None:
    """Two triangles that share an edge in space and none on the texture: per-face coordinates."""
    body = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 6 0 0 .4 0 .4 .4\n3 0 2 3 6 .5 .5 .9 .9 .5 .9\n"
    header = HEADER.format("ascii 1.0", 4) + FACES.format(2).replace("end_header", "property list uchar float texcoord\nend_header")
    found = read_with_trimesh((header + body).encode(), Path("a.ply"))
    assert len(found.vertices) == 4
    assert found.corner_uvs == pytest.approx(np.array([[[0, 0], [0.4, 0], [0.4, 0.4]], [[0.5, 0.5], [0.9, 0.9], [0.5, 0.9]]]), abs=1e-7)
    assert found.split_faces is not None
    assert not set(found.split_faces[0]) & set(found.split_faces[1])


def test_polygons_are_cut_into_triangles() -> None:
    square = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
    for data, name in ((text_ply(4, 1, square + "4 0 1 2 3\n"), "a.ply"), (f"OFF\n4 1 0\n{square}4 0 1 2 3\n".encode(), "a.off")):
        found = read_with_trimesh(data, Path(name))
        assert sorted(np.ptp(found.vertices[found.faces], axis=1).tolist()) == [[1, 1, 0], [1, 1, 0]]


def test_the_solids_of_a_text_stl_are_one_surface() -> None:
    text = content("text.stl").decode()
    found = read_with_trimesh((text + text).encode(), Path("a.stl"))
    assert len(found.faces) == 2 * len(ball().faces)


def test_a_binary_stl_may_begin_with_the_word_solid() -> None:
    data = b"solid" + content("binary.stl")[5:]
    assert len(read_with_trimesh(data, Path("a.stl")).faces) == len(ball().faces)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ply", b"", "not a PLY"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n", "not a PLY"),
        ("a.ply", text_ply(10**15, 1, TRIANGLE), "declares 1000000000000001 rows"),
        ("a.ply", text_ply(3, 40, TRIANGLE + "3 0 1 2\n"), "row 1 of 'face' has 0 numbers, which is not what its 40 rows declare"),
        ("a.ply", text_ply(3, 1, TRIANGLE + "4 0 1 2\n"), "row 0 of 'face' has 4 numbers"),
        ("a.ply", text_ply(3, 2, TRIANGLE + "3 0 1 2\n2 0 1 2\n"), "row 1 of 'face' has 4 numbers"),
        ("a.ply", text_ply(3, 1, TRIANGLE + "-1 0 1 2\n"), "row 0 of 'face' has 4 numbers"),
        ("a.ply", text_ply(3, 1, TRIANGLE + "3 0 1 3\n"), "face indices from 0 to 3, with 3 vertices"),
        ("a.ply", text_ply(3, 1, TRIANGLE + "3 0 1 -1\n"), "face indices from -1 to 1"),
        ("a.ply", text_ply(3, 1, "0 0 0\n1 0 0\n0 x 0\n3 0 1 2\n"), "cannot be read as PLY"),
        ("a.ply", text_ply(3, 1, "0 0 0\n1 0 0\n0 nan 0\n3 0 1 2\n"), "not finite"),
        ("a.ply", text_ply(3, 1, "0 0 0\n1 0 0\n0 1e39 0\n3 0 1 2\n").replace(b"float y", b"double y"), "larger than float32 holds"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1e300 0\n3 0 1 2\n", "larger than float32 holds"),
        ("a.ply", text_ply(3, 0, TRIANGLE), "it has no faces"),
        ("a.ply", text_ply(0, 0, ""), "it has no faces"),
        ("a.ply", text_ply(3, 1, TRIANGLE, "binary_little_endian 1.0"), "PLY is unexpected length"),
        ("a.ply", text_ply(-5, 1, "x" * 100, "binary_little_endian 1.0"), "cannot be read as PLY"),
        ("a.stl", b"", "has 84 bytes, not 0"),
        ("a.stl", bytes(84), "it has no faces"),
        ("a.stl", bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50), "4294967295 triangles has 214748364834 bytes, not 134"),
        ("a.stl", b"solid a\nendsolid a\n", "it has no faces"),
        ("a.stl", b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n", "it has no faces"),
        ("a.stl", b"solid a\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 x\nendsolid", "cannot be read as STL"),
        ("a.stl", b"solid a\nendsolid\n" * 1001, "more than the 1000 solids"),
        ("a.off", b"", "not an OFF"),
        ("a.off", b"OFF\n3 1\n", "declares 3 vertices and 1 faces, and has 0 lines"),
        ("a.off", f"OFF\n-3 1 0\n{TRIANGLE}3 0 1 2\n".encode(), "declares -3 vertices"),
        ("a.off", f"OFF\n3 {10**15} 0\n{TRIANGLE}3 0 1 2\n".encode(), "declares 3 vertices and 1000000000000000 faces"),
        ("a.off", f"OFF\n3 1 0\n{TRIANGLE}3 0 1\n".encode(), "face 0 has 2 corners and declares 3"),
        ("a.off", f"OFF\n3 1 0\n{TRIANGLE}2 0 1 2\n".encode(), "declares 2, expected 3 or more"),
        ("a.off", f"OFF\n3 1 0\n{TRIANGLE}3 0 1 9\n".encode(), "cannot be read as OFF"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(name: str, data: bytes, words: str) -> None:
    message = refusal(data, name)
    assert words in message
    assert not re.search(r"\b\w+(Error|Exception)\b", message)  # names of Python's, which say nothing of the file


def test_binary_lists_of_different_lengths_are_refused() -> None:
    """A square, a triangle and a pentagon take as many bytes as three squares, which trimesh would read them as."""
    vertices = np.random.default_rng(0).random((5, 3)).astype("<f4").tobytes()
    lists = b"".join(struct.pack(f"<B{len(face)}i", len(face), *face) for face in ((0, 1, 2, 3), (0, 1, 2), (0, 1, 2, 3, 4)))
    data = text_ply(5, 3, "", "binary_little_endian 1.0") + vertices + lists
    assert "lists of 'face' have different lengths" in refusal(data, "a.ply")


def test_a_file_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimesh_reader, "_load", lambda data, kind: pytest.fail("it was read"))
    monkeypatch.setattr(trimesh_reader, "MAX_TEXT_BYTES", 100)
    monkeypatch.setattr(trimesh_reader, "MAX_TRIANGLES", 100)
    for name in ("text.ply", "text.stl", "text.off"):
        assert "more than the 100 that are read; write it as binary" in refusal(content(name), name)
    assert "more than the 100 triangles" in refusal(content("binary.stl"), "binary.stl")


def test_more_triangles_than_are_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimesh_reader, "MAX_TRIANGLES", 100)
    for name in FILES:
        assert "more than the 100 triangles" in refusal(content(name), name)


def test_a_ply_does_not_open_the_texture_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = content("binary.ply").replace(b"element vertex", b"comment TextureFile /etc/passwd\nelement vertex", 1)
    opened: list[object] = []
    monkeypatch.setattr("PIL.Image.open", lambda *arguments, **options: opened.append(arguments))
    assert refusal(data, "a.ply") == ""
    assert opened == []


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_and_flipped_byte_is_read_or_refused(name: str) -> None:
    whole, draws = content(name), np.random.default_rng(0)
    for cut in np.linspace(0, len(whole) - 2, 25).astype(int):
        assert refusal(whole[: max(0, cut - 10)], name)
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[draws.integers(min(len(whole), 600))] = draws.integers(256)  # the header, for the most part
        refusal(bytes(flipped), name)
