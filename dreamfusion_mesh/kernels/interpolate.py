"""Values between the corners of faces, at any number of places, on CPU and CUDA. No gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels import interpolate_warp
from dreamfusion_mesh.kernels.launch import as_warp, launch


class Places(NamedTuple):
    """Points on faces: faces [N] int64, and the weights [N, 3] float32 of their corners."""

    faces: Tensor
    weights: Tensor


def interpolate(values: Tensor, corners: Tensor, places: Places, unit: bool = False) -> Tensor:
    """[N, 3] float32: values [V, 3] at places on faces whose corners [F, 3] int64 are rows of them.

    unit  makes them unit vectors; zero stays zero
    """
    found = torch.empty_like(places.weights)
    arguments = [*vectors(values), as_warp(corners.contiguous(), wp.int64), *_where(places), int(unit), *vectors(found)]
    launch(interpolate_warp.interpolate, len(found), arguments, found.device)
    return found


def in_frames(tangents: Tensor, bitangents: Tensor, normals: Tensor, places: Places, directions: Tensor) -> Tensor:
    """[N, 3] the unit vectors x, y, z for which x t + y b + z n has the direction [N, 3]; (0, 0, 1) where it would point below the surface.

    t, b and n are what the corners' tangents, bitangents and normals [F, 3, 3] have at the places between them, each made unit.
    """
    found = torch.empty_like(places.weights)
    frames = [part.reshape(-1, 3) for part in (tangents, bitangents, normals)]
    launch(interpolate_warp.in_frames, len(found), [*vectors(*frames), *_where(places), *vectors(directions, found)], found.device)
    return found


def vectors(*tensors: Tensor) -> list[Any]:
    """Tensors [N, 3] as arrays of float32 vectors for a kernel."""
    return [as_warp(tensor.detach().float().contiguous(), wp.vec3) for tensor in tensors]


def _where(places: Places) -> list[Any]:
    return [as_warp(places.faces.contiguous(), wp.int64), *vectors(places.weights)]
