"""run.yaml: the settings of a run, told apart from another program's file of that name; and in what two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config import RunConfig, resolve
from dreamfusion_mesh.config.load import LONGEST_TEXT
from dreamfusion_mesh.config.messages import shown as shown_value
from dreamfusion_mesh.config.schema import migrate
from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text, shown

SETTINGS = "run.yaml"
_GROUPS = frozenset({"guidance", "coarse", "fine"})  # beside the prompt, what the settings of a run of any version have
_SHOWN = 4  # names in a message, before the others are counted

Differences = Mapping[str, tuple[Any, Any]]  # a setting's dotted name: its value there, and here


class ForeignSettings(BadInput):
    """A run.yaml that holds no settings of a run; `problem` says what it is instead, without the remedy."""

    def __init__(self, problem: str, remedy: str = "; name another folder") -> None:
        super().__init__(problem + remedy)
        self.problem = problem


def read_settings(file: Path) -> RunConfig:
    """The settings in a run.yaml. Raises as `parse_settings` does, and ForeignSettings where it cannot be read."""
    try:
        text = read_text(file, LONGEST_TEXT)
    except BadInput as error:
        raise ForeignSettings(str(error), remedy="") from None
    return parse_settings(text, shown(file))


def parse_settings(text: str, where: str) -> RunConfig:
    """The settings that the text of a run.yaml holds, of any schema.

    Raises ForeignSettings where it holds no settings of a run, BadInput where these are of a newer schema or a value is not allowed.
    """
    try:
        values = read_yaml(text, where)
    except BadInput as error:
        raise ForeignSettings(str(error)) from None
    if not isinstance(values, dict):
        raise ForeignSettings(f"{where}: is not of a run (expected settings, name: value; found {type(values).__name__})")
    if "prompt" not in values or not _GROUPS & values.keys():
        lacking = "prompt" if "prompt" not in values else f"settings of {', '.join(sorted(_GROUPS))}"
        raise ForeignSettings(f"{where}: is another program's (it holds {_listed([shown_value(key) for key in values])}, and no {lacking})")
    return resolve(migrate(values, where), origin=f"{where}: ")


def differences(found: RunConfig, wanted: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The settings in which two runs differ, by dotted name: the value in `found`, and the one in `wanted`."""
    there, here = _flat(found.model_dump(mode="json")), _flat(wanted.model_dump(mode="json"))
    return {name: (there.get(name), value) for name, value in here.items() if there.get(name) != value}


def group(name: str) -> str:
    """The first part of a setting's dotted name."""
    return name.partition(".")[0]


def describe(found: Differences) -> str:
    """A handful of differences as "name is A there, B here", and how many more there are."""
    return _listed([f"{name} is {shown_value(there)} there, {shown_value(here)} here" for name, (there, here) in found.items()], "; ")


def _listed(entries: list[str], separator: str = ", ") -> str:
    more = len(entries) - _SHOWN
    return separator.join(entries) if more <= 1 else f"{separator.join(entries[:_SHOWN])}{separator}and {more} more"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
