"""Means, comparisons, failures and what is written of them, by a judge that sees colours alone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluated_runs import PROMPTS, ColourJudge, done, failed, make_batch, make_run, started
from PIL import Image

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate import evaluation
from dreamfusion_mesh.evaluate.document import document, document_bytes
from dreamfusion_mesh.evaluate.evaluation import Evaluation, check_prompts, evaluate
from dreamfusion_mesh.evaluate.failures import asked_parts, loose_parts, surplus_holes
from dreamfusion_mesh.evaluate.measures import MEASURES
from dreamfusion_mesh.evaluate.page import MARK, page_bytes
from dreamfusion_mesh.evaluate.pictures import pictures_of
from dreamfusion_mesh.evaluate.records import Group, Pictures, Prompt, Run
from dreamfusion_mesh.evaluate.runs import read_groups
from dreamfusion_mesh.evaluate.table import table

RED, GREEN, BLUE = PROMPTS
POOL = [Prompt(RED, front=True, holes=0), Prompt(GREEN, front=False), Prompt(BLUE)]
CPU = torch.device("cpu")


def judged(*folders: Path, pool: list[Prompt] = POOL) -> Evaluation:
    return evaluate(read_groups(folders), pool, ColourJudge(), CPU)


def base(folder: Path) -> Path:
    """Two seeds of red, of which one came out blue, a green one, and a blue one that failed."""
    rows = (done("r0", RED, 0), done("r1", RED, 1), done("g", GREEN), failed("b", BLUE, "diverged"), started("later", BLUE))
    return make_batch(folder / "base", *rows, r1="blue", g="green")


@pytest.fixture(scope="module", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Pictures of equal files are drawn once."""
    known: dict[bytes, Pictures] = {}

    def draw(file: Path, *rest: Any, **more: Any) -> Pictures:
        content = file.read_bytes()
        return known.get(content) or known.setdefault(content, pictures_of(file, *rest, **more))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "pictures_of", draw)
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """`base`, and against it a batch in which all is right."""
    folder = tmp_path_factory.mktemp("evaluation")
    better = make_batch(folder / "better", done("r", RED), done("g", GREEN), done("b", BLUE), g="green", b="blue")
    make_run_again(better / "b", audit={11: "fail", 1: "not measured"}, measured={"shells": 3, "cavities": 0, "holes through it": 1})
    return judged(base(folder), better)


def make_run_again(folder: Path, **more: object) -> None:
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    (folder / "checkpoints").rmdir()
    make_run(folder, BLUE, 0, "blue", memory={"resident": 3 * 2**30}, **more)


def test_seeds_are_averaged_before_prompts_and_a_failed_run_is_wrong_from_all_sides(found: Evaluation) -> None:
    first, second = found.groups
    mean = first.means["colour"]
    assert (mean.value, mean.count) == (pytest.approx((0.5 + 1 + 0) / 3), 3)
    assert mean.error == pytest.approx((1 / 3**0.5) * 0.5)  # of 0.5, 1 and 0, whose standard deviation is 0.5
    assert second.means["colour"].value == 1.0
    assert first.means["failed"].value == pytest.approx(1 / 3)
    assert (first.means["fit"].count, first.means["audit"].count) == (2, 2)  # of what failed there is nothing to look at


def test_groups_are_compared_with_the_first_over_the_prompts_that_both_have(found: Evaluation) -> None:
    first, second = found.groups
    assert first.against == {}
    compared = second.against["colour"]
    assert (compared.difference, compared.count, compared.exact) == (pytest.approx(0.5), 3, True)
    assert second.against["fit"].count == 2


def test_what_the_judge_takes_an_asset_for_is_told(found: Evaluation) -> None:
    taken = {each.run.name: each.scores.taken_for if each.scores else None for each in found.groups[0].judged}
    assert taken == {"b": None, "g": GREEN, "r0": RED, "r1": BLUE}


def test_janus_is_measured_of_prompts_with_a_front_alone(found: Evaluation) -> None:
    assert [each.scores.front_sectors for each in found.groups[0].judged if each.scores] == [None, 2, 2]  # to this judge all is front
    assert (found.groups[0].means["janus"].value, found.groups[0].means["janus"].count) == (1.0, 1)
    assert found.groups[0].means["views"].value == pytest.approx(1 / 4)


def test_diversity_is_of_prompts_with_several_seeds(found: Evaluation) -> None:
    assert found.groups[0].means["diversity"].count == 1
    assert found.groups[0].means["diversity"].value > 0.5  # a red box and a blue one
    assert "diversity" not in found.groups[1].means


def test_failures_are_counted_by_kind_and_by_row(found: Evaluation) -> None:
    first, second = found.groups
    assert (first.failures.kinds, first.failures.rows, first.unfinished) == ({"diverged": 1}, {}, ("later",))
    assert (second.failures.kinds, second.failures.rows) == ({}, {"LODs": 1})  # what is not measured has not failed
    assert second.means["audit"].value == second.means["parts"].value == pytest.approx(1 / 3)
    assert second.means["holes"].count == 1  # of the prompt that says how many it asks for


def test_seconds_and_memory(found: Evaluation) -> None:
    first, second = found.groups
    assert first.seconds == {"coarse": 8.0, "audit": 2.0, "all": 10.0}  # of what failed the time says nothing
    assert (first.memory, second.memory) == ({}, {"resident": 3 * 2**30})


@pytest.mark.parametrize(
    ("text", "parts", "asked"),
    [
        ("a red box", None, 1),
        ("a cat on a box on a mat", None, 3),
        ("a spoon", None, 1),
        ("a cat on a box", 1, 1),
        ("a car ON A box", None, 2),
    ],
)
def test_parts_that_the_words_ask_for(text: str, parts: int | None, asked: int) -> None:
    prompt = Prompt(text, parts=parts)
    assert asked_parts(prompt) == asked
    counts = [loose_parts(Run("g", "n", text, 0, parts=count), prompt) for count in (None, asked, asked + 2)]
    assert counts == [None, 0, 2]


def test_fewer_holes_than_asked_are_none_too_many() -> None:
    run = Run("g", "n", RED, 0, holes=1)
    assert [surplus_holes(run, Prompt(RED, holes=holes)) for holes in (None, 0, 1, 2)] == [None, 1, 0, 0]


def test_the_same_runs_give_the_same_bytes(found: Evaluation, tmp_path: Path) -> None:
    once, twice = (judged(base(tmp_path / name), make_batch(tmp_path / name / "b", done("r", RED))) for name in ("one", "two"))
    for written in (document_bytes, page_bytes):
        assert written(once) == written(twice)
        assert str(tmp_path).encode() not in written(once)
    assert table(once) == table(twice) != table(found)


def test_the_document_has_a_schema_and_every_run(found: Evaluation) -> None:
    values = json.loads(document_bytes(found))
    assert values == document(found)
    assert (values["schema"], values["judge"]["model"], values["views"]) == (1, "colours", {"azimuths": 12, "elevation_degrees": 30.0})
    assert values["pool"]["chance"] == {"colour": pytest.approx(1 / 3, abs=1e-6), "textureless": 1.0}  # grey clay of each is a box
    assert list(values["measures"]) == [measure.name for measure in MEASURES]
    (run,) = [run for run in values["runs"] if run["name"] == "b" and run["group"] == "base"]
    assert (run["failure"], run["message"], run["values"]) == (
        "diverged",
        "the field is empty",
        {"quality": 0.0, "colour": 0.0, "textureless": 0.0, "failed": 1.0},
    )
    (run,) = [run for run in values["runs"] if run["name"] == "b" and run["group"] == "better"]
    assert (run["parts"], run["holes"]) == ({"found": 3, "asked": 1}, {"found": 1, "asked": None})
    assert values["groups"][1]["against_first"]["colour"]["difference"] == 0.5


def test_the_table_is_narrow_and_says_what_was_left_out(found: Evaluation) -> None:
    lines = table(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "3 of the 3 prompts have runs; judge colours"
    assert any(re.fullmatch(r"base .* 50\.0 ± 28\.9 .*", line) for line in lines)
    head = next(at for at, line in enumerate(lines) if line.split()[-1:] == ["diversity"])  # how far apart the seeds of a prompt are
    assert f"{found.groups[0].means['diversity'].value:.3f}" in lines[head + 1]
    assert any(re.fullmatch(r"better .* \+50\.0, p 0\.\d{3} .*", line) for line in lines)
    assert "base: 4 runs of 3 prompts; 1 not done and left out; failed: diverged 1" in lines
    assert "better: 3 runs of 3 prompts; audit rows failed: LODs 1; at most 3.0 GiB resident" in lines


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_shows_every_asset(found: Evaluation) -> None:
    content = page_bytes(found)
    page = Page(content)
    assert content.startswith(MARK)
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(links) == 6
    assert all(link and link.startswith("data:image/png;base64,") for link in links)
    picture = Image.open(BytesIO(base64.b64decode(links[0].partition(",")[2])))
    assert picture.size == (4 * 8, 2 * 8)
    assert not re.search(rb"https?:|url\(|@import", content)
    assert [tag for tag, _ in page.tags].count("svg") == len({name for group in found.groups for name in group.means})
    assert "the field is empty" in page.text


def test_names_prompts_and_messages_are_text_on_the_page(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> & \"'"
    pool = [Prompt(f"a red {hostile}"), Prompt(GREEN)]
    folder = make_batch(tmp_path / "<b>bold", failed("x", pool[0].text, "error", hostile), done("y", pool[0].text))
    found = judged(folder, pool=pool)
    page = Page(page_bytes(found))
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("b")) == (1, 0)
    assert hostile in page.text
    assert "<b>bold" in page.text
    assert json.loads(document_bytes(found))["runs"][0]["message"] == hostile


def test_half_a_surrogate_pair_is_written_as_a_question_mark(tmp_path: Path) -> None:
    groups = [Group("g", (Run("g", "n", RED, 0, failure="error", message="\ud800"),))]
    found = evaluate(groups, POOL, ColourJudge(), CPU)
    assert json.loads(document_bytes(found))["runs"][0]["message"] == "?"
    assert b"error: ?" in page_bytes(found)


def test_a_judge_that_guided_a_run_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "out" / "mug", guidance={"files": {"text/model.safetensors": "same"}})
    with pytest.raises(BadInput, match=r"its weights guided the run out/mug \(text/model\.safetensors is the same file\)"):
        evaluate(read_groups([folder]), POOL, ColourJudge("same"), CPU)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ([RED], "p.txt: holds one prompt, and the judge picks among two or more; add those that the asset may be taken for"),
        ([RED, "x"], "p.txt: lacks 2 prompts that runs were made for ('a green box', 'a blue box'); add them: the judge picks among all"),
        ([RED, GREEN], "p.txt: lacks 1 prompt that runs were made for ('a blue box'); add it: the judge picks among all of the file"),
    ],
)
def test_a_pool_without_a_runs_prompt_is_refused(pool: list[str], message: str) -> None:
    groups = [Group("g", tuple(Run("g", text, text, 0) for text in PROMPTS))]
    with pytest.raises(BadInput) as caught:
        check_prompts(groups, [Prompt(text) for text in pool], "p.txt")
    assert str(caught.value).startswith(message)
