"""A glTF's default scene becomes one surface in world space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_files import box

from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene


def test_the_scene_is_placed_by_its_nodes(tmp_path: Path) -> None:
    """A child turned a quarter about +Y, doubled, on a parent moved by (1, 2, 3): p -> 2 R p + t."""
    draft = box(1)
    half = 2**-0.5

    def change(document: dict[str, Any]) -> None:
        document["nodes"] = [
            {"translation": [1, 2, 3], "children": [1]},
            {"mesh": 0, "rotation": [0, half, 0, half], "scale": [2, 2, 2]},
        ]

    draft.change = change
    found = read_scene(parse_gltf(draft.glb(), tmp_path))
    x, y, z = np.unique(draft.positions, axis=0).T
    wanted = {tuple(corner) for corner in np.stack([2 * z + 1, 2 * y + 2, -2 * x + 3], axis=1)}
    assert {tuple(corner) for corner in np.round(found.vertices, 9) + 0.0} == wanted
    assert found.transformed_roots == ("nodes[0]",)
    assert len(found.vertices) == 8


def test_a_mirroring_node_turns_the_winding(tmp_path: Path) -> None:
    draft = box(1)
    draft.change = lambda document: document["nodes"][0].update(scale=[-1, 1, 1])
    found = read_scene(parse_gltf(draft.glb(), tmp_path))
    a, b, c = (found.vertices[found.faces[:, i]] for i in range(3))
    assert np.einsum("fi,fi->", a, np.cross(b, c)) / 6 == pytest.approx(1.0)
