"""The surfaces that `python -m tools.bench unwrap` measures are those of the pipeline: sound, and of as many triangles as it says."""

from __future__ import annotations

from itertools import islice

from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from tools.bench.surfaces import made


def test_shapes_with_noise_are_tidied_and_decimated() -> None:
    found = dict(islice(made(300, 16), 1))
    assert len(found) == 1
    for mesh in found.values():
        assert soundness(weld(mesh)).sound
        assert 150 <= len(mesh.faces) <= 300
