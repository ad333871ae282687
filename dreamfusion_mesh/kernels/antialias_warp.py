"""The kernel that finds which silhouette edge crosses each pair of pixels; antialias.py launches it. Vertices come as in raster_warp.py.

A pair is a pixel and its neighbour to the right (axis 0) or below (axis 1); its crossing is where, in [0, 1] between the two centres, a
silhouette edge passes. A pair's key is the crossing as seen from the covered pixel (31 bits), the edge (31), and whether the edge is steep
for the pair's axis (1): the greatest key is the outermost edge, and only where that one is steep does the pair blend.
"""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

from dreamfusion_mesh.kernels.raster_warp import edge, seen_from, span_of

_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))
_ZERO = wp.constant(wp.float64(0.0))
_TIE = wp.constant(wp.float64(1e-9))  # pixels; a crossing this close to a centre is offered to the pairs on both its sides
_APART = wp.constant(wp.float64(1e-7))  # of z / w, its rounding in float32: surfaces closer than this are one
_EDGE_ON = wp.constant(wp.float64(1e-9))  # square pixels; a face that covers less has no side, only rounding
_STEPS = wp.constant(wp.float64(2.0**30))

wp.get_module(__name__).options.update({"enable_backward": False, "fuse_fp": False})


@wp.func
def _silhouette(
    projected: wp.array2d(dtype=wp.vec4d),
    view: int,
    line: wp.vec3d,
    size: wp.float64,
    starts: wp.array(dtype=wp.int64),
    opposite: wp.array(dtype=wp.int64),
    k: int,
) -> wp.float64:
    """Side of the edge's line on which all its faces lie; 0 where they lie on both or are seen edge-on."""
    low = _ZERO
    high = _ZERO
    for i in range(int(starts[k]), int(starts[k + 1])):
        p = projected[view, int(opposite[i])]
        e = line[0] * p[0] + line[1] * p[1] + line[2] * p[3]
        if wp.abs(e) > _EDGE_ON * wp.abs(size * p[3]):
            low = wp.min(low, e)
            high = wp.max(high, e)
    if low < _ZERO and high > _ZERO:
        return _ZERO
    return wp.sign(low + high)


@wp.func
def _hides(
    projected: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    view: int,
    f: wp.int64,
    px: wp.float64,
    py: wp.float64,
    depth: wp.float64,
) -> bool:
    """Whether the plane of face f, continued to the point, is not clearly farther than `depth`."""
    corners = faces[int(f)]
    pa = projected[view, int(corners[0])]
    pb = projected[view, int(corners[1])]
    pc = projected[view, int(corners[2])]
    a = seen_from(pa, px, py)
    b = seen_from(pb, px, py)
    c = seen_from(pc, px, py)
    e = wp.vec3d(edge(b, c), edge(c, a), edge(a, b))
    return wp.dot(e, wp.vec3d(pa[2], pb[2], pc[2])) / wp.dot(e, wp.vec3d(pa[3], pb[3], pc[3])) <= depth + _APART


@wp.func
def _offer(
    projected: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    face: wp.array3d(dtype=wp.int64),
    keys: wp.array(dtype=wp.int64),
    view: int,
    axis: int,
    line: int,
    base: int,
    crossing: wp.float64,
    depth: wp.float64,
    low_covered: bool,
    steep: bool,
    k: int,
    rows: wp.vec2i,
):
    """Give the edge to the pair that starts at `base`, if it bounds what the covered pixel sees and lies before what the other sees."""
    height = face.shape[1]
    width = face.shape[2]
    row = wp.where(axis == 0, line, base)
    column = wp.where(axis == 0, base, line)
    if base < 0 or row < rows[0] or row >= rows[1] or row + axis >= height or column + 1 - axis >= width:
        return
    first = face[view, row, column]
    second = face[view, row + axis, column + 1 - axis]
    inner = wp.where(low_covered, first, second)
    outer = wp.where(low_covered, second, first)
    if inner < wp.int64(0) or inner == outer:
        return
    if outer >= wp.int64(0):
        along = wp.float64(base) + _HALF + crossing
        across = wp.float64(line) + _HALF
        px = wp.where(axis == 0, along, across)
        py = wp.where(axis == 0, across, along)
        if _hides(projected, faces, view, outer, px, py, depth):
            return
    reach = wp.clamp(wp.where(low_covered, crossing, _ONE - crossing), _ZERO, _ONE)
    key = (wp.int64(reach * _STEPS) << wp.int64(32)) | (wp.int64(k) << wp.int64(1)) | wp.int64(wp.where(steep, 1, 0))
    wp.atomic_max(keys, 2 * ((view * height + row) * width + column) + axis, key)


@wp.func
def _walk(
    projected: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    face: wp.array3d(dtype=wp.int64),
    keys: wp.array(dtype=wp.int64),
    view: int,
    axis: int,
    p: wp.vec4d,
    q: wp.vec4d,
    low_covered: bool,
    steep: bool,
    k: int,
    rows: wp.vec2i,
):
    """Find the pairs of one axis that an edge crosses; its ends p, q are given as (along the pairs, across them, z, w)."""
    count = wp.where(axis == 0, face.shape[1], face.shape[2])
    lines = wp.vec2i(0, count)
    if wp.min(p[3], q[3]) > _ZERO:
        lines = span_of(wp.min(p[1] / p[3], q[1] / q[3]), wp.max(p[1] / p[3], q[1] / q[3]), count)
    if axis == 0:
        lines = wp.vec2i(wp.max(lines[0], rows[0]), wp.min(lines[1], rows[1]))
    for line in range(lines[0], lines[1]):
        centre = wp.float64(line) + _HALF
        tp = p[1] - centre * p[3]
        tq = q[1] - centre * q[3]
        if (tp > _ZERO) != (tq > _ZERO):
            w = tq * p[3] - tp * q[3]
            depth = (tq * p[2] - tp * q[2]) / w
            if w * (tq - tp) > _ZERO and wp.abs(depth) <= _ONE:
                at = wp.clamp((tq * p[0] - tp * q[0]) / w - _HALF, -_ONE, wp.float64(face.shape[1] + face.shape[2]))
                base = int(wp.floor(at))
                crossing = at - wp.floor(at)
                _offer(projected, faces, face, keys, view, axis, line, base, crossing, depth, low_covered, steep, k, rows)
                if crossing < _TIE:
                    _offer(projected, faces, face, keys, view, axis, line, base - 1, crossing + _ONE, depth, low_covered, steep, k, rows)
                if crossing > _ONE - _TIE:
                    _offer(projected, faces, face, keys, view, axis, line, base + 1, crossing - _ONE, depth, low_covered, steep, k, rows)


@wp.kernel
def cross(
    projected: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    edges: wp.array(dtype=wp.vec2l),
    starts: wp.array(dtype=wp.int64),
    opposite: wp.array(dtype=wp.int64),
    face: wp.array3d(dtype=wp.int64),
    bands: int,
    chunk: int,
    keys: wp.array(dtype=wp.int64),
    start: int,
):
    """One index a view, band of rows and chunk of edges, chunks innermost: offers its silhouette edges to its rows' pairs."""
    index = start + wp.tid()
    count = edges.shape[0]
    chunks = (count + chunk - 1) // chunk
    view = index // (chunks * bands)
    band = (index // chunks) % bands
    first = (index % chunks) * chunk
    rows = wp.vec2i(face.shape[1] * band // bands, face.shape[1] * (band + 1) // bands)
    for k in range(first, wp.min(first + chunk, count)):
        p = projected[view, int(edges[k][0])]
        q = projected[view, int(edges[k][1])]
        if wp.max(p[3], q[3]) > _ZERO:
            line = wp.vec3d(p[1] * q[3] - p[3] * q[1], p[3] * q[0] - p[0] * q[3], p[0] * q[1] - p[1] * q[0])
            side = _silhouette(projected, view, line, p[3] * q[3], starts, opposite, k)
            if side != _ZERO:
                turned_p = wp.vec4d(p[1], p[0], p[2], p[3])
                turned_q = wp.vec4d(q[1], q[0], q[2], q[3])
                steep = wp.abs(line[0]) >= wp.abs(line[1])
                _walk(projected, faces, face, keys, view, 0, p, q, side * line[0] < _ZERO, steep, k, rows)
                _walk(projected, faces, face, keys, view, 1, turned_p, turned_q, side * line[1] < _ZERO, not steep, k, rows)
