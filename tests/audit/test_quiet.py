"""A hostile file is answered by rows or one line: no library's warning, and no log, comes beside them."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import trimesh
from broken_files import finite_bounds, measure
from written_files import Draft, box, png

from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.rows.pbr import pbr_row
from dreamfusion_mesh.errors import BadInput

SIGNALLING_NAN = 0x7F800001  # the bits of a float32 whose cast to another type warns


def with_nan(values: str) -> Draft:
    changed = getattr(box(2), values).astype("<f4")
    changed.view("<u4")[3, 0] = SIGNALLING_NAN
    return replace(box(2), **{values: changed})


def binary_stl() -> bytes:
    mesh = trimesh.creation.box()
    return mesh.export(file_type="stl")


def text_stl() -> bytes:
    return trimesh.creation.box().export(file_type="stl_ascii").encode()


def with_chunk_at_the_end(kind: bytes, body: bytes) -> bytes:
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png()[:-12] + chunk + png()[-12:]


def large_header() -> bytes:
    """A PNG of 10,000 texels a side by its header, at which Pillow warns of a bomb."""
    body = b"IHDR" + struct.pack(">II", 10_000, 10_000) + png()[24:29]
    return png()[:12] + body + struct.pack(">I", zlib.crc32(body)) + png()[33:]


FILES = {  # with words of the answer
    "positions.glb": (replace(with_nan("positions"), change=finite_bounds).glb(), "not finite"),
    "normals.glb": (with_nan("normals").glb(), "sound surface"),
    "UVs.glb": (with_nan("uvs").glb(), "not finite"),
    "a vertex.stl": (binary_stl()[:100] + struct.pack("<I", SIGNALLING_NAN) + binary_stl()[104:], "not finite"),
    "a normal that is no number.stl": (text_stl().replace(b"facet normal ", b"facet normal x", 1), "sound surface"),
    "a profile cut short.glb": (replace(box(2), image=with_chunk_at_the_end(b"iCCP", b"")).glb(), "does not decode"),
}


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_said_beside_the_answer(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"x{Path(name).suffix}"
    data, words = FILES[name]
    path.write_bytes(data)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        try:
            answer = measure(path).table()
        except BadInput as error:
            answer = str(error)
    assert words in answer
    assert caplog.records == []


def test_nothing_is_said_beside_the_answer_to_a_picture_that_claims_to_be_large(caplog: pytest.LogCaptureFixture) -> None:
    written = read_model(replace(box(2), image=large_header()).glb(), Path("x.glb"))
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        assert "does not decode" in pbr_row(written).detail
    assert caplog.records == []
