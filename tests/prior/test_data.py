"""Shards and the pictures in them are their numbers' alone, whole, and captioned as they were seen."""

import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.prompts import view_words
from tools.prior.captions import parse
from tools.prior.data import Pictures, make_shard, read_shard, shard_file, write_shard


def test_shards_are_their_numbers_alone_and_read_back(tmp_path):
    shard, again, other = (make_shard(number, "cpu", scenes=2, supersample=1) for number in (5, 5, 6))
    assert torch.equal(shard.images, again.images)
    assert not torch.equal(shard.images, other.images)
    assert shard.images.shape == (16, 64, 64, 3)
    write_shard(shard, tmp_path / "shard-00005.safetensors")
    read = read_shard(tmp_path / "shard-00005.safetensors")
    assert torch.equal(read.images, shard.images)
    assert torch.equal(read.angles, shard.angles)
    assert read.captions == shard.captions
    assert len({parse(caption).scene.thing.kind for caption in shard.captions}) <= 2
    assert [file.name for file in tmp_path.iterdir()] == ["shard-00005.safetensors"]


def test_four_in_a_row_stand_evenly_around_one_scene_and_are_captioned_by_their_angles():
    shard = make_shard(7, "cpu", scenes=6, supersample=1)
    azimuth, elevation = shard.angles.unbind(1)
    turns = torch.remainder(azimuth.reshape(-1, 4).diff(dim=1), 2 * torch.pi)
    assert torch.allclose(turns, torch.full_like(turns, torch.pi / 2), atol=1e-5)
    settings = GuidanceSettings()
    words = view_words(azimuth, elevation, settings.front_degrees, settings.overhead_degrees)
    assert words.tolist() == [parse(caption).view for caption in shard.captions]
    scenes = [parse(caption).scene.bare() for caption in shard.captions]
    assert all(len(set(scenes[first : first + 8])) == 1 for first in range(0, len(scenes), 8))


def test_pictures_take_up_shards_as_they_come(tmp_path):
    pictures = Pictures(tmp_path, "cpu")
    assert not pictures.refresh()
    for number in (0, 1):
        write_shard(make_shard(number, "cpu", scenes=1, supersample=1), shard_file(tmp_path, number))
        assert pictures.refresh()
        assert len(pictures) == len(pictures.images) == len(pictures.angles) == 8 * (number + 1)
    assert not pictures.refresh()
