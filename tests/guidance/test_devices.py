"""Guidance stays on the device it was given: on each device the same values, and without a card no tensor strays from one either."""

import pytest
import torch
from guided import bind, views_around
from loss_steps import step_of
from one_device import PRETENDED, OneDevice, assert_on
from stub_score import StubScore

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.models.mvdream_parts import load_parts
from dreamfusion_mesh.guidance.models.pretrained import load_network
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.schedules import load_schedule
from dreamfusion_mesh.guidance.schedule import draw_noise, draw_timesteps
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.render.cameras import turntable

KINDS = {
    "sample": {"perp_neg": 0.5, "rescale": 0.5},
    "latent": {},
    "multiview": {"multiview": True, "perp_neg": 0.5},
    "mvdream": {"multiview": True, "perp_neg": 0.5},
}


def _images(device):
    return torch.rand(4, 16, 16, 3, generator=torch.Generator().manual_seed(0)).to(device)


def _distilled(model: PromptedDiffusion, device):
    images = _images(device).requires_grad_()
    draws = torch.Generator().manual_seed(5)
    step = distill(model, step_of(images, views_around(4, device=device), (0.02, 0.02), (0.9, 0.9), 0.5, draws), model.settings)
    step.loss.backward()
    return step, images.grad


@pytest.mark.parametrize("kind", KINDS)
def test_each_device_distils_to_what_the_cpu_does(folders, kind, device):
    model = bind(folders[kind], device=device, half_precision=False, **KINDS[kind])
    step, gradient = _distilled(model, device)
    assert step.finite
    assert {value.device.type for value in (step.loss, step.t, gradient, model.text.states, model.schedule.signal)} == {device.type}
    expected, on_cpu = _distilled(bind(folders[kind], half_precision=False, **KINDS[kind]), torch.device("cpu"))
    assert torch.equal(step.t.cpu(), expected.t), "times and noise are drawn on the CPU whatever the device"
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient.cpu(), on_cpu, rtol=1e-2, atol=1e-3 * float(on_cpu.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_inside_the_u_net_and_off_the_cpu(folders, kind, device):
    model = bind(folders[kind], device=device, **KINDS[kind])
    half = device.type == "cuda"
    assert model.model.denoiser.network.dtype == (torch.float16 if half else torch.float32)
    assert model.text.states.dtype == model.negative.states.dtype == torch.float32
    latents = model.encode(_images(device))
    answers = model.answer(latents, torch.full((4,), 500, device=device), views_around(4, device=device))
    assert {value.dtype for value in (latents, answers.text, answers.uncond, *answers.others)} == {torch.float32}
    step, gradient = _distilled(model, device)
    assert step.finite
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_no_tensor_strays_from_the_models_device(folders, kind):
    """Loading reads files on the CPU, and times and noise are drawn there; all else stays on the device."""
    with OneDevice(edges=[load_network, load_parts, load_schedule, turntable, _images, draw_timesteps, draw_noise]) as one:
        model = bind(folders[kind], device=one.device, half_precision=False, **KINDS[kind])
        step, gradient = _distilled(model, one.device)
    assert_on(PRETENDED, step.loss, step.t, gradient, model.text.states, model.negative.states, model.schedule.signal)
    expected, on_cpu = _distilled(bind(folders[kind], half_precision=False, **KINDS[kind]), torch.device("cpu"))
    assert torch.equal(step.t.cpu(), expected.t)
    torch.testing.assert_close(gradient.cpu(), on_cpu)


def test_a_model_on_another_device_than_the_runs_is_refused_before_anything_is_written(tmp_path):
    class Elsewhere:
        def for_prompt(self, prompt, settings):
            return StubScore(device="meta")

    with pytest.raises(BadInput, match=r"guidance: the model was loaded on meta, the run uses cpu; load it there, or set device=meta$"):
        generate(load_config("smoke", ["device=cpu"], {"prompt": "a red mug"}), tmp_path / "run", guidance=Elsewhere())
    assert not (tmp_path / "run").exists()
