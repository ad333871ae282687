"""Launching: slices change nothing but time, granules stay whole, bad memory is refused; and how Warp starts."""

import os

import pytest
import torch
import warp as wp

from dreamfusion_mesh.kernels import launch as launching
from dreamfusion_mesh.kernels.launch import as_warp, launch

wp.set_module_options({"enable_backward": False})


@wp.kernel
def _stamp(made: wp.array(dtype=wp.int32), start: int):
    i = start + wp.tid()
    made[i] = made[i] + i


@wp.kernel
def _sum_granule(values: wp.array(dtype=wp.float32), made: wp.array(dtype=wp.float32), size: int, start: int):
    i = start + wp.tid()
    made[i // size] = made[i // size] + values[i]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_every_index_runs_exactly_once(threads: int, count: int, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(launching, "threads", lambda: threads)
    made = torch.zeros(count, dtype=torch.int32, device=device)
    launch(_stamp, count, [as_warp(made, wp.int32)], made.device, smallest_slice=1)
    assert made.tolist() == list(range(count))


def test_cpu_granules_are_summed_by_one_thread_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    size, granules = 4096, 9
    values = torch.randn(granules * size, generator=torch.Generator().manual_seed(0))
    outcomes = []
    for threads in (1, 2, 4, 16):
        monkeypatch.setattr(launching, "threads", lambda threads=threads: threads)
        made = torch.zeros(granules)
        arguments = [as_warp(values, wp.float32), as_warp(made, wp.float32), size]
        launch(_sum_granule, len(values), arguments, values.device, smallest_slice=1, granule=size)
        outcomes.append(made)
    assert all(torch.equal(outcomes[0], other) for other in outcomes[1:])
    serial = values.reshape(granules, size).numpy().cumsum(axis=1)[:, -1]
    assert outcomes[0].tolist() == serial.tolist()


def test_count_that_is_no_multiple_of_the_granule_is_refused() -> None:
    made = torch.zeros(10, dtype=torch.int32)
    with pytest.raises(ValueError, match="10 indices in granules of 4"):
        launch(_stamp, 10, [as_warp(made, wp.int32)], made.device, granule=4)


def test_strided_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\]: expected contiguous"):
        as_warp(torch.zeros(2, 3).T, wp.float32)


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [(torch.zeros(4, 3), wp.vec4), (torch.zeros(3), wp.mat33), (torch.zeros(4, 3).double(), wp.vec3), (torch.zeros(4), wp.int32)],
    ids=["longer vectors", "a matrix", "another precision", "whole numbers"],
)
def test_memory_of_another_kind_is_refused(tensor: torch.Tensor, kind: type) -> None:
    with pytest.raises(ValueError, match=rf"kernel argument: {tensor.dtype} \[.*\], expected {kind.__name__}"):
        as_warp(tensor, kind)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0,), (1,), (1, 1, 3), (2, 0, 3)])
def test_empty_and_single_rows_keep_their_shape_whatever_their_strides(shape: tuple[int, ...], device: torch.device) -> None:
    odd = torch.ones(shape, device=device).as_strided(shape, [7] * (len(shape) - 1) + [1])
    if not odd.is_contiguous():
        odd = odd.contiguous()
    kept = as_warp(odd, wp.float32)
    assert kept.shape == shape
    assert wp.to_torch(kept).tolist() == odd.tolist()


def test_start_up_message_is_captured_and_not_shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(wp, "init", lambda: os.write(2, b"Warp CUDA warning: no driver\n") and None)
    assert launching._start()[1] == "Warp CUDA warning: no driver"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_stderr_comes_back_where_warp_does_not_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"lost")
        raise RuntimeError("no warp")

    monkeypatch.setattr(wp, "init", fail)
    with pytest.raises(RuntimeError, match="no warp"):
        launching._start()
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_device_that_warp_lacks_is_named_with_warps_own_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_MESSAGE", "Warp CUDA warning: driver too old")
    for there, device, missing in (([], "cuda", True), ([], "cuda:0", True), ([object()], "cuda:0", False), ([object()], "cuda:1", True)):
        monkeypatch.setattr(wp, "get_cuda_devices", lambda there=there: there)
        cause = launching.warp_missing(torch.device(device))
        assert (cause is not None) == missing
        assert cause is None or (f"cannot run on {device}; it found cpu" in cause and "driver too old" in cause)
        assert launching.warp_missing(torch.device("cpu")) is None
    monkeypatch.setattr(launching, "_MESSAGE", "")
    assert "gave no reason" in (launching.warp_missing(torch.device("cuda:7")) or "")


def test_warp_has_every_device_that_torch_has(device: torch.device) -> None:
    assert launching.warp_missing(device) is None
