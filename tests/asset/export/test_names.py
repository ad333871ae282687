"""File names from anything: one plain file on every system, whatever was typed."""

from __future__ import annotations

import string

import numpy as np
import pytest

from dreamfusion_mesh.asset.export.names import safe_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("asset", "asset"),
        ("Red-Mushroom_2.1", "Red-Mushroom_2.1"),
        ("a red mushroom", "a_red_mushroom"),
        ("../../etc/passwd", "etc_passwd"),
        ("C:\\temp\\x", "C_temp_x"),
        ("..", "asset"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("", "asset"),
        ("   ", "asset"),
        ("tab\tline\nnul\0", "tab_line_nul"),
        ("dots. . .", "dots"),
        ("CON", "CON_"),
        ("nul.txt", "nul_.txt"),
        ("com1", "com1_"),
        ("蘑菇", "asset"),
        ("crème", "cr_me"),
        ("x" * 300, "x" * 64),
    ],
)
def test_names_become_plain(given: str, expected: str) -> None:
    assert safe_name(given) == expected


def test_any_text_becomes_a_plain_name_that_stays() -> None:
    draws = np.random.default_rng(0)
    alphabet = [chr(code) for code in (*range(128), 0x202E, 0xE9, 0x8611, 0x1F344, 0xD800)]
    for length in draws.integers(0, 90, 500):
        name = safe_name("".join(draws.choice(alphabet, length)))
        assert 1 <= len(name) <= 65
        assert set(name) <= set(string.ascii_letters + string.digits + "._-")
        assert name[0] not in "._-"
        assert not name.endswith(".")
        assert ".." not in name
        assert safe_name(name) == name or name.endswith("_")
