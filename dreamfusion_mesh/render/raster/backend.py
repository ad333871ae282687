"""What every back end shares: the contract's checks, meshes that differ from view to view, and why a back end cannot be used."""

from __future__ import annotations

import importlib
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from dreamfusion_mesh.contracts import Limits
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Fragments

Made = TypeVar("Made")
_MOST_PIXELS = 2**30  # a pair of pixels is counted in 31 bits


class Absent(Enum):
    """What a machine may lack; a back end that fails for any other reason is there and broken."""

    CARD = "no card"
    PACKAGE = "package not installed"
    COMPILER = "no compiler"


@dataclass(frozen=True)
class Cause:
    """Why a back end cannot be used, in words; `absent` is None where everything it needs is there and it fails all the same."""

    words: str
    absent: Absent | None = None

    def __str__(self) -> str:
        return self.words


class Unusable(BadInput):
    """A back end that was named and cannot be used: every cause, and what to do."""

    def __init__(self, name: str, causes: Sequence[Cause], remedy: str) -> None:
        super().__init__(f"raster.backend {name!r}: {'; and '.join(map(str, causes))}. {remedy}, or use --set raster.backend=warp")
        self.causes = tuple(causes)

    @property
    def is_broken(self) -> bool:
        """Whether any cause is a failure of a part that is there: then the back end's tests fail, else they are skipped."""
        return any(cause.absent is None for cause in self.causes)


class BackEnd(ABC):
    """The three operations of contracts.Rasterizer, checked and split into meshes; a back end draws one mesh in many views."""

    name: str
    licence: str
    terms: str | None = None
    commercial_use: bool = True
    limits: Limits = Limits()

    @abstractmethod
    def __init__(self, device: torch.device) -> None:
        """Raises BadInput where the back end cannot be used on `device`."""

    @abstractmethod
    def draw(self, clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """face, bary and depth of Fragments, from clip [B, V, 4] and faces [F, 3]."""

    @abstractmethod
    def blend(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """attributes [1 or B, V, C] to [B, H, W, C], with faces [F, 3]."""

    @abstractmethod
    def smooth(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """image [B, H, W, C] antialiased, with faces [F, 3]."""

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """See contracts.Rasterizer."""
        height, width = size
        self._check_clip(clip, None)
        _check_faces(faces, len(clip), clip.shape[1], clip.device)
        if height < 1 or width < 1 or len(clip) * height * width > _MOST_PIXELS:
            raise ValueError(f"size: {height} x {width} for {len(clip)} views, expected 1 or more each way and at most 2^30 pixels in all")
        parts = [self.draw(clip[view], own, height, width) for view, own in _meshes(faces, len(clip))]
        return Fragments(*(_joined(part) for part in zip(*parts, strict=True)))

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """See contracts.Rasterizer."""
        views = len(fragments.face)
        per_view = attributes.dim() == 3
        if attributes.dim() not in (2, 3) or (per_view and len(attributes) != views):
            raise ValueError(f"attributes: shape {list(attributes.shape)}, expected [V, C] or [{views}, V, C]")
        _check_values("attributes", attributes, fragments.bary)
        _check_faces(faces, views, attributes.shape[-2], attributes.device)
        _check_fragments(fragments, faces)
        values = attributes if per_view else attributes[None]
        parts = [self.blend(values[view] if per_view else values, _of(fragments, view), own) for view, own in _meshes(faces, views)]
        return _joined(parts)

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """See contracts.Rasterizer."""
        shape = fragments.face.shape
        if image.dim() != 4 or image.shape[:3] != shape:
            raise ValueError(f"image: shape {list(image.shape)}, expected {[*shape, '?']}")
        self._check_clip(clip, len(image))
        _check_values("image", image, clip)
        _check_faces(faces, len(image), clip.shape[1], clip.device)
        _check_fragments(fragments, faces)
        parts = [self.smooth(image[view], _of(fragments, view), clip[view], own) for view, own in _meshes(faces, len(image))]
        return _joined(parts)

    def _check_clip(self, clip: Tensor, views: int | None) -> None:
        if clip.dim() != 3 or clip.shape[2] != 4 or (views is not None and clip.shape[0] != views):
            raise ValueError(f"clip: shape {list(clip.shape)}, expected [{'B' if views is None else views}, V, 4]")
        if clip.dtype not in self.limits.precisions:
            allowed = " or ".join(map(str, self.limits.precisions))
            raise ValueError(f"clip: dtype {clip.dtype} of shape {list(clip.shape)}, expected {allowed} for {self.name}")
        finite = torch.isfinite(clip.detach())
        if not bool(finite.all()):
            view, vertex, _ = (~finite).nonzero()[0].tolist()
            raise ValueError(f"clip: shape {list(clip.shape)} holds NaN or infinity, first at view {view}, vertex {vertex}")


def nothing_drawn(clip: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """face, bary and depth of a picture without a face; their gradients in `clip` are zero rather than missing."""
    zero = (clip * 0).sum()
    shape = (len(clip), height, width)
    face = torch.full(shape, -1, dtype=torch.int64, device=clip.device)
    return face, clip.new_zeros(*shape, 3) + zero, clip.new_ones(shape) + zero


class LastValueCache(Generic[Made]):
    """What `make` returns for a tensor; the last value is cached while its tensor lives unchanged."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._last: tuple[weakref.ref[Tensor], int, tuple[Any, ...], Made] | None = None

    def __call__(self, given: Tensor, *more: Any) -> Made:
        if given.is_inference():  # has no version to tell a change by
            return self._make(given, *more)
        last = self._last
        if last is None or last[0]() is not given or last[1:3] != (given._version, more):
            last = (weakref.ref(given), given._version, more, self._make(given, *more))
            self._last = last
        return last[3]


# One reduction for all three operations on a picture: on a card each would wait for the work queued before it.
_span: LastValueCache[list[int]] = LastValueCache(lambda faces: torch.stack(faces.aminmax()).tolist())
_highest: LastValueCache[int] = LastValueCache(lambda face: int(face.max()))


def load_module(name: str, packages: Sequence[str]) -> tuple[ModuleType | None, Cause | None]:
    """The module, or why it does not import and which of the packages that may carry it are installed."""
    root = name.partition(".")[0]
    try:
        importlib.import_module(root)
        return importlib.import_module(name), None
    except Exception as error:  # optional packages fail in their own ways: a wrong torch, a library that is not there
        installed = " and ".join(f"{package} is {_version(package)}" for package in packages)
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == root
        words = f"{name} does not import ({first_line(error)}; {installed})"
        return None, Cause(words, Absent.PACKAGE if is_absent else None)


def not_on_cuda(device: torch.device) -> Cause | None:
    """Why a part that runs on CUDA alone cannot run on `device`; None where it can."""
    if not torch.cuda.is_available():
        return Cause("it needs a CUDA device and none was found", Absent.CARD)
    return None if device.type == "cuda" else Cause(f"it needs a CUDA device and this run is on {device}: use --device cuda")


def first_line(error: BaseException) -> str:
    """The line of an error that says most, cut to a line's length: of a compiler's many the first that names a cause, else the first."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if any(word in line.lower() for word in ("not found", "error:", "fatal"))), lines[0])[:200]


def _version(package: str) -> str:
    try:
        return f"installed in version {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return "not installed"


def _meshes(faces: Tensor, views: int) -> list[tuple[slice, Tensor]]:
    """The views that share a mesh, and its faces [F, 3]: all of them, or each its own."""
    if faces.dim() == 2:
        return [(slice(None), faces)]
    if views == 0:  # of no view there is no mesh either
        return [(slice(None), faces.reshape(0, 3))]
    return [(slice(view, view + 1), own) for view, own in enumerate(faces)]


def _of(fragments: Fragments, view: slice) -> Fragments:
    return Fragments(fragments.face[view], fragments.bary[view], fragments.depth[view])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _check_values(name: str, values: Tensor, like: Tensor) -> None:
    if values.dtype != like.dtype or values.device != like.device:
        raise ValueError(f"{name}: {values.dtype} {list(values.shape)} on {values.device}, expected {like.dtype} on {like.device}")


def _check_faces(faces: Tensor, views: int, vertices: int, device: torch.device) -> None:
    shaped = faces.dim() in (2, 3) and faces.shape[-1] == 3 and (faces.dim() == 2 or len(faces) == views)
    if not shaped or faces.dtype != torch.int64 or faces.device != device:
        expected = f"expected torch.int64 [F, 3] or [{views}, F, 3] on {device}"
        raise ValueError(f"faces: {faces.dtype} {list(faces.shape)} on {faces.device}, {expected}")
    if faces.numel() == 0:
        return
    low, high = _span(faces)
    if low < 0 or high >= vertices:
        raise ValueError(f"faces: shape {list(faces.shape)} with vertices {low} to {high}, expected 0 to {vertices - 1}")


def _check_fragments(fragments: Fragments, faces: Tensor) -> None:
    face, bary, depth = fragments.face, fragments.bary, fragments.depth
    fits = face.dim() == 3 and face.dtype == torch.int64 and bary.shape == (*face.shape, 3) and depth.shape == face.shape
    if not fits or not face.device == bary.device == depth.device == faces.device:
        raise ValueError(
            f"fragments: face {face.dtype} {list(face.shape)} on {face.device}, bary {list(bary.shape)} on {bary.device}, "
            f"depth {list(depth.shape)} on {depth.device}; expected torch.int64 [B, H, W], [B, H, W, 3] and [B, H, W] on {faces.device}"
        )
    if face.numel() and _highest(face) >= faces.shape[-2]:
        raise ValueError(f"fragments: face {_highest(face)} seen, expected below {faces.shape[-2]}: they are of another mesh")
