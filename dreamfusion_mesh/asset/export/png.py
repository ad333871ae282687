"""Images as PNG files."""

from __future__ import annotations

import io

import numpy as np


class PngFiles:
    """PNG files of images, each made once: the same maps go into several files of an asset."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[np.ndarray, bytes]] = {}  # by identity; the array is held so that its identity stays its own

    def png(self, image: np.ndarray) -> bytes:
        """As `png_bytes` makes it."""
        if id(image) not in self._made:
            self._made[id(image)] = (image, png_bytes(image))
        return self._made[id(image)][1]


def png_bytes(image: np.ndarray) -> bytes:
    """An 8-bit image [H, W, 3] or [H, W] as PNG, without a colour profile or a date: the map's role says whether it is sRGB or linear."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
    return file.getvalue()
