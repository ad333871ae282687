"""Models on the hub: what its local cache holds, and fetching one. Safetensors and what describes them alone, and never in silence.

Every failure is BadInput in one line with the remedy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dreamfusion_mesh.config.models import model_names, read_model
from dreamfusion_mesh.errors import BadInput, reason

INDEX = "model_index.json"
_MAIN = "main"
_MARKERS = (INDEX, "config.json")  # of a diffusion model, of a model that transformers saved
_DESCRIPTIONS = (".json", ".txt", ".model", ".yaml")
_CARDS = re.compile(r"(README|LICEN[SC]E|NOTICE)[^/]*", re.IGNORECASE)
_PARTS = re.compile(
    r"unet|transformer|vae|scheduler|(text_encoder|tokenizer)(_[23])?"
)  # of diffusion models: no safety checker and the like
_SHARD = r"(-\d+-of-\d+)?"
_REPOSITORY = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
_EXAMPLE = re.compile(
    r"(https?://huggingface\.co/|hf://)?(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w.-]+)|/tree/(?P<branch>[\w.-]+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Published:
    """A model on the hub.

    id        owner/name
    revision  a commit's 40 digits, a branch or a tag
    variant   of its weights, where there are several
    asked     how the user named it
    """

    id: str
    revision: str = _MAIN
    variant: str | None = None
    asked: str = ""


def published(name: str) -> Published | None:
    """The model that a preset's name or an id (owner/name or owner/name@revision) names; None where it is neither."""
    if name in model_names():
        preset = read_model(name)
        return None if preset.id is None else Published(preset.id, preset.revision or _MAIN, preset.variant, name)
    found = _EXAMPLE.fullmatch(name)
    if not found or not _is_id(found["id"]):
        return None
    return Published(found["id"], found["revision"] or found["branch"] or _MAIN, None, name)


def cached(model: Published) -> Path | None:
    """The model's folder in the hub's local cache; None where it is not there. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    for marker in _MARKERS:
        found = try_to_load_from_cache(model.id, marker, revision=model.revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def cached_bytes(folder: Path) -> int:
    """Size of all files of a model's folder in the cache."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, its links followed, lies in a model's folder, or in the hub's cache of it, whose snapshots hold links."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(_repository_of(folder) or folder))


def _repository_of(folder: Path) -> Path | None:
    """The cache's folder of the model whose snapshot `folder` is, beside which its files lie; None for any other folder."""
    above = folder.parent
    return above.parent if above.name == "snapshots" and _REPOSITORY.fullmatch(above.parent.name) else None


def snapshot_name(folder: Path) -> str | None:
    """`owner/name@commit` of a snapshot in the hub's cache; None for any other folder."""
    repository = _repository_of(folder)
    found = _REPOSITORY.fullmatch(repository.name) if repository else None
    return f"{found['owner']}/{found['name']}@{folder.name}" if found else None


def download(model: Published, report: Callable[[str], None]) -> Path:
    """Fetch a model into the hub's cache and return its folder there; `report` is told beforehand what will be fetched, and how much.

    Raises BadInput where the hub cannot be reached, the model is gated or gone, the revision is unknown or it has no safetensors.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        facts = HfApi().model_info(model.id, revision=model.revision, files_metadata=True)
        sizes = {entry.rfilename: entry.size or 0 for entry in facts.siblings or ()}
        wanted = wanted_files(list(sizes), model.variant)
        if not any(name.endswith(".safetensors") for name in wanted):
            raise BadInput(f"{_shown(model)}: has no safetensors, and pickles are not fetched; name a model that has them")
        total = sum(sizes[name] for name in wanted)
        licence = getattr(facts.card_data, "license", None) or "not stated: see its card"
        report(f"fetching {model.id} at {facts.sha}: {len(wanted)} files, {total / 1e9:.1f} GB; licence: {licence}")
        return Path(snapshot_download(model.id, revision=model.revision, allow_patterns=wanted))
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{_shown(model)}: {_remedy(model, error)}") from error


def wanted_files(names: Sequence[str], variant: str | None) -> list[str]:
    """Of a repository's files those that are read: cards, descriptions and safetensors of each part, in the variant where it has one.

    A diffusion model's parts are folders; weights beside its index are the same networks again, in one file. Another model is one part.
    """
    whole = INDEX in names
    by_part: dict[str, list[str]] = {}
    for name in names:
        by_part.setdefault(str(PurePosixPath(name).parent), []).append(name)
    wanted = []
    for part, within in by_part.items():
        if part == "." or (whole and _PARTS.fullmatch(part)):
            described = (name for name in within if name.endswith(_DESCRIPTIONS) and ".index." not in name)
            cards = (name for name in within if _CARDS.fullmatch(PurePosixPath(name).name))
            wanted += [*described, *cards, *(_weights(within, variant) if part != "." or not whole else ())]
    return sorted(set(wanted))


def _is_id(name: str) -> bool:
    """Whether the hub's library takes owner/name for an id: it raises for dots or dashes that stand together, and some ends."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _weights(names: Sequence[str], variant: str | None) -> list[str]:
    """Of one folder's files the safetensors, and the index of their shards, in the variant; where it has none of that, the plain ones."""
    for mark in dict.fromkeys((f".{re.escape(variant)}" if variant else "", "")):
        file = re.compile(rf"[^.]+{mark}{_SHARD}\.safetensors|[^.]+{_SHARD}{mark}\.safetensors|[^.]+\.safetensors\.index{mark}\.json")
        if found := [name for name in names if file.fullmatch(PurePosixPath(name).name)]:
            return found
    return []


def _shown(model: Published) -> str:
    return f"model {model.asked or model.id!r}" + ("" if model.asked in ("", model.id) else f" ({model.id})")


def _remedy(model: Published, error: Exception) -> str:
    """What is wrong, and what to do, for an error of the hub's library."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{model.id}"
    match error:
        case errors.GatedRepoError():
            return f"is gated: accept its licence at {page}, then log in with `hf auth login` and fetch it again"
        case errors.RevisionNotFoundError():
            return f"has no revision {model.revision!r}; name one that {page}/commits/main lists, as {model.id}@REVISION"
        case errors.DisabledRepoError() | errors.RepositoryNotFoundError():
            return "is not on the hub: it was deleted or renamed, is private, or never was; name another model or a local folder"
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled() | ConnectionError():
            return _unreachable(error)
        case OSError() if error.errno is not None:
            return f"cannot be written to the cache ({reason(error)}); make space, or name another folder in HF_HOME"
    return _unreachable(error)


def _unreachable(error: Exception) -> str:
    return (
        f"cannot be fetched ({type(error).__name__}: {reason(error)}); connect to the network, or copy the model's folder from another "
        "machine and name it in guidance.model"
    )
