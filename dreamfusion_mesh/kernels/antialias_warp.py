"""The antialias kernels; what each computes is said in antialias.py. Vertices come as in raster_warp.py.

A pair is a pixel and its neighbour to the right (axis 0) or below (axis 1); its crossing is where, in [0, 1] between the two centres, a
silhouette edge passes. A pair's key is the crossing as seen from the covered pixel (31 bits), the edge (31), and whether the edge is steep
for the pair's axis (1): the greatest key is the outermost edge, and only where that one is steep does the pair blend.
"""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

from functools import lru_cache
from typing import Any

import warp as wp

from dreamfusion_mesh.kernels.raster_warp import edge, seen_from, span_of

_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))
_ZERO = wp.constant(wp.float64(0.0))
_TIE = wp.constant(wp.float64(1e-9))  # pixels; a crossing this close to a centre is offered to the pairs on both its sides
_APART = wp.constant(wp.float64(1e-7))  # of z / w, its rounding in float32: surfaces closer than this are one
_EDGE_ON = wp.constant(wp.float64(1e-9))  # square pixels; a face that covers less has no side, only rounding
_EDGE_MASK = wp.constant(wp.int64(2**31 - 1))
_STEPS = wp.constant(wp.float64(2.0**30))

wp.get_module(__name__).options.update({"enable_backward": False, "fuse_fp": False})


@wp.func
def _silhouette(
    places: wp.array2d(dtype=wp.vec4d),
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
        p = places[view, int(opposite[i])]
        e = line[0] * p[0] + line[1] * p[1] + line[2] * p[3]
        if wp.abs(e) > _EDGE_ON * wp.abs(size * p[3]):
            low = wp.min(low, e)
            high = wp.max(high, e)
    if low < _ZERO and high > _ZERO:
        return _ZERO
    return wp.sign(low + high)


@wp.func
def _hides(
    places: wp.array2d(dtype=wp.vec4d),
    faces: wp.array(dtype=wp.vec3l),
    view: int,
    f: wp.int64,
    px: wp.float64,
    py: wp.float64,
    depth: wp.float64,
) -> bool:
    """Whether the plane of face f, continued to the point, is not clearly farther than `depth`."""
    corners = faces[int(f)]
    pa = places[view, int(corners[0])]
    pb = places[view, int(corners[1])]
    pc = places[view, int(corners[2])]
    a = seen_from(pa, px, py)
    b = seen_from(pb, px, py)
    c = seen_from(pc, px, py)
    e = wp.vec3d(edge(b, c), edge(c, a), edge(a, b))
    return wp.dot(e, wp.vec3d(pa[2], pb[2], pc[2])) / wp.dot(e, wp.vec3d(pa[3], pb[3], pc[3])) <= depth + _APART


@wp.func
def _offer(
    places: wp.array2d(dtype=wp.vec4d),
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
        if _hides(places, faces, view, outer, px, py, depth):
            return
    reach = wp.clamp(wp.where(low_covered, crossing, _ONE - crossing), _ZERO, _ONE)
    key = (wp.int64(reach * _STEPS) << wp.int64(32)) | (wp.int64(k) << wp.int64(1)) | wp.int64(wp.where(steep, 1, 0))
    wp.atomic_max(keys, 2 * ((view * height + row) * width + column) + axis, key)


@wp.func
def _walk(
    places: wp.array2d(dtype=wp.vec4d),
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
                _offer(places, faces, face, keys, view, axis, line, base, crossing, depth, low_covered, steep, k, rows)
                if crossing < _TIE:
                    _offer(places, faces, face, keys, view, axis, line, base - 1, crossing + _ONE, depth, low_covered, steep, k, rows)
                if crossing > _ONE - _TIE:
                    _offer(places, faces, face, keys, view, axis, line, base + 1, crossing - _ONE, depth, low_covered, steep, k, rows)


@wp.kernel
def cross(
    places: wp.array2d(dtype=wp.vec4d),
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
        p = places[view, int(edges[k][0])]
        q = places[view, int(edges[k][1])]
        if wp.max(p[3], q[3]) > _ZERO:
            line = wp.vec3d(p[1] * q[3] - p[3] * q[1], p[3] * q[0] - p[0] * q[3], p[0] * q[1] - p[1] * q[0])
            side = _silhouette(places, view, line, p[3] * q[3], starts, opposite, k)
            if side != _ZERO:
                turned_p = wp.vec4d(p[1], p[0], p[2], p[3])
                turned_q = wp.vec4d(q[1], q[0], q[2], q[3])
                steep = wp.abs(line[0]) >= wp.abs(line[1])
                _walk(places, faces, face, keys, view, 0, p, q, side * line[0] < _ZERO, steep, k, rows)
                _walk(places, faces, face, keys, view, 1, turned_p, turned_q, side * line[1] < _ZERO, not steep, k, rows)


@wp.func
def _edge(key: wp.int64) -> int:
    return int((key >> wp.int64(1)) & _EDGE_MASK)


@wp.func
def _turned(place: wp.vec4d, pair: int, height: int, width: int) -> wp.vec3d:
    """A vertex as (along the pair, across it, w) from the centre of the pair's first pixel."""
    pixel = pair // 2
    seen = seen_from(place, wp.float64(pixel % width) + _HALF, wp.float64((pixel // width) % height) + _HALF)
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


@lru_cache(maxsize=2)
def kernels(real: Any) -> dict[str, Any]:
    """The kernels over found pairs, for images of one precision (wp.float32 or wp.float64), in a module of their own."""
    module = wp.get_module(f"{__name__}_{real.__name__}")
    module.options.update({"enable_backward": False, "fuse_fp": False})
    row4: Any = wp.types.vector(length=4, dtype=real)

    @wp.kernel(module=module)
    def measure(
        places: wp.array2d(dtype=wp.vec4d),
        edges: wp.array(dtype=wp.vec2l),
        pairs: wp.array(dtype=wp.int64),
        keys: wp.array(dtype=wp.int64),
        height: int,
        width: int,
        shifts: wp.array(dtype=wp.float64),
        totals: wp.array(dtype=real),
        start: int,
    ):
        i = start + wp.tid()
        pair = int(pairs[i])
        view = pair // (2 * height * width)
        ends = edges[_edge(keys[i])]
        p = _turned(places[view, int(ends[0])], pair, height, width)
        q = _turned(places[view, int(ends[1])], pair, height, width)
        crossing = (q[1] * p[0] - p[1] * q[0]) / (q[1] * p[2] - p[1] * q[2])
        shift = wp.clamp(crossing, _ZERO, _ONE) - _HALF
        shifts[i] = shift
        wp.atomic_add(totals, _ends(pair, shift, width)[0], real(wp.abs(shift)))

    @wp.kernel(module=module)
    def mix(
        pairs: wp.array(dtype=wp.int64),
        shifts: wp.array(dtype=wp.float64),
        totals: wp.array(dtype=real),
        width: int,
        image: wp.array2d(dtype=real),
        made: wp.array2d(dtype=real),
        start: int,
    ):
        i = start + wp.tid()
        ends = _ends(int(pairs[i]), shifts[i], width)
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
        places: wp.array2d(dtype=wp.vec4d),
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
        p = _turned(places[view, int(ends[0])], pair, height, width)
        q = _turned(places[view, int(ends[1])], pair, height, width)
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

    made = (measure, mix, mix_adjoint, measure_adjoint)
    return {kernel.func.__name__: kernel for kernel in made}
