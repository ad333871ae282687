"""The kernels of values between the corners of faces; interpolate.py documents what each computes."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

wp.get_module(__name__).options.update({"enable_backward": False})


@wp.func
def _blended(values: wp.array(dtype=wp.vec3), a: wp.int64, b: wp.int64, c: wp.int64, share: wp.vec3):
    return share[0] * values[a] + share[1] * values[b] + share[2] * values[c]


@wp.kernel
def interpolate(
    values: wp.array(dtype=wp.vec3),
    corners: wp.array(dtype=wp.int64, ndim=2),
    faces: wp.array(dtype=wp.int64),
    weights: wp.array(dtype=wp.vec3),
    unit: int,
    found: wp.array(dtype=wp.vec3),
    start: int,
):
    """Values at places on faces, made unit where asked; see interpolate.interpolate."""
    row = start + wp.tid()
    face = faces[row]
    value = _blended(values, corners[face, 0], corners[face, 1], corners[face, 2], weights[row])
    if unit != 0:
        value = wp.normalize(value)
    found[row] = value


@wp.kernel
def in_frames(
    tangents: wp.array(dtype=wp.vec3),
    bitangents: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.int64),
    weights: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    found: wp.array(dtype=wp.vec3),
    start: int,
):
    """Directions in the frames that corners have between them; see interpolate.in_frames."""
    row = start + wp.tid()
    a = wp.int64(3) * faces[row]
    b, c = a + wp.int64(1), a + wp.int64(2)
    t = wp.normalize(_blended(tangents, a, b, c, weights[row]))
    s = wp.normalize(_blended(bitangents, a, b, c, weights[row]))
    n = wp.normalize(_blended(normals, a, b, c, weights[row]))
    direction = directions[row]
    along_t, along_s, along_n = wp.cross(s, n), wp.cross(n, t), wp.cross(t, s)  # rows of the inverse, times the determinant
    handed = wp.where(wp.dot(t, along_t) < 0.0, -1.0, 1.0)
    inner = handed * wp.vec3(wp.dot(along_t, direction), wp.dot(along_s, direction), wp.dot(along_n, direction))
    found[row] = wp.where(inner[2] > 0.0, wp.normalize(inner), wp.vec3(0.0, 0.0, 1.0))
