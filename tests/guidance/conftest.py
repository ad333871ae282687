"""What tests of guidance share."""

import shutil

import pytest
import torch
from tiny_folders import write_folder
from tiny_mvdream import write_port
from tiny_pipelines import write_pipeline

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.models.load import load_guidance


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tiny networks gain nothing from a second thread, and where other processes hold the cores its barriers cost ten times the work."""
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(kept)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Tiny models of every kind; not to be changed."""
    parent = tmp_path_factory.mktemp("models")
    return {
        "epsilon": write_folder(parent / "epsilon"),
        "v_prediction": write_folder(parent / "velocity", prediction="v_prediction"),
        "sample": write_folder(parent / "sample", prediction="sample"),
        "folded": write_folder(parent / "folded", channels=12),
        "variance": write_folder(parent / "variance", made=6),
        "latent": write_folder(parent / "latent", channels=4, vae=True),
        "multiview": write_folder(parent / "multiview", multiview=True),
        "mvdream": write_port(parent / "mvdream"),
    }


@pytest.fixture(scope="session")
def embedded():
    return load_guidance(GuidanceSettings(), "cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a family, written once; not to be changed."""
    parent, found = tmp_path_factory.mktemp("saved"), {}

    def get(family):
        if family not in found:
            found[family] = parent / family
            write_pipeline(family, found[family])
        return found[family]

    return get


@pytest.fixture
def copied(saved, tmp_path):
    """A copy to change."""
    return lambda family: shutil.copytree(saved(family), tmp_path / family)
