"""Polygons cut into triangles: fans where those do, ears where a polygon is not convex."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry.areas import cross_2d

MOST_CUTS = 1_000_000  # sum of the squares of how many corners polygons that are not convex have: some fifteen seconds at worst


def cut_polygons(places: np.ndarray, sizes: np.ndarray, name: str) -> np.ndarray:
    """[T, 3] rows of corners: the triangles of polygons whose corners lie one after another in `places` [C, 3], sizes [P] of them each.

    Raises BadInput where those that are not convex would take more than MOST_CUTS.
    """
    first = np.cumsum(sizes) - sizes
    counts = sizes - 2
    polygon = np.repeat(np.arange(len(sizes)), counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    fans = np.stack([first[polygon], first[polygon] + step + 1, first[polygon] + step + 2], axis=1)
    if not (sizes > 3).any():
        return fans
    with np.errstate(all="ignore"):  # what is not finite is refused later
        across = np.cross(places[fans[:, 1]] - places[fans[:, 0]], places[fans[:, 2]] - places[fans[:, 0]])
        whole = np.stack([np.bincount(polygon, across[:, axis], minlength=len(sizes)) for axis in range(3)], axis=1)
        turned = np.einsum("ti,ti->t", across, whole[polygon]) < 0
    concave = np.unique(polygon[turned])
    if not len(concave):
        return fans
    if (sizes[concave] ** 2).sum() > MOST_CUTS:
        raise BadInput(f"{name}: {len(concave)} polygons of up to {sizes[concave].max()} corners are not convex; write triangles")
    cut = [first[index] + _ears(places[first[index] : first[index] + sizes[index]], whole[index]) for index in concave]
    return np.concatenate([fans[~np.isin(polygon, concave)], *cut])


def _ears(places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """[N - 2, 3] triangles of one polygon [N, 3], seen along its `normal`, by cutting off corners that hold no other."""
    axis = int(np.abs(normal).argmax())
    flat = np.roll(places, -axis, axis=1)[:, 1:] * [1.0, np.sign(normal[axis])]
    left, found = list(range(len(flat))), []
    while len(left) > 3:
        for at in range(len(left)):
            corners = [left[at - 1], left[at], left[(at + 1) % len(left)]]
            a, b, c = flat[corners]
            others = flat[[index for index in left if index not in corners]]
            sides = np.stack([cross_2d(end - start, others - start) for start, end in ((a, b), (b, c), (c, a))])
            if cross_2d(b - a, c - a) > 0 and not (sides > 0).all(axis=0).any():
                break
        else:
            at = 0  # it crosses itself: any cut is as good
            corners = [left[-1], left[0], left[1]]
        found.append(corners)
        del left[at]
    return np.array([*found, left])
