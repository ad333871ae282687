"""The surface tree's kernels for baking, apart from trace_warp.py because they take seconds to compile; see trace.py."""

# Kernels are written in Warp's language, whose annotations are values (so none are postponed) and which mypy does not read.
# mypy: ignore-errors

import warp as wp

_FARTHEST = wp.constant(wp.float32(1e10))
_MOST_CROSSINGS = wp.constant(16)  # of faces that face away, which a search along a normal passes through
_WIDENINGS = wp.constant(6)  # of the ball in which a face that faces the asker is looked for

wp.get_module(__name__).options.update({"enable_backward": False})


@wp.func
def _weights(u: float, v: float):
    """Warp's barycentric coordinates as weights of a face's three corners."""
    return wp.vec3(u, v, 1.0 - u - v)


@wp.func
def _weights_in_triangle(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3):
    """Weights of the corners at the point of a triangle that is nearest to p. Source: Ericson, Real-Time Collision Detection, 5.1.5."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = wp.dot(ab, ap), wp.dot(ac, ap)
    if d1 <= 0.0 and d2 <= 0.0:
        return wp.vec3(1.0, 0.0, 0.0)
    d3, d4 = wp.dot(ab, p - b), wp.dot(ac, p - b)
    if d3 >= 0.0 and d4 <= d3:
        return wp.vec3(0.0, 1.0, 0.0)
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        return wp.vec3(1.0 - d1 / (d1 - d3), d1 / (d1 - d3), 0.0)
    d5, d6 = wp.dot(ab, p - c), wp.dot(ac, p - c)
    if d6 >= 0.0 and d5 <= d6:
        return wp.vec3(0.0, 0.0, 1.0)
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        return wp.vec3(1.0 - d2 / (d2 - d6), 0.0, d2 / (d2 - d6))
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return wp.vec3(0.0, 1.0 - w, w)
    total = va + vb + vc
    return wp.vec3(va / total, vb / total, vc / total)


@wp.func
def _first_facing(mesh: wp.uint64, point: wp.vec3, direction: wp.vec3, normal: wp.vec3, reach: float, skin: float, limit: float):
    """Distance, face (-1: none) and u, v of a ray's first crossing of a face on whose side `normal` is."""
    best = float(reach)
    face = wp.int32(-1)
    u = wp.float32(0.0)
    v = wp.float32(0.0)
    travelled = float(-skin)  # from just behind, so that a point on the surface meets it
    crossings = wp.int32(0)
    while crossings < _MOST_CROSSINGS and travelled < reach:
        hit = wp.mesh_query_ray(mesh, point + direction * travelled, direction, reach - travelled)
        crossings += 1
        if not hit.result:
            crossings = _MOST_CROSSINGS
        elif wp.dot(hit.normal, normal) > limit:
            best = wp.abs(travelled + hit.t)
            face = int(hit.face)
            u = float(hit.u)
            v = float(hit.v)
            crossings = _MOST_CROSSINGS
        else:
            travelled += hit.t + skin
    return best, face, u, v


@wp.kernel
def project(
    mesh: wp.uint64,
    vertices: wp.array(dtype=wp.vec3),
    indices: wp.array(dtype=int),
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    cage: float,
    reach: float,
    skin: float,
    limit: float,
    faces: wp.array(dtype=wp.int64),
    weights: wp.array(dtype=wp.vec3),
    start: int,
):
    """Face and weights of where each point belongs on the surface; see SurfaceTree.project."""
    row = start + wp.tid()
    point, normal = points[row], normals[row]
    ahead, face, u, v = _first_facing(mesh, point, normal, normal, cage, skin, limit)
    _, other, other_u, other_v = _first_facing(mesh, point, -normal, normal, ahead, skin, limit)
    if other >= 0:
        faces[row] = wp.int64(other)
        weights[row] = _weights(other_u, other_v)
        return
    if face >= 0:
        faces[row] = wp.int64(face)
        weights[row] = _weights(u, v)
        return
    found = wp.mesh_query_point_no_sign(mesh, point, _FARTHEST)
    faces[row] = wp.int64(-1)
    if not found.result:
        return
    faces[row] = wp.int64(found.face)
    weights[row] = _weights(found.u, found.v)
    if wp.dot(wp.mesh_eval_face_normal(mesh, found.face), normal) > limit:
        return
    best = wp.min(wp.length(wp.mesh_eval_position(mesh, found.face, found.u, found.v) - point), reach)
    wide, widenings = wp.min(wp.max(2.0 * best, reach / 32.0), reach), wp.int32(0)
    best = _FARTHEST
    while widenings < _WIDENINGS:
        ball = wp.vec3(wide, wide, wide)
        query = wp.mesh_query_aabb(mesh, point - ball, point + ball)
        candidate = wp.int32(0)
        while wp.mesh_query_aabb_next(query, candidate):
            if wp.dot(wp.mesh_eval_face_normal(mesh, candidate), normal) > limit:
                a = vertices[indices[3 * candidate]]
                b = vertices[indices[3 * candidate + 1]]
                c = vertices[indices[3 * candidate + 2]]
                share = _weights_in_triangle(point, a, b, c)
                distance = wp.length(share[0] * a + share[1] * b + share[2] * c - point)
                if distance < best and distance <= reach:
                    best = distance
                    faces[row] = wp.int64(candidate)
                    weights[row] = share
        widenings += 1
        if best <= wide or wide >= reach:
            widenings = _WIDENINGS
        wide = wp.min(2.0 * wide, reach)


@wp.kernel
def open_share(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    seeds: wp.array(dtype=int),
    part: wp.array(dtype=int),
    parts: int,
    rays: int,
    farthest: float,
    shares: wp.array(dtype=float),
    start: int,
):
    """The cosine-weighted share of directions above each point that meet nothing; see SurfaceTree.open_share."""
    row = start + wp.tid()
    point, normal = points[row], normals[row]
    sign = wp.where(normal[2] < 0.0, -1.0, 1.0)  # Duff et al., "Building an orthonormal basis, revisited", 2017
    a = -1.0 / (sign + normal[2])
    b = normal[0] * normal[1] * a
    side = wp.vec3(1.0 + sign * normal[0] * normal[0] * a, sign * b, -sign * normal[0])
    front = wp.vec3(b, sign + normal[1] * normal[1] * a, -normal[1])
    state = wp.rand_init(1717, seeds[row])
    shift_one, shift_two = wp.randf(state), wp.randf(state)
    met = wp.int32(0)
    cast = wp.int32(0)
    ray = int(part[row])
    while ray < rays:
        # Rank-1 lattice of the golden ratio, moved by a draw of the point's own (Cranley and Patterson, 1976).
        one = (float(ray) + shift_one) / float(rays)
        two = float(ray) * 0.6180339887 + shift_two
        turn = 6.283185307 * (two - wp.floor(two))
        radius = wp.sqrt(one)
        direction = side * (radius * wp.cos(turn)) + front * (radius * wp.sin(turn)) + normal * wp.sqrt(1.0 - one)
        if wp.mesh_query_ray_anyhit(mesh, point, direction, farthest):
            met += 1
        cast += 1
        ray += parts
    shares[row] = 1.0 - float(met) / float(cast)
