"""Squared distances to planes in the five dimensions of position and UV, summed as quadrics.

Source: Garland & Heckbert, "Simplifying surfaces with color and texture using quadric error metrics", 1998. A quadric is a row of 31
numbers: A [5, 5], b [5], c of x^T A x + 2 b^T x + c, at x = (position, UV_WEIGHT * uv).
"""

from __future__ import annotations

import numpy as np

UV_WEIGHT = 0.3  # measured: the texture then moves by under a pixel where the shape does, at no cost to the shape
_TIE = 1e-12  # of the squared length: shorter edges go first where the surface is flat


def face_quadrics(corners: np.ndarray) -> np.ndarray:
    """[F, 31] squared distance to each face's plane, all faces alike; corners [F, 3, 5]. A face without area gives zeros."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    first, good = _unit(first)
    second, better = _unit(second - (second * first).sum(axis=1, keepdims=True) * first)
    normal = np.eye(5) - first[:, :, None] * first[:, None, :] - second[:, :, None] * second[:, None, :]
    return _packed(normal, corners[:, 0]) * (good & better)[:, None]


def border_quadrics(uvs: np.ndarray) -> np.ndarray:
    """[E, 31] squared distance in UV, unweighted, to the line through each border edge [E, 2, 2]: it keeps the gaps between charts."""
    along, good = _unit(uvs[:, 1] - uvs[:, 0])
    across = np.concatenate([np.zeros((len(along), 3)), -along[:, 1:], along[:, :1]], axis=1)
    origin = np.concatenate([np.zeros((len(along), 3)), UV_WEIGHT * uvs[:, 0]], axis=1)
    return _packed(across[:, :, None] * across[:, None, :], origin) * (good / UV_WEIGHT**2)[:, None]


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = np.linalg.norm(vectors, axis=1)
    return vectors / np.where(length > 0, length, 1.0)[:, None], length > 0


def _packed(matrix: np.ndarray, origin: np.ndarray) -> np.ndarray:
    offset = -np.einsum("nij,nj->ni", matrix, origin)
    return np.concatenate([matrix.reshape(-1, 25), offset, -(offset * origin).sum(axis=1, keepdims=True)], axis=1)


def best_places(
    quadrics: np.ndarray, start: np.ndarray, along: np.ndarray, normal: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where to put the vertex that an edge collapses to: at start + t * along + s * normal, with t in [0, 1].

    quadrics  [E, S, 31]  of both ends together, for each of S charts that see the edge; zeros where fewer do
    start, along  [E, S, 5]   the end that stays, and from it to the other one, weighted
    normal    [E, 3]      of unit length
    held      [E] bool    the vertex stays where it is: t = s = 0
    Gives t, s and the summed squared distance, each [E].
    """
    matrix = quadrics[:, :, :25].reshape(*quadrics.shape[:2], 5, 5)
    offset, constant = quadrics[:, :, 25:30], quadrics[:, :, 30]
    up = np.broadcast_to(np.concatenate([normal, np.zeros((len(normal), 2))], axis=1)[:, None], start.shape)
    at_start, by_along, by_up = (np.einsum("esij,esj->esi", matrix, part) for part in (start, along, up))

    def total(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.einsum("esi,esi->e", one, other)

    base = total(start, at_start + 2 * offset) + constant.sum(axis=1)
    slope_t, slope_s = total(along, at_start + offset), total(up, at_start + offset)
    tt, ts, ss = total(along, by_along), total(along, by_up), total(up, by_up)
    determinant = tt * ss - ts * ts
    solvable = determinant > 1e-9 * tt * ss
    t = np.where(solvable, (slope_s * ts - slope_t * ss) / np.where(solvable, determinant, 1.0), 0.5)
    t = np.where(held, 0.0, np.clip(t, 0, 1))
    length = np.linalg.norm(along[:, 0, :3], axis=1)
    s = np.where(ss > 0, -(slope_s + t * ts) / np.where(ss > 0, ss, 1.0), 0.0)
    s = np.where(held, 0.0, np.clip(s, -0.5 * length, 0.5 * length))
    cost = base + 2 * (t * slope_t + s * slope_s) + t * t * tt + 2 * t * s * ts + s * s * ss
    return t, s, np.maximum(cost, 0.0) + _TIE * length**2
