"""Lists of settings to compare: a YAML file of names, and below each what it changes of the preset, as presets and `--set` have it.

    wide:
      views: {elevation_degrees: [-10, 50]}
    words:
      base: wide                    # an earlier name of this list: its changes come first
      guidance.view_words: true     # dotted, as for --set

A name without changes is the preset itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamfusion_mesh.batch.names import check_name, folded_name
from dreamfusion_mesh.config import RunConfig, merge, read_values, validate
from dreamfusion_mesh.config.load import LONGEST_TEXT
from dreamfusion_mesh.config.messages import nearest, plain, shown
from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text
from dreamfusion_mesh.files import shown as shown_path

FOLDER = Path(__file__).with_name("settings")  # lists that come with the tool
OUTPUTS = ("evaluation.json", "evaluation.html", "evaluation.md")  # beside the settings' folders
BASE = "base"
_ELSEWHERE = {"prompt": "--prompts names the prompts", "seed": "--seeds names the seeds"}


def known_lists() -> list[str]:
    """Names of the lists that come with the tool."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def list_file(given: str) -> Path:
    """The file of a list that is named, or its path, which has a suffix. Raises BadInput."""
    if given in known_lists():
        return FOLDER / f"{given}.yaml"
    if Path(given).suffix:
        return Path(given)
    raise BadInput(
        f"--settings {shown_path(given)}: expected a .yaml file, or one of {', '.join(known_lists())}{nearest(given, known_lists(), '')}"
    )


def read_list(path: Path, preset: str) -> dict[str, RunConfig]:
    """The settings of each name of a list, in its order, over the preset.

    Raises BadInput, with a line for each fault of the whole list: a file that cannot be read or is no such list, a name that no folder can
    have, a base that is not above, settings that are wrong.
    """
    where, below = shown_path(path), read_values(preset)
    found = read_yaml(read_text(path, LONGEST_TEXT), where)
    if not isinstance(found, dict) or not found:
        raise BadInput(f"{where}: expected names of settings, and below each what it changes (given {shown(found)})")
    changes: dict[str, dict[str, Any]] = {}
    configs: dict[str, RunConfig] = {}
    faults: list[str] = []
    for name, given in found.items():
        try:
            changes[name] = {}  # names a base even where it is wrong, which is told once
            _check_name(name, list(configs))
            changes[name] = _changes(given, {at: each for at, each in changes.items() if at != name})
            configs[name] = _resolved(merge(below, changes[name]))
        except BadInput as error:
            faults += [f"{where}: {plain(name)}: {line}" for line in error.lines]
    if faults:
        raise BadInput(*faults)
    return configs


def _check_name(name: str, taken: list[str]) -> None:
    check_name(name)
    if folded_name(name) in OUTPUTS:
        raise BadInput("name: is a file of the evaluation; give another name")
    if alike := [other for other in taken if folded_name(other) == folded_name(name)]:
        raise BadInput(f"name: is {shown(alike[0])} on disks that ignore case; give another name")


def _changes(given: Any, above: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The nested changes of a name, those of its base first."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadInput(f"expected what it changes (setting: value), found {shown(given)}")
    changes: dict[str, Any] = {}
    if BASE in given:
        base = given[BASE]
        if not isinstance(base, str) or base not in above:
            raise BadInput(f"base: expected a name that stands above in this list (given {shown(base)}){nearest(str(base), list(above))}")
        changes = above[base]
    for key, value in given.items():
        if key in _ELSEWHERE:
            raise BadInput(f"{key}: {_ELSEWHERE[key]}; take it out of the list")
        if key != BASE:
            changes = merge(changes, _nested(key.split("."), value))
    return changes


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def _resolved(values: Mapping[str, Any]) -> RunConfig:
    found = validate(values)
    if isinstance(found, RunConfig):
        return found
    raise BadInput(*(str(problem) for problem in found))
