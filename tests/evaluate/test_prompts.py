"""An evaluation's prompts as people write them down, and every fault with its line and column."""

import pytest

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.prompts import read_prompts
from dreamfusion_mesh.evaluate.records import Prompt


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(file):
    with pytest.raises(BadInput) as error:
        read_prompts(file)
    return [line.replace(str(file), "FILE") for line in error.value.lines]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_has_a_prompt_a_line(tmp_path, end, mark):
    lines = ["a red mug", "# a comment", "", '  a "blue",  cow ', "a key #2"]
    found = read_prompts(written(tmp_path, "p.txt", mark + end.join(lines)))
    assert found == [Prompt("a red mug"), Prompt('a "blue", cow'), Prompt("a key #2")]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_table_says_what_each_prompt_asks_for(tmp_path, between):
    rows = [["Prompt", "shape", "front", "parts", "holes"], ["a red mug", "mug", "Yes", "1", "1"], ["a cow on a box", "", "no", "2", "0"]]
    rows += [["a key"], ["# not a prompt"], ["", "", "", "", ""]]
    found = read_prompts(written(tmp_path, "p.CSV", "\n".join(between.join(row) for row in rows)))
    assert found == [Prompt("a red mug", "mug", True, 1, 1), Prompt("a cow on a box", None, False, 2, 0), Prompt("a key")]


def test_every_fault_of_a_table_is_a_line(tmp_path):
    table = "prompt;shape;front;parts;holes;colour\na mug;mug;no;1;1\na  mug;mug;maybe;0;x;y;z\n;a\na cow;;yes;;-1\n"
    assert refusal(written(tmp_path, "p.csv", table)) == [
        "FILE, line 1, colour: unknown column; allowed: prompt, shape, front, parts, holes",
        "FILE, line 3, column 7: the first row names 6 columns (given 'z'); put quotes around a cell that holds what separates cells, "
        "or name the column",
        "FILE, line 3, prompt: 'a mug' is the prompt of line 2, too; keep one of them",
        "FILE, line 3, front: expected yes or no (given 'maybe')",
        "FILE, line 3, parts: expected a whole number from 1 to 10000 (given 0)",
        "FILE, line 3, holes: expected a whole number from 0 to 10000 (given 'x')",
        'FILE, line 4, prompt: is empty; say what to make, such as "a red mushroom with white parts"',
        "FILE, line 5, holes: expected a whole number from 0 to 10000 (given -1)",
    ]


WRONG = {
    ("p.txt", b"a mug\na cow\na  mug\n"): "FILE, line 3, prompt: 'a mug' is the prompt of line 1, too; keep one of them",
    ("p.txt", b"\xff\xfea\0"): "FILE: is UTF-16 text; save it as UTF-8 text",
    ("p.txt", b"a mug\na caf\xe9\n"): "FILE, line 2: the byte 0xE9 is not UTF-8 text; save it as UTF-8 text",
    ("p.txt", b"a\x07b\n"): "FILE, line 1, prompt: has the control character U+0007; plain text is allowed: take it out",
    ("p.csv", b"prompt,shape\na mug,m\x07\n"): "FILE, line 2, shape: has the control character U+0007; plain text is allowed: take it out",
    (
        "p.csv",
        b"prompt,shape\na red mug,mug\na cow,cow\na blue mug,\na green mug,cup\n",
    ): "FILE, line 5, shape: 'cup', and 'mug' in line 2; both are called 'a grey clay mug': give them one shape",
    ("p.txt", b"# nothing\n\n"): "FILE: holds no prompt; write one a line, or below the names of the columns",
    ("p.csv", b"prompt\n"): "FILE: holds no prompt; write one a line, or below the names of the columns",
    ("p.csv", b"shape\nmug\n"): "FILE, line 1: no column is called prompt (given shape); the first row names the columns, such as "
    "prompt,name,seed",
    ("p.csv", b"promt,prompt,shap\na,a mug,mug\n"): "FILE, line 1, promt: unknown column; did you mean 'prompt'?; allowed: prompt, shape, "
    "front, parts, holes",
    ("p.json", b"[]"): "FILE: prompts are read from .txt and .csv files; name a text with a prompt a line, or a table",
}


@pytest.mark.parametrize(("name", "content"), WRONG)
def test_what_is_wrong_is_said_in_a_line(tmp_path, name, content):
    assert refusal(written(tmp_path, name, content))[0] == WRONG[name, content]


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    (tmp_path / "d.txt").mkdir()
    for name in ("none.txt", "none.csv", "d.txt"):
        with pytest.raises(BadInput, match=name):
            read_prompts(tmp_path / name)
