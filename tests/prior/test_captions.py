"""Captions say what is there and can be read back; the held-out looks are never drawn."""

import re
from itertools import product

import pytest
import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, textureless_prompt
from tools.prior import held_out
from tools.prior.captions import COLOURS, FINISHES, SIZES, Caption, Scene, Thing, caption_of, parse, phrase_of, vocabulary
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw
from tools.prior.world import draw_scene


def draw_of(seed):
    return Draw(torch.Generator().manual_seed(seed))


def test_the_grammar_is_as_rich_as_promised():
    assert len(COLOURS) == 12
    assert len(FINISHES) == 6
    assert set(SIZES) == {"small", "large"}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (Scene(Thing("mug", "red")), "a red mug"),
        (Scene(Thing("mug", "red", "white")), "a red mug with a white handle"),
        (Scene(Thing("axe", finish="wooden", size="large")), "a large wooden axe"),
        (Scene(Thing("elephant", "orange", "orange")), "an orange elephant with orange ears"),
        (Scene(Thing("bird", "blue"), Thing("box", "red")), "a blue bird on a red box"),
        (Scene(Thing("apple")), "an apple"),
    ],
)
def test_plain_words(scene, words):
    assert phrase_of(scene) == words
    assert parse(words) == Caption(scene, None, False)


def test_parts_need_no_name_of_their_own():
    scene = Scene(Thing("mushroom", "red", "white"))
    assert parse("a red mushroom with white parts") == parse("a red mushroom with a white stem") == Caption(scene, None, False)
    phrases = [phrase_of(scene, draw_of(seed)) for seed in range(200)]
    assert 0.25 < sum("white parts" in phrase for phrase in phrases) / 200 < 0.45
    assert caption_of("a red mushroom with white parts", 1, True) == "a grey clay mushroom, side view"


def test_captions_are_read_back_whatever_their_synonyms():
    draw, known = draw_of(0), set(vocabulary())
    for _ in range(2000):
        scene, view = draw_scene(draw), draw.integer(0, 3)
        phrase = phrase_of(scene, draw)
        seen, clay = caption_of(phrase, view, False), caption_of(phrase, view, True)
        assert parse(seen) == Caption(scene, view, False), seen
        assert parse(clay) == Caption(scene.bare(), view, True), clay
        assert set(re.findall(r"\w+|,", f"{seen} {clay}")) <= known


def test_clay_is_worded_as_score_distillation_words_it():
    settings = GuidanceSettings()
    for prompt in held_out.prompts():
        caption = caption_of(prompt, 2, True)
        assert caption == textureless_prompt(settings.textureless_words, prompt) + ", back view"
        assert not set(re.findall(r"\w+", caption)[2:]) & set(COLOURS), caption
    assert caption_of("a red mug", 0, True) == "a grey clay mug, front view"
    assert [caption_of("a cake", row, False) for row in range(4)] == [f"a cake{suffix}" for suffix in VIEW_SUFFIXES]


def test_articles_fit():
    draw = draw_of(1)
    for _ in range(1000):
        phrase = phrase_of(draw_scene(draw), draw)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |^ | $", phrase), phrase


@pytest.mark.parametrize(
    "words", ["a red", "a red blue mug", "a red mug with a white roof", "a fast mug", "a mug on", "a mug at a box", "a mug on a box on"]
)
def test_what_is_not_of_the_grammar_is_refused(words):
    with pytest.raises(ValueError, match="a "):
        parse(words)


def test_an_unnamed_part_is_as_in_nature_or_like_the_whole():
    assert Thing("car", "blue").seen() == ("car", "blue", "black")
    assert Thing("chair", "blue").seen() == ("chair", "blue", "blue")
    assert Thing("tree").seen() == ("tree", "green", "brown")
    assert Thing("chair", finish="stone").seen() == ("chair", "grey", "grey")


def test_held_out_prompts_are_the_written_ones():
    prompts = held_out.prompts()
    assert list(prompts) == held_out.draw_prompts(seed=4)
    assert len(prompts) == len(set(prompts)) == 153
    assert len(held_out.looks()) == 153
    things = [parse(prompt).scene.thing for prompt in prompts]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert all(parse(prompt).view is None for prompt in prompts)


def test_the_rule_refuses_every_way_to_say_a_held_out_look():
    for kind, colour, part in sorted(held_out.looks()):
        for finish, size in product((None, *FINISHES), (None, *SIZES)):
            thing = Thing(kind, colour, part, finish, size)
            assert not held_out.allowed(Scene(thing))
            assert not held_out.allowed(Scene(Thing("mug", "red", "white"), thing))
            assert not held_out.allowed(Scene(thing, Thing("box")))
        unsaid = Thing(kind, colour)
        assert held_out.allowed(Scene(unsaid)) == (unsaid.seen() not in held_out.looks())


def test_nothing_held_out_is_ever_drawn():
    draw, seen = draw_of(5), set()
    for _ in range(12_000):
        scene = draw_scene(draw)
        seen |= {thing.seen() for thing in parse(phrase_of(scene, draw)).scene.things()}
    assert not seen & held_out.looks()
    assert len(seen) > 3000  # of 7344: the sampler does reach the world that is left


def test_the_judges_world_holds_what_is_held_out():
    draw = draw_of(7)
    seen = {thing.seen() for _ in range(12_000) for thing in draw_scene(draw, everything=True).things()}
    assert len(seen & held_out.looks()) > 60  # of 153: as often as anything else


def test_the_kinds_and_colours_of_what_is_held_out_are_trained_apart():
    draw = draw_of(6)
    seen = [thing.seen() for _ in range(12_000) for thing in draw_scene(draw).things()]
    pairs = {(kind, colour) for kind, colour, _ in seen}
    missing = {(kind, colour) for kind, colour, _ in held_out.looks()} - pairs
    assert len(missing) == 0
