"""The data that flows through the package, and every convention, stated once.

Space      right-handed, +Y up, the asset's front faces +Z (glTF). Scene units; the object lies inside [-1, 1]^3.
Angles     radians. Azimuth 0 looks at the front (camera on +Z) and grows towards +X; elevation grows upwards.
Cameras    look along their own -Z; matrices take camera space to world space.
Images     [B, H, W, C], row 0 on top, float in [0, 1].
Colour     the field's and every Render's colour is display-referred (sRGB), because that is what a diffusion model sees.
           It is made linear only for physical lighting and for averaging texels.
Meshes     faces int64, counter-clockwise seen from outside. SDF negative inside.
UVs        origin bottom-left, with an index of their own, so a seam never splits the surface.
Draws      every random draw comes from one seeded torch.Generator on the CPU, handed down.
"""

from dreamfusion_mesh.records.asset import Asset, Lod
from dreamfusion_mesh.records.color import linear_to_srgb, srgb_to_linear, srgb_to_oklab
from dreamfusion_mesh.records.material import ColorSpace, Material, TextureMap
from dreamfusion_mesh.records.mesh import Fragments, Mesh, TetGrid
from dreamfusion_mesh.records.views import Cameras, FieldSample, Lights, Render, Shading, SurfacePoints, Views

__all__ = [
    "Asset",
    "Cameras",
    "ColorSpace",
    "FieldSample",
    "Fragments",
    "Lights",
    "Lod",
    "Material",
    "Mesh",
    "Render",
    "Shading",
    "SurfacePoints",
    "TetGrid",
    "TextureMap",
    "Views",
    "linear_to_srgb",
    "srgb_to_linear",
    "srgb_to_oklab",
]
