"""Random arguments: settings by name with unusual values, and lines that no user would write."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any

from tools.fuzz.values import INSIDE, SETTING_TEXTS, STRINGS, number

NO_MODEL = ("--set", "guidance.model=none")  # ends a run whose settings are sound before it works
COSTLY = {  # settings whose large values are sound and cost minutes: only these are tried where a case works
    "coarse.steps": (1, 2),
    "coarse.size": (8, 17),
    "coarse.views": (1, 2),
    "coarse.samples": (8, 16),
    "coarse.occupancy_size": (8, 9),
    "coarse.field.levels": (1, 2),
    "coarse.field.table_size_log2": (8, 9),
    "coarse.field.hidden": (4, 5),
    "fine.steps": (0, 1),
    "fine.size": (8, 17),
    "fine.views": (1, 2),
    "fine.tet_size": (8, 12),
    "fine.volume_subdivisions": (0, 1),
    "fine.surface_subdivisions": (0, 1),
    "texture.size": (64, 128),
    "texture.supersample": (1, 2),
    "asset.preview_size": (16, 17),
    "guidance.model": ("embedded",),
    "guidance.views": (4,),
}
_FLAGS = (
    "--preset",
    "--set",
    "--seed",
    "--device",
    "--engine",
    "--commercial",
    "--out",
    "--json",
    "--strict",
    "--help",
    "--version",
    "--",
    "-x",
    "--colour",
    "-",
)


@lru_cache(maxsize=1)
def setting_names() -> list[str]:
    """Every setting's dotted name."""
    from dreamfusion_mesh.config import load_config

    return sorted(_dotted(load_config("smoke", [], {"prompt": "x"}).model_dump()))


def run_changes(rng: Random) -> list[str]:
    """--set of any settings to any values, for a run that does not begin to work."""
    return _changes(rng, setting_names(), cheap=False)


def audit_changes(rng: Random) -> list[str]:
    """--set of what the audit takes."""
    return _changes(rng, [name for name in setting_names() if name.partition(".")[0] in ("mesh", "asset", "audit")], cheap=False)


def work_changes(rng: Random) -> list[str]:
    """--set of any settings, for a run that works: nothing that makes it long."""
    return _changes(rng, [name for name in setting_names() if name not in ("device", "prompt")], cheap=True)


def delivery_changes(rng: Random) -> list[str]:
    """--set of what an export takes, and nothing that makes it long."""
    groups = ("mesh", "texture", "asset", "audit", "raster", "licence_checked")
    return _changes(rng, [name for name in setting_names() if name.partition(".")[0] in groups], cheap=True)


def any_arguments(rng: Random) -> list[str]:
    """A command, or none, with up to six words of any kind after it."""
    verb, *words = rng.choice(
        (
            "generate",
            "generate x",
            "export",
            "audit",
            "doctor",
            "audit x.stl",
            "export .",
            "generate --out",
            "gener",
            "settings",
            "models",
            "--version",
            "--",
        )
    ).split()
    for _ in range(rng.randrange(7)):
        kind = rng.random()
        words.append(
            rng.choice(
                _FLAGS if kind < 0.4 else ("x.stl", ".", "new", "0", "-1", "1e3") if kind < 0.6 else (*INSIDE, *STRINGS, *SETTING_TEXTS)
            )
        )
    return [verb, *(NO_MODEL if verb == "generate" else ()), *words]


def _changes(rng: Random, names: Sequence[str], cheap: bool) -> list[str]:
    words = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(names)
        if name in COSTLY and cheap:
            text = str(rng.choice((*COSTLY[name], *COSTLY[name], "-1", "nan", "x", "''", "null", "[1]", "1.5")))
        else:
            text = rng.choice(SETTING_TEXTS) if rng.random() < 0.6 else str(number(rng))
        words += ["--set", f"{name}={text}"]
    if rng.random() < 0.15:
        broken = (
            "coarse",
            "coarse.",
            ".steps=1",
            "=1",
            "coarse..steps=1",
            "a.b.c.d.e=1",
            "coarse.steps.x=1",
            "schema=9",
            "base=smoke",
            "x" * 5000,
            "",
        )
        words += ["--set", rng.choice(broken)]
    return words


def _dotted(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found
