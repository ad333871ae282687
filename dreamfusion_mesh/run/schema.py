"""Schema versions of the files that a run leaves beside its settings, whose own is in config/schema.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from dreamfusion_mesh.config.schema import KEY, schema_version
from dreamfusion_mesh.errors import BadInput

RESULT = 1
PROVENANCE = 1
AUDIT = 2  # since 1: fifteen rows
CHECKPOINT = 2
_CHECKPOINT_CHANGES = "optimisers and the field's heads have names, `seen` is `lookup_sdf`, notes lie with the tensors"  # since 1

_LONGEST = 9  # digits of a schema


def check_checkpoint(where: str, texts: Mapping[str, str], remedy: str) -> None:
    """Raises BadInput where a checkpoint with these metadata is of another schema, naming what changed since an older one."""
    found = texts.get(KEY)
    number = int(found) if found and found.isdecimal() and len(found) <= _LONGEST else found and found[:_LONGEST]
    version = schema_version(where, number, CHECKPOINT, remedy)
    if version < CHECKPOINT:
        changed = f"is of schema {version}, this version reads {CHECKPOINT} ({_CHECKPOINT_CHANGES})"
        raise BadInput(f"{where}: {changed}; use the one that wrote it, or {remedy}")


class _Licence(BaseModel):
    component: str
    licence: list[str]
    name: str | None
    link: str | None
    commercial_use: bool
    terms: str | None


class _Guidance(BaseModel):
    licence: str | None = None
    licences: list[_Licence] = []


class _Notes(BaseModel):
    """What the notes of a checkpoint hold, each where it is there; seconds by the stage's name, memory as `peak_memory` gives it."""

    guidance: _Guidance = _Guidance()
    warnings: list[str] = []
    seconds: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    memory: dict[str, Annotated[int, Field(ge=0)]] = {}


def check_notes(notes: dict[str, Any]) -> dict[str, Any]:
    """The notes of a checkpoint, as they are. Raises ValueError naming the first one that is not what it has to be."""
    try:
        _Notes.model_validate(notes, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].partition(" or instance of")[0].lower()
        raise ValueError(f"{'.'.join(str(part) for part in problem['loc'])}: {message}") from None
    return notes
