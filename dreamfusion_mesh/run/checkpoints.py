"""A checkpoint file: tensors, and in its metadata the schema, its own name, the settings of its run, and notes.

The name and the settings tell a file that was put in another's place; files of schema 2 from before those were written go without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config import DELIVERY_GROUPS
from dreamfusion_mesh.config.schema import KEY
from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.files import kind_of, open_file, shown
from dreamfusion_mesh.run.out import generate_command
from dreamfusion_mesh.run.schema import CHECKPOINT, check_checkpoint, check_notes
from dreamfusion_mesh.run.settings import SETTINGS, describe, differences, group, parse_settings
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.restore import REDO

NAME = "checkpoint"  # the key of a file's own name
_NO_NOTES = {KEY, NAME, SETTINGS}
_WITHOUT = {"coarse": ("fine", *DELIVERY_GROUPS), "fine": DELIVERY_GROUPS}  # by stage, the settings that its outcome is free of


def checkpoint_bytes(name: str, state: State, notes: Mapping[str, Any], settings: str | None) -> bytes:
    """The file's content, of tensors on any device; `settings` is the text of run.yaml where there is one."""
    from safetensors.numpy import save  # that for torch leaves a type behind for every length of a tensor

    texts = {KEY: str(CHECKPOINT), NAME: name, **{key: json.dumps(value) for key, value in notes.items()}}
    if settings is not None:
        texts[SETTINGS] = settings
    return save({key: value.detach().cpu().contiguous().numpy() for key, value in state.items()}, texts)


def is_checkpoint(file: Path) -> bool:
    """Whether there is a file at all, readable or not. Raises BadInput where something else has its name, or its folder's."""
    if (above := kind_of(file.parent)) not in ("", "folder"):
        raise BadInput(f"{shown(file.parent)}: is a {above}, not a folder; delete it")
    if (kind := kind_of(file)) not in ("", "file"):
        raise BadInput(f"{shown(file)}: is a {kind}, not a file; {remedy(file)}")
    return kind == "file"


def read_checkpoint(file: Path, name: str, settings: str | None) -> tuple[State, dict[str, Any]]:
    """Tensors and notes of the checkpoint `name` of the run whose run.yaml has the text `settings`. Raises as `read_notes` does."""
    with _opened(file, name, settings) as opened:
        notes = _notes(file, opened.metadata())
        return {key: opened.get_tensor(key) for key in opened.keys()}, notes  # noqa: SIM118  a file, which is no mapping


def read_notes(file: Path, name: str, settings: str | None) -> dict[str, Any]:
    """The notes that the checkpoint was saved with.

    Raises BadInput, with the remedy, where the file is broken, of another schema, of another name or of a run with other settings.
    """
    with _opened(file, name, settings) as opened:
        return _notes(file, opened.metadata())


def remedy(file: Path) -> str:
    """What to do about a checkpoint that cannot be used."""
    if file.stem == "reference":
        return f"delete it; `{generate_command(file.parents[1])}` makes it again"
    return REDO


@contextmanager
def _opened(file: Path, name: str, settings: str | None) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with open_file(file), safe_open(str(file), framework="pt") as opened:  # the library says of most failures that the file is missing
            texts = opened.metadata() or {}
            check_checkpoint(shown(file), texts, remedy(file))
            _check_origin(file, name, texts, settings)
            yield opened
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{shown(file)}: not a readable checkpoint ({reason(error)}); {remedy(file)}") from None


def _notes(file: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    try:
        return check_notes({key: json.loads(text, parse_constant=_refuse) for key, text in texts.items() if key not in _NO_NOTES})
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{shown(file)}: its notes cannot be read ({reason(error)}); {remedy(file)}") from None


def _check_origin(file: Path, name: str, texts: Mapping[str, str], settings: str | None) -> None:
    """Raises BadInput for the checkpoint of another stage, or of a run with other settings."""
    found, made_with = texts.get(NAME, name), texts.get(SETTINGS, settings)
    if found != name:
        raise BadInput(f"{shown(file)}: is the checkpoint {found!r} under another name; {remedy(file)}")
    if made_with is None or settings is None or made_with == settings:
        return
    here = parse_settings(settings, shown(file.parents[1] / SETTINGS))
    try:
        there = parse_settings(made_with, SETTINGS)
    except BadInput as error:
        raise BadInput(f"{shown(file)}: the settings in it cannot be used ({error}); {remedy(file)}") from None
    free = _WITHOUT.get(name.partition(".")[0], ())
    differing = {key: values for key, values in differences(there, here).items() if group(key) not in free}
    if differing:
        raise BadInput(f"{shown(file)}: is of another run ({describe(differing)}); {remedy(file)}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
