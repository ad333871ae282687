"""A report never replaces the model that is audited, what the model refers to, another model, or a file of a run or a batch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from broken_files import measure
from written_files import box

from dreamfusion_mesh.audit.picture import audit_picture
from dreamfusion_mesh.audit.readers.references import referenced_files
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.report_file import check_picture, check_report


def gltf(folder: Path, image: str = "my%20maps/color.png") -> Path:
    """A model in text, with a buffer and a texture beside it."""
    document, binary = box(1).document_and_binary()
    document["buffers"][0]["uri"] = "geometry.bin"
    document["images"] = [{"uri": image}, {"uri": "data:image/png;base64,AAAA"}]
    (folder / "my maps").mkdir()
    (folder / "my maps" / "color.png").write_bytes(box(1).image)
    (folder / "geometry.bin").write_bytes(binary)
    (folder / "asset.gltf").write_text(json.dumps(document))
    return folder / "asset.gltf"


def obj(folder: Path) -> Path:
    """A model whose library has a texture behind options and with a space in its name."""
    path = box(1).write_obj(folder)
    (folder / "asset.mtl").write_text("newmtl box\nmap_Kd -s 1 1 1 my color.png\n\tmap_Bump -bm 2 bump.png\nnorm maps\\normal.png\n")
    (folder / "maps").mkdir()
    for name in ("my color.png", "bump.png", "maps/normal.png"):
        (folder / name).write_bytes(b"image")
    return path


def check_refused(file: Path, target: Path, message: str) -> None:
    before = target.read_bytes()
    with pytest.raises(BadInput) as caught:
        check_report(file, target)
    assert str(caught.value) == f"--json {target}: {message}, which the report would replace; name another file"
    assert target.read_bytes() == before


def test_the_model_itself_is_refused_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = box(1).write(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "link.json").symlink_to("asset.glb")
    (tmp_path / "below" / "hard.json").hardlink_to(model)
    for target in ("asset.glb", "./asset.glb", "below/../asset.glb", "link.json", "below/hard.json", str(model)):
        for file in ("asset.glb", "link.json", str(model)):
            check_refused(Path(file), Path(target), "is the file that is audited")


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (gltf, ("geometry.bin", "my maps/color.png")),
        (obj, ("asset.mtl", "my color.png", "bump.png", "maps/normal.png")),
    ],
    ids=["gltf", "obj"],
)
def test_what_the_model_refers_to_is_refused(make, names: tuple[str, ...], tmp_path: Path) -> None:
    model = make(tmp_path)
    for name in names:
        check_refused(model, tmp_path / name, f"is a file that {model} refers to")
    (tmp_path / "link").symlink_to(names[0])
    check_refused(model, tmp_path / "link", f"is a file that {model} refers to")
    (tmp_path / "report.json").write_text('{"rows": []}')
    for name in ("report.json", "new.json"):
        check_report(model, tmp_path / name)


def test_what_a_broken_model_refers_to_is_found_too(tmp_path: Path) -> None:
    model = gltf(tmp_path, image="my maps/\\u0063olor.png")
    model.write_text(model.read_text().replace("\\\\u", "\\u")[:-2])
    (tmp_path / "color.png").write_bytes(b"elsewhere")
    assert tmp_path / "my maps/color.png" in referenced_files(model)
    check_refused(model, tmp_path / "geometry.bin", f"is a file that {model} refers to")
    model = tmp_path / "scan.ply"
    model.write_bytes(b"ply\ncomment TextureFile color.png\nend_header\n")
    check_refused(model, tmp_path / "color.png", f"is a file that {model} refers to")


def test_another_model_is_refused(tmp_path: Path) -> None:
    model = box(1).write(tmp_path)
    for name in ("other.glb", "OTHER.OBJ", "other.stl"):
        (tmp_path / name).write_bytes(b"another model")
        check_refused(model, tmp_path / name, "is a model that is there already")
    check_report(model, tmp_path / "new.glb")


def test_data_of_whatever_model_is_refused(tmp_path: Path) -> None:
    model = box(1).write(tmp_path)
    for content in (b"\x00\x00\x80\x3f", b"\x89PNG\r\n", b"\xff\xd8\xff"):
        (tmp_path / "data").write_bytes(content)
        check_refused(model, tmp_path / "data", "is there already and holds data, not text")
    for content in (b"", b"an older report"):
        (tmp_path / "data").write_bytes(content)
        check_report(model, tmp_path / "data")


def test_files_of_a_run_are_refused_but_for_its_audit(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (run / "checkpoints").mkdir(parents=True)
    elsewhere.mkdir()
    listed = ["asset.glb", "preview.png", "audit.json", "provenance.json", "run.yaml", "checkpoints/fine.safetensors"]
    pictures = ["inspection.png", "turntable.webp", "turntable.mp4", "metrics.png"]  # of an earlier delivery, which no list has
    for name in [*listed, *pictures, "metrics.jsonl", "checkpoints/coarse.part.safetensors", "notes.txt"]:
        (run / name).write_text('{"rows": []}' if name == "audit.json" else name)
    (run / "result.json").write_text(json.dumps({"files": {name: {} for name in (*listed, "a\0b", "../notes")}}))
    for model in (run / "asset.glb", box(1).write(elsewhere)):
        for name in (*listed[1:], *pictures, "result.json", "metrics.jsonl", "checkpoints/coarse.part.safetensors"):
            if name != "audit.json":
                check_refused(model, run / name, f"is a file of the run in {run}")
        check_report(model, run / "audit.json")
        check_report(model, run / "notes.txt")
        check_report(model, run / "new.json")


def test_files_of_a_batch_are_refused(tmp_path: Path) -> None:
    batch, elsewhere = tmp_path / "batch", tmp_path / "elsewhere"
    own = ["manifest.jsonl", "manifest.broken.jsonl", "summary.csv", "contact.png", ".lock", ".work/worker-0.log"]
    for folder in (batch / "mug", batch / ".work" / "lost", elsewhere):
        folder.mkdir(parents=True)
        (folder / "run.yaml").write_text("seed: 1")
    for name in [*own, ".work/lost/traceback.txt", "notes.txt"]:
        (batch / name).write_text("text")
    (elsewhere / "hard.json").hardlink_to(batch / "manifest.jsonl")
    for model in (box(1).write(batch / "mug"), box(1).write(elsewhere)):
        for name in own:
            check_refused(model, batch / name, f"is a file of the batch in {batch}")
        check_refused(model, batch / ".work/lost/traceback.txt", f"is a file of the run in {batch / '.work/lost'}")
        for name in ("notes.txt", "new.json", "mug/audit.json"):
            check_report(model, batch / name)
    check_refused(batch / "mug/asset.glb", elsewhere / "hard.json", f"is a file of the batch in {batch}")


def test_the_preset_is_refused(tmp_path: Path) -> None:
    model, preset = box(1).write(tmp_path), tmp_path / "mine.yaml"
    preset.write_text("seed: 1")
    with pytest.raises(BadInput, match="is the preset of this audit, which the report would replace"):
        check_report(model, preset, str(preset))
    check_report(model, tmp_path / "new.json", str(preset))
    check_report(model, tmp_path / "new.json", "demo")


def test_a_target_that_cannot_be_written_is_refused_and_a_pipe_is_not(tmp_path: Path) -> None:
    model = box(1).write(tmp_path)
    with pytest.raises(BadInput, match=f"--json {tmp_path}: is a folder; name a file"):
        check_report(model, tmp_path)
    with pytest.raises(BadInput, match="is a file, not a folder"):
        check_report(model, model / "report.json")
    os.mkfifo(tmp_path / "pipe")
    check_report(model, tmp_path / "pipe")
    check_report(tmp_path / "none.glb", tmp_path / "asset.glb")  # the audit says that it is missing


def check_picture_refused(model: Path, target: Path, message: str, report: Path | None = None) -> None:
    before = target.read_bytes()
    with pytest.raises(BadInput) as caught:
        check_picture(model, target, None, report)
    assert str(caught.value) == f"--picture {target}: {message}; name another file"
    assert target.read_bytes() == before


def test_a_picture_replaces_nothing_but_a_picture_of_an_audit(tmp_path: Path) -> None:
    model = gltf(tmp_path)
    refers = f"is a file that {model} refers to, which the picture would replace"
    check_picture_refused(model, model, "is the file that is audited, which the picture would replace")
    check_picture_refused(model, tmp_path / "my maps" / "color.png", refers)
    (tmp_path / "link.png").symlink_to("my maps/color.png")
    check_picture_refused(model, tmp_path / "link.png", refers)
    (tmp_path / "other.obj").write_text("v 0 0 0")
    check_picture_refused(model, tmp_path / "other.obj", "is a model that is there already, which the picture would replace")
    for content in (box(1).image, b"text", b"\x00"):
        (tmp_path / "there.png").write_bytes(content)
        check_picture_refused(model, tmp_path / "there.png", "is there already and is no picture of an audit, which this one would replace")
    for content in (b"", audit_picture(measure(box(1).write(tmp_path)))):
        (tmp_path / "there.png").write_bytes(content)
        check_picture(model, tmp_path / "there.png")
    check_picture(model, tmp_path / "new.png")


def test_the_picture_does_not_go_where_the_report_does(tmp_path: Path) -> None:
    model, words = box(1).write(tmp_path), "is where --json puts the report; name another file"
    (tmp_path / "report").write_text("{}")
    (tmp_path / "hard").hardlink_to(tmp_path / "report")
    (tmp_path / "soft").symlink_to("new")
    for report, target in (("report", "report"), ("report", "hard"), ("new", "soft"), ("new", "../" + tmp_path.name + "/new")):
        with pytest.raises(BadInput, match=words):
            check_picture(model, tmp_path / target, None, tmp_path / report)
    check_picture(model, tmp_path / "new", None, tmp_path / "report")
    os.mkfifo(tmp_path / "pipe")
    check_picture(model, tmp_path / "pipe", None, tmp_path / "report")
