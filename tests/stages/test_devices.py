"""Every tensor that stages, shape and volume renderer make is made on the device that they are given, wherever the default is."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
import torch
from stub_score import StubScore
from torch.overrides import TorchFunctionMode

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.fit import Hooks
from dreamfusion_mesh.stages.start import start_from_field

PACKAGE = Path(inspect.getfile(fit_field)).parents[1]
OURS = (str(PACKAGE / "stages"), str(PACKAGE / "shape"), str(PACKAGE / "render" / "volume.py"))
NAMES = ("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randn", "randint", "randperm", "tensor", "zeros")
FACTORIES = {getattr(torch, name) for name in NAMES}
# On the CPU by design: parameters and checkpoints' counters, which move or stay there.
EXCEPTIONS = {"HashField.__init__", "_Head.__init__", "Fit.state", "schema_state"}


class Explicit(TorchFunctionMode):
    """Fails where a factory is called without a device; draws from a generator are made on the CPU and moved."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        code, line = sys._getframe(1).f_code, sys._getframe(1).f_lineno
        if function in FACTORIES and code.co_filename.startswith(OURS) and kwargs.get("generator") is None:
            self.seen += 1
            where = f"{Path(code.co_filename).name}, line {line}, in {code.co_qualname}"
            assert "device" in kwargs or code.co_qualname in EXCEPTIONS, f"torch.{function.__name__} without a device: {where}"
        return function(*args, **kwargs)


@pytest.mark.parametrize("normals", ["analytic", "finite_differences"])
def test_both_stages_make_their_tensors_where_they_are_told(normals: str) -> None:
    cpu, draws, model = torch.device("cpu"), torch.Generator().manual_seed(0), StubScore()
    views, guidance = ViewSettings(lambertian=1.0, textureless=0.0), GuidanceSettings()
    small = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=4, normals=normals)
    settings = CoarseSettings(steps=2, size=8, views=1, samples=16, occupancy_size=8, field=small, checkpoint_seconds=0)
    fine = FineSettings(steps=2, size=16, views=1, tet_size=16, volume_subdivisions=1, surface_subdivisions=1, checkpoint_seconds=0)
    states: list[object] = []
    with Explicit() as watched:
        coarse, _ = fit_field(model, settings, views, guidance, draws, cpu, Hooks(save=states.append))
        start = start_from_field(coarse, settings.samples, fine, views, 0.02, draws)
        fit_surface(start, coarse.field, model, resolve_rasterizer("auto", cpu), fine, views, guidance, draws, Hooks(save=states.append))
    assert len(states) == 2
    assert watched.seen > 20
