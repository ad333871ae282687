"""gallery.html holds every row and its assets, all text as text, and is made from the manifest and the folders at any time."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluated_runs import done, painted
from gallery_batches import HOSTILE, gallery_batch

from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.view import gallery, three
from dreamfusion_mesh.view.gallery import Written, write_gallery


class Scripts(HTMLParser):
    """The page's scripts by their id, those that run under ""; and all tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self.tags: list[str] = []
        self._at: str | None = None
        self.feed((path / "gallery.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._at = (dict(attrs).get("id") or "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._at is not None:
            self.text[self._at] = self.text.get(self._at, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._at = None


def rows(path: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(Scripts(path).text["rows"])}


def test_each_row_has_what_is_known_of_it(tmp_path: Path) -> None:
    assert write_gallery(gallery_batch(tmp_path / "out")) == Written(4, 0, True)
    found = rows(tmp_path / "out")
    assert list(found) == ["bad", "box-blue", "box-green", "box-red"]
    blue = found["box-blue"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(blue.pop("time")))
    models = ["asset.glb", "asset_LOD1.glb", "asset_collision.glb"]
    assert blue == {
        **{"name": "box-blue", "prompt": "a blue box", "status": "done", "seconds": 10.0, "triangles": 14, "seed": 0},
        **{"failure": "", "message": "", "tags": ["cold"], "audit": "ppppppppppfpppp", "at": "box-blue"},
        "files": [*models, "audit.json", "preview.png", "provenance.json", "result.json", "run.yaml", "turntable.webp"],
    }
    assert (found["bad"]["status"], found["bad"]["failure"], found["bad"]["at"]) == ("failed", "error", "")


def test_text_that_is_not_trusted_cannot_leave_its_place(tmp_path: Path) -> None:
    write_gallery(gallery_batch(tmp_path / "<b>out"))
    page = Scripts(tmp_path / "<b>out")
    assert not {"img", "b"} & set(page.tags)
    assert rows(tmp_path / "<b>out")["bad"]["prompt"] == f"a mug {HOSTILE}"
    assert json.loads(page.text["about"])["folder"].endswith("<b>out")


def test_a_folder_is_linked_by_its_bytes(tmp_path: Path) -> None:
    folder = gallery_batch(tmp_path)
    (tmp_path / "box-red").rename(tmp_path / "javascript:a b?#%")
    write_gallery(folder)
    found = rows(tmp_path)
    assert found["javascript:a b?#%"]["at"] == "javascript%3Aa%20b%3F%23%25"
    assert found["box-red"]["status"] == "missing"


def test_assets_lie_in_the_page_where_all_fit_and_then_levels_and_hulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = gallery_batch(tmp_path)
    write_gallery(folder)
    page = Scripts(tmp_path)
    assert base64.b64decode(page.text["3/asset.glb"]) == painted("red")
    assert sum("/asset" in name for name in page.text) == 9
    sizes = [len(painted(colour)) for colour in ("blue", "green", "red")]
    monkeypatch.setattr(gallery, "LARGEST_EMBEDDED", sum(sizes) + sizes[0])
    assert write_gallery(folder).embedded
    embedded = [name for name in Scripts(tmp_path).text if "/asset" in name]
    assert embedded == ["1/asset.glb", "2/asset.glb", "3/asset.glb", "1/asset_LOD1.glb"]
    monkeypatch.setattr(gallery, "LARGEST_EMBEDDED", sum(sizes) - 1)
    assert write_gallery(folder) == Written(4, 0, False)


def test_rows_beyond_the_most_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_ROWS", 3)
    assert write_gallery(gallery_batch(tmp_path)) == Written(3, 1, True)
    assert json.loads(Scripts(tmp_path).text["about"])["rows_left_out"] == 1


def test_the_page_allows_its_own_scripts_alone_and_names_no_other_place(tmp_path: Path) -> None:
    write_gallery(gallery_batch(tmp_path))
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[^']+' 'sha256-[^']+'$", policy[1])
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", text)
    assert "SPDX-License-Identifier: MIT" in text or "threejs.org/license" in text


@pytest.mark.parametrize("there", ["nothing", "a manifest without rows", "other files", "no folder", "a broken manifest"])
def test_what_holds_no_row_is_refused_and_nothing_is_written(there: str, tmp_path: Path) -> None:
    path, expected = tmp_path, "holds no batch"
    match there:
        case "a manifest without rows":
            manifest = Manifest(tmp_path / "manifest.jsonl")
            manifest.append([done("mug", "a mug")])
            manifest.path.write_bytes(manifest.path.read_bytes().splitlines(keepends=True)[0])
            expected = "holds no row yet"
        case "other files":
            (tmp_path / "thesis.txt").write_text("x")
        case "no folder":
            path, expected = tmp_path / "nowhere", "nowhere"
        case "a broken manifest":
            (tmp_path / "manifest.jsonl").write_bytes(b'{"a": 1}\n' * 3)
            expected = "manifest.jsonl"
    with pytest.raises(BadInput, match=expected) as refused:
        write_gallery(BatchFolder(path))
    assert len(refused.value.lines) == 1
    assert not (path / "gallery.html").exists()


def test_another_viewer_in_trimesh_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    three.three_script.cache_clear()
    monkeypatch.setattr(three, "_template", lambda: "<script>alert(1)</script>")
    with pytest.raises(RunFailed, match=r"trimesh .* ships another viewer"):
        three.three_script()
