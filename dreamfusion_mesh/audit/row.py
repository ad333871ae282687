"""One row of the audit: a property of the written file, measured; and the list of properties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PROPERTIES = {
    1: "valid glTF",
    2: "sound surface",
    3: "budget",
    4: "UVs",
    5: "mip-safe gaps",
    6: "texel density",
    7: "PBR",
    8: "tangents",
    9: "normals",
    10: "seams",
    11: "LODs",
    12: "collision",
    13: "placement",
    14: "round trip",
    15: "provenance",
}

Status = Literal["pass", "fail", "not measured"]
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class Row:
    """One property: what was measured, in figures and in words. `detail` states what is wrong, or what was not measured and why."""

    number: int
    property: str
    status: Status
    measured: Figures
    detail: str


def measured_row(number: int, measured: Figures, problems: Sequence[str], note: str = "") -> Row:
    """A row that fails where there are problems or a figure is not finite, which becomes text, for JSON, and passes otherwise."""
    endless = [name for name, value in measured.items() if isinstance(value, float) and not math.isfinite(value)]
    problems = problems or [f"{name} is {measured[name]}, which is not finite" for name in endless]
    plain = {name: str(value) if name in endless else value for name, value in measured.items()}
    return Row(number, PROPERTIES[number], "fail" if problems else "pass", plain, "; ".join([*problems, note] if note else problems))


def unmeasured_row(number: int, why: str) -> Row:
    """A row that states why it is not measured."""
    return Row(number, PROPERTIES[number], "not measured", {}, f"not measured: {why}")
