"""What extensions of glTF ask of a viewer: which of them the readers apply, which change nothing measured, what the others change.

Sources: Khronos's list of glTF 2.0 extensions, https://github.com/KhronosGroup/glTF/tree/main/extensions, and each one's own page.
"""

from __future__ import annotations

from typing import Any

from dreamfusion_mesh.audit.readers.files import excerpt
from dreamfusion_mesh.audit.readers.written import Part
from dreamfusion_mesh.errors import BadInput

EVERYTHING: tuple[Part, ...] = ("surface", "uvs", "normals", "images", "materials")
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
APPLIED = {
    "EXT_mesh_gpu_instancing",
    "EXT_texture_avif",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
    "MSFT_lod",
    "MSFT_texture_dds",
}
IGNORED = {  # lights, sound, physics, behaviour, metadata, other looks at the user's choice: not the surface, its UVs or its own maps
    "AGI_articulations",
    "AGI_stk_metadata",
    "CESIUM_primitive_outline",
    "EXT_feature_metadata",
    "EXT_instance_features",
    "EXT_lights_ies",
    "EXT_lights_image_based",
    "EXT_mesh_features",
    "EXT_mesh_manifold",
    "EXT_structural_metadata",
    "FB_geometry_metadata",
    "GODOT_single_root",
    "GRIFFEL_bim_data",
    "KHR_animation_pointer",
    "KHR_audio_emitter",
    "KHR_audio_graph",
    "KHR_implicit_shapes",
    "KHR_interactivity",
    "KHR_lights_punctual",
    "KHR_materials_variants",
    "KHR_node_hoverability",
    "KHR_node_selectability",
    "KHR_physics_rigid_bodies",
    "KHR_xmp",
    "KHR_xmp_json_ld",
    "MSFT_collision_primitives",
    "MSFT_physics_rigid_bodies",
    "OMI_collider",
    "OMI_link",
    "OMI_physics_body",
    "OMI_physics_joint",
    "OMI_physics_shape",
    "OMI_seat",
    "OMI_spawn_point",
}
LAYERS = {  # of a material: what row 7 measures still holds, but for maps of their own, which it knows nothing of
    "KHR_materials_anisotropy",
    "KHR_materials_clearcoat",
    "KHR_materials_diffuse_transmission",
    "KHR_materials_dispersion",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_iridescence",
    "KHR_materials_sheen",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_volume",
    "KHR_materials_volume_scatter",
}
OTHER_MATERIALS: dict[str, tuple[Part, ...]] = {  # which the metallic-roughness material is not, and what they change
    "ADOBE_materials_clearcoat_specular": ("materials",),
    "ADOBE_materials_clearcoat_tint": ("materials",),
    "ADOBE_materials_thin_transparency": ("materials",),
    "KHR_materials_pbrSpecularGlossiness": ("materials", "images"),
    "KHR_materials_unlit": ("materials",),
    "MSFT_packing_normalRoughnessMetallic": ("materials",),
    "MSFT_packing_occlusionRoughnessMetallic": ("materials",),
}
KNOWN = APPLIED | IGNORED | LAYERS | OTHER_MATERIALS.keys() | {"KHR_texture_basisu", *MESHOPT}
_REMEDIES = {
    **dict.fromkeys(MESHOPT, "write the file without it, as gltfpack does without -c"),
    "KHR_draco_mesh_compression": "pip install DracoPy",
    "KHR_texture_basisu": "write its KTX2 images as PNG",
    "EXT_texture_avif": "install a Pillow that reads AVIF, or write PNG",
    "EXT_texture_webp": "install a Pillow that reads WebP, or write PNG",
}


class Needs(BadInput):
    """The file may be sound, and asks for something that is not applied here."""


class Unread:
    """The parts of a file that cannot be measured as a viewer would show them, and for each the first reason."""

    def __init__(self) -> None:
        self.parts: dict[Part, str] = {}

    def add(self, why: str, *parts: Part) -> None:
        """UVs and normals lie on the surface: with that, they are unread, too."""
        for part in (*parts, *(("uvs", "normals") if "surface" in parts else ())):
            self.parts.setdefault(part, why)


def needs(name: str, where: str) -> Needs:
    """The error for an extension that is not applied; `name` may be any text."""
    shown = name if name in KNOWN else excerpt(name)
    return Needs(f"needs {shown}" + (f" ({_REMEDIES[name]})" if name in _REMEDIES else "") + (f", see {where}" if where else ""))


def names(entry: dict[str, Any]) -> list[str]:
    """The extensions on an object of the document."""
    found = entry.get("extensions")
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []


def extension(entry: dict[str, Any], name: str, where: str) -> dict[str, Any] | None:
    """One extension's object on an object of the document; None where it has none. Raises BadInput where it is no object."""
    if name not in names(entry):
        return None
    found = entry["extensions"][name]
    if not isinstance(found, dict):
        raise BadInput(f"{where}.extensions.{name}: expected an object")
    return found


def refuse_unknown(entry: dict[str, Any], where: str) -> None:
    """Raises Needs where an object has an extension that is not known: it may change whatever the object stands for."""
    for name in names(entry):
        if name not in KNOWN:
            raise needs(name, where)


def add_required(document: dict[str, Any], unread: Unread) -> None:
    """Everything is unread where the file requires what is not known."""
    required = document.get("extensionsRequired", [])
    for name in required if isinstance(required, list) else ():
        if not isinstance(name, str) or name not in KNOWN:
            unread.add(str(needs(name if isinstance(name, str) else repr(name)[:60], "extensionsRequired")), *EVERYTHING)
