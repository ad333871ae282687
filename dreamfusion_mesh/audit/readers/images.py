"""An image file: what its own header states of its size, depth and colour space, and whether it decodes."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dreamfusion_mesh.errors import BadInput

MAX_SIDE = 16_384  # texels; a small file may claim an image that fills the memory
_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = ("JPEG", "WEBP", "AVIF", "DDS")  # than PNG: those that glTF and its extensions know
_SRGB_GAMMA = 45_455  # PNG's gAMA for sRGB, in units of 1 / 100000


@dataclass(frozen=True)
class ImageInfo:
    """What an image file is.

    mime        "image/png", "image/jpeg" ... as Pillow names it
    bits        of each channel
    mode        Pillow's name: "RGB", "RGBA", "L", "P" ...
    color       the colour space that a PNG's chunks state: "sRGB", "linear", "ICC profile", "gamma 0.5", "cICP" or "" (none)
    """

    mime: str
    width: int
    height: int
    bits: int
    mode: str
    color: str


def decode(data: bytes, where: str) -> ImageInfo:
    """Decode a PNG, JPEG, WebP, AVIF or DDS whole. Raises BadInput where it does not, or is larger than MAX_SIDE."""
    bits, color = _png_header(data, where) if data.startswith(_PNG) else (8, "")
    with opened_image(data, where) as image:
        image.load()
        mime = image.get_format_mimetype() or f"image/{str(image.format).lower()}"
        return ImageInfo(mime, image.width, image.height, bits, image.mode, color)


def image_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height by the image's header, without decoding the rest. Raises BadInput as `decode` does."""
    with opened_image(data, where) as image:
        return image.size


@contextmanager
def opened_image(data: bytes, where: str) -> Iterator[Any]:
    """The image by Pillow, of any kind that `decode` reads. Whatever goes wrong with it, while it is open too, is BadInput."""
    from PIL import Image, UnidentifiedImageError

    formats = ("PNG",) if data.startswith(_PNG) else _OTHERS
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=formats) as image:
            if max(image.size) > MAX_SIDE:
                raise BadInput(f"{where}: {image.size[0]} x {image.size[1]}, at most {MAX_SIDE} a side are read")
            yield image
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"{where}: neither PNG nor JPEG, nor another image that is read") from None
    except Exception as error:  # Pillow raises whatever a broken file leads it to
        raise BadInput(f"{where}: does not decode ({' '.join(str(error).split())[:120] or type(error).__name__})") from None


def _png_header(data: bytes, where: str) -> tuple[int, str]:
    """Bits a channel and the colour space that the chunks before the pixels state (PNG specification, section 11.3.2)."""
    bits, color, at = 8, "", 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"IDAT" or len(body) < size:
            break
        if kind == b"IHDR" and size == 13:
            width, height, bits = struct.unpack_from(">IIB", body)
            if max(width, height) > MAX_SIDE:
                raise BadInput(f"{where}: {width} x {height}, at most {MAX_SIDE} a side are read")
        elif kind == b"sRGB":
            color = "sRGB"
        elif kind == b"cICP":
            color = "sRGB" if body[:2] == b"\x01\x0d" else "cICP"
        elif kind == b"iCCP":
            color = "sRGB" if b"srgb" in body.split(b"\0")[0].lower() else "ICC profile"
        elif kind == b"gAMA" and size == 4 and not color:
            gamma = struct.unpack(">I", body)[0]
            color = "linear" if gamma == 100_000 else "sRGB" if abs(gamma - _SRGB_GAMMA) <= 5 else f"gamma {gamma / 100_000:g}"
        at += 12 + size
    return bits, color
