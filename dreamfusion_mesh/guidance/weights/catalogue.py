"""The published models that have presets, and what the hub's local cache holds of each, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dreamfusion_mesh.config import ModelPreset, model_names, read_model
from dreamfusion_mesh.config.messages import nearest
from dreamfusion_mesh.config.yaml_text import write_value
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.hub import Published, cached, cached_bytes, published

_HEAD = ("name", "family", "licence", "commercial use", "download", "memory", "here")


def catalogue() -> str:
    """A table with a line for each preset."""
    rows = [_HEAD, *(_row(name, read_model(name)) for name in model_names())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    return "".join(f"{'  '.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()}\n" for row in rows)


def card(name: str) -> str:
    """All that a preset says, its settings included. Raises BadInput for a name that no preset has."""
    if name not in model_names():
        raise BadInput(f"models {name!r:.80}: no model has that name{nearest(name, model_names())}")
    preset = read_model(name)
    gate = "gated: its terms have to be accepted on the hub" if preset.gated else ""
    lines = {
        "model": f"{name}: {preset.title}",
        "id": preset.id or "comes with the package",
        "revision": preset.revision or ("what main is when it is fetched" if preset.id else ""),
        "family": preset.family,
        "licence": f"{preset.licence}; commercial use of what it makes: {_allowed(preset)}",
        "terms": "; ".join(filter(None, (preset.terms, gate))),
        "resolution": f"{preset.resolution} pixels a side",
        "download": f"{preset.download_gb:g} GB" if preset.id else "",
        "memory": f"{_memory(preset)}: {preset.memory_source}",
        "here": _here(name),
    }
    shown = "".join(f"{key:<10}  {text}\n" for key, text in lines.items() if text)
    if not preset.settings:
        return shown
    settings = "".join(f"  {key}={write_value(value)}\n" for key, value in _dotted(preset.settings))
    return f"{shown}settings    of --model {name}, laid over those of the preset:\n{settings}"


def to_fetch(name: str) -> Published:
    """What `--download` means by `name`, a preset's or an id. Raises BadInput where there is nothing to fetch."""
    if (model := published(name)) is not None:
        return model
    if name in model_names():
        raise BadInput(f"--download {name}: comes with the package; there is nothing to fetch")
    raise BadInput(f"--download {name!r:.80}: neither an id (owner/name) nor the name of a model{nearest(name, model_names())}")


def _row(name: str, preset: ModelPreset) -> tuple[str, ...]:
    size = f"{preset.download_gb:g} GB" if preset.id else "-"
    return name, preset.family, preset.licence, _allowed(preset), size, _memory(preset), _here(name)


def _allowed(preset: ModelPreset) -> str:
    if not preset.commercial_outputs:
        return "not allowed, or not to all"
    return "allowed, with terms" if preset.terms else "allowed"


def _dotted(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _memory(preset: ModelPreset) -> str:
    return f"{'over ' if preset.memory_is_least else ''}{preset.memory_gb:g} GB"


def _here(name: str) -> str:
    """Whether, and how much of, a model is on this machine."""
    model = published(name)
    if model is None:
        return "yes"
    folder = cached(model)
    return "no" if folder is None else f"yes, {cached_bytes(folder) / 1e9:.1f} GB in the hub's cache"
