"""What a step of a stage worked on, for whoever shows a run while it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from dreamfusion_mesh.records import Mesh


class ColoredMesh(NamedTuple):
    """A surface in scene units, without faces where there is none yet, and the display-referred colours [V, 3] of its vertices."""

    mesh: Mesh
    colors: Tensor


@dataclass(frozen=True, eq=False)
class Scene:
    """To be asked from within a report, on its thread: nothing is drawn at random for the answers, and nothing of the fit changes.

    images   [B, H, W, 3]  display-referred: the views as the step rendered them, or as far as a warm start has drawn them
    surface                what is fitted: the fine stage's mesh before it is subdivided, or a rough surface of the field's density
    Answers are on the fit's device and carry no gradients.
    """

    images: Callable[[], Tensor]
    surface: Callable[[], ColoredMesh]
