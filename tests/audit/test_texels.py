"""Mips, lookups and colour differences against exact cases and published pairs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from framed import filled
from PIL import Image, features

from dreamfusion_mesh.audit.texels import color_difference, lab, mip_levels, sample, texels_of, to_linear
from dreamfusion_mesh.errors import BadInput

# Pairs of L*a*b* and their CIEDE2000 from the supplementary data of Sharma, Wu, Dalal (2005): blues, greys, hues that wrap, large ones
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0009), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, -0.0010, 2.4900), (50, 0.0009, -2.4900), 4.8045),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_color_differences_are_the_published_ones() -> None:
    one, other, wanted = (np.array(column, dtype=np.float64) for column in zip(*PAIRS, strict=True))
    for first, second in ((one, other), (other, one)):
        assert color_difference(first, second) == pytest.approx(wanted, abs=5e-5)


def test_white_black_and_red_have_their_lab_values() -> None:
    light = to_linear(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], dtype=np.uint8)).astype(np.float64)
    assert lab(light) == pytest.approx(np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.02)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "DDS"])
def test_every_image_that_decodes_has_texels(kind: str) -> None:
    if not features.check(kind.lower()) and kind in ("WEBP", "AVIF"):
        pytest.skip(f"this Pillow reads no {kind}")
    file = io.BytesIO()
    Image.new("RGB", (16, 8), (200, 30, 40)).save(file, kind)
    found = texels_of(file.getvalue(), "base color")
    assert found.shape == (8, 16, 3)
    assert found.astype(int) == pytest.approx(np.broadcast_to([200, 30, 40], found.shape), abs=4)
    with pytest.raises(BadInput, match="base color: "):
        texels_of(file.getvalue()[:40], "base color")


def test_a_mip_level_is_the_mean_of_light_and_not_of_numbers() -> None:
    checker = filled((0, 0, 0), 8)
    checker[::2, ::2] = checker[1::2, 1::2] = 255
    levels = list(mip_levels(checker, 6))
    assert [len(level) for level in levels] == [8, 4, 2, 1]
    for level in levels[1:]:
        assert level == pytest.approx(0.5, abs=1e-6)


def test_bands_of_a_large_image_join() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 6, 3)).astype(np.uint8)
    level = list(mip_levels(pixels, 2))[1]
    assert level == pytest.approx(to_linear(pixels).reshape(750, 2, 3, 2, 3).mean(axis=(1, 3)), abs=1e-6)


def test_lookups_lie_between_texels_and_stop_at_the_edge() -> None:
    ramp = np.arange(8, dtype=np.float32)[None, :, None].repeat(4, axis=0).repeat(3, axis=2)
    uvs = np.array([[0.5 / 8, 0.5], [1.0 / 8, 0.5], [3.75 / 8, 0.9], [0.0, 0.0], [1.0, 1.0]])
    assert sample(ramp, uvs)[:, 0] == pytest.approx([0, 0.5, 3.25, 0, 7])
    upright = ramp.transpose(1, 0, 2)  # [8, 4]: row 0 on top
    assert sample(upright, np.array([[0.5, 1 - 2.0 / 8]]))[0, 0] == pytest.approx(1.5)
