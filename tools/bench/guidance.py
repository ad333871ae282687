"""What a step of guidance costs: the images encoded, the network asked with and without words, and the gradient back to the images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from dreamfusion_mesh.config import GuidanceSettings, model_names, model_settings
from dreamfusion_mesh.config.messages import nearest
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.models.load import load_diffusion
from dreamfusion_mesh.guidance.models.mvdream import MVDreamModel
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.records import Render, Shading, Views
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views
from tools.bench.random_models import SIZES, random_model
from tools.bench.records import Figure, in_milliseconds

PROMPT = "a red mushroom with white parts"
RANDOM = "random-"  # before the name of a size, for random weights
GOALS = {("random-sd21", 4, 512): 0.067}  # seconds of a step on a card, by model, views and pixels
_SPANS = ((0.02, 0.02), (0.98, 0.5))
_PRODUCT = {"cuda": 8192, "cpu": 2048}  # the side of the matrices in the large product


def measure(model: str, device: torch.device, views: int, size: int, rounds: int) -> Iterator[Figure]:
    """A step by a model: one that `guidance.model` takes, or RANDOM and one of SIZES. Raises BadInput where it is neither.

    views, size  of the step: images, and pixels a side of what the model sees; 0: as it was made
    """
    prompted = _prompted(model, device, size)
    seen = size or prompted.model.size
    step = _Step(prompted, views, seen, device)
    seconds, rate = _timed(step, device, rounds), _product_rate(device, prompted.model.denoiser.dtype, rounds)
    flops = step.flops()
    reached = [flops / each for each in seconds]
    note = f"{views} views at {seen} pixels, {str(prompted.model.denoiser.dtype).removeprefix('torch.')}"
    target = GOALS.get((model, views, seen)) if device.type == "cuda" else None
    yield replace(in_milliseconds(f"{model}: a step", seconds, target), note=note)
    yield in_milliseconds(f"{model}: encoding, and its gradient", _timed(step.encoding, device, rounds))
    yield in_milliseconds(f"{model}: the network, with and without words", _timed(step.asking, device, rounds))
    yield Figure(f"{model}: counted", "TFLOP", (flops / 1e12,), note="of products, convolutions and attention, in a step")
    yield Figure(f"{model}: reached", "TFLOP/s", tuple(each / 1e12 for each in reached))
    yield Figure(
        "one large product", "TFLOP/s", tuple(each / 1e12 for each in rate), note=f"{_PRODUCT[device.type]} a side, as the network"
    )
    best = sorted(rate)[len(rate) // 2]
    yield Figure(f"{model}: of the large product's rate", "%", tuple(100 * each / best for each in reached))
    if device.type == "cuda":
        yield Figure(f"{model}: most memory of tensors on the card", "MiB", (torch.cuda.max_memory_allocated(device) / 2**20,))


class _Step:
    """One step of score distillation, to be called again and again on the same images."""

    def __init__(self, prompted: PromptedDiffusion, count: int, size: int, device: torch.device) -> None:
        self._prompted, self._device = prompted, device
        self._views: Views = plain_views(turntable(count, 0.25, 2.6, 0.7, size, size, device), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
        draws = torch.Generator().manual_seed(0)
        self._images = torch.rand(count, size, size, 3, generator=draws).to(device).requires_grad_()
        self._loss: Loss = make_loss(prompted, prompted.settings, size, draws)
        with torch.no_grad():
            self._latents = prompted.encode(self._images)
        self._times = torch.full((count,), len(prompted.schedule) // 2, device=device)

    def __call__(self) -> Tensor:
        """The gradient in the images."""
        nothing, one = torch.zeros_like(self._images), torch.ones_like(self._images[..., :1])
        render = Render(self._images, one, nothing, nothing, one, 0 * one)
        made = self._loss(Step(render, self._views, 0.5, *_SPANS, torch.Generator().manual_seed(1)))
        (gradient,) = torch.autograd.grad(made.loss, self._images)
        return gradient

    def encoding(self) -> Tensor:
        """The gradient in the images of latents alone."""
        (gradient,) = torch.autograd.grad(self._prompted.encode(self._images).sum(), self._images)
        return gradient

    def asking(self) -> Tensor:
        """What the network answers."""
        return self._prompted.answer(self._latents, self._times, self._views).text

    def flops(self) -> int:
        """Of a step, counted in a step that replays nothing."""
        called = replace(self._prompted, model=replace(self._prompted.model, recorded=None))
        step = _Step(called, len(self._images), self._images.shape[1], self._device)
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
            step()
        return counter.get_total_flops()


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_back_flops(gradient: Any, query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


_ATTENTION = {  # of the CPU: torch's counter has those of cards alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back_flops,
}


def _prompted(model: str, device: torch.device, size: int) -> PromptedDiffusion:
    if model.startswith(RANDOM):
        if (name := model.removeprefix(RANDOM)) not in SIZES:
            raise BadInput(f"--model {model!r:.80}: no size has that name{nearest(name, sorted(SIZES))}")
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        return random_model(name, device, dtype, GuidanceSettings(image_size=size))
    own = model_settings(model)["guidance"] if model in model_names() else {"model": model}
    settings = GuidanceSettings.model_validate({**own, "image_size": size})
    loaded = load_diffusion(settings, device)
    if isinstance(loaded, MVDreamModel):
        settings = settings.model_copy(update={"multiview": True})
    return loaded.for_prompt(PROMPT, settings)


def _product_rate(device: torch.device, dtype: torch.dtype, rounds: int) -> list[float]:
    """FLOP/s of one large product of matrices in `dtype`."""
    side = _PRODUCT[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return [2 * side**3 / each for each in _timed(lambda: left @ right, device, rounds)]


def _timed(work: Callable[[], object], device: torch.device, rounds: int) -> list[float]:
    """Seconds of each round, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
