"""The kernels of the ray march and of compositing; march.py documents what each computes. One index a ray throughout."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def _slab(origin: float, direction: float, half_extent: float) -> wp.vec2:
    """Where a ray is between two parallel planes, one axis of the box; an empty span (1, -1) where it runs beside them."""
    if wp.abs(direction) < 1.0e-12:
        if wp.abs(origin) <= half_extent:
            return wp.vec2(-1.0e30, 1.0e30)
        return wp.vec2(1.0, -1.0)
    a = (-half_extent - origin) / direction
    b = (half_extent - origin) / direction
    return wp.vec2(wp.min(a, b), wp.max(a, b))


@wp.func
def _span(origin: wp.vec3, direction: wp.vec3, half_extent: float) -> wp.vec2:
    """Entry and exit of the box, not behind the origin; empty where exit <= entry."""
    x = _slab(origin[0], direction[0], half_extent)
    y = _slab(origin[1], direction[1], half_extent)
    z = _slab(origin[2], direction[2], half_extent)
    enter = wp.max(wp.max(x[0], y[0]), wp.max(z[0], 0.0))
    leave = wp.min(x[1], wp.min(y[1], z[1]))
    return wp.vec2(enter, leave)


@wp.func
def _cell(x: float, half_extent: float, size: int) -> int:
    return wp.clamp(int((x + half_extent) / (2.0 * half_extent) * float(size)), 0, size - 1)


@wp.func
def _cell_of(point: wp.vec3, half_extent: float, size: int) -> wp.vec3i:
    return wp.vec3i(_cell(point[0], half_extent, size), _cell(point[1], half_extent, size), _cell(point[2], half_extent, size))


@wp.kernel
def march(
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    occupied: wp.array3d(dtype=wp.uint8),
    expected: wp.array3d(dtype=wp.float32),
    jitter: wp.array(dtype=wp.float32),
    half_extent: float,
    step: float,
    fill: int,
    counts: wp.array(dtype=wp.int32),
    offsets: wp.array(dtype=wp.int64),
    ray: wp.array(dtype=wp.int64),
    distance: wp.array(dtype=wp.float32),
    width: wp.array(dtype=wp.float32),
    ahead: wp.array(dtype=wp.float32),
    start: int,
):
    """Counts a ray's samples (fill 0), or writes them behind its offset (fill 1): one source, so the passes cannot disagree."""
    r = start + wp.tid()
    origin = origins[r]
    direction = directions[r]
    span = _span(origin, direction, half_extent)
    pieces = int(wp.ceil(wp.max(span[1] - span[0], 0.0) / step))
    found = wp.int32(0)
    base = wp.int32(0)
    depth = wp.float32(0.0)
    if fill != 0:
        base = int(offsets[r])
    for piece in range(pieces):
        low = span[0] + float(piece) * step
        wide = wp.min(step, span[1] - low)
        t = low + jitter[r] * wide
        cell = _cell_of(origin + direction * t, half_extent, occupied.shape[0])
        if wide > 0.0 and occupied[cell[0], cell[1], cell[2]] != wp.uint8(0):
            if fill != 0:
                ray[base + found] = wp.int64(r)
                distance[base + found] = t
                width[base + found] = wide
                ahead[base + found] = depth
                if expected.shape[0] > 0:
                    depth += expected[cell[0], cell[1], cell[2]] * wide
            found += 1
    if fill == 0:
        counts[r] = found


@wp.func
def _opacity(depth: float) -> float:
    """1 - exp(-depth), to the last digits for thin media too (Taylor series of exp)."""
    if depth < 0.25:
        d = depth
        return d * (1.0 - d / 2.0 * (1.0 - d / 3.0 * (1.0 - d / 4.0 * (1.0 - d / 5.0 * (1.0 - d / 6.0 * (1.0 - d / 7.0))))))
    return 1.0 - wp.exp(-depth)


@wp.kernel
def composite(
    depths: wp.array(dtype=wp.float32),
    offsets: wp.array(dtype=wp.int64),
    weights: wp.array(dtype=wp.float32),
    behind: wp.array(dtype=wp.float32),
    start: int,
):
    """Weights, and the transmittance behind each sample, which the gradient needs."""
    r = start + wp.tid()
    transmittance = wp.float32(1.0)
    for s in range(int(offsets[r]), int(offsets[r + 1])):
        depth = depths[s]
        weights[s] = transmittance * _opacity(depth)
        transmittance *= wp.exp(-depth)
        behind[s] = transmittance


@wp.kernel
def composite_gradient(
    upstream: wp.array(dtype=wp.float32),
    weights: wp.array(dtype=wp.float32),
    behind: wp.array(dtype=wp.float32),
    offsets: wp.array(dtype=wp.int64),
    made: wp.array(dtype=wp.float32),
    start: int,
):
    """dL/d(depth_j) = upstream_j T_{j+1} - sum over i > j of upstream_i w_i, from the last sample to the first."""
    r = start + wp.tid()
    first = int(offsets[r])
    last = int(offsets[r + 1]) - 1
    farther = wp.float32(0.0)
    for back in range(last - first + 1):
        s = last - back
        made[s] = upstream[s] * behind[s] - farther
        farther += upstream[s] * weights[s]


@wp.kernel
def accumulate(
    values: wp.array2d(dtype=wp.float32),
    offsets: wp.array(dtype=wp.int64),
    made: wp.array2d(dtype=wp.float32),
    start: int,
):
    """made [R, C]: sums of values [S, C] over the samples of each ray, offsets [R + 1]; ray `start` on."""
    r = start + wp.tid()
    first = int(offsets[r])
    last = int(offsets[r + 1])
    for c in range(values.shape[1]):
        total = wp.float32(0.0)
        for s in range(first, last):
            total += values[s, c]
        made[r, c] = total


@wp.kernel
def spread(
    upstream: wp.array2d(dtype=wp.float32),
    offsets: wp.array(dtype=wp.int64),
    made: wp.array2d(dtype=wp.float32),
    start: int,
):
    """made [S, C]: each ray's upstream [R, C] for each of its samples, offsets [R + 1]; ray `start` on."""
    r = start + wp.tid()
    for s in range(int(offsets[r]), int(offsets[r + 1])):
        for c in range(upstream.shape[1]):
            made[s, c] = upstream[r, c]
