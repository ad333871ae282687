"""The hash grid's kernels; hashgrid.py documents what each computes."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

from functools import lru_cache
from typing import Any

import warp as wp

_PRIME_Y = wp.constant(wp.uint32(2654435761))
_PRIME_Z = wp.constant(wp.uint32(805459861))


@lru_cache(maxsize=4)
def vector(features: int) -> Any:
    """A row of the table: F float32 values."""
    return wp.types.vector(length=features, dtype=wp.float32)


@wp.func
def _row(cell: wp.vec3i, corner: int, level: wp.vec4i) -> int:
    """Row of a cell's corner: its index in the dense grid, or the hash of arXiv:2201.05989, eq. 4."""
    x = cell[0] + (corner & 1)
    y = cell[1] + ((corner >> 1) & 1)
    z = cell[2] + (corner >> 2)
    if level[3] != 0:
        mixed = wp.uint32(x) ^ (wp.uint32(y) * _PRIME_Y) ^ (wp.uint32(z) * _PRIME_Z)
        return level[1] + int(mixed & wp.uint32(level[2] - 1))
    side = level[0] + 1
    return level[1] + x + side * (y + side * z)


@wp.func
def _locate(point: wp.vec3, level: wp.vec4i) -> tuple[wp.vec3i, wp.vec3]:
    """The cell that holds a point, and where in it the point lies, [0, 1]; the cube's nearest point stands for one outside."""
    n = float(level[0])
    x = wp.clamp(point[0], 0.0, 1.0) * n
    y = wp.clamp(point[1], 0.0, 1.0) * n
    z = wp.clamp(point[2], 0.0, 1.0) * n
    cell = wp.vec3i(wp.min(int(x), level[0] - 1), wp.min(int(y), level[0] - 1), wp.min(int(z), level[0] - 1))
    return cell, wp.vec3(x - float(cell[0]), y - float(cell[1]), z - float(cell[2]))


@wp.func
def _inside(point: wp.vec3) -> wp.vec3:
    """1 along the axes on which the point is within the cube, else 0: the derivative of clamping it into the cube."""
    return wp.vec3(
        wp.where(point[0] >= 0.0 and point[0] <= 1.0, 1.0, 0.0),
        wp.where(point[1] >= 0.0 and point[1] <= 1.0, 1.0, 0.0),
        wp.where(point[2] >= 0.0 and point[2] <= 1.0, 1.0, 0.0),
    )


@wp.func
def _weights(f: wp.vec3, corner: int) -> wp.vec3:
    """The corner's linear weight along each axis; their product is its trilinear weight."""
    return wp.vec3(
        wp.where((corner & 1) != 0, f[0], 1.0 - f[0]),
        wp.where((corner & 2) != 0, f[1], 1.0 - f[1]),
        wp.where((corner & 4) != 0, f[2], 1.0 - f[2]),
    )


@wp.func
def _sides(corner: int) -> wp.vec3:
    """Derivatives of `_weights` in f."""
    return wp.vec3(wp.where((corner & 1) != 0, 1.0, -1.0), wp.where((corner & 2) != 0, 1.0, -1.0), wp.where((corner & 4) != 0, 1.0, -1.0))


@wp.func
def _slope(w: wp.vec3, s: wp.vec3) -> wp.vec3:
    """Gradient of the trilinear weight in f."""
    return wp.vec3(s[0] * w[1] * w[2], w[0] * s[1] * w[2], w[0] * w[1] * s[2])


@wp.func
def _bend(w: wp.vec3, s: wp.vec3, v: wp.vec3) -> wp.vec3:
    """Hessian of the trilinear weight in f, times v."""
    xy = s[0] * s[1] * w[2]
    xz = s[0] * w[1] * s[2]
    yz = w[0] * s[1] * s[2]
    return wp.vec3(xy * v[1] + xz * v[2], xy * v[0] + yz * v[2], xz * v[0] + yz * v[1])


@lru_cache(maxsize=4)
def kernels(features: int) -> dict[str, Any]:
    """The kernels for one number of features a row, in a module of their own."""
    row: Any = vector(features)
    module = wp.get_module(f"dreamfusion_mesh_hashgrid_{features}")
    module.options["enable_backward"] = False

    @wp.kernel(module=module)
    def encode(
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=row),
        made: wp.array(dtype=row),
        layout: wp.array(dtype=wp.vec4i),
        start: int,
    ):
        i = start + wp.tid()
        levels = layout.shape[0]
        for k in range(levels):
            level = layout[k]
            cell, f = _locate(points[i], level)
            total = row()
            for corner in range(8):
                w = _weights(f, corner)
                total += table[_row(cell, corner, level)] * (w[0] * w[1] * w[2])
            made[i * levels + k] = total

    @wp.kernel(module=module)
    def scatter(
        points: wp.array(dtype=wp.vec3),
        upstream: wp.array(dtype=row),
        made: wp.array(dtype=row),
        layout: wp.array(dtype=wp.vec4i),
        order: wp.array(dtype=wp.int32),
        count: int,
        start: int,
    ):
        t = start + wp.tid()
        k = order[t // count]
        i = t % count
        level = layout[k]
        cell, f = _locate(points[i], level)
        u = upstream[i * layout.shape[0] + k]
        for corner in range(8):
            w = _weights(f, corner)
            wp.atomic_add(made, _row(cell, corner, level), u * (w[0] * w[1] * w[2]))

    @wp.kernel(module=module)
    def input_gradient(
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=row),
        upstream: wp.array(dtype=row),
        made: wp.array(dtype=wp.vec3),
        layout: wp.array(dtype=wp.vec4i),
        start: int,
    ):
        i = start + wp.tid()
        levels = layout.shape[0]
        total = wp.vec3()
        for k in range(levels):
            level = layout[k]
            cell, f = _locate(points[i], level)
            u = upstream[i * levels + k]
            slope = wp.vec3()
            for corner in range(8):
                value = wp.dot(table[_row(cell, corner, level)], u)
                slope += _slope(_weights(f, corner), _sides(corner)) * value
            total += slope * float(level[0])
        made[i] = wp.cw_mul(total, _inside(points[i]))

    @wp.kernel(module=module)
    def input_gradient_adjoint(
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=row),
        upstream: wp.array(dtype=row),
        direction: wp.array(dtype=wp.vec3),
        in_table: wp.array(dtype=row),
        in_upstream: wp.array(dtype=row),
        layout: wp.array(dtype=wp.vec4i),
        order: wp.array(dtype=wp.int32),
        count: int,
        start: int,
    ):
        t = start + wp.tid()
        k = order[t // count]
        i = t % count
        level = layout[k]
        cell, f = _locate(points[i], level)
        column = i * layout.shape[0] + k
        u = upstream[column]
        v = wp.cw_mul(direction[i], _inside(points[i])) * float(level[0])
        total = row()
        for corner in range(8):
            slope = wp.dot(_slope(_weights(f, corner), _sides(corner)), v)
            at = _row(cell, corner, level)
            total += table[at] * slope
            wp.atomic_add(in_table, at, u * slope)
        in_upstream[column] = total

    @wp.kernel(module=module)
    def curvature(
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=row),
        upstream: wp.array(dtype=row),
        direction: wp.array(dtype=wp.vec3),
        made: wp.array(dtype=wp.vec3),
        layout: wp.array(dtype=wp.vec4i),
        start: int,
    ):
        i = start + wp.tid()
        v = wp.cw_mul(direction[i], _inside(points[i]))
        levels = layout.shape[0]
        total = wp.vec3()
        for k in range(levels):
            level = layout[k]
            cell, f = _locate(points[i], level)
            u = upstream[i * levels + k]
            bend = wp.vec3()
            for corner in range(8):
                value = wp.dot(table[_row(cell, corner, level)], u)
                bend += _bend(_weights(f, corner), _sides(corner), v) * value
            total += bend * (float(level[0]) * float(level[0]))
        made[i] = wp.cw_mul(total, _inside(points[i]))

    made = (encode, scatter, input_gradient, input_gradient_adjoint, curvature)
    return {kernel.func.__name__: kernel for kernel in made}
