"""Guidance stays on the device it was given: on each device the same values, and without a card no tensor strays from one either."""

import copy
from dataclasses import replace

import pytest
import torch
from guided import bind, views_around
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.losses.sds import distill, sds_loss
from dreamfusion_mesh.guidance.models.unet import PromptedUNet
from dreamfusion_mesh.guidance.schedule import add_noise

KINDS = {
    "sample": {"perp_neg": 0.5, "rescale": 0.5},
    "latent": {},
    "multiview": {"multiview": True, "perp_neg": 0.5},
}


def _distilled(model: PromptedUNet, device):
    images = torch.rand(4, 16, 16, 3, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    draws = torch.Generator().manual_seed(5)
    step = distill(model, images, views_around(4, device=device), model.settings, (0.02, 0.02), (0.9, 0.9), 0.5, draws)
    step.loss.backward()
    return step, images.grad


@pytest.mark.parametrize("kind", KINDS)
def test_each_device_distils_to_what_the_cpu_does(folders, kind, device):
    model = bind(folders[kind], device=device, half_precision=False, **KINDS[kind])
    step, gradient = _distilled(model, device)
    assert step.finite
    assert {value.device.type for value in (step.loss, step.t, gradient, model.text, model.schedule.signal)} == {device.type}
    expected, on_cpu = _distilled(bind(folders[kind], half_precision=False, **KINDS[kind]), torch.device("cpu"))
    assert torch.equal(step.t.cpu(), expected.t), "times and noise are drawn on the CPU whatever the device"
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient.cpu(), on_cpu, rtol=1e-2, atol=1e-3 * float(on_cpu.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_inside_the_u_net_and_off_the_cpu(folders, kind, device):
    model = bind(folders[kind], device=device, **KINDS[kind])
    half = device.type == "cuda"
    assert model.model.unet.dtype == (torch.float16 if half else torch.float32)
    assert model.text.dtype == model.negative.dtype == torch.float32
    images = torch.rand(4, 16, 16, 3, generator=torch.Generator().manual_seed(0)).to(device)
    latents = model.encode(images)
    answers = model.answer(latents, torch.full((4,), 500, device=device), views_around(4, device=device))
    assert {value.dtype for value in (latents, answers.text, answers.uncond, *answers.others)} == {torch.float32}
    step, gradient = _distilled(model, device)
    assert step.finite
    assert gradient.dtype == torch.float32


class _OnlyOn(TorchDispatchMode):
    """Fails at any tensor of one dimension or more that is made on, or copied to, another device."""

    def __init__(self, device):
        super().__init__()
        self.device, self.count = device, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor) and value.dim():
                assert value.device.type == self.device, f"{func} made a tensor on {value.device}"
                self.count += 1
        return made


@pytest.mark.parametrize("kind", KINDS)
def test_no_tensor_strays_from_the_models_device(folders, kind):
    """The device that any machine has beside the CPU is "meta": shapes without values."""
    bound = bind(folders[kind], **KINDS[kind])
    networks = {name: copy.deepcopy(getattr(bound.model, name)).to("meta") for name in ("unet", "vae") if getattr(bound.model, name)}
    model = replace(bound.model, schedule=bound.schedule.to("meta"), **networks)
    bound = replace(bound, model=model, text=bound.text.to("meta"), negative=bound.negative.to("meta"))
    images, t, views = (
        torch.empty(4, 16, 16, 3, device="meta"),
        torch.empty(4, dtype=torch.int64, device="meta"),
        views_around(4).to("meta"),
    )
    with _OnlyOn("meta") as watched:
        latents = bound.encode(images)
        noisy = add_noise(latents, torch.empty_like(latents), bound.schedule, t)
        eps = guided_noise(bound.answer(noisy, t, views), noisy, bound.schedule, t, bound.settings)
        sds_loss(latents, lambda noisy, t: eps, bound.schedule, t, eps)
    assert eps.shape == latents.shape
    assert watched.count > 100
    with pytest.raises(AssertionError, match="made a tensor on cpu"), _OnlyOn("meta"):
        torch.zeros(3)
