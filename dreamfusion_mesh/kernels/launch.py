"""How kernels are started: one source for CPU and CUDA, tensors in and out, both cores used on the CPU.

A CPU launch of Warp runs on one thread but releases the global interpreter lock, so a large launch is cut into slices that run side by
side. Every sliced kernel takes `start: int` as its last argument and works on index `start + wp.tid()`; slices must write to separate
places, which keeps results independent of timing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, BinaryIO, cast

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels.cache import KernelCache, start_with_cache


def _start() -> tuple[KernelCache, str]:
    """Start Warp without output.

    Gives its cache, and what its native part wrote to file descriptor 2: on a machine without a driver, a warning.
    """
    wp.config.log_level = 30  # warnings and errors
    messages = ""

    def silent() -> None:
        nonlocal messages
        sys.stderr.flush()
        stderr = os.dup(2)
        try:
            with _capture() as captured:
                os.dup2(captured.fileno(), 2)
                try:
                    wp.init()
                    sys.stderr.flush()
                finally:
                    os.dup2(stderr, 2)
                captured.seek(0)
                messages = " ".join(captured.read().decode(errors="replace").split())
        finally:
            os.close(stderr)

    return start_with_cache(silent), messages


def _capture() -> BinaryIO:
    """A file without a name, in memory where the system has that, so that a full disk does not matter."""
    return cast(BinaryIO, open(os.memfd_create("warp"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile())


KERNEL_CACHE, _MESSAGE = _start()


def warp_missing(device: torch.device) -> str | None:
    """Why Warp cannot run on `device`, with its own start-up message; None where it can."""
    there = wp.get_cuda_devices()
    index = 0 if device.index is None else device.index
    if device.type == "cpu" or (device.type == "cuda" and index < len(there)):
        return None
    found = ", ".join(str(part) for part in wp.get_devices())
    return f"Warp {wp.config.version} cannot run on {device}; it found {found} ({_MESSAGE or 'it gave no reason'})"


_SMALLEST_SLICE = 2048  # below this a second thread costs more than it saves


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=threads())


@lru_cache(maxsize=1)
def threads() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


_SCALARS = {
    torch.float32: wp.float32,
    torch.float64: wp.float64,
    torch.int32: wp.int32,
    torch.int64: wp.int64,
    torch.uint8: wp.uint8,
}
_device_of = lru_cache(maxsize=None)(wp.device_from_torch)
_stream_of = lru_cache(maxsize=None)(wp.stream_from_torch)  # torch never gives up a stream


def as_warp(tensor: Tensor, dtype: Any) -> Any:
    """A `wp.array` view of a tensor for a kernel, its last axis taken as a vector where `dtype` is one.

    Does what `wp.from_torch` does in a third of its time, which is most of a small launch's.
    Raises ValueError where the memory is not contiguous, or holds something other than `dtype`.
    """
    if not tensor.is_contiguous():
        raise ValueError(f"kernel argument of shape {list(tensor.shape)}: expected contiguous memory")
    inner = getattr(dtype, "_shape_", ())
    outer = tensor.dim() - len(inner)
    if tensor.shape[outer:] != inner or _SCALARS.get(tensor.dtype) is not getattr(dtype, "_wp_scalar_type_", dtype):
        raise ValueError(f"kernel argument: {tensor.dtype} {list(tensor.shape)}, expected {dtype.__name__}")
    return _view(tensor, dtype, tuple(tensor.shape[:outer]))


def _view(tensor: Tensor, dtype: Any, shape: tuple[int, ...]) -> Any:
    view: Any = wp.array(ptr=tensor.data_ptr(), dtype=dtype, shape=shape, device=_device_of(tensor.device), copy=False)
    view._tensor = tensor  # keeps the memory
    return view


def launch(
    kernel: Any, count: int, arguments: Sequence[Any], device: torch.device, smallest_slice: int = _SMALLEST_SLICE, granule: int = 1
) -> None:
    """Run `kernel` over `count` indices; on the CPU in slices over the cores. `arguments` leave out the trailing `start`.

    smallest_slice  a slice has at least this many indices
    granule         slices begin at multiples of it, so that the indices of one granule run on one thread in order: a kernel that adds into
                    places owned by its granule is then as deterministic as one that writes apart
    Raises ValueError where `count` is negative or no multiple of `granule`.
    """
    if granule < 1 or count < 0 or count % granule != 0:
        raise ValueError(f"launch: {count} indices in granules of {granule}, expected a whole number of them")
    if count == 0:
        return
    if device.type == "cuda":
        wp.launch(kernel, dim=count, inputs=[*arguments, 0], stream=_stream_of(torch.cuda.current_stream(device)))
        return
    parts = min(threads(), max(1, count // smallest_slice), count // granule)
    if parts == 1:
        wp.launch(kernel, dim=count, inputs=[*arguments, 0], device="cpu")
        return
    bounds = [count // granule * i // parts * granule for i in range(parts + 1)]
    wp.load_module(kernel.module, device="cpu")  # once, here, before the threads race for it
    work = [
        _pool().submit(wp.launch, kernel, dim=bounds[i + 1] - bounds[i], inputs=[*arguments, bounds[i]], device="cpu") for i in range(parts)
    ]
    for part in work:
        part.result()
