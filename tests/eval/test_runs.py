"""Prompts x settings x seeds: a batch for each setting, gone on with by the same call."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from stub_rows import StubRows, asset_bytes

from dreamfusion_mesh.batch.records import Attempt, Options
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from tools.eval.__main__ import read_seeds
from tools.eval.runs import jobs, run_settings, spread

LISTED = {"a": load_config("smoke", ["device=cpu"]), "b": load_config("smoke", ["device=cpu", "coarse.steps=13"])}
PROMPTS = ["a red mug", "a blue mug"]


def run(out, prompts=PROMPTS, seeds=(0, 1), listed=LISTED):
    (out.parent / "notes").mkdir(exist_ok=True)
    return [astuple(totals) for totals in run_settings(listed, prompts, seeds, out, Options(1), StubRows(out.parent / "notes"))]


def test_each_setting_is_a_batch_of_all_prompts_and_seeds_that_is_gone_on_with(tmp_path, caplog):
    out, first = tmp_path / "out", {"a": LISTED["a"]}
    assert run(out, ["a red mug", "bad"], listed=first) == [(0, 2, 2, 0)]
    assert "bad-1" in caplog.text
    assert run(out, ["a red mug"]) == [(2, 0, 0, 0), (0, 2, 0, 0)], "what is done is left alone"
    for setting in LISTED:
        done = {path.name for path in (out / setting).iterdir() if (path / "result.json").is_file()}
        assert done == {"a-red-mug-0", "a-red-mug-1"}
        assert "a-red-mug-1" in (out / setting / "summary.csv").read_text(encoding="utf-8-sig")
    (job,) = jobs(["a red mug"], [1], LISTED["b"])
    assert (out / "b" / "a-red-mug-1" / "asset.glb").read_bytes() == asset_bytes(Attempt(job))
    assert "steps: 13" in (out / "b" / "a-red-mug-1" / "run.yaml").read_text()


def test_all_folders_are_looked_at_before_the_first_batch_begins(tmp_path):
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "letter.txt").write_text("of another program")
    with pytest.raises(BadInput, match="out/b"):
        run(tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()


def test_jobs_are_those_of_a_table_with_the_same_settings(tmp_path):
    from dreamfusion_mesh.batch.jobs import read_jobs
    from dreamfusion_mesh.batch.row_settings import Flags

    (tmp_path / "table.csv").write_text("prompt,seed\na red mug,3\na blue mug,3\n")
    there = read_jobs(tmp_path / "table.csv", Flags("smoke", ["coarse.steps=13"]))
    here = jobs(PROMPTS, [3], load_config("smoke", ["coarse.steps=13"], {"prompt": "of the preset", "seed": 5}))
    assert [(job.name, job.prompt, job.seed, job.key) for job in here] == [(job.name, job.prompt, job.seed, job.key) for job in there]


def test_spread_rows_are_even_and_of_all_forms():
    for count in (6, 9, 12, 24):
        rows = spread(153, count)
        assert len(set(rows)) == count
        assert {row % 3 for row in rows} == {0, 1, 2}
        assert len({row // 3 for row in rows}) == min(count, 22), "of so many kinds"
    assert spread(153, 12) == [13 * at for at in range(12)]
    assert set(spread(153, 6)) <= set(spread(153, 12)), "so that the runs of six are among those of twelve"


@pytest.mark.parametrize("whole", [1, 4, 8, 12, 153, 156])
def test_no_row_is_twice_among_spread_ones(whole):
    for count in (1, 2, 3, 5, 8, 12, 200):
        rows = spread(whole, count)
        assert len(set(rows)) == len(rows) == min(count, whole)
        assert all(0 <= row < whole for row in rows)


@pytest.mark.parametrize(("text", "seeds"), [("0", [0]), ("3, 0", [3, 0]), ("9223372036854775807", [2**63 - 1])])
def test_seeds_are_read(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "-1", "1,", "1.5", "9223372036854775808", "١", "1,2,1"])
def test_other_seeds_are_refused(text):
    with pytest.raises(BadInput, match=r"^--seeds: "):
        read_seeds(text)
