"""Compositing against a float64 twin, and what it conserves."""

import itertools

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.kernels.march import accumulate, composite_weights


def packed(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Optical depths from 1e-6 to about 30 on rays of 0 to 40 samples."""
    draws = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 41, (60,), generator=draws)
    counts[0] = 0
    counts[-1] = 0
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), counts.cumsum(0)))
    depths = 10 ** (torch.rand(int(offsets[-1]), generator=draws) * 5 - 6)
    depths[::17] *= 300
    depths[5] = 0
    return depths, offsets


def composite_twin(depths: Tensor, offsets: Tensor) -> Tensor:
    """By cumulated products, ray by ray."""
    parts = []
    for first, last in itertools.pairwise(offsets.tolist()):
        clear = torch.exp(-depths[first:last])
        before = torch.cat((torch.ones_like(clear[:1]), torch.cumprod(clear, 0)[:-1]))
        parts.append(before * -torch.expm1(-depths[first:last]))
    return torch.cat(parts)


def test_twin_passes_gradcheck() -> None:
    depths = torch.tensor([0.3, 1e-3, 2.0, 0.7, 1.1, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: composite_twin(d, torch.tensor([0, 2, 2, 6])), (depths,))


def test_weights_and_their_gradient_match_the_twin(device: torch.device) -> None:
    depths, offsets = packed()
    mine, theirs = depths.to(device, copy=True).requires_grad_(), depths.double().requires_grad_()
    found, wanted = composite_weights(mine, offsets.to(device)), composite_twin(theirs, offsets)
    torch.testing.assert_close(found.double().cpu(), wanted, rtol=1e-5, atol=1e-12)
    upstream = torch.randn(len(depths), generator=torch.Generator().manual_seed(1))
    found.backward(upstream.to(device))
    wanted.backward(upstream.double())
    torch.testing.assert_close(mine.grad.double().cpu(), theirs.grad, rtol=0, atol=1e-5)


def test_gradient_of_the_weights_is_the_finite_difference(device: torch.device) -> None:
    depths = torch.tensor([0.3, 0.7, 0.2, 1.1], device=device)
    offsets = torch.tensor([0, 1, 1, 4], device=device)
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0], device=device)
    leaf = depths.clone().requires_grad_()
    (composite_weights(leaf, offsets) * upstream).sum().backward()
    for i in range(4):
        away = torch.zeros(4, device=device)
        away[i] = 2**-7
        ends = [float((composite_weights(depths + sign * away, offsets) * upstream).sum()) for sign in (1, -1)]
        assert float(leaf.grad[i]) == pytest.approx((ends[0] - ends[1]) * 2**6, abs=1e-4)


def test_weights_of_a_ray_sum_to_its_opacity(device: torch.device) -> None:
    depths, offsets = (part.to(device) for part in packed(3))
    opacity = accumulate(composite_weights(depths, offsets)[:, None], offsets)[:, 0]
    whole = accumulate(depths.double().float()[:, None], offsets)[:, 0].double()
    torch.testing.assert_close(opacity.double(), -torch.expm1(-whole), rtol=2e-6, atol=1e-12)
    assert opacity[0] == 0


def test_sums_match_index_add_and_their_gradient_is_the_rays(device: torch.device) -> None:
    offsets = packed()[1].to(device)
    ray = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=device), offsets.diff())
    values = torch.randn(len(ray), 5, generator=torch.Generator().manual_seed(2)).to(device).requires_grad_()
    sums = accumulate(values, offsets)
    wanted = torch.zeros(len(offsets) - 1, 5, device=device).double().index_add(0, ray, values.detach().double())
    torch.testing.assert_close(sums.double(), wanted, rtol=0, atol=1e-5)
    upstream = torch.randn_like(sums)
    sums.backward(upstream)
    assert torch.equal(values.grad, upstream[ray])
