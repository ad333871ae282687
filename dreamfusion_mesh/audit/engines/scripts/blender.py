"""Run inside Blender: import a GLB, say what was read, and take a picture of its base colour."""

import json
import sys
from typing import Any

import numpy

numpy.bool = bool  # type: ignore  # the importer of Blender 3.4 uses the name that newer numpy has dropped

import bpy  # noqa: E402
from mathutils import Matrix  # noqa: E402

UP = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))  # from glTF's +Y up to Blender's +Z up


def examine() -> dict[str, Any]:
    """What the scene holds, in glTF's axes and metres: see `Imported` in audit/engines/record.py for the entries."""
    meshes = [entry for entry in bpy.context.scene.objects if entry.type == "MESH"]
    triangles, points = 0, []
    for entry in meshes:
        entry.data.calc_loop_triangles()
        triangles += len(entry.data.loop_triangles)
        points += [UP.inverted() @ entry.matrix_world @ vertex.co for vertex in entry.data.vertices]
    materials = {slot.material for entry in meshes for slot in entry.material_slots if slot.material}
    nodes = [node for material in materials for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image]
    return {
        "version": bpy.app.version_string,
        "triangles": triangles,
        "materials": sorted(material.name for material in materials),
        "images": [list(image.size) for image in {node.image for node in nodes}],
        "low": [min(point[axis] for point in points) for axis in range(3)],
        "high": [max(point[axis] for point in points) for axis in range(3)],
        "nodes": [entry.name for entry in bpy.context.scene.objects],
    }


def unlit(material: Any) -> None:
    """The base colour as light that the surface gives off, and nothing else."""
    tree = material.node_tree
    source = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED").inputs["Base Color"]
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = source.default_value
    for link in list(source.links):
        tree.links.new(link.from_socket, emission.inputs["Color"])
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])


def take(shot: dict[str, Any], picture: str) -> None:
    """Write the PNG `picture` of the base colour without light; `shot` has the entries of `Shot` in audit/engines/record.py."""
    for material in bpy.data.materials:
        if material.node_tree:
            unlit(material)
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.matrix_world = UP @ Matrix(shot["to_world"])
    camera.data.sensor_fit, camera.data.angle_y = "VERTICAL", numpy.deg2rad(shot["fov_y_degrees"])
    camera.data.angle = numpy.deg2rad(shot["fov_y_degrees"])
    camera.data.clip_start, camera.data.clip_end = shot["near"], shot["far"]
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    grey = shot["background"]
    linear = grey / 12.92 if grey <= 0.04045 else ((grey + 0.055) / 1.055) ** 2.4
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (linear, linear, linear, 1)
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 16
    scene.cycles.use_denoising, scene.cycles.max_bounces = False, 0
    scene.render.resolution_x = scene.render.resolution_y = shot["size"]
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGB"
    scene.render.filepath = picture
    bpy.ops.render.render(write_still=True)


def main() -> None:
    asked = json.loads(sys.argv[sys.argv.index("--") + 1])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=asked["file"])
    found = examine()
    if asked["shot"]:
        take(asked["shot"], asked["picture"])
    sys.stdout.write("FOUND " + json.dumps(found) + "\n")


main()
