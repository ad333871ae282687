"""One front or several: counted on circles drawn by hand, and on the world's objects with their backs replaced by their fronts."""

import math

import pytest
import torch
from judged_world import built, two_faced, world_pictures

from dreamfusion_mesh.evaluate.janus import front_sectors, views_named
from dreamfusion_mesh.evaluate.pictures import ELEVATION
from dreamfusion_mesh.evaluate.precision import encode_images
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from tools.prior import held_out
from tools.prior.captions import parse
from tools.prior.kinds import KINDS


def fits(letters):
    """[A, 4] where F(ront), S(ide), B(ack) or O(verhead) fits best: capital letters by 1, small ones by 0.1, in doubt."""
    best = torch.nn.functional.one_hot(torch.tensor(["FSBO".index(letter.upper()) for letter in letters]), 4).float()
    return torch.where(torch.tensor([letter.isupper() for letter in letters])[:, None], best, 0.5 + 0.1 * best)


CIRCLES = {
    "FFSSSBBBSSSF": 1,  # the sector goes on over the seam
    "FFSSSFFFSSSF": 2,
    "SSSSSSSSSSSS": 0,
    "FSSFFSSFFSSF": 3,
    "FFSSSBfBSSSF": 1,  # a single azimuth, in doubt
    "FFsFFBBBSSSF": 1,  # a single gap, in doubt
    "FFFFFFFFFFFF": 2,  # a front seen from everywhere is no single front
    "FFFFFFSSSSSS": 1,
    "FFFFFFFFSSSS": 2,
}


@pytest.mark.parametrize(("letters", "sectors"), CIRCLES.items())
def test_sectors_are_counted_around_the_circle(letters, sectors):
    for turn in range(len(letters)):
        assert front_sectors(fits(letters).roll(turn, 0)) == sectors


def test_views_are_named_as_guidance_words_them():
    assert views_named(fits("FFSSSBBBSSSF"), ELEVATION) == 1
    assert views_named(fits("FFSSSFFFSSSF"), ELEVATION) == 0.75
    assert views_named(fits("SSSSSSSSSSSS"), ELEVATION) == 0.5
    assert views_named(fits("BBSSSFFFSSSB"), ELEVATION) == 0.5  # turned round
    assert views_named(fits("OOOO"), math.radians(60)) == 1


# Sided kinds, by turns: the smoothing was chosen on the even ones, of those tried (none, 1 1 1, 1 2 1, 1 2 3 2 1, 1 1 1 1 1).
SIDED = [name for name, kind in KINDS.items() if kind.sided]
TUNED_ON, TESTED_ON = SIDED[::2], SIDED[1::2]
HALF_IS_NO_FRONT = {"chair", "bed", "flower"}  # what their fronts show lies in the back half: backs, pillows, petals
BOTH_SIDES_ALIKE = {"shield"}  # whose back has a shape like the front's star
FEW = ("house", "snowman", "elephant")


def prompt_of(kind):
    """The held-out prompt that names the kind and its part."""
    return next(prompt for prompt in held_out.prompts() if parse(prompt).scene.thing.kind == kind)


def sectors_of(judge, kind):
    """Of a plain one, and of a two-faced one; and the share of the plain one's views that are named."""
    prompt = prompt_of(kind)
    texts = judge.texts([prompt + suffix for suffix in VIEW_SUFFIXES])
    scene = built(prompt, 500 + held_out.prompts().index(prompt))
    plain, double = (encode_images(judge, world_pictures(each).colour) @ texts.T for each in (scene, two_faced(scene)))
    return front_sectors(plain), front_sectors(double), views_named(plain, ELEVATION)


@pytest.mark.parametrize("kind", FEW)
def test_a_plain_object_has_one_front_and_a_two_faced_one_has_two(judge, kind):
    plain, double, named = sectors_of(judge, kind)
    assert plain == 1
    assert double == 2
    assert named >= 0.75


@pytest.mark.sweep
@pytest.mark.parametrize("kinds", [TUNED_ON, TESTED_ON], ids=["tuned on", "tested on"])
def test_the_janus_rate_of_controls(judge, kinds):
    found = {kind: sectors_of(judge, kind) for kind in kinds}
    assert len(found) >= 15
    assert {kind for kind, (plain, _, _) in found.items() if plain > 1} <= BOTH_SIDES_ALIKE
    assert {kind for kind, (_, double, _) in found.items() if double < 2} <= HALF_IS_NO_FRONT
    assert sum(named for _, _, named in found.values()) / len(found) >= 0.9


def test_a_two_faced_object_looks_from_behind_as_from_the_front():
    prompt = prompt_of("snowman")
    views = world_pictures(two_faced(built(prompt, 3))).textureless
    assert torch.allclose(views[:6], views[6:], atol=0.05)
    plain = world_pictures(built(prompt, 3)).textureless
    assert (plain[0] - plain[6]).abs().max() > 0.1
