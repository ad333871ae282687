"""nvdiffrast as a back end: its conventions, and its licence's terms, stay in here."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import sys
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.contracts import Limits
from dreamfusion_mesh.records import Fragments
from dreamfusion_mesh.render.raster.backend import (
    Absent,
    Cause,
    LastValueCache,
    Unusable,
    first_line,
    load_module,
    not_on_cuda,
    nothing_drawn,
)
from dreamfusion_mesh.render.raster.warp import WarpRasterizer

_MODULE = "nvdiffrast.torch"
_PACKAGES = ("nvdiffrast", "diffrp-nvdiffrast")
_TILE = 8  # pixels; older versions draw whole tiles alone
_GRID = 16  # steps a pixel
_MOST_FACES = 2**24  # faces are counted in a float
_PLUGIN = "nvdiffrast_plugin"  # how the name of the compiled module begins
_REMEDY = "Install it with: pip install diffrp-nvdiffrast ninja, beside a CUDA build of torch and a CUDA toolkit of the same version"


class NvdiffrastRasterizer(WarpRasterizer):
    """nvdiffrast on CUDA (Laine et al. 2020, arXiv:2011.03277), compiled on first use, for which face each pixel sees and interpolation.

    Antialiasing is the Warp back end's: nvdiffrast's own looks for outlines among the edges of faces that a pixel's centre sees, so it
    loses those of small faces. It is given corners rounded as nvdiffrast rounds them to decide what covers a centre.

    Not given of the contract: float64; an order among faces at equal depth; coverage, outlines and which face is nearer, closer to an edge
    or to where faces cross than the sixteenth of a pixel that corners are rounded to. Sums in backward are atomic, in no fixed order.
    Its pictures begin with the row at the bottom, so it is given the scene upside down; then centres on an edge fall to the same side as in
    the Warp back end, too. Its faces are int32 and counted from 1, its (u, v) weight corners 0 and 1, and its z / w carries no gradient, so
    depth is made from the weights and the corners' z and w.
    """

    name = "nvdiffrast"
    licence = "Nvidia Source Code License (1-Way Commercial)"
    terms = "nvdiffrast may be used for research or evaluation only, not for any monetary gain (section 3.3 of its licence)"
    commercial_use = False
    limits = Limits((torch.float32,), edge=1 / _GRID, first_of_equals=False)

    def __init__(self, device: torch.device) -> None:
        causes = missing(device)
        if causes:
            raise Unusable(self.name, causes, _REMEDY)
        super().__init__(device)
        ops: Any = load_module(_MODULE, _PACKAGES)[0]
        self._ops = ops
        self._triangles = LastValueCache(lambda faces: faces.to(torch.int32).contiguous())
        try:
            self._context = _make_context(ops, device)
            self._try(device)
        except Exception as error:  # a compiler's, a linker's or a driver's: whatever it is, the user has to know
            raise Unusable(self.name, [_failed_step(error, device)], _REMEDY) from error

    def _try(self, device: torch.device) -> None:
        """Draw a triangle over the upper left half of a tile, so that what is broken or other than documented is known before the work."""
        clip = torch.tensor([[[-1.0, 1, 0, 1], [-1, -1.2, 0, 1], [1.2, 1, 0, 1]]], device=device)
        face, _, _ = self.draw(clip, torch.tensor([[0, 1, 2]], device=device), _TILE, _TILE)
        if face[0, 0, 0] != 0 or face[0, -1, -1] != -1:
            raise RuntimeError("a test triangle was not drawn where it lies")

    def draw(self, clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """See BackEnd."""
        if len(faces) > _MOST_FACES:
            raise ValueError(f"faces: shape {list(faces.shape)}, expected at most {_MOST_FACES} for {self.name}")
        if clip.numel() == 0 or len(faces) == 0:
            return nothing_drawn(clip, height, width)
        triangles = self._triangles(faces)
        tall, wide = (-(-side // _TILE) * _TILE for side in (height, width))
        positions = _upside_down(clip, height / tall, width / wide)
        raster, _ = self._ops.rasterize(self._context, positions, triangles, (tall, wide), grad_db=False)
        deep, _ = self._ops.interpolate(clip[..., 2:].contiguous(), raster, triangles)
        raster, deep = (part[:, :height, :width] for part in (raster, deep))
        face = raster[..., 3].long() - 1
        seen = face >= 0
        u, v = raster[..., 0], raster[..., 1]
        bary = torch.where(seen[..., None], torch.stack((u, v, 1 - u - v), dim=-1), 0)
        depth = torch.where(seen, deep[..., 0] / torch.where(seen, deep[..., 1], 1), 1)
        return face, bary, depth

    def blend(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """See BackEnd."""
        if attributes.numel() == 0 or len(faces) == 0 or fragments.face.numel() == 0:
            return attributes.new_zeros(*fragments.face.shape, attributes.shape[2]) + (attributes * 0).sum() + (fragments.bary * 0).sum()
        made, _ = self._ops.interpolate(attributes.contiguous(), _raster(fragments), self._triangles(faces))
        return made

    def smooth(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """See BackEnd."""
        return super().smooth(image, fragments, _rounded(clip, *image.shape[1:3]), faces)


def missing(device: torch.device) -> list[Cause]:
    """Every cause that keeps nvdiffrast from being tried on `device`; whether it compiles is not among them."""
    causes = (load_module(_MODULE, _PACKAGES)[1], not_on_cuda(device))
    return [cause for cause in causes if cause]


def _make_context(ops: Any, device: torch.device) -> Any:
    """nvdiffrast's CUDA context; the first one of a process compiles the plugin, or finds it compiled.

    The package then imports its plugin by name, which fails since pybind11 3: modules initialised in phases (PEP 489) do not enter
    sys.modules when torch.utils.cpp_extension loads them. So the plugin is imported from its build folder, and the package asked again.
    """
    try:
        return ops.RasterizeCudaContext(device=device)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(_PLUGIN):
            raise
        _import_built(error.name)
    return ops.RasterizeCudaContext(device=device)


def _import_built(name: str) -> None:
    """Import an extension that torch.utils.cpp_extension has built; its folder is on the path for this import alone."""
    from torch.utils import cpp_extension

    folder = cpp_extension._get_build_directory(name, False)
    sys.path.insert(0, folder)
    try:
        importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def _failed_step(error: Exception, device: torch.device) -> Cause:
    """Which step of loading nvdiffrast raised `error`: compiling, importing what was compiled or something else, or drawing."""
    from torch.utils import cpp_extension

    code = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    if isinstance(error, ImportError):
        built = (error.name or "").startswith(_PLUGIN) or _import_built.__code__ in code
        step = "it is compiled, but its plugin does not import" if built else "loading it failed"
        return Cause(f"{step} ({first_line(error)})")
    if not any(each.co_filename == cpp_extension.__file__ for each in code):
        return Cause(f"drawing with it failed on {device} ({first_line(error)})")
    tool = _missing_tool()
    if tool is not None:
        return Cause(f"it is not compiled yet and {tool} was not found ({first_line(error)})", Absent.COMPILER)
    return Cause(f"compiling it failed ({first_line(error)})")


def _missing_tool() -> str | None:
    """What compiling a CUDA extension needs and this machine lacks."""
    from torch.utils import cpp_extension

    home = cpp_extension.CUDA_HOME
    if home is None or shutil.which("nvcc", path=os.path.join(home, "bin")) is None:
        return "a CUDA toolkit"
    if not cpp_extension.is_ninja_available():
        return "ninja"
    return None if shutil.which(shlex.split(cpp_extension.get_cxx_compiler())[0]) else "a C++ compiler"


def _upside_down(clip: Tensor, tall: float, wide: float) -> Tensor:
    """Clip positions with the top row at the bottom, where the picture is this share of a larger one each way."""
    x, y, z, w = clip.unbind(dim=-1)
    if tall == wide == 1:
        return torch.stack((x, -y, z, w), dim=-1)
    return torch.stack(((x + w) * wide - w, (w - y) * tall - w, z, w), dim=-1)


def _rounded(clip: Tensor, height: int, width: int) -> Tensor:
    """Clip positions moved to whole steps of nvdiffrast's grid in the picture; gradients pass as if they had not moved."""
    grid = clip.new_tensor([width, height], dtype=torch.float64) * (_GRID / 2)
    there = clip.detach().double()
    w = there[..., 3:]
    moved = torch.where(w > 0, (there[..., :2] / w * grid).round() / grid * w, there[..., :2])
    return clip + torch.cat((moved - there[..., :2], torch.zeros_like(moved)), dim=-1).to(clip)


def _raster(fragments: Fragments) -> Tensor:
    """nvdiffrast's [B, H, W, 4] of (u, v, z / w, face + 1)."""
    bary = fragments.bary
    parts = (bary[..., 0], bary[..., 1], fragments.depth.to(bary), (fragments.face + 1).to(bary))
    return torch.stack(parts, dim=-1)
