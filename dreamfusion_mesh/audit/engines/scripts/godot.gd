# Run inside Godot: say what was read from asset.glb.
extends SceneTree

const SLOTS = [
	SpatialMaterial.TEXTURE_ALBEDO,
	SpatialMaterial.TEXTURE_METALLIC,
	SpatialMaterial.TEXTURE_ROUGHNESS,
	SpatialMaterial.TEXTURE_NORMAL,
	SpatialMaterial.TEXTURE_AMBIENT_OCCLUSION,
]

var triangles = 0
var materials = {}
var images = {}
var nodes = []
var low = Vector3(INF, INF, INF)
var high = Vector3(-INF, -INF, -INF)


func _init():
	var scene = load("res://asset.glb")
	if scene == null:
		print("FOUND " + to_json({"error": "the scene was not imported"}))
		quit(3)
		return
	visit(scene.instance(), Transform())
	print("FOUND " + to_json({
		"version": Engine.get_version_info()["string"],
		"triangles": triangles,
		"materials": materials.values(),
		"images": images.values(),
		"low": [low.x, low.y, low.z],
		"high": [high.x, high.y, high.z],
		"nodes": nodes,
	}))
	quit(0)


func visit(node, parent):
	var here = parent * node.transform if node is Spatial else parent
	nodes.append(node.get_class() + " " + node.name)
	if node is MeshInstance and node.mesh != null:
		for surface in range(node.mesh.get_surface_count()):
			measure(node, surface, here)
	for child in node.get_children():
		visit(child, here)


func measure(node, surface, here):
	var arrays = node.mesh.surface_get_arrays(surface)
	var points = arrays[Mesh.ARRAY_VERTEX]
	var index = arrays[Mesh.ARRAY_INDEX]
	triangles += (points.size() if index == null else index.size()) / 3
	for point in points:
		var at = here.xform(point)
		low = Vector3(min(low.x, at.x), min(low.y, at.y), min(low.z, at.z))
		high = Vector3(max(high.x, at.x), max(high.y, at.y), max(high.z, at.z))
	var material = node.get_surface_material(surface)
	if material == null:
		material = node.mesh.surface_get_material(surface)
	if not material is SpatialMaterial:
		return
	materials[material.get_rid().get_id()] = material.resource_name
	for slot in SLOTS:
		var texture = material.get_texture(slot)
		if texture != null:
			images[texture.get_rid().get_id()] = [texture.get_width(), texture.get_height()]
