"""The march against brute force, and what it conserves; repeated, with compositing, to the bit."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.kernels import march as marching
from dreamfusion_mesh.kernels.march import Samples, accumulate, composite_weights, march

HALF, STEP = 0.8, 0.07


def rays(count: int, seed: int = 0, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Rays from a sphere around the box towards its inside, a few along axes, from within and past it."""
    draws = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=draws), dim=1) * 2.5
    directions = torch.nn.functional.normalize((torch.rand(count, 3, generator=draws) * 2 - 1) * HALF - origins, dim=1)
    origins[0], directions[0] = torch.tensor([0.1, 0.2, 3.0]), torch.tensor([0.0, 0.0, -1.0])
    origins[1], directions[1] = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.6, 0.8, 0.0])
    origins[2], directions[2] = torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])  # away from the box
    origins[3], directions[3] = torch.tensor([0.9, 0.0, 3.0]), torch.tensor([0.0, 0.0, -1.0])  # beside it
    return origins.to(device), directions.to(device), torch.rand(count, generator=draws).to(device)


def crossing(origins: Tensor, directions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit of the box, by clipping against its six planes one after another in float64."""
    start, along = origins.cpu().double().numpy(), directions.cpu().double().numpy()
    enter, leave = np.zeros(len(start)), np.full(len(start), np.inf)
    for axis in range(3):
        for side in (-1, 1):
            distance = side * start[:, axis] - HALF  # positive outside this plane
            speed = side * along[:, axis]
            with np.errstate(divide="ignore", invalid="ignore"):
                hit = -distance / speed
            enter = np.where(speed < 0, np.maximum(enter, hit), enter)
            leave = np.where(speed > 0, np.minimum(leave, hit), leave)
            leave = np.where((speed == 0) & (distance > 0), -np.inf, leave)
    return enter, leave


def test_samples_match_a_brute_force_march(device: torch.device) -> None:
    size = 12
    origins, directions, jitter = rays(200)
    occupied = torch.rand(size, size, size, generator=torch.Generator().manual_seed(5)) < 0.3
    found = march(*(part.to(device) for part in (origins, directions, occupied)), HALF, STEP, jitter.to(device))
    found = Samples(*(part.cpu() for part in (found.ray, found.t, found.width, found.ahead, found.offsets)))
    enter, leave = crossing(origins, directions)
    compared = 0
    for ray in range(len(origins)):
        piece = np.arange(max(0, int(np.ceil((leave[ray] - enter[ray]) / STEP)))) if leave[ray] > enter[ray] else np.arange(0)
        low = enter[ray] + piece * STEP
        width = np.minimum(STEP, leave[ray] - low)
        t = low + float(jitter[ray]) * width
        place = (origins[ray].double().numpy() + t[:, None] * directions[ray].double().numpy() + HALF) / (2 * HALF) * size
        cell = np.clip(np.floor(place).astype(int), 0, size - 1)
        taken = occupied.numpy()[cell[:, 0], cell[:, 1], cell[:, 2]]
        clear = (np.abs(place - np.round(place)) > 1e-4).all(axis=1) & (width > 1e-5)  # float32 may round others to the cell beside
        mine = slice(int(found.offsets[ray]), int(found.offsets[ray + 1]))
        assert (found.ray[mine] == ray).all()
        mine_t, mine_width = found.t[mine].numpy(), found.width[mine].numpy()
        for at, wide in zip(t[taken & clear], width[taken & clear], strict=True):  # none missed
            nearest = np.abs(mine_t - at).argmin()
            assert abs(mine_t[nearest] - at) < 5e-6
            assert abs(mine_width[nearest] - wide) < 5e-6
            compared += 1
        for at in mine_t:  # none in an empty cell
            nearest = np.abs(t - at).argmin()
            assert abs(t[nearest] - at) < 5e-6
            assert taken[nearest] or not clear[nearest]
    assert compared > 500


def full(device: torch.device | str = "cpu") -> Tensor:
    return torch.ones(4, 4, 4, dtype=torch.uint8, device=device)


@pytest.mark.parametrize("middle", [True, False])
def test_widths_add_up_to_the_length_within_the_box(middle: bool, device: torch.device) -> None:
    origins, directions, jitter = rays(100, device=device)
    found = march(origins, directions, full(device), HALF, STEP, torch.full_like(jitter, 0.5) if middle else jitter)
    way = accumulate(found.width[:, None], found.offsets)[:, 0]
    enter, leave = crossing(origins, directions)
    torch.testing.assert_close(way.cpu().double(), torch.from_numpy(np.maximum(leave - enter, 0)), rtol=0, atol=3e-6)
    assert way[2] == 0
    assert way[3] == 0
    assert way[1] > 0  # from within


def test_samples_are_packed_front_to_back_within_their_pieces(device: torch.device) -> None:
    origins, directions, jitter = rays(100, device=device)
    found = march(origins, directions, full(device), HALF, STEP, jitter)
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.t)
    assert torch.equal(found.ray, torch.repeat_interleave(torch.arange(100, device=device), found.offsets.diff()))
    same = found.ray[1:] == found.ray[:-1]
    assert (found.t[1:] > found.t[:-1])[same].all()
    enter = torch.from_numpy(crossing(origins, directions)[0]).float().to(device)
    share = ((found.t - enter[found.ray]) / STEP) % 1
    long = found.width > STEP * 0.999
    torch.testing.assert_close(share[long], jitter[found.ray][long], rtol=0, atol=1e-4)


def test_ahead_is_the_expected_optical_depth_in_front(device: torch.device) -> None:
    size = 6
    origins, directions, jitter = rays(80, device=device)
    chance = torch.Generator().manual_seed(4)
    expected = 40 * torch.rand(size, size, size, generator=chance).to(device)
    occupied = torch.rand(size, size, size, generator=chance).to(device) < 0.8
    found = march(origins, directions, occupied, HALF, STEP, jitter, expected)
    places = (origins[found.ray] + found.t[:, None] * directions[found.ray] + HALF) / (2 * HALF) * size
    x, y, z = places.long().clamp(0, size - 1).unbind(dim=1)
    depth = (expected[x, y, z] * found.width).double()
    wanted = torch.cat([part.cumsum(0) - part for part in depth.split(found.offsets.diff().tolist())])
    agree = (found.ahead - wanted).abs() < 1e-4 * (1 + wanted)
    assert agree.double().mean() > 0.99  # a sample within rounding of a cell's face may have taken the other cell
    assert wanted.max() > 10
    assert not march(origins, directions, occupied, HALF, STEP, jitter).ahead.any()


def test_picked_samples_keep_their_rays(device: torch.device) -> None:
    origins, directions, jitter = rays(60, device=device)
    found = march(origins, directions, full(device), HALF, STEP, jitter)
    rows = torch.randperm(len(found.t), generator=torch.Generator().manual_seed(1))[: len(found.t) // 3].sort().values.to(device)
    some = found.pick(rows)
    assert torch.equal(some.t, found.t[rows])
    assert torch.equal(some.width, found.width[rows])
    for ray in range(60):
        mine = slice(int(some.offsets[ray]), int(some.offsets[ray + 1]))
        assert torch.equal(some.t[mine], found.t[rows][found.ray[rows] == ray])
    assert len(some.offsets) == 61


def test_bool_and_byte_grids_agree_and_an_empty_one_gives_no_samples(device: torch.device) -> None:
    origins, directions, jitter = rays(50, device=device)
    grid = torch.rand(6, 6, 6, generator=torch.Generator().manual_seed(2)).to(device) < 0.5
    one, other = (march(origins, directions, kind, HALF, STEP, jitter) for kind in (grid, grid.to(torch.uint8) * 255))
    assert torch.equal(one.t, other.t)
    assert len(one.t) > 0
    nothing = march(origins, directions, torch.zeros_like(grid), HALF, STEP, jitter)
    assert len(nothing.t) == len(nothing.ray) == len(nothing.width) == 0
    assert nothing.offsets.tolist() == [0] * 51
    none = march(origins[:0], directions[:0], grid, HALF, STEP, jitter[:0])
    assert none.offsets.tolist() == [0]


def test_bad_arguments_are_named() -> None:
    origins, directions, jitter = rays(10)
    with pytest.raises(ValueError, match=r"occupied: torch.float32 \[4, 4, 4\]"):
        march(origins, directions, full().float(), HALF, STEP, jitter)
    with pytest.raises(ValueError, match=r"jitter: torch.float32 \[9\], expected torch.float32 \[10\]"):
        march(origins, directions, full(), HALF, STEP, jitter[:9])
    with pytest.raises(ValueError, match="step 0"):
        march(origins, directions, full(), HALF, 0.0, jitter)
    with pytest.raises(ValueError, match=r"offsets: .*int32"):
        accumulate(torch.zeros(4, 2), torch.zeros(2, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"optical_depth: .*float64"):
        composite_weights(torch.zeros(4).double(), torch.tensor([0, 4]))


def test_too_many_samples_are_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marching, "_MOST_SAMPLES", 100)
    with pytest.raises(ValueError, match="at most 100"):
        march(*rays(50)[:2], full(), HALF, STEP, torch.zeros(50))


def test_forward_and_backward_repeat_bit_for_bit(device: torch.device) -> None:
    """On CUDA too: a thread adds up a ray in order."""
    outcomes = []
    for _ in range(2):
        origins, directions, jitter = rays(3000, device=device)
        found: Samples = march(origins, directions, full(device), HALF, STEP, jitter)
        depths = (found.t * found.width).requires_grad_()
        image = accumulate(composite_weights(depths, found.offsets)[:, None] * found.t[:, None], found.offsets)
        image.square().sum().backward()
        outcomes.append((found.t, image, depths.grad))
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))
