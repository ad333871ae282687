"""A table's rows as jobs: what beats what, one resolution for rows that are alike, and every faulty cell named by line and column."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dreamfusion_mesh.batch.jobs import read_jobs
from dreamfusion_mesh.batch.records import LARGEST_SEED, MOST_JOBS, Job
from dreamfusion_mesh.batch.row_settings import Flags, job_key
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput

ROOT = Path(__file__).parents[2]


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def jobs(tmp_path: Path, text: str, flags: Flags = Flags("smoke")) -> list[Job]:  # noqa: B008  it is frozen
    return read_jobs(table(tmp_path, text), flags)


def faults(tmp_path: Path, text: str, flags: Flags = Flags("smoke")) -> list[str]:  # noqa: B008
    """What is wrong, a line each, with the file's name taken away."""
    path = table(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        read_jobs(path, flags)
    assert all(line.isprintable() for line in caught.value.lines)
    return [line.removeprefix(f"{path}, ").removeprefix(f"{path}: ") for line in caught.value.lines]


def test_the_worked_example_has_twelve_rows_that_the_embedded_model_knows() -> None:
    from transformers import AutoTokenizer  # isort: skip

    found = read_jobs(ROOT / "configs" / "prompts.csv", Flags("smoke"))
    assert len({job.line for job in found}) == 12
    assert [job.name for job in found if job.prompt == "a white rabbit with pink ears"] == ["rabbit", "rabbit-2"]
    known = AutoTokenizer.from_pretrained(ROOT / "dreamfusion_mesh" / "guidance" / "prior" / "tokenizer")
    for text in [text for job in found for text in (job.prompt, job.settings.guidance.negative_prompt) if text]:
        assert known.unk_token_id not in known(text).input_ids, text


def test_a_row_of_a_prompt_alone_is_what_generate_makes_of_it(tmp_path: Path) -> None:
    flags = Flags("smoke", ("coarse.steps=7", "seed=4"), None, "cpu", True)
    (job,) = jobs(tmp_path, "prompt\na  red\tmug\n", flags)
    wanted = load_config("smoke", flags.changes, {"prompt": "a red mug", "device": "cpu", "commercial": True})
    assert job.settings.model_copy(update={"prompt": job.prompt, "seed": job.seed}) == wanted
    assert (job.name, job.prompt, job.seed, job.tags, job.line) == ("a-red-mug-4", "a red mug", 4, (), 2)
    assert job.key == job_key(wanted, "a red mug", 4)
    (job,) = jobs(tmp_path, "prompt\na red mug\n", Flags())
    assert job.settings == load_config("default")


def test_a_model_is_laid_over_every_rows_preset_and_below_changes_and_cells(tmp_path: Path) -> None:
    flags = Flags("smoke", ("guidance.rescale=0.25",), model="mvdream")
    plain, own = jobs(tmp_path, "prompt,preset,guidance.scale\na,,\nb,demo,9\n", flags)
    for job in (plain, own):
        assert (job.settings.guidance.model, job.settings.guidance.rescale, job.settings.coarse.views) == ("mvdream", 0.25, 4)
        assert job.settings.views.one_orbit
    assert (plain.settings.guidance.scale, own.settings.guidance.scale) == (50, 9)
    with pytest.raises(BadInput, match="--model 'mvdrem': is neither a folder nor the name of a model; did you mean 'mvdream'"):
        jobs(tmp_path, "prompt\na\n", Flags("smoke", model="mvdrem"))


def test_a_cell_beats_a_flag_and_a_flag_beats_the_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: smoke\nseed: 3\ndevice: cpu\ncoarse: {steps: 5, views: 3}\n")
    flags = Flags(str(tmp_path / "mine.yaml"), ("coarse.steps=6",), 8, "auto", True)
    text = "prompt,seed,device,commercial,coarse.steps,coarse.views,preset\na,,,,,,\nb,9,cuda,FALSE,7,4,\nc,,,,,,demo\nd,,,,,1,demo\n"
    found = [(job.seed, job.settings.device, job.settings.commercial, job.settings.coarse.steps) for job in jobs(tmp_path, text, flags)]
    assert found == [(8, "auto", True, 6), (9, "cuda", False, 7), (8, "auto", True, 6), (8, "auto", True, 6)]
    assert [job.settings.coarse.views for job in jobs(tmp_path, text, flags)] == [3, 4, 2, 1]
    assert [job.seed for job in jobs(tmp_path, "prompt,seed\na,\nb,0\n", Flags(str(tmp_path / "mine.yaml")))] == [3, 0]


def test_words_are_taken_as_they_stand_and_other_settings_as_yaml(tmp_path: Path) -> None:
    text = (
        "Prompt ; GUIDANCE.negative_prompt;fine.t_max;guidance.multiview;coarse.views;fine.views;coarse.learning_rate;licence_checked\n"
        "a;\"no: [x], 'y' #1\";[0.9, 0.5];TRUE;4;0x4;1e-3;true\n"
        "b;123;;;;;;\nc; true ;;;;;;\n"
    )
    first, second, third = [job.settings for job in jobs(tmp_path, text)]
    assert first.guidance.negative_prompt == "no: [x], 'y' #1"
    assert (first.fine.t_max, first.guidance.multiview, first.coarse.learning_rate, first.fine.views) == ((0.9, 0.5), True, 1e-3, 4)
    assert first.licence_checked
    assert [second.guidance.negative_prompt, third.guidance.negative_prompt] == ["123", "true"]


def test_rows_that_are_alike_share_their_settings(tmp_path: Path) -> None:
    rows = "".join(f"red mug {row},{row},{row % 3 or ''},{50 + row % 2}\n" for row in range(600))
    found = jobs(tmp_path, f"prompt,seed,coarse.steps,mesh.triangles\n{rows}")
    assert len({id(job.settings) for job in found}) == 6
    assert {(job.settings.prompt, job.settings.seed) for job in found} == {("", 0)}
    assert len({job.key for job in found}) == len({job.name for job in found}) == 600


def test_a_key_is_of_all_settings_but_the_device(tmp_path: Path) -> None:
    def key(*changes: str, prompt: str = "a", seed: int = 0) -> str:
        return job_key(load_config("smoke", changes), prompt, seed)

    assert key() == key("device=cpu") == key("seed=9", "prompt=x") == key("coarse.steps=12.0")
    others = [key("coarse.steps=13"), key("commercial=true"), key(prompt="b"), key(seed=1), key(prompt="a0"), key(prompt="a, 0")]
    assert len({key(), *others}) == 7
    (job,) = jobs(tmp_path, "prompt,device\na,cpu\n")
    assert job.key == key()
    assert len(job.key) == 32


def test_count_makes_that_many_seeds(tmp_path: Path) -> None:
    found = jobs(tmp_path, f"prompt,name,seed,count,tags\na mug,,5,3,\nb,mug,,2,x y;x\nc,,{LARGEST_SEED},1,\nd,,{LARGEST_SEED - 1},2,\n")
    names = ["a-mug-5", "a-mug-6", "a-mug-7", "mug", "mug-2", f"c-{LARGEST_SEED}", f"d-{LARGEST_SEED - 1}", f"d-{LARGEST_SEED}"]
    assert [job.name for job in found] == names
    assert [job.seed for job in found] == [5, 6, 7, 0, 1, LARGEST_SEED, LARGEST_SEED - 1, LARGEST_SEED]
    assert [job.line for job in found] == [2, 2, 2, 3, 3, 4, 5, 5]
    assert found[3].tags == found[4].tags == ("x", "y")


def test_a_name_depends_on_its_own_row_alone(tmp_path: Path) -> None:
    rows = ["a red mug,,", "A Red Mug,,", "a red mug,4,", "b,,3", "\U0001f344,,", "../../x,,", "=cmd(),,"]
    alone = [job.name for row in rows for job in jobs(tmp_path, f"prompt,seed,count\n{row}\n")]
    assert [job.name for job in jobs(tmp_path, "\n# c\n".join(["prompt,seed,count", *rows]))] == alone
    assert [job.name for job in jobs(tmp_path, "\n".join(["prompt,seed,count", *reversed(rows)]))][-1] == alone[0]


SEED = f"expected a whole number from 0 to {LARGEST_SEED}"
SAFE = "letters, digits, spaces and . _ - are allowed"
FAULTS = {
    "prompt\n": ["no row stands below the names of the columns; write a prompt there"],
    "prompt\n# a\n\n": ["no row stands below the names of the columns; write a prompt there"],
    "prompt,promt,step,stepz\na,b,c,d\n": [
        "line 1, promt: unknown column; did you mean 'prompt'?",
        "line 1, step: unknown column; did you mean 'fine.steps'?",
        "line 1, stepz: unknown column; did you mean 'fine.steps'?",
    ],
    "prompt,qqqq\na,b\n": [
        "line 1, qqqq: unknown column; allowed: prompt, name, seed, count, preset, tags, and settings such as coarse.steps",
    ],
    "prompt,coarse\na,3\n": ["line 1, coarse: unknown column; did you mean 'coarse.size'?"],
    "prompt,name\na,b,,c d\nb,,,\n": [
        "line 2, column 4: the first row names 2 columns (given 'c d'); "
        "put quotes around a cell that holds what separates cells, or name the column",
    ],
    "prompt,,name\na,x,b\n": ["line 2, column 2: the first row has no name for it (given 'x'); name it"],
    "prompt,seed,count\na,abc,x\nb,-1,0\nc,1.5,1e7\nd,true,\ne,99999999999999999999,[1]\nf,nan,\n": [
        f"line 2, seed: {SEED} (given 'abc')",
        f"line 2, count: expected a whole number from 1 to {MOST_JOBS} (given 'x')",
        f"line 3, seed: {SEED} (given -1)",
        f"line 3, count: expected a whole number from 1 to {MOST_JOBS} (given 0)",
        f"line 4, seed: {SEED} (given 1.5)",
        f"line 4, count: expected a whole number from 1 to {MOST_JOBS} (given 10000000)",
        f"line 5, seed: {SEED} (given true)",
        f"line 6, seed: {SEED} (given 99999999999999999999)",
        f"line 6, count: expected a whole number from 1 to {MOST_JOBS} (given [1])",
        f"line 7, seed: {SEED} (given 'nan')",
    ],
    f"prompt,seed,count\na,{LARGEST_SEED},2\n": [
        f"line 2, count: 2 seeds from {LARGEST_SEED} on, at most {LARGEST_SEED} is allowed; lower the seed or the count",
    ],
    "prompt,seed\na,[\n": ["line 2, seed: not valid YAML (expected the node content, but found '<stream end>')"],
    "prompt,name,seed\na,mug,1\nb,cup,2\nc,mug,3\nd,MUG,4\ne,Mug,x\n": [
        "line 4, name: 'mug' is the name of line 2, too; give another name",
        "line 5, name: 'MUG' and 'mug' of line 2 are alike on disks that ignore case; give another name",
        f"line 6, seed: {SEED} (given 'x')",
        "line 6, name: 'Mug' and 'mug' of line 2 are alike on disks that ignore case; give another name",
    ],
    "prompt,name\na,CAF\xc9\nb,cafe\u0301\n": [
        "line 3, name: 'caf\xe9' and 'CAF\xc9' of line 2 are alike on disks that ignore case; give another name",
    ],
    "prompt,name,count\na,mug-3,\nb,mug,3\n": ["line 3, name: 'mug-3' is the name of line 2, too; give another name"],
    "prompt,name,count\na red mug,,2\nb,,\na red mug,,\na red mug,a-red-mug-1,\n": [
        "line 4, prompt: with its seed it makes the name 'a-red-mug-0', which line 2 has, too; give one of them a name, or another seed",
        "line 5, name: 'a-red-mug-1' is the name of line 2, too; give another name",
    ],
    "prompt,name\na,../../x\nb,/abs\nc,C:\\x\nd,con\ne,mug.\nf,=cmd()\n": [
        f"line 2, name: has the character / (given '../../x'); {SAFE}",
        f"line 3, name: has the character / (given '/abs'); {SAFE}",
        f"line 4, name: has the character : (given 'C:\\\\x'); {SAFE}",
        f"line 5, name: is a device in Windows (given 'con'); {SAFE}",
        f"line 6, name: a name begins with no dot, dash or space, and ends in no dot or space (given 'mug.'); {SAFE}",
        f"line 7, name: has the character = (given '=cmd()'); {SAFE}",
    ],
    f"name,prompt\nx,\n,a\x1b[2J\n,{'x' * 10_000}\n": [
        'line 2, prompt: is empty; say what to make, such as "a red mushroom with white parts"',
        "line 3, prompt: has the control character U+001B; plain text is allowed: take it out",
        "line 4, prompt: 10000 characters, at most 1000 are allowed; shorten it",
    ],
    f"prompt,tags\na,x\x07\nb,{'y' * 61}\nc,{' '.join(map(str, range(51)))}\n": [
        "line 2, tags: has the control character U+0007; plain text is allowed: take it out",
        f"line 3, tags: 61 characters in a tag, at most 60 are allowed (given '{'y' * 59}...)",
        "line 4, tags: 51 tags, at most 50 are allowed",
    ],
    "prompt,preset\na,dmo\nb,nowhere.yaml\n": [
        "line 2, preset 'dmo': no preset has that name, and a file's name ends in .yaml; did you mean 'demo'?",
        "line 3, preset 'nowhere.yaml': cannot be read (No such file or directory); check the path",
    ],
    "prompt,coarse.steps,mesh.triangles,device,commercial,guidance.textureless_words,guidance.negative_prompt\n"
    f'a,0,x,cuda:0,yes,clay {{x}},{"x" * 10_001}\nb,[,,,,,a\x01\nc,"0,5",,,,,\n': [
        "line 2, device: expected one of auto, cpu, cuda (given 'cuda:0')",
        "line 2, commercial: expected true or false (given 'yes'); in YAML 1.2 yes, no, on and off are words",
        "line 2, guidance.textureless_words: unknown placeholder '{x}'; allowed are {subject} and {prompt} (given 'clay {x}')",
        f"line 2, guidance.negative_prompt: expected words, at most 10000 characters (given '{'x' * 59}...)",
        "line 2, coarse.steps: expected a whole number from 1 to 1000000 (given 0)",
        "line 2, mesh.triangles: expected a whole number from 50 to 5000000 (given 'x')",
        "line 3, coarse.steps: not valid YAML (expected the node content, but found '<stream end>')",
        "line 3, guidance.negative_prompt: has the control character U+0001; plain text is allowed: take it out",
        "line 4, coarse.steps: expected a whole number from 1 to 1000000 (given '0,5')",
    ],
    'prompt,guidance.scale\na,"0,5"\n': [
        "line 2, guidance.scale: expected a number from 0 to 200 (given '0,5'); numbers have a point, not a comma",
    ],
    "prompt,fine.tet_size,fine.volume_subdivisions,guidance.multiview,coarse.steps\na,33,1,true,0\nb,24,,true,\n": [
        "line 2, coarse.steps: expected a whole number from 1 to 1000000 (given 0)",
        "line 2, fine: with volume_subdivisions 1 tet_size is a multiple of 2, at least 8 (given 33)",
        "line 3, guidance.multiview: 4 views are seen together, and a step has coarse.views 2 and fine.views 2: set both to 4",
    ],
    "prompt,guidance.multiview,coarse.views,fine.views\na,true,[,4\n": [
        "line 2, coarse.views: not valid YAML (expected the node content, but found '<stream end>')",
    ],
    'prompt,seed\na,x\n"b\n': [
        f"line 2, seed: {SEED} (given 'x')",
        "line 3: a quoted cell begins and is never closed; close it, and write quotes in it twice",
    ],
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: repr(text[:30]))
def test_every_fault_is_named_by_its_line_and_column(text: str, tmp_path: Path) -> None:
    assert faults(tmp_path, text) == FAULTS[text]


def test_a_name_is_not_made_of_a_seed_that_is_not_known(tmp_path: Path) -> None:
    found = faults(tmp_path, "prompt,seed,coarse.steps\na,0,\na,,x\n", Flags("smoke", (), 5))
    assert found == ["line 3, coarse.steps: expected a whole number from 1 to 1000000 (given 'x')"]


def test_a_batch_makes_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamfusion_mesh.batch.jobs.MOST_JOBS", 5)
    assert len(jobs(tmp_path, "prompt,count\na,4\nb,1\n")) == 5
    found = faults(tmp_path, "prompt,count\na,4\n,x\nc,1\nd,\n")
    assert found[2:] == ["line 4: the rows so far make 6 assets, a batch makes at most 5; split the table"]


@pytest.mark.parametrize("prompt", ["\U0001f344", "../../x", "=cmd()", "/abs", "con", "x" * 1000, "-rf", "'; drop", "%s{0}", "a\u202eb"])
def test_any_prompt_in_plain_text_is_taken(prompt: str, tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, f'prompt\n"{prompt}"\n')
    assert job.prompt == prompt
    (tmp_path / "batch" / job.name).mkdir(parents=True)
    assert [entry.name for entry in (tmp_path / "batch").iterdir()] == [job.name]


def test_fifty_faults_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    found = faults(tmp_path, "prompt,seed\n" + "a,x\n" * 30 + ",y\n" * 30)
    assert len(found) == 51
    assert found[29].startswith("line 31, seed: ")
    assert found[49].startswith("line 41, seed: ")
    assert found[50] == "and 40 more faults"
    assert len(faults(tmp_path, "prompt,seed\n" + "a,x\n" * 50)) == 50


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (Flags("dmo"), "preset 'dmo': no preset has that name"),
        (Flags("smoke", ("coarse.stpes=1",)), "coarse.stpes: unknown setting; did you mean 'steps'?"),
        (Flags("smoke", ("coarse.steps",)), "--set 'coarse.steps': expected name=value"),
        (Flags("smoke", ("views.ambient=2", "base=demo"), -1), f"seed: {SEED} (given -1)"),
        (Flags("smoke", (), None, "cuda:1"), "device: expected one of auto, cpu, cuda (given 'cuda:1')"),
        (Flags("smoke", ("guidance.multiview=true",)), "guidance.multiview: 4 views are seen together"),
    ],
)
def test_a_flag_that_is_wrong_is_named_once_as_generate_names_it(flags: Flags, expected: str, tmp_path: Path) -> None:
    (found,) = faults(tmp_path, "prompt,coarse.samples\na,8\nb,\nc,9\n", flags)
    assert found.startswith(expected)


def test_a_cell_puts_right_what_a_flag_leaves_wrong(tmp_path: Path) -> None:
    flags = Flags("smoke", ("guidance.multiview=true", "coarse.views=0"))
    (job,) = jobs(tmp_path, "prompt,coarse.views,fine.views\na,4,4\n", flags)
    assert job.settings.guidance.multiview


CHECK = """
import sys
from dreamfusion_mesh.batch.jobs import Flags, read_jobs
print(len(read_jobs(sys.argv[1], Flags("smoke"))), *sorted({"torch", "numpy", "warp", "scipy"} & set(sys.modules)))
"""


def test_a_table_is_checked_without_torch(tmp_path: Path) -> None:
    path = table(tmp_path, "prompt,guidance.textureless_words\na,clay {subject}\n")
    command: Sequence[str] = [sys.executable, "-c", CHECK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")
