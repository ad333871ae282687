"""What licences a model's cards name, and whether --commercial lets them pass.

A card is a README.md with metadata (YAML between two lines of ---) that may hold `license`, `license_name` and `license_link`. The model
has one at its root; a component's folder may have its own, such as a text encoder that was taken from elsewhere. Only identifiers known to
allow commercial use pass; whatever else a card says, or does not say, is refused until the user has checked it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text
from dreamfusion_mesh.guidance.weights.hub import is_inside

_CARD = "README.md"
_ROOT = "model"
_UNKNOWN = "unknown: see the model's card"
_LONGEST_CARD = 16 << 20  # bytes
_LONGEST = 200  # characters of a card's value that are kept
_OPENRAIL = "its use restrictions (Attachment A of the licence) hold for whoever uses the model or what it makes"
_ATTRIBUTION = "the authors of the model have to be credited"
_COMMERCIAL: dict[str, str | None] = {  # identifier, and the terms that the user has to know of
    "apache-2.0": None,
    "mit": None,
    **dict.fromkeys(("bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"), None),
    **dict.fromkeys(("cc0", "cc0-1.0"), None),
    **dict.fromkeys(("cc-by", "cc-by-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"), _ATTRIBUTION),
    **dict.fromkeys(("openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m", "bigcode-openrail-m"), _OPENRAIL),
}
_GEMMA = {"license": "gemma", "license_link": "https://ai.google.dev/gemma/terms"}
_TERMS: dict[str, Mapping[str, Any]] = dict.fromkeys(("t5gemma", "t5_gemma_module", "gemma", "gemma2"), _GEMMA)  # by model_type
_NON_COMMERCIAL = re.compile(r"non[-_]?commercial|[-_/]nc(?![a-z0-9])", re.IGNORECASE)  # in a link, such as .../licenses/by-nc/4.0
_ALLOWED = "Apache-2.0, MIT, BSD, CC0, CC-BY and the OpenRAIL family"


def read_licences(folder: Path, parts: Sequence[str]) -> list[dict[str, Any]]:
    """The licence of the model, then of each of `parts` that has a card of its own, as `judge_card` records them.

    A part without one whose kind of network is known to come under terms of its own has these.
    """
    cards = {part: _metadata(folder, f"{part}/{_CARD}") for part in parts if os.path.lexists(folder / part / _CARD)}
    own = {part: cards.get(part) or _TERMS.get(_model_type(folder, part)) for part in parts}
    named = [part for part in parts if own[part] or part in cards]
    return [judge_card(_ROOT, _metadata(folder, _CARD)), *(judge_card(part, own[part] or {}) for part in named)]


def judge_card(component: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What provenance records of one card.

    component        "model", or the folder of the part
    licence          list of the identifiers that the card names, as it spells them; empty where it names none
    name, link       its license_name and license_link, or None
    commercial_use   whether every identifier, the name included, is known to allow it, and no link names a non-commercial licence
    terms            what the user has to know of a licence that passes, or None
    """
    licence, name, links = (_strings(metadata.get(key)) for key in ("license", "license_name", "license_link"))
    known = [_identifier(value) for value in (*licence, *name)]
    barred = any(_NON_COMMERCIAL.search(link) for link in links)
    allowed = bool(licence) and all(value in _COMMERCIAL for value in known) and not barred
    terms = dict.fromkeys(text for value in known if allowed and (text := _COMMERCIAL[value]))
    return {
        "component": component,
        "licence": licence,
        "name": ", ".join(name) or None,
        "link": ", ".join(links) or None,
        "commercial_use": allowed,
        "terms": "; ".join(terms) or None,
    }


def licence_name(licence: Mapping[str, Any]) -> str:
    """One record of `judge_card` as a short text for the user."""
    return ", ".join(licence["licence"]) or _UNKNOWN


def check_commercial_use(provenance: Mapping[str, Any], licence_checked: bool) -> tuple[str, ...]:
    """Whether a model may be used commercially, from what its provenance records. Returns lines for the user: terms, and what was let pass.

    licence_checked   `licence_checked` of the run: the user states that the model's licence allows the use
    Raises BadInput naming each component whose licence is not known to allow it, unless the user has checked it.
    """
    model, setting = provenance.get("model"), "guidance.clip" if provenance.get("loss") == "clip" else "guidance.model"
    licences = provenance.get("licences") or [judge_card(_ROOT, {"license": provenance.get("licence")})]
    refused = [licence for licence in licences if not licence["commercial_use"]]
    shown = "; ".join(_describe(licence) for licence in refused)
    if refused and not licence_checked:
        raise BadInput(
            f"{setting} {model!r}: refused with --commercial ({shown}); allowed are {_ALLOWED}; name another model or, where you have "
            "checked that its licence allows your use, use --set licence_checked=true"
        )
    lines = [f"guidance {model!r}: passes with --commercial because licence_checked=true: {shown}"] if refused else []
    with_terms = [licence for licence in licences if licence["terms"]]
    lines += [f"guidance {model!r}: {_describe(licence)}: {licence['terms']}" for licence in with_terms]
    return tuple(lines)


def _describe(licence: Mapping[str, Any]) -> str:
    owner = "its licence" if licence["component"] == _ROOT else f"the licence of {licence['component']}/"
    found = " and ".join(repr(value) for value in licence["licence"]) or "not stated"
    more = [f"{key} {licence[part]!r}" for key, part in (("license_name", "name"), ("license_link", "link")) if licence.get(part)]
    return f"{owner} is {found}" + (f" with {' and '.join(more)}" if more else "")


def _metadata(folder: Path, name: str) -> Mapping[str, Any]:
    """The metadata of a card, empty where there is none that can be read, or where it points out of the folder."""
    file = folder / name
    try:
        if not is_inside(file, folder):
            return {}
        header = re.match(r"\s*---[ \t]*\n(.*?)^---[ \t]*$", read_text(file, _LONGEST_CARD), re.DOTALL | re.MULTILINE)
        values = read_yaml(header[1], str(file)) if header else None
    except BadInput:
        return {}
    return values if isinstance(values, dict) else {}


def _model_type(folder: Path, part: str) -> str:
    """What kind of network a part's config says that it is, empty where there is none that can be read, or where it points out."""
    file = folder / part / "config.json"
    try:
        values = json.loads(read_text(file, _LONGEST_CARD)) if is_inside(file, folder) else {}
    except (BadInput, ValueError, RecursionError):
        return ""
    return str(values.get("model_type", "")) if isinstance(values, dict) else ""


def _strings(value: Any) -> list[str]:
    """A card's value, or list of values, as one-line strings; of what is no text only the kind is named."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    texts = [entry if isinstance(entry, str) else f"no text but {type(entry).__name__}" for entry in values]
    return [" ".join(text.split())[:_LONGEST] for text in texts if text.strip()]


def _identifier(text: str) -> str:
    """`text` as identifiers are spelt: "CC BY 4.0" -> "cc-by-4.0"."""
    return "-".join(text.lower().replace("_", "-").split())
