"""Few pictures, made once."""

import pytest
import torch

from tools.prior.data import Pictures, make_shard, write_shard


@pytest.fixture(autouse=True)
def one_thread():
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(kept)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """A folder with two shards of 32 pictures."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(2):
        write_shard(make_shard(number, "cpu", scenes=4, supersample=1), folder / f"shard-{number:05d}.safetensors")
    return folder


@pytest.fixture(scope="session")
def pictures(shards):
    """All 64 pictures of `shards`; for reading alone."""
    held = Pictures(shards, "cpu")
    held.refresh()
    return held


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def dtype(request):
    """Of matrix products: each of the two that training may choose, whatever this machine is fastest at."""
    return request.param
