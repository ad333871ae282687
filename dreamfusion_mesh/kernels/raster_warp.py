"""The rasterizer's kernels; what each computes is said in raster.py.

Vertices come as `places` [B, V] of (X, Y, z, w) in float64: clip positions with x and y in pixels times w, Y downwards. Seen from a pixel's
centre (px, py) a vertex is (X - px w, Y - py w); the edge function of corner i is e_i = det of the other two seen so, a determinant that
needs no division, so it holds for w <= 0 too (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates").
Exchanging an edge's ends flips the sign of e exactly (no fused multiply-add), so neighbours never both take or both leave a centre.
"""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

from functools import lru_cache
from typing import Any

import warp as wp

EMPTY = 2**63 - 1  # the key of a pixel that no face covers

_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))
_ZERO = wp.constant(wp.float64(0.0))
_SLACK = wp.constant(wp.float64(1e-6))  # pixels by which boxes are widened, so that rounding loses no centre
_CLIPPED = wp.constant(wp.float64(1.0 + 1e-12))
_DEEP = wp.constant(wp.float64(2147483648.0))
_DEEPEST = wp.constant(wp.int64(2**32 - 1))
_FACE_BITS = wp.constant(wp.int64(31))
_FACE_MASK = wp.constant(wp.int64(2**31 - 1))

wp.get_module(__name__).options.update({"enable_backward": False, "fuse_fp": False})


@wp.func
def span_of(low: wp.float64, high: wp.float64, count: int) -> wp.vec2i:
    """First and one past the last of `count` cells whose centres lie in [low, high]."""
    first = wp.clamp(wp.ceil(low - _HALF - _SLACK), _ZERO, wp.float64(count))
    last = wp.clamp(wp.floor(high - _HALF + _SLACK), -_ONE, wp.float64(count - 1))
    return wp.vec2i(int(first), int(last) + 1)


@wp.func
def seen_from(place: wp.vec4d, px: wp.float64, py: wp.float64) -> wp.vec3d:
    """(X, Y, w) with the pixel's centre as origin."""
    return wp.vec3d(place[0] - px * place[3], place[1] - py * place[3], place[3])


@wp.func
def edge(a: wp.vec3d, b: wp.vec3d) -> wp.float64:
    """Edge function of a to b at the origin."""
    return a[0] * b[1] - a[1] * b[0]


@wp.func
def _side(e: wp.float64, a: wp.vec3d, b: wp.vec3d) -> wp.float64:
    """Sign of the edge function; where it is 0, that at (s, s^2) for vanishing s > 0: every centre falls to one side of an edge."""
    along_x = a[1] * b[2] - a[2] * b[1]
    along_y = a[2] * b[0] - a[0] * b[2]
    return wp.where(
        e != _ZERO, wp.sign(e), wp.where(along_x != _ZERO, wp.sign(along_x), wp.where(along_y != _ZERO, wp.sign(along_y), _ZERO))
    )


@wp.func
def _tied(e: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> bool:
    """Whether a centre that lies on an edge belongs to the triangle."""
    side = _side(e[0], b, c)
    return side != _ZERO and side == _side(e[1], c, a) and side == _side(e[2], a, b)


@wp.func
def _box(a: wp.vec4d, b: wp.vec4d, c: wp.vec4d, height: int, width: int) -> wp.vec4i:
    """Columns [0, 1) and rows [2, 3) that the triangle may cover."""
    if wp.min(a[3], wp.min(b[3], c[3])) > _ZERO:
        ax = a[0] / a[3]
        bx = b[0] / b[3]
        cx = c[0] / c[3]
        ay = a[1] / a[3]
        by = b[1] / b[3]
        cy = c[1] / c[3]
        columns = span_of(wp.min(ax, wp.min(bx, cx)), wp.max(ax, wp.max(bx, cx)), width)
        rows = span_of(wp.min(ay, wp.min(by, cy)), wp.max(ay, wp.max(by, cy)), height)
        return wp.vec4i(columns[0], columns[1], rows[0], rows[1])
    if wp.max(a[3], wp.max(b[3], c[3])) <= _ZERO or wp.max(a[2] + a[3], wp.max(b[2] + b[3], c[2] + c[3])) < _ZERO:
        return wp.vec4i(0, 0, 0, 0)
    return wp.vec4i(0, width, 0, height)


@wp.func
def _key(depth: wp.float64, face: int) -> wp.int64:
    """Depth in 32 bits above the face in 31: the least key is the nearest face, among equals the first."""
    return (wp.min(wp.int64((depth + _ONE) * _DEEP), _DEEPEST) << _FACE_BITS) | wp.int64(face)


@wp.func
def _offer(
    keys: wp.array(dtype=wp.int64),
    face: int,
    pa: wp.vec4d,
    pb: wp.vec4d,
    pc: wp.vec4d,
    view: int,
    row: int,
    column: int,
    height: int,
    width: int,
):
    """Put the face into the pixel if it covers the centre, in front of the camera, between near and far, and is the nearest so far."""
    px = wp.float64(column) + _HALF
    py = wp.float64(row) + _HALF
    a = seen_from(pa, px, py)
    b = seen_from(pb, px, py)
    c = seen_from(pc, px, py)
    e = wp.vec3d(edge(b, c), edge(c, a), edge(a, b))
    low = wp.min(e[0], wp.min(e[1], e[2]))
    high = wp.max(e[0], wp.max(e[1], e[2]))
    covered = low > _ZERO or high < _ZERO
    if not covered:
        covered = (low == _ZERO or high == _ZERO) and _tied(e, a, b, c)
    if covered:
        m = e[0] * a[2] + e[1] * b[2] + e[2] * c[2]
        if m * (low + high) > _ZERO:
            depth = wp.dot(e, wp.vec3d(pa[2], pb[2], pc[2])) / m
            if wp.abs(depth) <= _CLIPPED:
                wp.atomic_min(keys, (view * height + row) * width + column, _key(wp.max(depth, -_ONE), face))


@wp.kernel
def cover(
    places: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    height: int,
    width: int,
    bands: int,
    chunk: int,
    keys: wp.array(dtype=wp.int64),
    start: int,
):
    """One index a view, band of rows and chunk of faces, chunks innermost: offers its faces to its rows."""
    index = start + wp.tid()
    count = faces.shape[0]
    chunks = (count + chunk - 1) // chunk
    view = index // (chunks * bands)
    band = (index // chunks) % bands
    first = (index % chunks) * chunk
    top = height * band // bands
    bottom = height * (band + 1) // bands
    for f in range(first, wp.min(first + chunk, count)):
        corners = faces[f]
        pa = places[view, int(corners[0])]
        pb = places[view, int(corners[1])]
        pc = places[view, int(corners[2])]
        box = _box(pa, pb, pc, height, width)
        for row in range(wp.max(box[2], top), wp.min(box[3], bottom)):
            for column in range(box[0], box[1]):
                _offer(keys, f, pa, pb, pc, view, row, column, height, width)


@wp.kernel
def cover_small(
    places: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    height: int,
    width: int,
    largest: int,
    keys: wp.array(dtype=wp.int64),
    queue: wp.array(dtype=wp.int32),
    queued: wp.array(dtype=wp.int32),
    start: int,
):
    """One index a view and face, faces innermost: offers the face to its box's pixels, or queues it where those are more than `largest`."""
    index = start + wp.tid()
    f = index % faces.shape[0]
    view = index // faces.shape[0]
    corners = faces[f]
    pa = places[view, int(corners[0])]
    pb = places[view, int(corners[1])]
    pc = places[view, int(corners[2])]
    box = _box(pa, pb, pc, height, width)
    if (box[1] - box[0]) * (box[3] - box[2]) > largest:
        queue[wp.atomic_add(queued, 0, 1)] = index
        return
    for row in range(box[2], box[3]):
        for column in range(box[0], box[1]):
            _offer(keys, f, pa, pb, pc, view, row, column, height, width)


@wp.kernel
def cover_queued(
    places: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    height: int,
    width: int,
    lanes: int,
    teams: int,
    queue: wp.array(dtype=wp.int32),
    queued: wp.array(dtype=wp.int32),
    keys: wp.array(dtype=wp.int64),
    start: int,
):
    """One index a lane, `lanes` of them a team: a team takes every teams-th queued face, its lanes the box's pixels in turn."""
    index = start + wp.tid()
    lane = index % lanes
    for q in range(index // lanes, queued[0], teams):
        f = queue[q] % faces.shape[0]
        view = queue[q] // faces.shape[0]
        corners = faces[f]
        pa = places[view, int(corners[0])]
        pb = places[view, int(corners[1])]
        pc = places[view, int(corners[2])]
        box = _box(pa, pb, pc, height, width)
        wide = box[1] - box[0]
        for p in range(lane, wide * (box[3] - box[2]), lanes):
            _offer(keys, f, pa, pb, pc, view, box[2] + p // wide, box[0] + p % wide, height, width)


@lru_cache(maxsize=2)
def kernels(real: Any) -> dict[str, Any]:
    """The kernels that read or write the caller's precision (wp.float32 or wp.float64), in a module of their own."""
    module = wp.get_module(f"{__name__}_{real.__name__}")
    module.options.update({"enable_backward": False, "fuse_fp": False})
    row3: Any = wp.types.vector(length=3, dtype=real)
    row4: Any = wp.types.vector(length=4, dtype=real)

    @wp.kernel(module=module)
    def resolve(
        places: wp.array2d(dtype=wp.vec4d),
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
        pa = places[view, int(corners[0])]
        pb = places[view, int(corners[1])]
        pc = places[view, int(corners[2])]
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
        places: wp.array2d(dtype=wp.vec4d),
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
        pa = places[view, int(corners[0])]
        pb = places[view, int(corners[1])]
        pc = places[view, int(corners[2])]
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
        place = i // slot
        total = row3()
        for k in range(attributes.shape[2]):
            g = upstream[i, k]
            total += row3(g * attributes[view, a, k], g * attributes[view, b, k], g * attributes[view, c, k])
            wp.atomic_add(in_attributes, place, a, k, g * weights[0])
            wp.atomic_add(in_attributes, place, b, k, g * weights[1])
            wp.atomic_add(in_attributes, place, c, k, g * weights[2])
        in_bary[i] = total

    made = (resolve, resolve_adjoint, blend_corners, blend_corners_adjoint)
    return {kernel.func.__name__: kernel for kernel in made}
