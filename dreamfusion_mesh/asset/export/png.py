"""Images as PNG files."""

from __future__ import annotations

import io

import numpy as np


def png_bytes(image: np.ndarray) -> bytes:
    """An 8-bit image [H, W, 3] or [H, W] as PNG, without a colour profile or a date: the map's role says whether it is sRGB or linear."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
    return file.getvalue()
