"""Which back end draws: `auto` or a name, resolved in one place."""

from __future__ import annotations

import logging
from functools import cache

import torch

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.render.raster.backend import BackEnd

_LOG = logging.getLogger(__name__)


def resolve_rasterizer(backend: str, device: torch.device | str, commercial: bool = False) -> Rasterizer:
    """The back end that `backend` ("auto" or a name) stands for on `device`; terms that the user has to know are logged as a warning once.

    Raises BadInput where it is unknown, missing or unusable there, or where `commercial` and its licence bars that.
    """
    kind = _kind(backend)
    if commercial and not kind.commercial_use:
        raise BadInput(f"raster.backend {backend!r}: refused with --commercial ({kind.terms}); use --set raster.backend=warp")
    rasterizer = kind(torch.device(device))
    _LOG.info("rasterizer: %s (%s) on %s, asked for %s", rasterizer.name, rasterizer.licence, device, backend)
    if rasterizer.terms is not None:
        _warn_once(rasterizer.terms)
    return rasterizer


def _kind(backend: str) -> type[BackEnd]:
    match backend:
        case "auto" | "warp":
            from dreamfusion_mesh.render.raster.warp import WarpRasterizer

            return WarpRasterizer
        case "nvdiffrast":
            from dreamfusion_mesh.render.raster.nvdiffrast import NvdiffrastRasterizer

            return NvdiffrastRasterizer
        case "kaolin":
            from dreamfusion_mesh.render.raster.kaolin import KaolinRasterizer

            return KaolinRasterizer
        case _:
            raise BadInput(f"raster.backend {backend!r}: not known; there are auto, warp, nvdiffrast and kaolin")


@cache
def _warn_once(terms: str) -> None:
    _LOG.warning("%s", terms)
