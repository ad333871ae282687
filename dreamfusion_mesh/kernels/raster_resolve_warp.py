"""The rasterizer's kernels after coverage: weights, depth and interpolation, and their adjoints. Vertices come as in raster_warp.py."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

from functools import lru_cache
from typing import Any

import warp as wp

from dreamfusion_mesh.kernels.raster_warp import EMPTY, edge, seen_from

_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))
_FACE_MASK = wp.constant(wp.int64(2**31 - 1))


@lru_cache(maxsize=2)
def kernels(real: Any) -> dict[str, Any]:
    """The kernels that read or write the caller's precision (wp.float32 or wp.float64), in a module of their own."""
    module = wp.get_module(f"{__name__}_{real.__name__}")
    module.options.update({"enable_backward": False, "fuse_fp": False})
    row3: Any = wp.types.vector(length=3, dtype=real)
    row4: Any = wp.types.vector(length=4, dtype=real)

    @wp.kernel(module=module)
    def resolve(
        projected: wp.array2d(dtype=wp.vec4d),
        faces: wp.array(dtype=wp.vec3l),
        keys: wp.array(dtype=wp.int64),
        height: int,
        width: int,
        face: wp.array(dtype=wp.int64),
        bary: wp.array(dtype=row3),
        depth: wp.array(dtype=real),
        start: int,
    ):
        i = start + wp.tid()
        key = keys[i]
        if key == wp.int64(EMPTY):
            face[i] = wp.int64(-1)
            bary[i] = row3()
            depth[i] = real(1.0)
            return
        f = key & _FACE_MASK
        face[i] = f
        corners = faces[int(f)]
        view = i // (height * width)
        pa = projected[view, int(corners[0])]
        pb = projected[view, int(corners[1])]
        pc = projected[view, int(corners[2])]
        px = wp.float64(i % width) + _HALF
        py = wp.float64((i // width) % height) + _HALF
        a = seen_from(pa, px, py)
        b = seen_from(pb, px, py)
        c = seen_from(pc, px, py)
        e = wp.vec3d(edge(b, c), edge(c, a), edge(a, b))
        weights = e / (e[0] + e[1] + e[2])
        bary[i] = row3(real(weights[0]), real(weights[1]), real(weights[2]))
        depth[i] = real(wp.dot(e, wp.vec3d(pa[2], pb[2], pc[2])) / wp.dot(e, wp.vec3d(pa[3], pb[3], pc[3])))

    @wp.kernel(module=module)
    def resolve_adjoint(
        projected: wp.array2d(dtype=wp.vec4d),
        faces: wp.array(dtype=wp.vec3l),
        face: wp.array(dtype=wp.int64),
        height: int,
        width: int,
        in_bary: wp.array(dtype=row3),
        in_depth: wp.array(dtype=real),
        slot: int,
        made: wp.array2d(dtype=row4),
        start: int,
    ):
        i = start + wp.tid()
        if face[i] < wp.int64(0):
            return
        corners = faces[int(face[i])]
        view = i // (height * width)
        pa = projected[view, int(corners[0])]
        pb = projected[view, int(corners[1])]
        pc = projected[view, int(corners[2])]
        px = wp.float64(i % width) + _HALF
        py = wp.float64((i // width) % height) + _HALF
        a = seen_from(pa, px, py)
        b = seen_from(pb, px, py)
        c = seen_from(pc, px, py)
        e = wp.vec3d(edge(b, c), edge(c, a), edge(a, b))
        total = e[0] + e[1] + e[2]
        weights = e / total
        z = wp.vec3d(pa[2], pb[2], pc[2])
        w = wp.vec3d(pa[3], pb[3], pc[3])
        far = _ONE / wp.dot(weights, w)
        deep = wp.dot(weights, z) * far
        g_deep = wp.float64(in_depth[i]) * far
        g = wp.vec3d(wp.float64(in_bary[i][0]), wp.float64(in_bary[i][1]), wp.float64(in_bary[i][2])) + g_deep * (z - deep * w)
        g_e = (g - wp.vec3d(_ONE, _ONE, _ONE) * wp.dot(g, weights)) / total
        g_z = g_deep * weights
        g_w = -deep * g_z
        # e_a = b x c, e_b = c x a, e_c = a x b, and each corner stands in two of them
        gx = wp.vec3d(
            g_e[2] * b[1] - g_e[1] * c[1],
            g_e[0] * c[1] - g_e[2] * a[1],
            g_e[1] * a[1] - g_e[0] * b[1],
        )
        gy = wp.vec3d(
            g_e[1] * c[0] - g_e[2] * b[0],
            g_e[2] * a[0] - g_e[0] * c[0],
            g_e[0] * b[0] - g_e[1] * a[0],
        )
        half_w = _HALF * wp.float64(width)
        half_h = _HALF * wp.float64(height)
        for k in range(3):
            rest = g_w[k] + (half_w - px) * gx[k] + (half_h - py) * gy[k]
            row = row4(real(half_w * gx[k]), real(-half_h * gy[k]), real(g_z[k]), real(rest))
            wp.atomic_add(made, i // slot, int(corners[k]), row)

    @wp.kernel(module=module)
    def blend_corners(
        attributes: wp.array3d(dtype=real),
        faces: wp.array(dtype=wp.vec3l),
        face: wp.array(dtype=wp.int64),
        bary: wp.array(dtype=row3),
        size: int,
        made: wp.array2d(dtype=real),
        start: int,
    ):
        i = start + wp.tid()
        if face[i] < wp.int64(0):
            for k in range(attributes.shape[2]):
                made[i, k] = real(0.0)
            return
        corners = faces[int(face[i])]
        a = int(corners[0])
        b = int(corners[1])
        c = int(corners[2])
        weights = bary[i]
        view = (i // size) % attributes.shape[0]
        for k in range(attributes.shape[2]):
            made[i, k] = weights[0] * attributes[view, a, k] + weights[1] * attributes[view, b, k] + weights[2] * attributes[view, c, k]

    @wp.kernel(module=module)
    def blend_corners_adjoint(
        attributes: wp.array3d(dtype=real),
        faces: wp.array(dtype=wp.vec3l),
        face: wp.array(dtype=wp.int64),
        bary: wp.array(dtype=row3),
        size: int,
        upstream: wp.array2d(dtype=real),
        slot: int,
        in_attributes: wp.array3d(dtype=real),
        in_bary: wp.array(dtype=row3),
        start: int,
    ):
        i = start + wp.tid()
        if face[i] < wp.int64(0):
            in_bary[i] = row3()
            return
        corners = faces[int(face[i])]
        a = int(corners[0])
        b = int(corners[1])
        c = int(corners[2])
        weights = bary[i]
        view = (i // size) % attributes.shape[0]
        buffer = i // slot
        total = row3()
        for k in range(attributes.shape[2]):
            g = upstream[i, k]
            total += row3(g * attributes[view, a, k], g * attributes[view, b, k], g * attributes[view, c, k])
            wp.atomic_add(in_attributes, buffer, a, k, g * weights[0])
            wp.atomic_add(in_attributes, buffer, b, k, g * weights[1])
            wp.atomic_add(in_attributes, buffer, c, k, g * weights[2])
        in_bary[i] = total

    defined = (resolve, resolve_adjoint, blend_corners, blend_corners_adjoint)
    return {kernel.func.__name__: kernel for kernel in defined}
