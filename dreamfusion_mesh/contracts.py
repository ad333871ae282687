"""Every Protocol between packages, once: wings meet through these and do not import one another."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from dreamfusion_mesh.records import Fragments


class Rasterizer(Protocol):
    """The contract of every back end. Clip space: x right, y up, -w <= z <= w, w the depth along the view; row 0 on top; no culling.

    faces [F, 3] int64 are one mesh seen in all views, [B, F, 3] a mesh for each view; rows of three equal vertices draw nothing, so that
    meshes of different lengths can be padded. What a back end cannot give of the contract is said in `limits`.
    All raise ValueError naming the argument where shapes, dtypes or devices do not fit, a face is out of range or a position not finite.

    licence         of the part that draws
    terms           what the user has to know of it, None where it is permissive
    commercial_use  whether the licence allows it
    """

    name: str
    licence: str
    terms: str | None
    commercial_use: bool
    limits: Any

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """What the pixels' centres see of clip [B, V, 4] and `faces` at (H, W), 1 or more each; bary and depth carry gradients to `clip`.

        `Fragments.face` is a row of the view's own faces. A centre on an edge belongs to one of its two faces; of faces at equal depth the
        first wins. Parts of triangles before the near plane or behind the camera are cut off.
        """
        ...

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """[V, C] or [B, V, C] to [B, H, W, C], zero where no face is; gradients in both, in fragments.bary along its sum of 1."""
        ...

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """`image` [B, H, W, C] with smooth silhouettes; gradients in the image and, through where the silhouettes lie, in `clip`."""
        ...


class GuidanceModel(Protocol):
    """A loaded diffusion model that many prompts share."""

    def for_prompt(self, prompt: str) -> Any:
        """The model bound to `prompt`, as a ScoreModel. Raises BadInput where the prompt cannot be used."""
        ...

    def provenance(self) -> dict[str, Any]:
        """The model's name, licence and kind, and the SHA-256 of each weight file."""
        ...
