"""Words: views by azimuth and elevation with their exact borders, subjects without colours, prompts refused in one line."""

import math

import pytest
import torch

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.prompts import MAX_PROMPT_LENGTH, VIEW_SUFFIXES, check_prompt, subject, textureless_prompt, view_words


def _words(azimuth_degrees, elevation_degrees=0.0, front=45.0, overhead=50.0):
    azimuth = torch.deg2rad(torch.tensor(azimuth_degrees, dtype=torch.float64))
    elevation = torch.deg2rad(torch.full_like(azimuth, elevation_degrees))
    return [VIEW_SUFFIXES[row].removeprefix(", ").removesuffix(" view") for row in view_words(azimuth, elevation, front, overhead)]


def test_view_suffix_by_azimuth_just_inside_and_outside_its_borders():
    assert _words([0.0, 44.9, -44.9]) == ["front"] * 3
    assert _words([45.1, 90.0, 134.9, -45.1, -90.0, -134.9]) == ["side"] * 6
    assert _words([135.1, 180.0, -180.0, -135.1]) == ["back"] * 4
    assert _words([29.9, 30.1, 149.9, 150.1], front=30.0) == ["front", "side", "side", "back"]


@pytest.mark.parametrize("turns", [-3, -1, 1, 2])
def test_whole_turns_change_nothing(turns):
    angles = [0.0, 44.9, 45.1, 100.0, 134.9, 135.1, 179.9, -44.9, -90.0, -135.1]
    assert _words([angle + 360 * turns for angle in angles]) == _words(angles)


def test_overhead_wins_above_its_elevation_alone():
    angles = [0.0, 90.0, 180.0]
    assert _words(angles, 50.1) == ["overhead"] * 3
    assert _words(angles, 49.9) == ["front", "side", "back"]
    assert _words(angles, -89.0) == ["front", "side", "back"]
    assert _words(angles, 60.0, overhead=65.0) == ["front", "side", "back"]


def test_single_precision_angles_near_pi_are_the_back():
    azimuth = torch.tensor([math.pi, -math.pi, 3.14159, -3.14159])
    assert view_words(azimuth, torch.zeros(4), 45.0, 50.0).tolist() == [2] * 4


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red mushroom with white parts", "mushroom"),
        ("A Red Mushroom With White Parts", "Mushroom"),
        ("a mug", "mug"),
        ("mug", "mug"),
        ("a dark blue and white vase", "vase"),
        ("a chair with red, green and blue stripes", "chair"),
        ("a knight with a red sword", "knight with a sword"),
        ("a DSLR photo of the brown bear", "bear"),
        ("a house with red roof, green door", "house with roof, door"),
        ("the red-haired elf", "red-haired elf"),
        ("a hundred acre wood", "hundred acre wood"),
        ("an orange", "orange"),
        ("a white orange", "orange"),
    ],
)
def test_the_subject_keeps_shapes_and_drops_colours(prompt, expected):
    assert subject(prompt) == expected


def test_textureless_prompt_takes_the_subject_and_the_prompt():
    assert textureless_prompt("a grey clay {subject}", "a red mug with blue parts") == "a grey clay mug"
    assert textureless_prompt("{prompt}, {subject}, clay", "a red mug") == "a red mug, mug, clay"
    assert textureless_prompt("{{clay}}", "a red mug") == "{clay}"


def test_white_space_is_collapsed():
    assert check_prompt("  a\tred\n mug  ") == "a red mug"
    assert check_prompt("une théière 茶壶") == "une théière 茶壶"
    assert check_prompt("x" * MAX_PROMPT_LENGTH) == "x" * MAX_PROMPT_LENGTH


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("a\x00b", r"U\+0000"),
        ("a\x1fb", r"U\+001F"),
        ("a\x1b[31mb", r"U\+001B"),
        ("\ud800", r"U\+D800"),
        ("x" * (MAX_PROMPT_LENGTH + 1), "1001 characters, at most 1000"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused_in_one_printable_line(text, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        check_prompt(text)
    assert str(caught.value).isprintable()
