"""PNG files of images."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from dreamfusion_mesh.asset.export.png import png_bytes


def test_png_keeps_every_value() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    color = np.stack([values, values.T, values[::-1]], axis=2)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(color)))), color)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(values)))), values)


def test_png_bytes_are_the_same_every_time() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 17, 3), dtype=np.uint8)
    assert png_bytes(image) == png_bytes(image.copy())
    assert png_bytes(image[:, ::-1]) == png_bytes(image[:, ::-1].copy())  # memory in another order
