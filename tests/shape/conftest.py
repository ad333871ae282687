"""What tests of the shape share."""

from __future__ import annotations

import pytest
import torch

from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.tets.grid import tet_lattice


@pytest.fixture(scope="session")
def grid() -> TetGrid:
    return tet_lattice(-torch.ones(3), torch.ones(3), 40).grid()
