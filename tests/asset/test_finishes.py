"""From words to roughness and metallic, part by part."""

from __future__ import annotations

import pytest
import torch

from dreamfusion_mesh.asset.bake.material import finish_values
from dreamfusion_mesh.asset.finishes import PLAIN, Finish, finishes_of
from dreamfusion_mesh.config import TextureSettings

AUTO = TextureSettings()


@pytest.mark.parametrize(
    ("prompt", "roughness", "metallic"),
    [
        ("a red mug", 0.8, 0),
        ("", 0.8, 0),
        ("a wooden chair", 0.7, 0),
        ("a Golden crown", 0.25, 1),
        ("a metal robot", 0.4, 1),
        ("a shiny red car", 0.2, 0),
        ("a polished marble statue", 0.15, 0),
        ("a matte plastic toy", 0.9, 0),
        ("a cup made of glass", 0.05, 0),
        ("a rusty metal barrel", 0.85, 0.2),
        ("a woodpecker", 0.8, 0),  # a word, not its beginning
    ],
)
def test_one_phrase_has_one_finish(prompt: str, roughness: float, metallic: float) -> None:
    found = finishes_of(prompt, AUTO)
    assert found.base == Finish(roughness, metallic)
    assert (found.parts, found.warnings) == ((), ())


def test_parts_have_their_own_where_their_colours_differ() -> None:
    found = finishes_of("a wooden table with golden legs and a marble top", AUTO)
    assert [(part.words, part.finish.metallic) for part in found.parts] == [("a wooden table", 0), ("golden legs", 1), ("a marble top", 0)]
    assert found.warnings == ()
    sword = finishes_of("a steel sword with a red handle", AUTO)
    assert [part.finish for part in sword.parts] == [Finish(0.3, 1), PLAIN]
    assert sword.parts[1].color[0] > 150 > sword.parts[1].color[1]


def test_a_colour_named_with_a_material_is_the_parts() -> None:
    found = finishes_of("a blue metal chair with a wooden seat", AUTO)
    assert found.parts[0].color[2] > 150
    assert found.parts[0].finish.metallic == 1


@pytest.mark.parametrize("prompt", ["a red mushroom with white parts", "a blue chair on a table", "a wooden table with legs"])
def test_parts_of_one_finish_are_not_told_apart(prompt: str) -> None:
    assert finishes_of(prompt, AUTO).parts == ()
    assert finishes_of(prompt, AUTO).warnings == ()


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a robot with golden arms", "no colour tells where 'a robot' is"),
        ("a red cup with a glass handle", "no colour tells where 'a glass handle' is"),
        ("a stone house with a metal door", "'a stone house' and 'a metal door' are too alike"),
    ],
)
def test_parts_that_colours_do_not_tell_have_the_bases_finish_and_a_warning(prompt: str, why: str) -> None:
    found = finishes_of(prompt, AUTO)
    assert found.parts == ()
    assert len(found.warnings) == 1
    assert why in found.warnings[0]
    assert f"roughness {found.base.roughness:g} and metallic {found.base.metallic:g}" in found.warnings[0]


def test_numbers_in_the_settings_stand_for_the_whole() -> None:
    found = finishes_of("a wooden table with golden legs", TextureSettings(roughness=0.3, metallic=0.6))
    assert (found.base, found.parts, found.warnings) == (Finish(0.3, 0.6), (), ())
    half = finishes_of("a wooden table with golden legs", TextureSettings(roughness=0.3))
    assert [part.finish for part in half.parts] == [Finish(0.3, 0), Finish(0.3, 1)]
    assert finishes_of("a robot with golden arms", TextureSettings(roughness=0, metallic=0)).warnings == ()


def test_each_texel_has_the_finish_of_the_nearest_colour_with_a_soft_edge() -> None:
    found = finishes_of("a wooden table with golden legs", AUTO)
    wood, gold = (torch.tensor(part.color) / 255 for part in found.parts)
    values = finish_values(found, torch.stack([wood, 0.85 * wood, gold, 0.9 * gold]))
    assert torch.allclose(values[:2], torch.tensor([[0.7, 0.0]]).expand(2, 2), atol=0.02)
    assert torch.allclose(values[2:], torch.tensor([[0.25, 1.0]]).expand(2, 2), atol=0.02)
    steps = finish_values(found, wood + torch.linspace(0, 1, 50)[:, None] * (gold - wood))[:, 1]
    assert (steps.diff() >= 0).all()
    assert steps.diff().max() < 0.15
    assert torch.equal(finish_values(finishes_of("a golden ring", AUTO), gold[None]), torch.tensor([[0.25, 1.0]]))
