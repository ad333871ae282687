"""Images through an autoencoder where memory is short: in tiles, or one after the other once it has run out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from guided import bind, load
from torch import Tensor

from dreamfusion_mesh.guidance.models import encoding
from dreamfusion_mesh.guidance.models.encoding import SMALL_CARD, Shortage, encoded, tile_starts, wants_tiles
from dreamfusion_mesh.guidance.models.latents import LatentSpace

CARD = torch.device("cuda")


def pictures(count: int, side: int) -> Tensor:
    """Smooth ones, as pictures of objects are."""
    few = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 2 * torch.nn.functional.interpolate(few, size=(side, side), mode="bilinear") - 1


def tiny_space() -> LatentSpace:
    """An autoencoder without norms or attention, so that a place sees its neighbours alone."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    depths = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    vae: Any = AutoencoderTiny.from_config({"_class_name": "AutoencoderTiny", **widths, **depths, "latent_channels": 4})
    return LatentSpace(vae.eval().requires_grad_(False), 2, 1, 4)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "TILE", 64)
    monkeypatch.setattr(encoding, "_OVERLAP", 32)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((128, 64, 16), (72, [0, 56])),  # 1024 pixels, 8 to a place
        ((256, 64, 16), (76, [0, 60, 120, 180])),
        ((64, 64, 16), (64, [0])),
        ((65, 64, 16), (41, [0, 24])),
        ((3, 2, 2), (3, [0, 0])),
    ],
)
def test_equal_tiles_cover_all_and_overlap(given: tuple[int, int, int], expected: tuple[int, list[int]]) -> None:
    side, _, overlap = given
    width, starts = tile_starts(*given)
    assert (width, starts) == expected
    assert starts[-1] + width == side
    assert all(first + width - second >= min(overlap, width) for first, second in pairwise(starts))


def test_tiles_give_what_the_whole_gives_where_a_place_sees_its_neighbours_alone(small_tiles: None) -> None:
    """But for the edges of tiles, where a convolution sees zeros and the tile's weight is near nothing."""
    space, pixels = tiny_space(), pictures(2, 128)
    whole, tiles = space.encode(pixels), encoded(pixels, space, Shortage(), False, True)
    width, starts = tile_starts(64, 32, 16)
    alone = slice(0, starts[1]), slice(width, 64)
    for rows in alone:
        torch.testing.assert_close(tiles[:, :, rows, rows], whole[:, :, rows, rows])
    error = (tiles - whole).square().mean().sqrt() / whole.std()
    assert 0 < error < 0.03


def test_tiles_are_no_farther_from_the_whole_than_those_of_diffusers(saved: Callable[[str], Path], small_tiles: None) -> None:
    """Norms and attention see a tile each, so a difference is left in either."""
    space, pixels = load(saved("stable diffusion")).latents, pictures(2, 128)
    vae: Any = space.vae
    whole, tiles = space.encode(pixels), encoded(pixels, space, Shortage(), False, True)
    vae.enable_tiling()
    vae.tile_sample_min_size, vae.tile_latent_min_size = 64, 32
    theirs = space.encode(pixels)
    vae.disable_tiling()
    errors = [float((found - whole).square().mean().sqrt() / whole.std()) for found in (tiles, theirs)]
    assert 0 < errors[0] < errors[1] < 0.5


def test_tiles_pass_the_gradient_of_what_they_give(small_tiles: None) -> None:
    space = tiny_space()
    space.vae.double()  # type: ignore[union-attr]
    pixels = pictures(1, 96).double().requires_grad_()
    along = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(given: Tensor) -> Tensor:
        return encoded(given, space, Shortage(), False, True).square().sum()

    (gradient,) = torch.autograd.grad(loss(pixels), pixels)
    step = 1e-6
    with torch.no_grad():
        slope = (loss(pixels + step * along) - loss(pixels - step * along)) / (2 * step)
    torch.testing.assert_close((gradient * along).sum(), slope, rtol=1e-5, atol=0)


def test_a_model_encodes_in_tiles_by_setting(saved: Callable[[str], Path], small_tiles: None) -> None:
    images = torch.rand(2, 128, 128, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sizes: list[tuple[int, ...]] = []
    found = {}
    for setting in ("auto", "always"):
        model = bind(saved("stable diffusion"), image_size=64 if setting == "auto" else 128, tile_encoder=setting)
        assert model.warnings == bind(saved("stable diffusion"), image_size=64).warnings
        model.model.latents.vae.encoder.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape)))  # type: ignore[union-attr]
        found[setting] = model.encode(images)
    assert sizes == [(2, 3, 64, 64), *[(1, 3, 80, 80)] * 8]
    assert torch.autograd.grad(found["always"].sum(), images)[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("setting", "size", "memory", "expected"),
    [
        ("auto", 1024, SMALL_CARD - 1, True),
        ("auto", 1024, SMALL_CARD, False),
        ("auto", 768, 2**33, False),
        ("never", 2048, 2**33, False),
        ("always", 64, 2**40, True),
    ],
)
def test_small_cards_take_large_images_in_tiles(
    setting: str, size: int, memory: int, expected: bool, saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
    own = load(saved("sd3")).latents
    assert wants_tiles(setting, size, own, CARD) is expected
    assert wants_tiles(setting, size, tiny_space(), CARD) is (setting == "always")
    assert wants_tiles(setting, size, own, torch.device("cpu")) is (setting == "always"), "results do not hang on a machine's memory"
    assert wants_tiles(setting, size, LatentSpace(None, 1, 1, 3), CARD) is False


def short_of_memory(space: LatentSpace, monkeypatch: pytest.MonkeyPatch, most: int, backwards: bool) -> list[int]:
    """The autoencoder takes `most` images in a call, or in its gradient; gives the sizes of all calls."""
    sizes: list[int] = []
    whole = type(space).encode

    def limited(self: LatentSpace, pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        if len(pixels) > most and not backwards:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        made = whole(self, pixels)
        if len(pixels) > most:
            made.register_hook(_run_out)
        return made

    monkeypatch.setattr(LatentSpace, "encode", limited)
    return sizes


def _run_out(gradient: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("backwards", [False, True])
def test_images_that_do_not_fit_go_one_by_one_from_then_on(
    backwards: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    space, shortage = tiny_space(), Shortage()
    pixels = pictures(3, 16).requires_grad_()
    wanted = space.encode(pixels)
    (gradient,) = torch.autograd.grad(wanted.square().sum(), pixels)
    sizes = short_of_memory(space, monkeypatch, 1, backwards)
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            found = encoded(pixels, space, shortage, False, False)
            (same,) = torch.autograd.grad(found.square().sum(), pixels)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(same, gradient)
    one_by_one = [1] * 6  # forwards, and once more backwards
    assert sizes == ([3, 1, 1, 1, *one_by_one] if backwards else [3, *one_by_one, *one_by_one])
    assert caplog.messages == ["guidance: the memory does not hold 3 images in one call of the autoencoder; one after the other from here"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_where_not_even_one_image_fits_memory_has_run_out(backwards: bool, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space = tiny_space()
    short_of_memory(space, monkeypatch, 0, backwards)
    pixels = pictures(count, 16).requires_grad_()
    with pytest.raises(torch.OutOfMemoryError):
        encoded(pixels, space, Shortage(), False, False).sum().backward()


def test_another_error_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space, calls = tiny_space(), []

    def broken(self: LatentSpace, pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        raise ValueError("shapes do not fit")

    monkeypatch.setattr(LatentSpace, "encode", broken)
    with pytest.raises(ValueError, match="shapes"):
        encoded(pictures(3, 16).requires_grad_(), space, Shortage(), False, False)
    assert calls == [3]
