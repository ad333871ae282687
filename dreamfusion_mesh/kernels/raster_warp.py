"""The rasterizer's coverage kernels: which face is nearest at each pixel's centre; raster.py launches them.

Vertices come as `projected` [B, V] of (X, Y, z, w) in float64: clip positions with x and y in pixels times w, Y downwards (raster.py's
`to_pixel_space`). Seen from a pixel's centre (px, py) a vertex is (X - px w, Y - py w); the edge function of corner i is e_i = det of the
other two seen so, a determinant that needs no division, so it holds for w <= 0 too (Olano and Greer 1997, "Triangle scan conversion using
2D homogeneous coordinates").
Exchanging an edge's ends flips the sign of e exactly (no fused multiply-add), so neighbours never both take or both leave a centre.
"""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

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

wp.get_module(__name__).options.update({"enable_backward": False, "fuse_fp": False})


@wp.func
def span_of(low: wp.float64, high: wp.float64, count: int) -> wp.vec2i:
    """First and one past the last of `count` cells whose centres lie in [low, high]."""
    first = wp.clamp(wp.ceil(low - _HALF - _SLACK), _ZERO, wp.float64(count))
    last = wp.clamp(wp.floor(high - _HALF + _SLACK), -_ONE, wp.float64(count - 1))
    return wp.vec2i(int(first), int(last) + 1)


@wp.func
def seen_from(vertex: wp.vec4d, px: wp.float64, py: wp.float64) -> wp.vec3d:
    """(X, Y, w) with the pixel's centre as origin."""
    return wp.vec3d(vertex[0] - px * vertex[3], vertex[1] - py * vertex[3], vertex[3])


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
def _offer_face(
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
    projected: wp.array2d(dtype=wp.vec4d),
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
        pa = projected[view, int(corners[0])]
        pb = projected[view, int(corners[1])]
        pc = projected[view, int(corners[2])]
        box = _box(pa, pb, pc, height, width)
        for row in range(wp.max(box[2], top), wp.min(box[3], bottom)):
            for column in range(box[0], box[1]):
                _offer_face(keys, f, pa, pb, pc, view, row, column, height, width)


@wp.kernel
def cover_small(
    projected: wp.array2d(dtype=wp.vec4d),
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
    pa = projected[view, int(corners[0])]
    pb = projected[view, int(corners[1])]
    pc = projected[view, int(corners[2])]
    box = _box(pa, pb, pc, height, width)
    if (box[1] - box[0]) * (box[3] - box[2]) > largest:
        queue[wp.atomic_add(queued, 0, 1)] = index
        return
    for row in range(box[2], box[3]):
        for column in range(box[0], box[1]):
            _offer_face(keys, f, pa, pb, pc, view, row, column, height, width)


@wp.kernel
def cover_queued(
    projected: wp.array2d(dtype=wp.vec4d),
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
        pa = projected[view, int(corners[0])]
        pb = projected[view, int(corners[1])]
        pc = projected[view, int(corners[2])]
        box = _box(pa, pb, pc, height, width)
        wide = box[1] - box[0]
        for p in range(lane, wide * (box[3] - box[2]), lanes):
            _offer_face(keys, f, pa, pb, pc, view, box[2] + p // wide, box[0] + p % wide, height, width)
