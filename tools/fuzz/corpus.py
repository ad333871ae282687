"""The real files that are mutated: one small run of the package itself, stopped and then finished, and what is made of its asset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tools.fuzz.mutate.safetensors import in_order

SMALL = {  # the least work that still gives an asset with every file
    "device": "cpu",
    "coarse": {"steps": 2, "size": 16, "views": 1, "samples": 16, "occupancy_interval": 1},
    "fine": {"steps": 3, "size": 16, "views": 1, "tet_size": 12},
    "mesh": {"triangles": 200},
    "texture": {"size": 64, "padding": 1},
    "asset": {"preview_size": 16},
}
SURFACE = ("run.yaml", "metrics.jsonl", "checkpoints/coarse.safetensors", "checkpoints/fine.safetensors")  # of a run to be delivered


def make_corpus(home: Path, guidance: Any = None) -> None:
    """Write the real files below `home`; about ten seconds.

    finished/         a finished run of the preset `smoke` with the settings SMALL
    stopped/          the same run, stopped in its fine stage
    fitted/           the same run, all but delivered
    model/, latent/   tiny models in the diffusers layout
    meshes/           the asset as .gltf and .obj with their files, and as PLY, STL and OFF; a glTF of many extensions
    presets/          two presets, of which one names the other as its base
    guidance  the embedded model where it is loaded already
    """
    import torch
    from smoke_runs import PROMPT, stop_at
    from tiny_folders import write_folder

    from dreamfusion_mesh.config import dump, load_config
    from dreamfusion_mesh.pipeline import generate

    config = load_config("smoke", [], {**SMALL, "prompt": PROMPT, "seed": 3})
    run, threads = home / "finished", torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same files on machines with more and with fewer
    try:
        try:
            generate(config, run, guidance=guidance, report=stop_at("fine", 2))
        except KeyboardInterrupt:
            shutil.copytree(run, home / "stopped")
        generate(config, run, guidance=guidance)
    finally:
        torch.set_num_threads(threads)
    _fix_spent(home)
    for name in SURFACE:
        (home / "fitted" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / name, home / "fitted" / name)
    write_folder(home / "model")
    write_folder(home / "latent", channels=4, vae=True)
    for model in ("model", "latent"):
        (home / model / "README.md").write_text("---\nlicense: openrail++\nbase_model: a/b\ntags: [x]\n---\n# A model\n")
    _write_meshes(run, home / "meshes")
    (home / "presets").mkdir()
    (home / "presets" / "base.yaml").write_text(dump(config))
    (home / "presets" / "preset.yaml").write_text("base: base.yaml\ncoarse: {steps: 2, field: {levels: 2}}\nfine:\n  t_max: [0.9, 0.7]\n")


def _fix_spent(home: Path) -> None:
    """Put fixed figures in the place of the time and the memory that the work took, so that one seed means the same cases each time."""
    from safetensors.torch import load_file

    from dreamfusion_mesh.run.folder import RunFolder
    from dreamfusion_mesh.run.out import PROVENANCE_FILE, RESULT_FILE
    from dreamfusion_mesh.run.result import file_record, read_record

    for run in (RunFolder(home / "finished"), RunFolder(home / "stopped")):
        for file in (run.path / "checkpoints").iterdir():
            run.save_state(file.stem, load_file(file), _fixed(run.load_notes(file.stem)))
            file.write_bytes(in_order(file.read_bytes()))
        log = run.path / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        fixed = [{key: 1.5 if key.endswith("_ms") else value for key, value in line.items()} for line in lines]
        log.write_text("".join(json.dumps(line) + "\n" for line in fixed))
    run = RunFolder(home / "finished")
    found = json.loads((run.path / PROVENANCE_FILE).read_text(encoding="utf-8"))
    run.write_json(PROVENANCE_FILE, _fixed(found))
    record = read_record(run)
    run.write_json(RESULT_FILE, {**record, "files": {name: file_record((run.path / name).read_bytes()) for name in record["files"]}})


def _fixed(notes: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint or provenance.json says, its seconds and bytes put in order."""
    figures = {"seconds": 1.5, "memory": 2**29}
    return {**notes, **{name: dict.fromkeys(notes[name], figure) for name, figure in figures.items() if name in notes}}


def _write_meshes(run: Path, folder: Path) -> None:
    import trimesh
    from rich_gltf import rich

    folder.mkdir()
    _write_gltf((run / "asset.glb").read_bytes(), folder)
    (folder / "rich.glb").write_bytes(rich().glb())
    for file in run.glob("asset*"):
        if file.suffix in (".obj", ".mtl", ".png"):
            shutil.copy(file, folder / file.name)
    mesh = trimesh.load(run / "asset.glb", force="mesh", process=False)
    plain = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    exports = {
        "binary.ply": {},
        "text.ply": {"encoding": "ascii"},
        "binary.stl": {},
        "text.stl": {"file_type": "stl_ascii"},
        "asset.off": {},
    }
    for name, options in exports.items():
        content = plain.export(**{"file_type": Path(name).suffix[1:], **options})
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _write_gltf(glb: bytes, folder: Path) -> None:
    """The same document with its buffer and its image in files of their own."""
    length = int.from_bytes(glb[12:16], "little")
    document, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    view = document["bufferViews"][document["images"][0].pop("bufferView")]
    (folder / "color.png").write_bytes(binary[view["byteOffset"] :][: view["byteLength"]])
    document["images"][0]["uri"] = "color.png"
    document["buffers"][0]["uri"] = "asset.bin"
    (folder / "asset.bin").write_bytes(binary)
    (folder / "asset.gltf").write_text(json.dumps(document, indent=1))
