"""The kernels that blend crossed pairs of pixels, and their adjoints.

Vertices come as in raster_warp.py, pairs and keys as in antialias_warp.py.
"""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

from functools import lru_cache
from typing import Any

import warp as wp

from dreamfusion_mesh.kernels.raster_warp import seen_from

_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))
_ZERO = wp.constant(wp.float64(0.0))
_EDGE_MASK = wp.constant(wp.int64(2**31 - 1))
TURNS = 4  # a pixel takes from at most four neighbours
EVERY_TURN = wp.constant(-1)

wp.get_module(__name__).options.update({"enable_backward": False, "fuse_fp": False})


@wp.func
def _edge(key: wp.int64) -> int:
    return int((key >> wp.int64(1)) & _EDGE_MASK)


@wp.func
def _turned(vertex: wp.vec4d, pair: int, height: int, width: int) -> wp.vec3d:
    """A vertex as (along the pair, across it, w) from the centre of the pair's first pixel."""
    pixel = pair // 2
    seen = seen_from(vertex, wp.float64(pixel % width) + _HALF, wp.float64((pixel // width) % height) + _HALF)
    if pair % 2 == 0:
        return seen
    return wp.vec3d(seen[1], seen[0], seen[2])


@wp.func
def _ends(pair: int, shift: wp.float64, width: int) -> wp.vec2i:
    """The pixel that takes in the other's value, and the other: the boundary lies beyond the middle, on the taking pixel's side."""
    first = pair // 2
    second = first + wp.where(pair % 2 == 0, 1, width)
    if shift >= _ZERO:
        return wp.vec2i(second, first)
    return wp.vec2i(first, second)


@wp.func
def _turn(pair: int, shift: wp.float64) -> int:
    """Which of the taking pixel's neighbours gives: 0 above, 1 left, 2 right, 3 below; the order in which pairs are listed."""
    axis = pair % 2
    return wp.where(shift >= _ZERO, 1 - axis, 2 + axis)


@lru_cache(maxsize=2)
def kernels(real: Any) -> dict[str, Any]:
    """The kernels over found pairs, for images of one precision (wp.float32 or wp.float64), in a module of their own."""
    module = wp.get_module(f"{__name__}_{real.__name__}")
    module.options.update({"enable_backward": False, "fuse_fp": False})
    row4: Any = wp.types.vector(length=4, dtype=real)

    @wp.kernel(module=module)
    def measure(
        projected: wp.array2d(dtype=wp.vec4d),
        edges: wp.array(dtype=wp.vec2l),
        pairs: wp.array(dtype=wp.int64),
        keys: wp.array(dtype=wp.int64),
        height: int,
        width: int,
        shifts: wp.array(dtype=wp.float64),
        start: int,
    ):
        i = start + wp.tid()
        pair = int(pairs[i])
        view = pair // (2 * height * width)
        ends = edges[_edge(keys[i])]
        p = _turned(projected[view, int(ends[0])], pair, height, width)
        q = _turned(projected[view, int(ends[1])], pair, height, width)
        crossing = (q[1] * p[0] - p[1] * q[0]) / (q[1] * p[2] - p[1] * q[2])
        shifts[i] = wp.clamp(crossing, _ZERO, _ONE) - _HALF

    @wp.kernel(module=module)
    def add_shares(
        pairs: wp.array(dtype=wp.int64), shifts: wp.array(dtype=wp.float64), totals: wp.array(dtype=real), width: int, turn: int, start: int
    ):
        i = start + wp.tid()
        pair = int(pairs[i])
        if turn == EVERY_TURN or turn == _turn(pair, shifts[i]):
            wp.atomic_add(totals, _ends(pair, shifts[i], width)[0], real(wp.abs(shifts[i])))

    @wp.kernel(module=module)
    def mix(
        pairs: wp.array(dtype=wp.int64),
        shifts: wp.array(dtype=wp.float64),
        totals: wp.array(dtype=real),
        width: int,
        image: wp.array2d(dtype=real),
        made: wp.array2d(dtype=real),
        turn: int,
        start: int,
    ):
        i = start + wp.tid()
        pair = int(pairs[i])
        if turn != EVERY_TURN and turn != _turn(pair, shifts[i]):
            return
        ends = _ends(pair, shifts[i], width)
        weight = real(wp.abs(shifts[i])) / wp.max(real(1.0), totals[ends[0]])
        for k in range(image.shape[1]):
            wp.atomic_add(made, ends[0], k, weight * (image[ends[1], k] - image[ends[0], k]))

    @wp.kernel(module=module)
    def mix_adjoint(
        pairs: wp.array(dtype=wp.int64),
        shifts: wp.array(dtype=wp.float64),
        totals: wp.array(dtype=real),
        width: int,
        image: wp.array2d(dtype=real),
        upstream: wp.array2d(dtype=real),
        in_image: wp.array2d(dtype=real),
        in_weights: wp.array(dtype=real),
        spent: wp.array(dtype=real),
        start: int,
    ):
        i = start + wp.tid()
        ends = _ends(int(pairs[i]), shifts[i], width)
        size = real(wp.abs(shifts[i]))
        weight = size / wp.max(real(1.0), totals[ends[0]])
        total = real(0.0)
        for k in range(image.shape[1]):
            g = upstream[ends[0], k]
            total += g * (image[ends[1], k] - image[ends[0], k])
            wp.atomic_add(in_image, ends[0], k, -weight * g)
            wp.atomic_add(in_image, ends[1], k, weight * g)
        in_weights[i] = total
        wp.atomic_add(spent, ends[0], size * total)

    @wp.kernel(module=module)
    def measure_adjoint(
        projected: wp.array2d(dtype=wp.vec4d),
        edges: wp.array(dtype=wp.vec2l),
        pairs: wp.array(dtype=wp.int64),
        keys: wp.array(dtype=wp.int64),
        shifts: wp.array(dtype=wp.float64),
        totals: wp.array(dtype=real),
        in_weights: wp.array(dtype=real),
        spent: wp.array(dtype=real),
        height: int,
        width: int,
        made: wp.array2d(dtype=row4),
        start: int,
    ):
        i = start + wp.tid()
        pair = int(pairs[i])
        pixel = pair // 2
        view = pixel // (height * width)
        ends = edges[_edge(keys[i])]
        p = _turned(projected[view, int(ends[0])], pair, height, width)
        q = _turned(projected[view, int(ends[1])], pair, height, width)
        taker = _ends(pair, shifts[i], width)[0]
        total = wp.float64(totals[taker])
        g = wp.float64(in_weights[i])
        if total > _ONE:  # the weights were divided by their sum
            g = g / total - wp.float64(spent[taker]) / (total * total)
        if shifts[i] < _ZERO:
            g = -g
        below = q[1] * p[2] - p[1] * q[2]
        crossing = (q[1] * p[0] - p[1] * q[0]) / below
        g_top = g / below
        g_below = -g_top * crossing
        g_p = wp.vec3d(g_top * q[1], -g_top * q[0] - g_below * q[2], g_below * q[1])
        g_q = wp.vec3d(-g_top * p[1], g_top * p[0] + g_below * p[2], -g_below * p[1])
        half_w = _HALF * wp.float64(width)
        half_h = _HALF * wp.float64(height)
        px = wp.float64(pixel % width) + _HALF
        py = wp.float64((pixel // width) % height) + _HALF
        for k in range(2):
            r = wp.where(k == 0, g_p, g_q)
            gx = wp.where(pair % 2 == 0, r[0], r[1])
            gy = wp.where(pair % 2 == 0, r[1], r[0])
            rest = r[2] + (half_w - px) * gx + (half_h - py) * gy
            wp.atomic_add(made, view, int(ends[k]), row4(real(half_w * gx), real(-half_h * gy), real(0.0), real(rest)))

    defined = (measure, add_shares, mix, mix_adjoint, measure_adjoint)
    return {kernel.func.__name__: kernel for kernel in defined}
