"""Names of folders are one safe part of a path, whatever the prompt, and unlike one another on any disk."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from random import Random

import pytest

from dreamfusion_mesh.batch.names import LONGEST_NAME, check_name, counted_name, folded_name, made_name, slug
from dreamfusion_mesh.batch.records import LARGEST_SEED
from dreamfusion_mesh.errors import BadInput

HOSTILE = [
    *("../../x", "/etc/passwd", "..", ".", "=cmd()", "con", "C:\\x", "\\\\host\\x", "~root", "a/b", "a\\b"),
    *("$(reboot)", "`x`", "%2e%2e", "-rf", "\u202egnp", "a\u200bb", "x" * 1000),
    *("茶" * 300, "🍄", "🍄🍄", "é", "e\u0301", "İstanbul", "ﬀ", "\u212b"),
    *("a\tb", "file.txt.", "a.", " ", "…"),
]
LETTERS = [*"aZ9 -_./\\:*?\"<>|+'$%&;,()=", "é", "e\u0301", "茶", "🍄", "\u202e", "ß", "K", "con", "..", "nul"]


def is_safe(name: str) -> bool:
    """By rules of their own, and not those of the module."""
    return (
        0 < len(name.encode()) <= LONGEST_NAME
        and not any(letter in '/\\:*?"<>|+\0' or unicodedata.category(letter).startswith("C") for letter in name)
        and name[0] not in ".- "
        and name[-1] not in ". "
        and Path("DIR", name).name == os.path.basename(os.path.normpath(f"DIR/{name}")) == name
    )


def random_text(rng: Random) -> str:
    return rng.choice(HOSTILE) if rng.random() < 0.3 else "".join(rng.choices(LETTERS, k=rng.randrange(1, 40)))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red mug", "a-red-mug"),
        ("A RED mug, with_white parts!", "a-red-mug-with-white-parts"),
        ("une théière 茶壶", "une-théière-茶壶"),
        ("🍄 ..", "asset"),
        ("x" * 61, "x" * 60),
        (f"{'x' * 59} y", "x" * 59),
    ],
)
def test_a_slug_is_the_words_in_lower_case(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


def test_a_slug_has_the_letters_and_digits_of_all_scripts() -> None:
    """As `str.isalnum` has them, so that folders of earlier versions are found again."""
    for code in range(0x3000):
        kept = "".join(letter if letter.isalnum() else " " for letter in f"a{chr(code)}b".lower()).split()
        assert slug(f"a{chr(code)}b") == "-".join(kept)


def test_a_made_name_says_prompt_and_seed() -> None:
    assert made_name("a red mug", 7) == "a-red-mug-7"
    assert made_name("a red mug 7", 0) == "a-red-mug-7-0"
    assert made_name("A red mug", 7) == "a-red-mug-7-letzjhfq"
    assert made_name("a red mug!", 7) == "a-red-mug-7-cufgitpw"
    assert made_name("🍄", 0) == "asset-0-perimmzs"
    assert made_name("asset", 0) == "asset-0"


def test_prompts_that_differ_have_names_that_differ() -> None:
    near = ["a", "a 1", "a red mug", "A red mug", "a  red mug", "a-red-mug", "a red-mug", "a red mug.", "a_red mug", "á red mug"]
    near += [f"{'x ' * 40}{end}" for end in range(100)] + ["a red mug 1", *HOSTILE]
    names = [folded_name(made_name(prompt, seed)) for prompt in near for seed in (0, 1, 11, LARGEST_SEED)]
    assert len(set(names)) == len(names)


def test_made_names_are_safe_whatever_the_prompt() -> None:
    rng = Random(0)
    for _ in range(3000):
        prompt = random_text(rng)
        for seed in (0, LARGEST_SEED):
            name = made_name(prompt, seed)
            assert is_safe(name), (prompt, name)
            assert check_name(name) == name


def test_given_names_are_safe_or_refused() -> None:
    rng, taken, refusals = Random(1), 0, list[str]()
    for _ in range(6000):
        text = random_text(rng)
        try:
            name = check_name(text, 1000)
        except BadInput as error:
            refusals.append(str(error))
            continue
        taken += 1
        assert is_safe(counted_name(name, 999))
        assert name == unicodedata.normalize("NFC", text)
    assert taken > 50
    assert all(refusal.startswith("name: ") and refusal.isprintable() for refusal in refusals)


TAKEN = ["mug", "Red Mug", "mug_2.final", "7", "théière", "हिन्दी", "茶壶", "x" * 100, "console", "com10", "com", "con-2", "_"]


@pytest.mark.parametrize("name", TAKEN)
def test_names_that_are_taken_as_they_are(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../../x", "has the character /"),
        ("/x", "has the character /"),
        ("a\\b", "has the character \\"),
        ("=cmd()", "has the character ="),
        ("a+1", "has the character +"),
        ("a\tb", "has the character U+0009"),
        ("a\xa0b", "has the character U+00A0"),
        ("\u202egnp", "has the character U+202E"),
        ("🍄", "has the character 🍄"),
        ("..", "a name begins with no dot, dash or space, and ends in no dot or space"),
        (".work", "a name begins with no dot"),
        ("-rf", "a name begins with no dot, dash"),
        ("mug.", "and ends in no dot"),
        ("con", "is a device in Windows"),
        ("Nul.txt", "is a device in Windows"),
        ("COM1", "is a device in Windows"),
        ("lpt³.x", "is a device in Windows"),
        ("Manifest.JSONL", "is a name of the batch's own files"),
        ("gallery.html", "is a name of the batch's own files"),
        ("encodings", "is a name of the batch's own files"),
        ("worker-12.log", "is a name of the batch's own files"),
        ("x" * 101, "101 bytes, at most 100"),
        ("茶" * 34, "102 bytes, at most 100"),
    ],
)
def test_names_that_are_refused(name: str, fault: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_name(name)
    message = str(caught.value)
    assert message.startswith(f"name: {fault}") or (fault in message and message.startswith("name: a name begins"))
    assert message.endswith("letters, digits, spaces and . _ - are allowed")
    assert message.isprintable()


def test_the_number_that_count_adds_has_room() -> None:
    assert check_name("x" * 97, 99) == "x" * 97
    with pytest.raises(BadInput, match="101 bytes with the number that count 100 adds, at most 100"):
        check_name("x" * 97, 100)


def test_names_are_composed_and_alike_in_any_case() -> None:
    assert check_name("cafe\u0301") == "caf\xe9"
    alike = [("Mug", "mug"), ("CAF\xc9", "cafe\u0301"), ("straße", "STRASSE"), ("Ω", "ω"), ("\u212a", "k")]
    assert all(folded_name(one) == folded_name(other) for one, other in alike)
    assert folded_name("mug") != folded_name("mug-2")
