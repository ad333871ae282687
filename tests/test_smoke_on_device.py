"""The whole way on one device: every tensor of a run lies there, and a card finishes what the CPU does."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_device import PRETENDED, OneDevice, assert_on
from PIL import Image
from smoke_runs import PROMPT, stop_at

from dreamfusion_mesh import cli, pipeline
from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.maps import to_maps
from dreamfusion_mesh.asset.collision.hulls import collision_hulls
from dreamfusion_mesh.asset.export.corners import export_surface, used_points
from dreamfusion_mesh.asset.lod.levels import make_lods
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.models import load as loading
from dreamfusion_mesh.guidance.models.pretrained import load_network
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.inspection import flat_map
from dreamfusion_mesh.render.previews import to_picture
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.run import work
from dreamfusion_mesh.run.audit_file import audit_file
from dreamfusion_mesh.run.checkpoints import read_checkpoint
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.start.from_density import occupied_box
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages import start
from dreamfusion_mesh.stages.checkpoint import snapshot
from dreamfusion_mesh.stages.fine import surface_state
from dreamfusion_mesh.stages.fit import Fit
from dreamfusion_mesh.stages.restore import check_tensor, load_draws, load_mesh

# What may lie on the CPU in a run: seeded draws, states, files, and what numpy and scipy are asked.
DRAWS = [turntable, HashField.__init__, volume.uniform, volume.random_cells, random_views, distill]
STATES = [snapshot, Fit.state, surface_state, check_tensor, load_mesh, load_draws, start._surface]
FILES = [load_network, loading.load_schedule, read_checkpoint, RunFolder.save_state]
SHAPING = [occupied_box, tidy, decimate, unwrap, make_lods, collision_hulls]
DELIVERY = [*SHAPING, gutter_texels, corner_frames, to_maps, export_surface, used_points, to_picture, flat_map]
FEW = ["coarse.steps=2", "coarse.size=16", "coarse.views=1", "coarse.samples=16", "coarse.occupancy_size=8", "coarse.occupancy_interval=1"]
FEW += ["fine.steps=2", "fine.size=16", "fine.views=1", "fine.tet_size=12"]
FEW += ["mesh.triangles=300", "texture.size=64", "asset.preview_size=32"]
MAPS = {f"asset_{role}.png" for role in ("basecolor", "metallic", "normal", "orm", "roughness")}
PARTS = {"asset_LOD1.glb", "asset_LOD2.glb", "asset_collision.glb"}
NAMES = {"asset.glb", "asset.obj", "asset.mtl", "preview.png", "inspection.png", "turntable.webp", *PARTS, *MAPS}
RECORDS = {"audit.json", "run.yaml", "provenance.json", "metrics.jsonl", "metrics.png", "result.json"}


class Published(Exception):
    """The files are made, and all that is left is to write and audit them: on the CPU, from the files alone."""


class Press:
    """Takes a delivery in place of `publish`."""

    def __init__(self) -> None:
        self.files: Mapping[str, bytes] = {}
        self.reference: Mesh | None = None

    def __call__(self, run: RunFolder, config: RunConfig, files: Mapping[str, bytes], main: str, reference: Mesh, *_: Any) -> None:
        self.files, self.reference = files, reference
        raise Published


def fine_state(folder: Path) -> dict[str, torch.Tensor]:
    state = RunFolder(folder).load_state("fine")
    assert state is not None
    return state


def volume_of(folder: Path) -> float:
    state = fine_state(folder)
    return signed_volume(state["mesh.vertices"], state["mesh.faces"]).item()


def test_a_run_that_is_stopped_and_resumed_keeps_to_its_device(
    guidance: GuidanceModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the coarse stage and in the fine one, each time loaded from the checkpoints; the result is the CPU's."""
    config, press = load_config("smoke", ["device=cpu", *FEW], {"prompt": PROMPT, "seed": 3}), Press()
    monkeypatch.setattr(pipeline, "publish", press)
    with pytest.raises(Published):
        pipeline.generate(config, tmp_path / "plain", guidance=guidance)
    monkeypatch.setattr(work, "resolve_device", lambda name: PRETENDED)
    monkeypatch.setattr(work, "resolve_rasterizer", lambda name, *_: resolve_rasterizer(name, torch.device("cpu")))
    with OneDevice(edges=[*DRAWS, *STATES, *FILES, *DELIVERY]):
        model = loading.load_guidance(config.guidance, PRETENDED)
        for stage in ("coarse", "fine"):
            with pytest.raises(KeyboardInterrupt):
                pipeline.generate(config, tmp_path / "there", guidance=model, report=stop_at(stage, 1))
        with pytest.raises(Published):
            pipeline.generate(config, tmp_path / "there", guidance=model)
    assert press.reference is not None
    assert_on(PRETENDED, press.reference.vertices, press.reference.faces)
    assert set(press.files) == NAMES
    plain, there = fine_state(tmp_path / "plain"), fine_state(tmp_path / "there")
    for key in plain.keys() - {"mesh.vertices", "mesh.faces", "fit.schema"}:
        assert (there[key] - plain[key]).abs().mean() < 1e-4
    assert volume_of(tmp_path / "there") == pytest.approx(volume_of(tmp_path / "plain"), rel=1e-3)


def check_complete(result: Result, device: torch.device) -> None:
    """Every file is there, the audit passes of its own and of the written file, and the records name the device."""
    assert {file.name for file in result.folder.iterdir() if file.is_file()} >= NAMES | RECORDS
    assert {file.stem for file in (result.folder / "checkpoints").iterdir()} == {"coarse", "fine", "reference"}
    assert not [(row.number, row.detail) for row in result.audit.rows if row.status == "fail"]
    assert audit_file(result.folder / "asset.glb") == result.audit
    assert torch.device(json.loads((result.folder / "provenance.json").read_text())["device"]).type == device.type
    assert np.asarray(Image.open(result.folder / "preview.png").convert("RGB")).std() > 5


@pytest.fixture(scope="module")
def on_a_card(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The smoke run on the card, its model in half precision; used where the device is "cuda"."""
    config = load_config("smoke", ["device=cuda"], {"prompt": PROMPT, "seed": 3})
    return pipeline.generate(config, tmp_path_factory.mktemp("card") / "run")


@pytest.fixture
def whole(device: torch.device, request: pytest.FixtureRequest) -> Result:
    """A finished smoke run on the device."""
    return request.getfixturevalue("finished" if device.type == "cpu" else "on_a_card")


def test_a_whole_run_finishes_on_each_device(whole: Result, device: torch.device) -> None:
    check_complete(whole, device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_is_delivered_again_on_cuda_and_back(finished: Result, tmp_path: Path) -> None:
    """The CPU's run from its fine checkpoint, as the command `export --device` has it."""
    folder = Path(shutil.copytree(finished.folder, tmp_path / "run"))
    for device in (torch.device("cuda"), torch.device("cpu")):
        config = RunFolder(folder).config().model_copy(update={"device": device.type})
        check_complete(pipeline.export(folder, config), device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_seed_on_cuda_passes_again_stopped_or_not(on_a_card: Result, tmp_path: Path) -> None:
    """Sums in no fixed order may differ in the last bits, and what comes of them; the surface is the same to the eye."""
    config = RunFolder(on_a_card.folder).config()
    for stage, step in (("coarse", 6), ("fine", 2)):
        with pytest.raises(KeyboardInterrupt):
            pipeline.generate(config, tmp_path / "run", report=stop_at(stage, step))
    check_complete(pipeline.generate(config, tmp_path / "run"), torch.device("cuda"))
    assert volume_of(tmp_path / "run") == pytest.approx(volume_of(on_a_card.folder), rel=0.02)


def test_the_doctor_finds_each_device(device: torch.device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["dreamfusion-mesh", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    found = [line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("found ")]
    names = {("device", "cpu")} if device.type == "cpu" else {("device", "cuda:0"), ("rasterizer", "warp")}
    assert names <= {(group, name) for group, name, *_ in found}
    assert device.type == "cpu" or any(line[:4] == ["rasterizer", "warp", "on", "cuda"] for line in found)
