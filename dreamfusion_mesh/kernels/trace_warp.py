"""The surface tree's kernel; trace.py documents what it computes."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

_FARTHEST = wp.constant(wp.float32(1e10))

wp.get_module(__name__).options.update({"enable_backward": False})


@wp.kernel
def closest(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), nearest: wp.array(dtype=wp.vec3), faces: wp.array(dtype=int), start: int):
    """The nearest point and its face of each point; face -1 where there is none."""
    row = start + wp.tid()
    point = points[row]
    found = wp.mesh_query_point_no_sign(mesh, point, _FARTHEST)
    if found.result:
        nearest[row] = wp.mesh_eval_position(mesh, found.face, found.u, found.v)
        faces[row] = found.face
    else:
        faces[row] = -1


@wp.kernel
def first_hit(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    farthest: float,
    distances: wp.array(dtype=float),
    faces: wp.array(dtype=int),
    start: int,
):
    """Distance and face of the nearest crossing along each ray; infinity and -1 where there is none."""
    row = start + wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[row], directions[row], farthest)
    if hit.result:
        distances[row] = hit.t
        faces[row] = hit.face
    else:
        distances[row] = wp.inf
        faces[row] = -1
