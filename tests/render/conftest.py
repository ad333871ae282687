"""Every rasterizer that imports here passes the same tests."""

import pytest

from dreamfusion_mesh.render.raster import Rasterizer, resolve_rasterizer

BACKENDS = ["warp"]


@pytest.fixture(params=BACKENDS, scope="session")
def rasterizer(request: pytest.FixtureRequest) -> Rasterizer:
    return resolve_rasterizer(request.param, "cpu")
