"""Texture maps as delivered: what the image's own header says of its size, depth and colour, and whether it decodes."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from dreamfusion_mesh.audit.readers.written import Map
from dreamfusion_mesh.errors import BadInput

LARGEST_SIDE = 16_384  # texels; a small file may claim a picture that fills the memory
_GREY = ("roughness", "metallic")  # an OBJ's maps of one channel
_SRGB_GAMMA = 45_455  # PNG's gAMA for sRGB, in units of 1 / 100000


@dataclass(frozen=True)
class Picture:
    """What an image file is.

    mime        "image/png" or "image/jpeg"
    bits        of each channel
    mode        Pillow's name: "RGB", "RGBA", "L", "P" ...
    color       what a PNG's chunks say of its colour space: "sRGB", "linear", "ICC profile", "gamma 0.5", "cICP" or "" (nothing said)
    """

    mime: str
    width: int
    height: int
    bits: int
    mode: str
    color: str


def decode(data: bytes, where: str) -> Picture:
    """Decode a PNG or JPEG whole. Raises BadInput where it does not, or is larger than LARGEST_SIDE."""
    from PIL import Image, UnidentifiedImageError

    png = data.startswith(b"\x89PNG\r\n\x1a\n")
    bits, color = _png_facts(data, where) if png else (8, "")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",) if png else ("JPEG",)) as image:
            if max(image.size) > LARGEST_SIDE:
                raise BadInput(f"{where}: {image.size[0]} x {image.size[1]}, at most {LARGEST_SIDE} a side are read")
            image.load()
            return Picture("image/png" if png else "image/jpeg", image.width, image.height, bits, image.mode, color)
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"{where}: neither PNG nor JPEG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{where}: does not decode ({str(error)[:120]})") from None


def map_problems(maps: tuple[Map, ...]) -> tuple[list[str], dict[str, Picture]]:
    """What keeps a material's maps from being game-ready, and each role's picture. Base colour must be there."""
    problems, pictures = [], dict[str, Picture]()
    for entry in maps:
        try:
            pictures[entry.role] = decode(entry.data, entry.role)
        except BadInput as error:
            problems.append(str(error))
    if not any(entry.role == "base color" for entry in maps):
        problems.append("no base color texture")
    for role, picture in pictures.items():
        problems += _picture_problems(role, picture)
    sizes = {(picture.width, picture.height) for picture in pictures.values()}
    if len(sizes) > 1:
        problems.append(f"maps of different sizes: {', '.join(f'{w} x {h}' for w, h in sorted(sizes))}")
    color = {entry.key for entry in maps if entry.role in ("base color", "emissive")}
    shared = color & {entry.key for entry in maps if entry.role not in ("base color", "emissive")}
    if shared:
        problems.append(f"{', '.join(sorted(shared))} is read both as sRGB colour and as linear data")
    return problems, pictures


def _picture_problems(role: str, picture: Picture) -> list[str]:
    problems = []
    if picture.mime != "image/png":
        problems.append(f"{role}: {picture.mime}, expected PNG")
    if picture.bits != 8:
        problems.append(f"{role}: {picture.bits} bits a channel, expected 8")
    if picture.mode not in (("L", "RGB") if role in _GREY else ("RGB", "RGBA")):
        problems.append(f"{role}: channels {picture.mode}, expected {'L or ' if role in _GREY else ''}RGB")
    wanted = "sRGB" if role in ("base color", "emissive") else "linear"
    if picture.color not in ("", wanted):
        problems.append(f"{role}: the PNG says {picture.color}, which contradicts {wanted}")
    if picture.width != picture.height or picture.width & (picture.width - 1):
        problems.append(f"{role}: {picture.width} x {picture.height}, expected a square with a power of two a side")
    return problems


def _png_facts(data: bytes, where: str) -> tuple[int, str]:
    """Bits a channel and the colour space that the chunks before the pixels state (PNG specification, section 11.3.2)."""
    bits, color, at = 8, "", 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"IDAT" or len(body) < size:
            break
        if kind == b"IHDR" and size == 13:
            width, height, bits = struct.unpack_from(">IIB", body)
            if max(width, height) > LARGEST_SIDE:
                raise BadInput(f"{where}: {width} x {height}, at most {LARGEST_SIDE} a side are read")
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
