"""Every published family, made by diffusers' own pipelines: the same predictions as theirs, and every loss runs with each."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import load, normal, views_around
from loss_steps import step_of
from pipeline_steps import asked_by
from tiny_pipelines import FAMILIES, write_pipeline
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.guidance.losses import sds
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.models import load as loading
from dreamfusion_mesh.guidance.models.denoiser import Question
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.records import SurfacePoints
from dreamfusion_mesh.records.diffusion import PromptEncoding

PROMPT = "a red mug"
FLOW_TIMES = {"sd3": 1000, "prx": 1, "flux2": 1}  # what its network is told at time 1
SIZES = {"deepfloyd": 8}  # pixels a side; 16 for all others
LOSSES = ("sds", "csd", "cfd", "sdi", "ism", "vsd")

Made = Callable[[str], tuple[Path, Any]]
Bound = Callable[..., PromptedDiffusion]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder of a family, and the pipeline that was saved there; each is written once."""
    parent, found = tmp_path_factory.mktemp("families"), {}

    def get(family: str) -> tuple[Path, Any]:
        if family not in found:
            folder = parent / family.replace(" ", "-")
            found[family] = folder, write_pipeline(family, folder)
        return found[family]

    return get


@pytest.fixture(scope="module")
def bound(made: Made) -> Bound:
    """A family's model, loaded once, bound to the prompt; texts are encoded once, since FLUX.2's take a second."""
    models: dict[str, DiffusionModel] = {}
    encodings: dict[tuple[str, tuple[str, ...]], PromptEncoding] = {}

    def bind(family: str, **settings: Any) -> PromptedDiffusion:
        folder = made(family)[0]
        model = models.get(family) or models.setdefault(family, load(folder))
        own = GuidanceSettings(model=str(folder), image_size=SIZES.get(family, 16), **settings)
        key = family, prompt_texts(PROMPT, own)
        if key not in encodings:
            encodings[key] = model.encode_prompt(PROMPT, own)
        return model.for_prompt(PROMPT, own, encodings[key])

    return bind


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipelines_own_steps_are_predicted_alike(family: str, made: Made, bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.prx import pipeline_prx

    monkeypatch.setattr(pipeline_prx, "ftfy", types.SimpleNamespace(fix_text=lambda text: text), raising=False)  # not installed
    _, pipeline = made(family)
    size = SIZES.get(family, 16)
    model = bound(family, view_words=False)
    texts = {"text": model.text[:1], "uncond": model.negative}
    steps = asked_by(pipeline, PROMPT, size)
    assert len(steps) >= 2
    for step in steps:
        predicted = {branch: _ours(model, family, call.noisy, call.time, texts[branch]) for branch, call in step.items()}
        for branch, found in predicted.items():
            wanted = step[branch].predicted[:, : found.shape[1]]
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(predicted["text"], predicted["uncond"], atol=1e-5), "the words are heeded"


def _ours(model: PromptedDiffusion, family: str, noisy: Tensor, time: Tensor, text: TextCondition) -> Tensor:
    whole, size = model.model, model.settings.image_size
    if family in FLOW_TIMES:
        level = time.float() / FLOW_TIMES[family]
        return whole.predict(Question(noisy, torch.zeros(len(noisy)).long(), level, text, None, size))
    return whole.predict(whole.question(noisy, time, text, size=size))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_schedule_is_the_samplers_own(family: str, made: Made) -> None:
    folder, pipeline = made(family)
    schedule, scheduler = load(folder).schedule, pipeline.scheduler
    if family in FLOW_TIMES:
        fresh = type(scheduler).from_config(scheduler.config)
        torch.testing.assert_close(schedule.noise, fresh.sigmas.flip(0))
        torch.testing.assert_close(schedule.signal + schedule.noise, torch.ones(1000))
    else:
        torch.testing.assert_close(schedule.signal.square(), scheduler.alphas_cumprod.float(), rtol=1e-4, atol=1e-6)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(schedule.noise, schedule.noise.flip(0))


def test_the_shift_of_a_flow_is_worked_by_hand(made: Made) -> None:
    """With shift 3, half of the times is 3 / 2 / (1 + 2 / 2) = 3 / 4; a shift that depends on the image is left out."""
    assert float(load(made("sd3")[0]).schedule.noise[499]) == pytest.approx(0.75)
    assert float(load(made("flux2")[0]).schedule.noise[499]) == pytest.approx(0.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_inside_the_networks(family: str, made: Made, bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card that has bfloat16: what comes out is float32, and near what float32 gives."""
    monkeypatch.setattr(loading, "_precision", lambda source, device: torch.bfloat16)
    whole, folder = bound(family), made(family)[0]
    half = load(folder).for_prompt(PROMPT, whole.settings)
    assert half.model.denoiser.dtype == torch.bfloat16
    images, t = images_of(), torch.tensor([300, 700])
    latents = [model.encode(images) for model in (half, whole)]
    answers = [model.answer(latents[1].detach(), t, views_around(2)) for model in (half, whole)]
    assert {value.dtype for value in (*latents, half.text.states, answers[0].text, answers[0].uncond)} == {torch.float32}
    for found, wanted in (latents, (answers[0].text, answers[1].text)):
        assert (found - wanted).square().mean() < 2e-3 * wanted.square().mean()
    latents[0].square().sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def images_of(count: int = 2, side: int = 16) -> Tensor:
    return torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(3)).requires_grad_()


@pytest.mark.parametrize("family", FAMILIES)
def test_distilling_images_is_distilling_the_latents_that_they_are_encoded_to(family: str, bound: Bound) -> None:
    model = bound(family)
    images = images_of()
    latents = model.encode(images).detach().requires_grad_()
    on_latents = OnLatents(model, latents)
    through, straight = (
        sds.distill(each, step_of(images, views_around(2), (0.02, 0.02), (0.9, 0.9), 0.5, torch.Generator().manual_seed(1)), model.settings)
        for each in (model, on_latents)
    )
    through.loss.backward()
    straight.loss.backward()
    assert through.finite
    assert torch.equal(through.loss.detach(), straight.loss.detach())
    (expected,) = torch.autograd.grad(model.encode(images), images, latents.grad)
    torch.testing.assert_close(images.grad, expected, rtol=1e-5, atol=1e-9)
    assert images.grad.abs().sum() > 0
    if (vae := model.model.latents.vae) is not None:
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in vae.parameters())


class OnLatents:
    """The model, with latents that are there in the place of those that it would encode."""

    def __init__(self, model: PromptedDiffusion, latents: Tensor) -> None:
        self.schedule, self.together, self.answer, self._latents = model.schedule, model.together, model.answer, latents

    def encode(self, images: Tensor) -> Tensor:
        return self._latents


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_runs_with_every_family(family: str, loss: str, bound: Bound) -> None:
    more = {"csd": {"negative_prompt": "a blue table"}, "sdi": {"sdi": {"inversions": 2}}, "vsd": {"vsd": {"rank": 2}}}.get(loss, {})
    model = bound(family, loss=loss, perp_neg=0.5, **more)
    draws = torch.Generator().manual_seed(2)
    run = make_loss(model, model.settings, 16, draws)
    images, kept = images_of(), {name: value.clone() for name, value in model.model.denoiser.network.state_dict().items()}
    step = step_of(images, views_around(2), (0.3, 0.3), (0.6, 0.6), 0.5, draws)
    if side := run.points_side:
        step = replace(step, points=SurfacePoints(normal(2, side, side, 3), normal(2, side, side, seed=1) < 0.7))
    found = run(step)
    (found.loss + sum(found.training.values())).backward()
    assert found.finite
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
    assert bool(found.training) == (loss == "vsd")
    for name, value in model.model.denoiser.network.state_dict().items():
        assert torch.equal(value, kept[name]), name
