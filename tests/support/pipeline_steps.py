"""What diffusers' own pipelines ask of their networks, step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Asked(NamedTuple):
    """One call of a network for one branch: what it saw, at which time, and what it predicted."""

    noisy: Tensor
    time: Tensor
    predicted: Tensor


def asked_by(pipeline: Any, prompt: str, size: int, steps: int = 2) -> list[dict[str, Asked]]:
    """The calls of `steps` steps, by branch ("text", "uncond"); packed latents are unpacked."""
    network = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    calls: list[Asked] = []

    def record(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        noisy = args[0] if args else kwargs["hidden_states"]
        time = args[1] if len(args) > 1 else kwargs["timestep"]
        calls.append(Asked(noisy, time.expand(len(noisy)), output[0]))

    hook = network.register_forward_hook(record, with_kwargs=True)
    pixels = not hasattr(pipeline, "vae")
    more = {"use_resolution_binning": False} if "PRX" in type(pipeline).__name__ or "PixArt" in type(pipeline).__name__ else {}
    generator = torch.Generator().manual_seed(1)
    kind = "pt" if pixels else "latent"
    pipeline(
        prompt=prompt, height=size, width=size, num_inference_steps=steps, guidance_scale=4.0, generator=generator, output_type=kind, **more
    )
    hook.remove()
    if calls[0].noisy.dim() == 3:
        found = [_unpacked(call) for call in calls]
        return [{"text": text, "uncond": uncond} for text, uncond in zip(found[::2], found[1::2], strict=True)]
    return [dict(zip(("uncond", "text"), map(Asked, *(values.chunk(2) for values in call)), strict=True)) for call in calls]


def _unpacked(call: Asked) -> Asked:
    side = int(call.noisy.shape[1] ** 0.5)
    noisy, predicted = (values.mT.unflatten(2, (side, side)) for values in (call.noisy, call.predicted))
    return Asked(noisy, call.time, predicted)
