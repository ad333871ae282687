"""What prompts ask for is what the world shows of them, and the tables of prompts hold it."""

import pytest

from dreamfusion_mesh.evaluate.prompts import read_prompts
from tools.eval.prompt_sets import FOLDER, NEW, sets
from tools.prior import held_out
from tools.prior.asked import asked, count, table
from tools.prior.shapes import ball, box, torus

RING = torus(2, 0.5, 24, 24)
COUNTED = {
    "a box": ([[box(1, 1, 1)]], (1, 0)),
    "two boxes apart": ([[box(1, 1, 1), box(1, 1, 1).at(3)]], (2, 0)),
    "two boxes that overlap": ([[box(1, 1, 1), box(1, 1, 1).at(0.5)]], (1, 0)),
    "two boxes that share a side": ([[box(1, 1, 1, 0), box(1, 1, 1, 0).at(1)]], (1, 0)),
    "a thing on another, overlapping": ([[box(1, 1, 1)], [box(2, 1, 2).at(y=-0.95)]], (2, 0)),
    "a ring": ([[RING]], (1, 1)),
    "a ring with a ball in its hole": ([[RING, ball(1.6)]], (1, 0)),
    "two rings apart": ([[RING, RING.at(9)]], (2, 2)),
    "a ring on another": ([[RING], [RING.at(y=-0.9)]], (2, 1)),
    "an arch on a box": ([[box(1, 4, 1).at(-2), box(1, 4, 1).at(2), box(5, 1, 1).at(y=2)], [box(9, 1, 9).at(y=-2.4)]], (2, 1)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_parts_and_holes_are_those_of_the_solids_together(name):
    things, found = COUNTED[name]
    assert count(things) == found


def test_a_closed_hollow_is_neither_a_part_nor_a_hole():
    walls = [box(3, 1, 3).at(y=y) for y in (-1, 1)] + [box(1, 3, 3).at(x) for x in (-1, 1)] + [box(3, 3, 1).at(z=z) for z in (-1, 1)]
    assert count([walls]) == (1, 0)


def test_what_words_ask_for():
    mug, teapot = asked("a metal orange mug with a turquoise handle"), asked("a spotted yellow teapot with a turquoise handle")
    assert (mug.shape, mug.front, mug.holes) == ("a grey clay mug", True, 1)
    assert (teapot.front, teapot.parts, teapot.holes) == (True, 1, 1)
    lamp = asked("a red lamp on a small black box")
    assert (lamp.shape, lamp.front, lamp.parts, lamp.holes) == ("a grey clay lamp", False, 2, 0)
    assert asked("a blue chair").holes is None, "with bars in its back, or without"
    assert asked("a green box") == asked("a green box")
    with pytest.raises(ValueError, match="no size, finish, colour or kind"):
        asked("a red xylophone")


@pytest.mark.parametrize("every", [pytest.param(25, id="some"), pytest.param(1, id="all", marks=pytest.mark.sweep)])
def test_the_held_out_table_is_what_the_world_makes_of_its_prompts(every):
    written = read_prompts(held_out.FILE)
    assert [prompt.text for prompt in written] == list(held_out.prompts())
    assert [asked(prompt.text) for prompt in written[::every]] == written[::every]
    assert table(written) == held_out.FILE.read_text()


def test_the_sets_of_prompts_are_written_anew_as_they_are():
    for name, text in sets().items():
        assert (FOLDER / name).read_text() == text
    pool = read_prompts(FOLDER / "all.csv")
    assert len(pool) == 156
    assert {prompt for prompt, _ in NEW.values()} < {prompt.text for prompt in pool}
