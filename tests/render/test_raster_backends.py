"""Which back end a name stands for, what the error for one that cannot be used states, and what the adapters hide."""

import logging
import sys
from types import ModuleType
from typing import Any

import pytest
import stand_ins
import torch
import warp as wp
from raster_twin import on_screen, random_scene

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.kernels import launch
from dreamfusion_mesh.render.raster import backend as raster_backend
from dreamfusion_mesh.render.raster import kaolin as raster_kaolin
from dreamfusion_mesh.render.raster import nvdiffrast as raster_nvdiffrast
from dreamfusion_mesh.render.raster import resolve as raster
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

OPTIONAL = {"nvdiffrast": raster_nvdiffrast, "kaolin": raster_kaolin}


def test_auto_is_warp_and_unknown_names_are_refused() -> None:
    assert resolve_rasterizer("auto", "cpu").name == resolve_rasterizer("warp", "cpu").name == "warp"
    with pytest.raises(BadInput, match=r"raster.backend 'opengl': not known; there are auto, warp, nvdiffrast and kaolin"):
        resolve_rasterizer("opengl", "cpu")


@pytest.mark.parametrize("name", OPTIONAL)
def test_missing_back_end_is_refused_with_both_causes_and_the_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput) as refused:
        resolve_rasterizer(name, "cpu")
    message = str(refused.value)
    for words in (
        f"raster.backend '{name}'",
        "does not import",
        f"{name} is ",
        "no",
        "CUDA device and none was found",
        "nstall",
        "=warp",
    ):
        assert words in message
    assert "diffrp-nvdiffrast is " in message or name == "kaolin"
    assert "\n" not in message


@pytest.mark.parametrize("name", OPTIONAL)
def test_wrong_device_is_the_only_cause_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stand_ins.install(patch, name)
        patch.setattr(OPTIONAL[name], "not_on_cuda", raster_backend.not_on_cuda)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        with pytest.raises(BadInput, match="this run is on cpu: use --device cuda") as refused:
            resolve_rasterizer(name, "cpu")
    assert "import" not in str(refused.value)


def test_card_that_warp_lacks_is_refused_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wp, "get_cuda_devices", lambda: [])
    monkeypatch.setattr(launch, "_MESSAGE", "Warp CUDA warning: driver too old")
    with pytest.raises(BadInput, match=r"raster.backend 'warp': Warp .* cannot run on cuda:0; .*driver too old.*use --device cpu"):
        resolve_rasterizer("auto", "cuda:0")


def test_kaolin_placeholder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_kaolin, "not_on_cuda", lambda device: None)
    monkeypatch.setitem(sys.modules, "kaolin", ModuleType("kaolin"))
    with pytest.raises(BadInput, match=r"kaolin.render.mesh does not import .*not a package"):
        resolve_rasterizer("kaolin", "cpu")
    monkeypatch.setitem(sys.modules, "kaolin.render", ModuleType("kaolin.render"))
    monkeypatch.setitem(sys.modules, "kaolin.render.mesh", ModuleType("kaolin.render.mesh"))
    with pytest.raises(BadInput, match=r"has no kaolin.render.mesh.rasterize"):
        resolve_rasterizer("kaolin", "cpu")


@pytest.mark.parametrize("wrong", ["upside down", "raises"])
def test_back_end_that_draws_wrongly_is_refused_when_resolved(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def rasterize(*given: Any, **more: Any) -> tuple[torch.Tensor, ...]:
        if wrong == "raises":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return tuple(part.flip(1) for part in stand_ins.Nvdiffrast.rasterize(*given, **more))

    with monkeypatch.context() as patch:
        stand_ins.install(patch, "nvdiffrast")
        patch.setattr(sys.modules["nvdiffrast.torch"], "rasterize", rasterize)
        with pytest.raises(BadInput, match=r"test triangle was not drawn|no kernel image"):
            resolve_rasterizer("nvdiffrast", "cpu")


def test_licence_terms_are_logged_once_and_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    raster._warn_once.cache_clear()
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        stand_ins.install(patch, "nvdiffrast")
        made = [resolve_rasterizer("nvdiffrast", "cpu") for _ in range(2)]
    warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned == [made[0].terms]
    assert "research or evaluation" in warned[0]
    assert resolve_rasterizer("warp", "cpu").terms is None


def test_commercial_use_is_refused_before_the_import() -> None:
    with pytest.raises(BadInput, match=r"raster.backend 'nvdiffrast': refused with --commercial .*research or evaluation.*=warp"):
        resolve_rasterizer("nvdiffrast", "cpu", commercial=True)
    assert resolve_rasterizer("auto", "cpu", commercial=True).commercial_use
    with pytest.raises(BadInput) as refused:
        resolve_rasterizer("kaolin", "cpu", commercial=True)
    assert "--commercial" not in str(refused.value)


def test_commercial_refusal_follows_the_licence_not_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_nvdiffrast.NvdiffrastRasterizer, "commercial_use", True)
    with pytest.raises(BadInput) as refused:
        resolve_rasterizer("nvdiffrast", "cpu", commercial=True)
    assert "--commercial" not in str(refused.value)


def test_more_faces_than_nvdiffrast_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, faces = random_scene(0)
    with monkeypatch.context() as patch:
        stand_ins.install(patch, "nvdiffrast")
        made = resolve_rasterizer("nvdiffrast", "cpu")
    monkeypatch.setattr(raster_nvdiffrast, "_MOST_FACES", 11)
    with pytest.raises(ValueError, match=r"faces: shape \[12, 3\], expected at most 11 for nvdiffrast"):
        made.rasterize(clip.float(), faces, (8, 8))


def test_degenerate_face_on_a_kaolin_sample_point_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stand_ins.install(patch, "kaolin")
        made = resolve_rasterizer("kaolin", "cpu")
    right, down = raster_kaolin._TIE_BREAK
    points = torch.tensor([[3.5, 3.5], [5.5, 5.5], [4.75, 4.75]], dtype=torch.float64) + torch.tensor([right, down], dtype=torch.float64)
    flat = on_screen(points, 8, 8)[None].requires_grad_()
    fragments = made.rasterize(flat, torch.tensor([[0, 1, 2]]), (8, 8))
    assert (fragments.face == -1).all()
    (fragments.bary.sum() + fragments.depth.sum()).backward()
    assert flat.grad is not None
    assert not flat.grad.any()


def test_first_line_picks_the_line_that_names_the_error() -> None:
    assert raster_backend.first_line(RuntimeError("a\n  an  ERROR: here\nb")) == "an ERROR: here"
    assert raster_backend.first_line(RuntimeError("\nonly this\n")) == "only this"
    assert raster_backend.first_line(AssertionError()) == "AssertionError"
    assert len(raster_backend.first_line(RuntimeError("x" * 999))) == 200


def test_faces_changed_in_place_are_checked_again(rasterizer: Rasterizer) -> None:
    """What is known of a tensor of faces, its range and its edges, is of its content and not of its name."""
    clip, _ = random_scene(0)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen = rasterizer.rasterize(clip, faces, (16, 16))
    image = rasterizer.interpolate(clip, seen, faces)
    rasterizer.antialias(image, seen, clip, faces)
    faces[0] = torch.tensor([6, 7, 8])
    again, fresh = (rasterizer.rasterize(clip, given, (16, 16)) for given in (faces, faces.clone()))
    assert torch.equal(again.face, fresh.face)
    picture = rasterizer.interpolate(clip, again, faces)
    torch.testing.assert_close(
        rasterizer.antialias(picture, again, clip, faces), rasterizer.antialias(picture, fresh, clip, faces.clone()), rtol=0, atol=0
    )
    faces[1, 2] = clip.shape[1]
    with pytest.raises(ValueError, match="faces: shape"):
        rasterizer.rasterize(clip, faces, (16, 16))
