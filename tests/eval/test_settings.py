"""Lists of settings: what each name changes, and everything that can be wrong with a list, before anything is made."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from tools.eval.settings import FOLDER, read_list


def read(tmp_path: Path, text: str, preset: str = "demo"):
    file = tmp_path / "list.yaml"
    file.write_text(text)
    return read_list(file, preset)


def refusals(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    assert all(line.startswith(f"{tmp_path / 'list.yaml'}") and line.isprintable() for line in caught.value.lines)
    return [line.removeprefix(f"{tmp_path / 'list.yaml'}: ") for line in caught.value.lines]


def test_changes_are_nested_or_dotted_and_laid_on_the_preset_and_on_the_base(tmp_path):
    listed = read(
        tmp_path, "plain:\na: {coarse: {steps: 7, views: 3}}\nb:\n  base: a\n  coarse.steps: 9\n  coarse: {size: 32}\n  fine.steps: 0\n"
    )
    assert list(listed) == ["plain", "a", "b"]
    assert listed["plain"] == load_config("demo")
    assert listed["a"] == load_config("demo", ["coarse.steps=7", "coarse.views=3"])
    assert listed["b"] == load_config("demo", ["coarse.steps=9", "coarse.views=3", "coarse.size=32", "fine.steps=0"])


def test_a_list_is_laid_on_the_preset_that_is_named(tmp_path):
    assert read(tmp_path, "a: {coarse.views: 3}", "smoke")["a"] == load_config("smoke", ["coarse.views=3"])


ALONE = {
    "": "expected names of settings, and below each what it changes (given nothing)",
    "[a]": "expected names of settings, and below each what it changes (given ['a'])",
    "a: 3": "a: expected what it changes (setting: value), found 3",
    "a: {coarse.stpes: 3}": "a: coarse.stpes: unknown setting; did you mean 'steps'?",
    "a: {coarse.steps: 0}": "a: coarse.steps: expected a whole number from 1 to 1000000 (given 0)",
    "a: {coarse.steps.x: 3}": "a: coarse.steps: expected a whole number from 1 to 1000000 (given a mapping)",
    "a: {prompt: a mug}": "a: prompt: --prompts names the prompts; take it out of the list",
    "a: {seed: 3}": "a: seed: --seeds names the seeds; take it out of the list",
    "a: {base: b}\nb: {}": "a: base: expected a name that stands above in this list (given 'b')",
    "a: {base: a}": "a: base: expected a name that stands above in this list (given 'a')",
    "abcd: {}\nb: {base: abce}": "b: base: expected a name that stands above in this list (given 'abce'); did you mean 'abcd'?",
    "a: {base: [1]}": "a: base: expected a name that stands above in this list (given [1])",
    "a/b: {}": "a/b: name: ",
    "..: {}": "..: name: ",
    "con: {}": "con: name: ",
    "Evaluation.json: {}": "Evaluation.json: name: is a file of the evaluation",
    "Wide: {}\nwide: {}": "wide: name: is 'Wide' on disks that ignore case; give another name",
    "a: {guidance.view_words: false}": "a: guidance: perp_neg keeps away from other views' words, and view_words is false",
}


@pytest.mark.parametrize("text", ALONE)
def test_a_faulty_list_is_refused_in_one_line(tmp_path, text):
    (line,) = refusals(tmp_path, text)
    assert line.startswith(ALONE[text])


def test_all_faults_of_a_list_are_told(tmp_path):
    lines = refusals(tmp_path, "a: {coarse.steps: 0, fine.size: 1}\nb: {base: c}\nc: {base: a, seed: 1}\n")
    assert [line.split(" ")[:2] for line in lines] == [["a:", "coarse.steps:"], ["a:", "fine.size:"], ["b:", "base:"], ["c:", "seed:"]]


def test_a_list_that_is_missing_and_a_preset_that_is_none_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.yaml"):
        read_list(tmp_path / "nowhere.yaml", "demo")
    with pytest.raises(BadInput, match="preset 'dmo': no preset has that name"):
        read(tmp_path, "a: {}", "dmo")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("preset", ["demo", "default", "smoke"])
def test_the_lists_that_come_along_are_settings_over_any_preset(file, preset):
    listed = read_list(file, preset)
    assert len({config.model_dump_json() for config in listed.values()}) == len(listed) >= 1


def test_each_step_of_the_ablation_adds_one_thing_to_the_one_before():
    listed = list(read_list(FOLDER / "ablation.yaml", "demo").values())
    changed = [_changed(one.model_dump(), other.model_dump()) for one, other in pairwise(listed)]
    assert changed == [
        {"views.elevation_degrees", "views.overhead"},
        {"guidance.view_words"},
        {"views.lambertian"},
        {"views.textureless"},
        {"guidance.perp_neg"},
    ]
    assert all(config.fine.steps == 0 for config in listed)


def _changed(one: dict, other: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, value in one.items():
        if isinstance(value, dict):
            found |= _changed(value, other[name], f"{prefix}{name}.")
        elif value != other[name]:
            found.add(prefix + name)
    return found
