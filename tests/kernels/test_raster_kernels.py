"""What the rasterizer's contract leaves to its kernels: sums that do not depend on cores, slots or memory layout."""

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.kernels import launch, raster
from dreamfusion_mesh.kernels.antialias import antialias, find_edges


def soup(views: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Two hundred triangles that share forty vertices: clip [views, 40, 4], faces."""
    draws = torch.Generator().manual_seed(0)
    clip = torch.rand(views, 40, 4, generator=draws, dtype=dtype) * 2 - 1
    clip[..., 3] = 1 + 0.3 * clip[..., 3]
    return clip, torch.stack([torch.randperm(40, generator=draws)[:3] for _ in range(200)])


def everything(clip: Tensor, faces: Tensor, height: int, width: int) -> list[Tensor]:
    """Every output and gradient of one pass through all operations."""
    clip, values = clip.clone().requires_grad_(), clip[0].clone().requires_grad_()
    face, bary, depth = raster.rasterize(clip, faces, height, width)
    image = raster.interpolate(values[None], bary, face, faces)
    smooth = antialias(image, face, clip, faces, find_edges(faces, clip.shape[1]))
    weights = torch.linspace(-1, 1, smooth.numel(), dtype=clip.dtype, device=clip.device).reshape(smooth.shape)
    gradients = torch.autograd.grad((smooth * weights).sum() + (depth * weights[..., 0]).sum(), (clip, values))
    return [face, bary, depth, image, smooth, *gradients]


@pytest.mark.parametrize(("views", "height", "width"), [(1, 29, 31), (3, 24, 40), (9, 16, 16)])
def test_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch, views: int, height: int, width: int) -> None:
    clip, faces = soup(views)
    results = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(launch, "threads", lambda cores=cores: cores)
        monkeypatch.setattr(raster, "threads", lambda cores=cores: cores)
        results.append(everything(clip, faces, height, width))
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_cuda_binning_matches_cpu(monkeypatch: pytest.MonkeyPatch, shift: float, device: torch.device) -> None:
    """CUDA's algorithm, on either device: small faces by a thread each, large ones queued. With the shift some reach behind the camera."""
    clip, faces = soup(3, torch.float64)
    clip[..., 2] *= 0.02  # within near and far, though w may be small
    clip[..., 3] -= shift
    assert bool((clip[..., 3] < 0).any()) == (shift > 0)
    projected = raster.to_pixel_space(clip, 37, 29)
    wanted = raster.find_nearest(projected, faces, 37, 29, side_by_side=False)
    assert (wanted < raster.EMPTY).double().mean() > 0.3
    assert len((wanted & (2**31 - 1)).unique()) > 5
    for largest, lanes, teams in ((64, 128, 1024), (0, 4, 3), (10**6, 1, 1)):
        monkeypatch.setattr(raster, "_LARGEST", largest)
        monkeypatch.setattr(raster, "_LANES", lanes)
        monkeypatch.setattr(raster, "_TEAMS", teams)
        found = raster.find_nearest(projected.to(device), faces.to(device), 37, 29, side_by_side=True)
        assert torch.equal(found.cpu(), wanted)


def test_gradients_of_a_batch_are_those_of_its_views(device: torch.device) -> None:
    """A batch's gradient is its views' gradients, though fewer views are cut into more slots."""
    clip, faces = (part.to(device) for part in soup(4, torch.float64))
    face, bary, _ = raster.rasterize(clip.requires_grad_(), faces, 24, 20)
    upstream = torch.linspace(-1, 1, bary.numel(), dtype=torch.float64, device=device).reshape(bary.shape)
    (together,) = torch.autograd.grad((bary * upstream).sum(), clip)
    for view in range(4):
        alone = clip[view : view + 1].detach().requires_grad_()
        face_alone, bary_alone, _ = raster.rasterize(alone, faces, 24, 20)
        (gradient,) = torch.autograd.grad((bary_alone * upstream[view : view + 1]).sum(), alone)
        assert torch.equal(face_alone[0], face[view])
        torch.testing.assert_close(gradient[0], together[view], rtol=1e-12, atol=1e-12)


def test_memory_layout_changes_no_bit(device: torch.device) -> None:
    """Of gradients on the CPU alone: on CUDA they add up in no fixed order."""
    clip, faces = (part.to(device) for part in soup(2))
    strided_clip = clip.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    strided_faces = faces.t().contiguous().t()
    assert not strided_clip.is_contiguous()
    assert not strided_faces.is_contiguous()
    pairs = zip(everything(clip, faces, 17, 19), everything(strided_clip, strided_faces, 17, 19), strict=True)
    compared = list(pairs)[: 5 if device.type == "cuda" else 7]
    assert all(torch.equal(*pair) for pair in compared)


def test_pixel_space_is_pixels_times_w() -> None:
    clip = torch.tensor([[[0.5, -0.25, 0.3, 2.0], [-1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, -1.0]]])
    placed = raster.to_pixel_space(clip, 8, 16)
    torch.testing.assert_close(placed[0, 0, :2] / 2, torch.tensor([10.0, 4.5]).double())
    assert placed[0, 1].tolist() == [0, 0, 0, 1]
    assert placed[0, 2].tolist() == [0, -8, 0, -1]
