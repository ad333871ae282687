"""Texts of YAML: the core schema's scalars, one line for whatever else a file may hold, and no text that hangs or ends in a traceback."""

import random
import string
from typing import Any

import pytest
import yaml

from dreamfusion_mesh.config import RunConfig, dump, preset_names
from dreamfusion_mesh.config.load import presets_folder
from dreamfusion_mesh.config.schema import KEY, SCHEMA
from dreamfusion_mesh.config.yaml_text import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, read_yaml, write_yaml
from dreamfusion_mesh.errors import BadInput

SCALARS = {  # examples of YAML 1.2.2, section 10.3.2, and where 1.1 differs
    **{text: None for text in ("", "~", "null", "Null", "NULL")},
    **{text: True for text in ("true", "True", "TRUE")},
    **{text: False for text in ("false", "False", "FALSE")},
    **{text: text for text in ("yes", "no", "on", "off", "Yes", "y", "n", "truE", "nuLL", "a word", "1:30", "190:20:30")},
    **{text: text for text in ("2024-05-01", "1_000", "0b11", "0x", "0xg", "0o8", "1e", "e3", "1.2.3", "+-1", ".", "=", "٣", "1 2")},
    **{"0": 0, "-0": 0, "3": 3, "-19": -19, "+7": 7, "010": 10, "0o14": 12, "0x3A": 58, "99999999999999999999999": 10**23 - 1},
    **{"0.": 0.0, "-0.0": 0.0, ".5": 0.5, "+12e03": 12000.0, "-2E+05": -200000.0, "1e2": 100.0, "1e-4": 1e-4, "08": 8, "09.5": 9.5},
    **{".inf": float("inf"), "-.Inf": -float("inf"), "+.INF": float("inf"), "1e999": float("inf")},
    **{"'010'": "010", '"true"': "true", "'~'": "~", '"\\x41"': "A", "|\n 1\n 2": "1\n2", ">\n 1\n 2": "1 2"},
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_those_of_the_core_schema(text: str) -> None:
    for found in (read_yaml(text, "here"), read_yaml(f"a: {text}", "here")["a"], read_yaml(f"- {text}", "here")[0]):
        assert found == SCALARS[text]
        assert type(found) is type(SCALARS[text])


def test_dot_nan_is_not_a_number() -> None:
    assert all(value != value for value in read_yaml("[.nan, .NaN, .NAN]", "here"))


def test_aliases_repeat_what_their_anchors_name() -> None:
    assert read_yaml("a: &x [1, &y {b: 2}]\nc: *x\nd: *y\n", "here") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": {"b": 2}}
    assert read_yaml("--- # words\nfine\n...\n", "here") == "fine"


_BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
REFUSED = {
    "a mapping merged into itself": ("a: &a {<<: *a}", "merge keys"),
    "an alias inside its anchor": ("a: &a [1, *a]", "the alias *a contains itself"),
    "an alias of nothing": ("x: 1\na: *b", "line 2: the alias *b has no anchor"),
    "aliases of aliases": (_BOMB, f"line 4: more than {MAX_VALUES} values"),
    "many values": ("- a\n" * (MAX_VALUES + 1), f"line {MAX_VALUES}: more than {MAX_VALUES} values"),
    "brackets": ("[" * 3000, f"more than {MAX_DEPTH} levels"),
    "braces": ("{a: " * 3000, f"more than {MAX_DEPTH} levels"),
    "dashes": ("- " * 3000, f"more than {MAX_DEPTH} levels"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: 'a' is there twice"),
    "a key twice, deeper": ("a: {b: 1, 'b': 2}", "'b' is there twice"),
    "two documents": ("a: 1\n---\nb: 2", "line 2: a second document begins"),
    "a tag": ("a: !!python/object/apply:os.getcwd []", "the tag 'tag:yaml.org,2002:python/object/apply:os.getcwd' is not read"),
    "bytes": ("a: !!binary aGk=", "the tag"),
    "a set": ("x: 3\na: !!set {b}", "line 2: the tag"),
    "a tag on a key": ("!!str a: 1", "a name of a setting is plain words"),
    "the tag for none": ("! a", "the tag '!'"),
    "a number for a key": ("3: 4", "'3' is no name of a setting"),
    "a truth value for a key": ("a: 1\ntrue: 4", "line 2: 'true' is no name"),
    "nothing for a key": ("~: 4", "'~' is no name"),
    "a list for a key": ("? [a]\n: b", "a name of a setting is plain words"),
    "an alias for a key": ("a: &x b\n*x : 3", "a name of a setting is plain words"),
    "NUL": ("a: b\nc: d\0", "line 2: not valid YAML (it has the character U+0000"),
    "NUL in quotes": ('a: "x\\0y"', "the control character U+0000"),
    "a bell": ("a: \x07", "the character U+0007"),
    "an escape": ('a: "\\e[31m"', "the control character U+001B"),
    "half a pair": ("a: \ud83d", "U+D83D"),
    "half a pair in quotes": ('a: "\\uD83D"', "the control character U+D83D"),
    "no character": ('a: "\\UFFFFFFFF"', "a number in an escape is no character"),
    "a huge text": ("#" * (MAX_CHARACTERS + 1), f"{MAX_CHARACTERS + 1} characters of YAML, at most {MAX_CHARACTERS}"),
    "a huge number": ("9" * 5000, "a number of 5000 characters, at most 100"),
    "a huge number in hexadecimal": ("0x" + "f" * 5000, "a number of 5002 characters"),
    "a bracket": ("x:\n  y: [1", "line 2: not valid YAML (expected ',' or ']'"),
    "a quote": ("'abc", "not valid YAML (found unexpected end of stream)"),
    "a tab": ("a:\n\tb: 1", "line 2: not valid YAML (found character '\\t'"),
    "colons": ("a: b: c", "mapping values are not allowed here"),
    "a version": ("%YAML 3.0\n---\na: 1", "incompatible YAML document"),
    "a percent sign": ("%", "not valid YAML"),
    "dots": ("...", "not valid YAML"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_settings_is_refused_in_one_line(name: str) -> None:
    text, words = REFUSED[name]
    with pytest.raises(BadInput) as caught:
        read_yaml(text, "preset 'x.yaml'")
    message = str(caught.value)
    assert message.startswith("preset 'x.yaml'")
    assert words in message
    assert message.isprintable()
    assert len(message) < 400


def _mutated(draws: random.Random, texts: list[str]) -> str:
    """One of `texts`, with some pieces dropped, doubled, moved or replaced by letters that YAML has a meaning for."""
    text = draws.choice(texts)
    for _ in range(draws.randint(1, 8)):
        at, length = draws.randint(0, len(text)), draws.randint(0, 12)
        piece = text[at : at + length]
        new = draws.choice(
            [
                "",
                piece * 2,
                "".join(draws.choices("[]{}&*!|>%@`\"'#,?:-<~=\\ \n\t\r\0aA0179.+_exou\x85\ufeff\u2028é", k=draws.randint(1, 5))),
                draws.choice(
                    ["&a ", "*a", "<<: *a", "!!set ", "---\n", "...\n", "? ", ": ", "- ", "{" * 30, "[" * 30, '"\\', "|2-\n", "\\x0"]
                ),
                draws.choice(texts)[:30],
            ]
        )
        text = text[:at] + new + text[at + length :]
    return text


def test_any_text_is_read_or_refused_in_one_line() -> None:
    draws = random.Random(15)
    presets = [(presets_folder() / f"{name}.yaml").read_text(encoding="utf-8") for name in preset_names()]
    texts = [dump(RunConfig(prompt="a mug: 'red', \u5927"))[:600], *presets, *SCALARS, *(text[:200] for text, _ in REFUSED.values())]
    outcomes = [_outcome(_mutated(draws, texts)) for _ in range(3000)]
    assert all(outcome.isprintable() for outcome in outcomes if outcome is not None)
    assert 300 < outcomes.count(None) < 2700


def _outcome(text: str) -> str | None:
    """None where a text is read, to plain values, else the line that it is refused with."""
    try:
        value = read_yaml(text, "here")
    except BadInput as error:
        return str(error)
    _check_plain(value)
    return None


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            _check_plain(entry)
    else:
        assert value is None or type(value) in (bool, int, float, str)


WORDS = ["", " ", "1e2", "no", "010", "08", "1:30", "~", "null", "true", "0x1F", "0o17", ".5", "1e-4", "-.inf", "=", "<<", "2024-05-01"]
WORDS += [
    "a\nb",
    "\n",
    " a",
    "a ",
    "a: b",
    "a #b",
    "'",
    '"',
    "\\",
    "- a",
    "[a]",
    "{a}",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "`a",
    "| a",
    "> a",
    "? a",
]
WORDS += [
    "\U0001f344 mushroom",
    "é",
    "大",
    "a\tb",
    "a\r\nb",
    "\x85",
    "\u2028",
    "\ufeff",
    "---",
    "...",
    "y",
    "on",
    "1_000",
    "0b1",
    "words " * 1500,
]


def _drawn_words(draws: random.Random) -> str:
    letters = string.ascii_letters + string.digits + " \n\t\r:#-'\"\\{}[]&*!|>%@`,.?=~_+\x85\u2028\ufeffé大\U0001f344"
    return "".join(draws.choices(letters, k=draws.choice([1, 2, 3, 5, 20, 200])))


def test_words_that_are_written_read_back_equal() -> None:
    draws = random.Random(9)
    for words in [*WORDS, *(_drawn_words(draws) for _ in range(500))]:
        text = write_yaml({"prompt": words, "words": [words[::-1], words], "seed": 3})
        found = read_yaml(text, "here")
        assert found == {"prompt": words, "words": [words[::-1], words], "seed": 3}
        assert yaml.safe_load(text) == found, "readers of YAML 1.1 find the same"


@pytest.mark.parametrize("words", ["1e2", "a\nb: 'c'", "\U0001f344", "long " * 1500])
def test_settings_that_are_written_read_back_equal(words: str) -> None:
    config = RunConfig(prompt=words, seed=2**63 - 1, guidance={"negative_prompt": words[::-1], "scale": 1 / 3})
    values = read_yaml(dump(config), "here")
    assert values.pop(KEY) == SCHEMA
    assert RunConfig.model_validate(values) == config
    assert {KEY: SCHEMA, **values} == yaml.safe_load(dump(config)), "readers of YAML 1.1 find the same"


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, 1e-05, 1e22, 1.5e-300, 0.1, 1e16, -0.0, 123456789.125])
def test_numbers_that_are_written_read_back_as_they_were(number: float) -> None:
    text = write_yaml({"a": number, "b": [number], "c": str(number)})
    assert read_yaml(text, "here") == yaml.safe_load(text) == {"a": number, "b": [number], "c": str(number)}
