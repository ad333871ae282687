"""The kernels of edge-preserving smoothing over the occupied cells of a grid; smooth.py documents what each computes."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

wp.get_module(__name__).options.update({"enable_backward": False})


@wp.func
def _likeness(one: wp.vec3, other: wp.vec3, falloff: float):
    apart = one - other
    return wp.exp(-falloff * wp.dot(apart, apart))


@wp.kernel
def smooth_cells(
    cells: wp.array(dtype=int, ndim=3),
    places: wp.array(dtype=wp.vec3i),
    values: wp.array(dtype=wp.vec3),
    guide: wp.array(dtype=wp.vec3),
    mass: wp.array(dtype=float),
    radius: int,
    spatial: float,
    falloff: float,
    smoothed: wp.array(dtype=wp.vec3),
    start: int,
):
    """Each occupied cell's mean over the cells round it, weighted by distance, mass and likeness; see smooth.smooth_cells."""
    row = start + wp.tid()
    place, own = places[row], guide[row]
    total = wp.vec3(0.0, 0.0, 0.0)
    weights = wp.float32(0.0)
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            for k in range(-radius, radius + 1):
                other = cells[place[0] + i, place[1] + j, place[2] + k]
                if other >= 0:
                    near = wp.exp(-spatial * float(i * i + j * j + k * k)) * mass[other]
                    weight = near * _likeness(own, guide[other], falloff)
                    total += weight * values[other]
                    weights += weight
    smoothed[row] = total / weights


@wp.kernel
def sample_cells(
    cells: wp.array(dtype=int, ndim=3),
    points: wp.array(dtype=wp.vec3),
    own: wp.array(dtype=wp.vec3),
    values: wp.array(dtype=wp.vec3),
    falloff: float,
    least: float,
    sampled: wp.array(dtype=wp.vec3),
    start: int,
):
    """Each point's mean over the cells round it that are like it, and its own value where few are; see smooth.sample_cells."""
    row = start + wp.tid()
    point, like = points[row] - wp.vec3(0.5, 0.5, 0.5), own[row]  # between the centres of two cells each way
    x, y, z = int(wp.floor(point[0])), int(wp.floor(point[1])), int(wp.floor(point[2]))
    right, up, front = point[0] - float(x), point[1] - float(y), point[2] - float(z)
    total = wp.vec3(0.0, 0.0, 0.0)
    weights = wp.float32(0.0)
    nearby = wp.float32(0.0)
    for i in range(2):
        for j in range(2):
            for k in range(2):
                other = cells[x + i, y + j, z + k]
                if other >= 0:
                    near = wp.abs(1.0 - float(i) - right) * wp.abs(1.0 - float(j) - up) * wp.abs(1.0 - float(k) - front)
                    weight = near * _likeness(like, values[other], falloff)
                    total += weight * values[other]
                    weights += weight
                    nearby += near
    keep = least * nearby + 1.0e-20
    sampled[row] = (total + keep * like) / (weights + keep)
