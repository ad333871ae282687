"""The shipped judge, loaded once."""

import pytest
import torch

from dreamfusion_mesh.evaluate.judges import load_judge


@pytest.fixture(autouse=True)
def one_thread():
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(kept)


@pytest.fixture(scope="session")
def judge():
    return load_judge("embedded", "cpu")
