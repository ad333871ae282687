"""Which device a run uses: `auto`, `cpu` or `cuda`, resolved in one place."""

from __future__ import annotations

import logging

import torch

from dreamfusion_mesh.errors import BadInput

_LOG = logging.getLogger(__name__)


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; "auto" is the GPU where both torch and Warp have one. The choice and its cause are logged.

    Raises BadInput where "cuda" is named and torch or Warp has none.
    """
    cause = None if name == "cpu" else cuda_missing()
    if name == "cuda" and cause is not None:
        raise _without_cuda(cause)
    device = torch.device("cpu" if name == "cpu" or cause is not None else "cuda")
    unused_card = device.type == "cpu" and name == "auto" and torch.cuda.is_available()
    _LOG.log(logging.WARNING if unused_card else logging.INFO, "device: %s, asked for %s%s", device, name, f" ({cause})" if cause else "")
    return device


def cuda_missing(index: int = 0) -> str | None:
    """Why the CUDA device `index` cannot be used, in one line; None where both torch and Warp have it."""
    if (cause := _torch_lacks()) is not None:
        return cause
    from dreamfusion_mesh.kernels.launch import warp_missing  # starts Warp, which only a machine with a card has to wait for

    cause = warp_missing(torch.device("cuda", index))
    return None if cause is None else f"torch has cuda:{index} and Warp has not: {' '.join(cause.split())}"


def cards(required: bool) -> int:
    """How many CUDA devices torch finds; other processes may use them, this one takes nothing of their memory.

    Raises BadInput where one is `required` and there is none.
    """
    if required and (cause := _torch_lacks()) is not None:
        raise _without_cuda(cause)
    return torch.cuda.device_count()


def _torch_lacks() -> str | None:
    if torch.cuda.is_available():
        return None
    return "torch is a CPU build" if torch.version.cuda is None else "torch found no CUDA driver or no card"


def _without_cuda(cause: str) -> BadInput:
    return BadInput(f"--device cuda: {cause}; use --device cpu, or install what is missing")
