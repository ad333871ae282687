"""Presets of models: which weights, from where and under what licence, and the settings that suit them; data in configs/models/."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from dreamfusion_mesh.config.base import Settings
from dreamfusion_mesh.config.load import LONGEST_TEXT, merge, presets_folder
from dreamfusion_mesh.config.messages import nearest
from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text

_FOLDER = "models"
_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}")
Gigabytes = Annotated[float, Field(ge=0, le=1000)]  # of 10**9 bytes


class ModelPreset(Settings):
    """A model that is published, or comes with the package.

    id, revision     owner/name and a commit on the hub; without a revision, what the hub's `main` is when the model is fetched
    variant          of the weights, which is fetched where the repository has it
    multiview        sees four views of an object together
    memory_gb        of a card, for a step; where it `memory_is_least`, for the weights alone
    settings         laid over a preset's of runs
    """

    title: str
    id: str | None = None
    revision: str | None = None
    family: str
    licence: str
    commercial_outputs: bool
    terms: str = ""
    gated: bool = False
    multiview: bool = False
    variant: str | None = None
    download_gb: Gigabytes
    memory_gb: Gigabytes
    memory_is_least: bool = False
    memory_source: str
    resolution: Annotated[int, Field(ge=1)]
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("id", "revision")
    @classmethod
    def _known_form(cls, value: str | None, info: Any) -> str | None:
        wanted, form = (_ID, "owner/name") if info.field_name == "id" else (_REVISION, "40 hexadecimal digits")
        if value is not None and not wanted.fullmatch(value):
            raise ValueError(f"expected {form} (given {value!r:.80})")
        return value


def model_names() -> list[str]:
    """Names of the model presets."""
    return sorted(entry.name.removesuffix(".yaml") for entry in (presets_folder() / _FOLDER).iterdir() if entry.name.endswith(".yaml"))


@cache
def read_model(name: str) -> ModelPreset:
    """The model preset of one of `model_names`. Raises BadInput in one line where its file is missing or is none."""
    where = f"model preset {name!r}"
    try:
        return ModelPreset.model_validate(read_yaml(read_text(presets_folder() / _FOLDER / f"{name}.yaml", LONGEST_TEXT, where), where))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from None


def model_settings(model: str) -> dict[str, Any]:
    """The nested values that `--model` stands for: those of a preset, or a folder or id alone.

    Raises BadInput with the nearest name for what is neither.
    """
    named = {"guidance": {"model": model}}
    if model in model_names():
        return merge(read_model(model).settings, named)
    if not os.path.exists(os.path.expanduser(model)) and not re.search(r"[/\\]", model):
        raise BadInput(f"--model {model!r:.80}: is neither a folder nor the name of a model{nearest(model, model_names())}")
    return named
