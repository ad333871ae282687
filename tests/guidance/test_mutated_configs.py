"""Any value anywhere in a model's settings: it is refused in one line, or the model answers; nothing else, and never a hang."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind, views_around

from dreamfusion_mesh.errors import BadInput, RunFailed

VALUES = ("x", -1, 0, 10**9, 2**70, 1.5, float("nan"), True, None, [], {}, [1, "x"], "a/../b")
SIZES = {"deepfloyd": 8, "mvdream": 8}  # pixels a side; 16 for all others
FAMILIES = ("flux2", "pixart", "deepfloyd", "mvdream")
FEW = {"flux2": 3}  # whose text encoder has 27 layers; 8 of all others
_NOT_READ = ("tokenizer.json", "generation_config.json")


def mutations(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file of the folder, and what it may hold: one key taken away, or of another value."""
    for file in sorted(folder.rglob("*.json")):
        values = json.loads(file.read_text())
        if file.name in _NOT_READ or not isinstance(values, dict):
            continue
        for key in values:
            yield file.relative_to(folder), {name: value for name, value in values.items() if name != key}
            yield from ((file.relative_to(folder), {**values, key: value}) for value in VALUES)


def check(family: str, sound: Path, folder: Path, count: int, seed: int) -> None:
    chosen = random.Random(seed).sample([*mutations(sound)], count)
    size, together = SIZES.get(family, 16), family == "mvdream"
    views = 4 if together else 1
    for file, values in chosen:
        changed = shutil.copytree(sound, folder / "model")
        (changed / file).write_text(json.dumps(values))
        line = ""
        try:
            model = bind(changed, image_size=size, multiview=together)
            model.answer(model.encode(torch.zeros(views, size, size, 3)), torch.full((views,), 500), views_around(views))
        except (BadInput, RunFailed) as error:
            line = str(error)
        assert line.isprintable(), (file, values)
        assert len(line) < 700, (file, values)
        shutil.rmtree(changed)


@pytest.fixture
def sound(saved: Callable[[str], Path], folders: dict[str, Path]) -> Callable[[str], Path]:
    return lambda family: folders[family] if family == "mvdream" else saved(family)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_changed_setting_is_refused_or_works(family: str, sound: Callable[[str], Path], tmp_path: Path) -> None:
    check(family, sound(family), tmp_path, FEW.get(family, 8), 3)


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", FAMILIES)
def test_many_changed_settings_are_refused_or_work(family: str, seed: int, sound: Callable[[str], Path], tmp_path: Path) -> None:
    check(family, sound(family), tmp_path, 200, seed)
