"""Presets (YAML) and `--set a.b=value` through one merge into a RunConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dreamfusion_mesh.config.messages import Problem, nearest, plain, problems, setting_schemas, shown
from dreamfusion_mesh.config.run import RunConfig
from dreamfusion_mesh.config.schema import KEY, SCHEMA, migrate
from dreamfusion_mesh.config.yaml_text import MAX_DEPTH, control_character, read_yaml, write_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text

LONGEST_TEXT = 1 << 20  # bytes of settings, which take a hundred lines: more would take minutes to parse
_LONGEST_SHOWN = 240  # characters of a preset's path in a message


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in presets_folder().iterdir() if entry.name.endswith(".yaml"))


def load_config(
    preset: str = "default",
    changes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    over_preset: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Resolve a preset's name or file, then `over_preset` (nested, of a model), `changes` ("a.b=value") and `overrides` (from flags).

    Raises BadInput with one line that names the setting, what is allowed and the nearest name.
    """
    return resolve(merge(read_values(preset, changes, over_preset), overrides or {}))


def read_values(preset: str = "default", changes: Sequence[str] = (), over_preset: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The nested values of a preset's name or file, then `over_preset`, then `changes` ("a.b=value").

    Raises BadInput where the preset alone is no settings.
    """
    merged = _read_preset(preset)
    resolve(merged, origin=f"{_shown_preset(preset)}: ")  # so that a bad preset is not blamed on a flag
    merged = merge(merged, over_preset or {})
    for text in changes:
        merged = merge(merged, _read_change(text))
    return merged


def read_cell(name: str, text: str) -> dict[str, Any]:
    """The nested value of a setting that is given alone, as in a table's cell: words as they are, anything else as YAML.

    name  dotted, of `setting_schemas`
    Raises BadInput in a line that begins with the name, for a text that is neither; `resolve` checks the value.
    """
    schema = setting_schemas()[name]
    if schema.get("type") != "string" or "enum" in schema:
        return _nest(name.split("."), read_yaml(text, name))
    if (letter := control_character(text)) is not None:
        raise BadInput(f"{name}: has the control character U+{ord(letter):04X}; plain text is allowed: take it out")
    return _nest(name.split("."), text)


def change(config: RunConfig, changes: Sequence[str], device: str | None, groups: Sequence[str]) -> RunConfig:
    """`config` with "a.b=value" changes inside `groups`, and a device. Raises BadInput for a setting outside them."""
    values = config.model_dump()
    for text in changes:
        if text.partition("=")[0].partition(".")[0].strip() not in groups:
            raise BadInput(f"--set {shown(text)}: only settings of {', '.join(groups)} may change here")
        values = merge(values, _read_change(text))
    return resolve(merge(values, {"device": device} if device else {}))


def resolve(values: Mapping[str, Any], origin: str = "") -> RunConfig:
    """Validate nested values. Raises BadInput naming the first bad setting; `origin` is put before it where a file is to blame."""
    found = validate(values)
    if isinstance(found, RunConfig):
        return found
    raise BadInput(f"{origin}{found[0]}")


def validate(values: Mapping[str, Any]) -> RunConfig | list[Problem]:
    """Nested values as settings, or every setting that is wrong."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        return problems(error)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def dump(config: RunConfig) -> str:
    """Every resolved setting, and their schema, as YAML that `load_config` reads back to an equal config."""
    return write_yaml({KEY: SCHEMA, **config.model_dump(mode="json")})


def presets_folder() -> Path:
    """The folder of presets: inside the package where it is installed, `configs/` beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "configs"


def _read_preset(preset: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    where = _shown_preset(preset)
    if preset in seen:
        raise BadInput(f"{where}: is its own base ({' -> '.join((*seen, preset))})")
    names = preset_names()
    if preset in names:
        text = read_text(presets_folder() / f"{preset}.yaml", LONGEST_TEXT)
    elif preset.endswith((".yaml", ".yml")):
        text = read_text(preset, LONGEST_TEXT, where)
    else:
        raise BadInput(f"{where}: no preset has that name, and a file's name ends in .yaml{nearest(preset, names)}")
    values = read_yaml(text, where)
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise BadInput(f"{where}: expected settings (name: value), found {type(values).__name__}")
    values = migrate(values, where)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise BadInput(f"{where}: base: expected the name or the .yaml file of another preset (given {shown(base)})")
    return merge(_read_preset(base, (*seen, preset)), values)


def _shown_preset(preset: str) -> str:
    """How messages about a preset begin."""
    return f"preset {preset if len(preset) <= _LONGEST_SHOWN else f'{preset[:100]}...{preset[-100:]}'!r}"


def _read_change(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    path = key.strip().split(".")
    if not separator or not key.strip():
        raise BadInput(f"--set {shown(text)}: expected name=value, such as coarse.steps=400")
    if len(path) > MAX_DEPTH:
        raise BadInput(f"--set {shown(text)}: no setting has a name of {len(path)} parts")
    return _nest(path, read_yaml(value, f"--set {plain(key.strip())}"))


def _nest(path: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value
