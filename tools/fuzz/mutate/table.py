"""Tables of prompts: sound and hostile cells, as any spreadsheet or none would write them, and mutations of the file's bytes."""

from __future__ import annotations

from random import Random

from tools.fuzz.arguments import setting_names
from tools.fuzz.mutate.raw import mutate_bytes, random_bytes
from tools.fuzz.values import SETTING_TEXTS, STRINGS, number, word

_OWN = ("name", "seed", "count", "preset", "tags")
_BROKEN = ("promt", "PROMPT ", "coarse", "coarse.stpes", "", "#", "seed", "'", '"', "=name", "x" * 3000, "é", "a\nb")
_CELLS = ("", "a red mug", "mug", "Mug", "7", "2", "smoke", "red, small", "true", "0.5", "[0.9, 0.5]", "auto", "con", "../x", "=1+1", "-1")
_ENCODINGS = ("utf-8",) * 12 + ("utf-8-sig",) * 4 + ("utf-16", "utf-16-le", "latin-1", "utf-32")


def random_table(rng: Random) -> bytes:
    """The bytes of a file that a batch is to read; in one case of two or so all its cells may be sound."""
    if rng.random() < 0.03:
        return random_bytes(rng)
    hostile = rng.random() < 0.5
    delimiter, ends = rng.choice((",", ";", "\t")), rng.choice(("\n", "\r\n", "\r"))
    columns = ["prompt", *rng.sample([*_OWN, *setting_names()], rng.randrange(5))]
    if hostile and rng.random() < 0.5:
        columns[rng.randrange(len(columns))] = rng.choice(_BROKEN)
    rng.shuffle(columns)
    lines = [delimiter.join(columns)]
    for _ in range(rng.choice((0, 1, 2, 5, 80))):
        cells = [_cell(rng, name, hostile) for name in columns]
        cells += [rng.choice(_CELLS)] * (hostile and rng.random() < 0.1)
        lines.append(delimiter.join(_written(rng, cell, delimiter, hostile) for cell in cells))
        lines += [rng.choice(("# a comment", "", delimiter * 3, '#"'))] * (rng.random() < 0.2)
    text = rng.choice(("", "", f"sep={delimiter}{ends}")) + ends.join(lines) + rng.choice((ends, ""))
    encoding = rng.choice(_ENCODINGS) if hostile else "utf-8"
    data = text.encode(encoding, "surrogatepass" if hostile and encoding != "latin-1" else "replace")
    for _ in range(rng.choice((0, 1, 1, 3)) if hostile else 0):
        data = mutate_bytes(rng, data, text.encode("utf-8", "replace"))
    return data


def _cell(rng: Random, column: str, hostile: bool) -> str:
    if hostile and rng.random() < 0.3:
        return rng.choice((rng.choice(SETTING_TEXTS), rng.choice(STRINGS), word(rng), str(number(rng)), "x" * 140_000, "é" * 2000))
    if column == "prompt":
        return f"a red mug {rng.randrange(10**9)}"
    return rng.choice(_CELLS) if rng.random() < 0.3 else ""


def _written(rng: Random, cell: str, delimiter: str, hostile: bool) -> str:
    if (hostile and rng.random() < 0.1) or not any(letter in cell for letter in f'{delimiter}"\r\n'):
        return cell
    return '"' + cell.replace('"', '""') + '"'
