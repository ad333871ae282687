"""What a glTF's scene shows, as one surface in world space, the material on it, and the levels and hulls beside it.

Source: Khronos glTF 2.0 specification, section 3.5 (scenes).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.extensions import Needs, Unread, add_required
from dreamfusion_mesh.audit.readers.files import MAX_TRIANGLES
from dreamfusion_mesh.audit.readers.gltf import Gltf, integer, item
from dreamfusion_mesh.audit.readers.nodes import MAX_DRAWN, Drawn, Nodes, add_unknown, node_matrix, read_nodes, roots
from dreamfusion_mesh.audit.readers.paint import UvUse, read_materials, uv_use
from dreamfusion_mesh.audit.readers.primitives import Corners, Primitive, draws_triangles, join, read_primitive
from dreamfusion_mesh.audit.readers.written import Hull, Written, from_corners, unread_surface
from dreamfusion_mesh.errors import BadInput

MAX_PRIMITIVES = 20_000  # that are read, about a millisecond each


def read_scene(gltf: Gltf, engine: str = "generic") -> Written:
    """Everything that the shown scene draws, in world space.

    engine  by whose names nodes are levels of detail or hulls (generic, unreal, unity, godot); MSFT_lod counts in all of them
    What the file asks of a viewer and is not applied is noted in the record's `unread`. Raises BadInput where the file is broken.
    """
    unread = Unread()
    add_required(gltf.document, unread)
    try:
        return _read(gltf, engine, unread)
    except BadInput:
        if "surface" not in unread.parts:
            raise
        return unread_surface("glTF", unread.parts)  # what is broken may be what the extension changes


def _read(gltf: Gltf, engine: str, unread: Unread) -> Written:
    start, reader = roots(gltf, unread), _Reader(gltf, unread)
    nodes = read_nodes(gltf, start, engine, 0, unread)
    written = reader.surface(nodes)
    matrices = {root: node_matrix(item(gltf, "nodes", root, "scene"), f"nodes[{root}]") for root in start}
    transformed = tuple(f"nodes[{root}]" for root, matrix in matrices.items() if not np.array_equal(matrix, np.eye(4)))
    levels = [reader.surface(read_nodes(gltf, start, engine, level, unread)) for level in range(1, nodes.levels + 1)]
    notes = gltf.document["asset"].get("extras")
    return replace(
        written,
        transformed_roots=transformed,
        levels=tuple(replace(level, unread=unread.parts) for level in levels),
        levels_apart=nodes.apart,
        hulls=reader.hulls(nodes),
        notes=notes if isinstance(notes, dict) else {},
        unread=unread.parts,
    )


class _Reader:
    """Reads surfaces of one document, and counts what it reads of it."""

    def __init__(self, gltf: Gltf, unread: Unread) -> None:
        self.gltf, self.unread = gltf, unread
        self.uses = dict[int | None, UvUse]()
        self.triangles = self.primitives = self.drawn = 0

    def surface(self, nodes: Nodes) -> Written:
        """All that is drawn as one surface; of a file of hulls alone, those. Raises BadInput where there are no triangles."""
        parts, used = list[Corners](), dict[int | None, None]()
        for drawn in nodes.drawn or nodes.hulls:
            for primitive, where, mesh in self._primitives(drawn):
                material = integer(primitive, "material", where) if "material" in primitive else None
                used[material] = None
                parts += self._corners(primitive, where, mesh, drawn, nodes, material)
        materials = read_materials(self.gltf, list(used), self.unread)
        if not parts:
            if "surface" in self.unread.parts:
                return unread_surface("glTF", self.unread.parts, materials)
            raise BadInput("scene: it draws no triangles")
        whole = join(parts)
        written = from_corners("glTF", whole.positions, whole.uvs, materials)
        return replace(written, corner_normals=whole.normals, corner_tangents=whole.tangents)

    def hulls(self, nodes: Nodes) -> tuple[Hull, ...]:
        """Each primitive of the collision nodes, by itself."""
        found = list[Hull]()
        for drawn in nodes.hulls:
            for primitive, where, mesh in self._primitives(drawn):
                for part in self._corners(primitive, where, mesh, drawn, nodes, None):
                    solid = from_corners("glTF", part.positions, None, None)
                    found.append(Hull(drawn.name, solid.vertices, solid.faces))
        return tuple(found)

    def _primitives(self, drawn: Drawn) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
        """The primitives of triangles of a mesh, each with its place and its mesh."""
        index = drawn.node["mesh"]
        mesh = item(self.gltf, "meshes", index, drawn.name)
        primitives, where = mesh.get("primitives"), f"meshes[{index}]"
        if not isinstance(primitives, list) or not all(isinstance(primitive, dict) for primitive in primitives):
            raise BadInput(f"{where}.primitives: expected a list of objects")
        self.primitives += len(primitives)
        self.drawn += len(primitives) * len(drawn.matrices)
        if self.primitives > MAX_PRIMITIVES or self.drawn > MAX_DRAWN:
            raise BadInput(f"scene: more than the {MAX_PRIMITIVES} primitives, or {MAX_DRAWN} with their instances, that are read")
        add_unknown(mesh, where, self.unread)
        placed = [(primitive, f"{where}.primitives[{i}]", mesh) for i, primitive in enumerate(primitives)]
        return [entry for entry in placed if draws_triangles(entry[0], entry[1], self.unread)]

    def _corners(
        self, entry: dict[str, Any], where: str, mesh: dict[str, Any], drawn: Drawn, nodes: Nodes, material: int | None
    ) -> list[Corners]:
        """A primitive's corners, by each instance; none, and the surface unread, where it needs what is not applied."""
        try:
            if material not in self.uses:
                self.uses[material] = self._use(material)
            primitive = Primitive(self.gltf, entry, where)
            primitive.read_faces()
            self.triangles += len(primitive.faces) * len(drawn.matrices)
            if self.triangles > MAX_TRIANGLES:
                raise BadInput(f"scene: more than the {MAX_TRIANGLES} triangles that are read")
            return read_primitive(primitive, drawn, mesh, nodes, self.uses[material], self.unread)
        except Needs as error:
            self.unread.add(str(error), "surface")
            return []

    def _use(self, material: int | None) -> UvUse:
        try:
            return uv_use(self.gltf, material, self.unread)
        except BadInput:  # of the material, which says so
            return UvUse()
