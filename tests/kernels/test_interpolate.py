"""Values and frames between the corners of faces, against plain sums and solved systems."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from dreamfusion_mesh.kernels.interpolate import Places, in_frames, interpolate


def places(count: int, faces: int, device: torch.device) -> Places:
    draws = torch.Generator().manual_seed(0)
    shares = torch.rand(count, 3, generator=draws)
    return Places(torch.randint(faces, (count,), generator=draws).to(device), (shares / shares.sum(dim=1, keepdim=True)).to(device))


def test_values_are_weighted_sums_of_the_corners(device: torch.device) -> None:
    draws = torch.Generator().manual_seed(1)
    values, corners = torch.randn(50, 3, generator=draws).to(device), torch.randint(50, (70, 3), generator=draws).to(device)
    at = places(5000, 70, device)
    expected = (values[corners[at.faces]].double() * at.weights[..., None]).sum(dim=1)
    assert torch.allclose(interpolate(values.double(), corners, at).double(), expected, atol=1e-6)
    assert torch.allclose(interpolate(values, corners, at, unit=True).double(), normalize(expected, dim=1), atol=1e-5)
    assert interpolate(0 * values, corners, at, unit=True).abs().max() == 0
    assert interpolate(values, corners, Places(at.faces[:0], at.weights[:0])).shape == (0, 3)


def test_directions_in_frames_give_the_direction_back_whatever_the_hand(device: torch.device) -> None:
    draws = torch.Generator().manual_seed(2)
    axes = torch.linalg.qr(torch.randn(40, 3, 3, generator=draws)).Q[:, None] + 0.2 * torch.randn(40, 3, 3, 3, generator=draws)
    t, b, n = (normalize(axes[..., k], dim=2).to(device) for k in range(3))
    b[::2] *= -1
    at = places(4000, 40, device)
    mixed = [normalize((part[at.faces] * at.weights[..., None]).sum(dim=1).double(), dim=1) for part in (t, b, n)]
    matrix = torch.stack(mixed, dim=2)
    direction = normalize(torch.randn(4000, 3, generator=draws), dim=1).to(device)
    found = in_frames(t, b, n, at, direction).double()
    solved = torch.linalg.solve(matrix, direction.double())
    above = (solved[:, 2] > 1e-3) & (torch.linalg.det(matrix).abs() > 0.05)
    assert (torch.linalg.det(matrix) < 0).any()
    assert (torch.linalg.det(matrix) > 0).any()
    assert above.sum() > 1000
    assert torch.allclose(found[above], normalize(solved[above], dim=1), atol=1e-4)
    below = solved[:, 2] < -1e-3
    assert (found[below] == torch.tensor([0.0, 0, 1], device=device)).all()
