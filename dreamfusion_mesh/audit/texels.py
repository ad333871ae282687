"""The texels of a map, its mip levels as a renderer makes them, and how different two colours look."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dreamfusion_mesh.audit.readers.images import opened_image

LARGEST_SIDE = 8192  # texels; a mip level above that takes more than a gigabyte
_BAND = 512  # rows that are made linear at once
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # IEC 61966-2-1
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, 2 degrees


def texels_of(data: bytes, where: str) -> np.ndarray:
    """[H, W, 3] uint8 of an image, row 0 on top. Raises BadInput as `decode` does."""
    with opened_image(data, where) as image:
        return np.asarray(image.convert("RGB"))


def to_linear(values: np.ndarray) -> np.ndarray:
    """Light, float32 in [0, 1], of sRGB-encoded uint8 (IEC 61966-2-1)."""
    encoded = np.arange(256) / 255.0
    table = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[values]


def mip_levels(texels: np.ndarray, levels: int) -> Iterator[np.ndarray]:
    """Levels 0 to `levels` - 1 of an sRGB image [H, W, 3] uint8: the image itself, then light as float32, each the mean of 2 x 2 texels of
    the one before (an odd last row or column is dropped). Fewer where a side of one texel is reached.
    """
    yield texels
    level = texels
    for _ in range(levels - 1):
        height, width = level.shape[0] // 2, level.shape[1] // 2
        if not height or not width:
            return
        smaller = np.empty((height, width, 3), np.float32)
        for top in range(0, height, _BAND):
            rows = level[2 * top : 2 * min(top + _BAND, height), : 2 * width]
            light = to_linear(rows) if rows.dtype == np.uint8 else rows
            smaller[top : top + _BAND] = light.reshape(-1, 2, width, 2, 3).mean(axis=(1, 3))
        level = smaller
        yield level


def sample(level: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """[N, 3] float64 light at uvs [N, 2] (origin bottom-left) of a mip level [H, W, 3], between its four nearest texels, edges clamped."""
    height, width = level.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, (1.0 - uvs[:, 1]) * height - 0.5
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((len(uvs), 3))
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = np.clip(top + down, 0, height - 1).astype(np.int64), np.clip(left + right, 0, width - 1).astype(np.int64)
            found = level[rows, columns]
            weight = np.abs(1 - right - (x - left)) * np.abs(1 - down - (y - top))
            total += weight[:, None] * (to_linear(found) if found.dtype == np.uint8 else found)
    return total


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* [N, 3] of light [N, 3] in sRGB's primaries (CIE 15:2004, equations 8.3 to 8.8)."""
    ratio = light @ _XYZ.T / _WHITE
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def color_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[N] CIEDE2000 of L*a*b* colours [N, 3]. About 1 is just seen.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", 2005, equations 2 to 22.
    """
    seventh = ((np.hypot(one[:, 1], one[:, 2]) + np.hypot(other[:, 1], other[:, 2])) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    (l1, a1, b1), (l2, a2, b2) = ((c[:, 0], c[:, 1] * stretch, c[:, 2]) for c in (one, other))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = np.where(c1 * c2 == 0, 0.0, (h2 - h1 + 180) % 360 - 180)
    hue_difference = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    hue = np.where(c1 * c2 == 0, h1 + h2, (h1 + turn / 2) % 360)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    by_hue = 1.0 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    by_hue += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.20 * np.cos(np.radians(4 * hue - 63))
    in_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    in_chroma, in_hue = (c2 - c1) / (1 + 0.045 * chroma), hue_difference / (1 + 0.015 * chroma * by_hue)
    bend = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return np.sqrt(np.maximum(in_light**2 + in_chroma**2 + in_hue**2 - bend * in_chroma * in_hue, 0.0))
