"""A model's folder in the diffusers layout, looked at before anything in it is trusted.

Every failure is BadInput in one line. Weights are safetensors alone: a pickle can run code when it is opened. No file may lead out of the
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.files import MissingFile, cannot_read, kind_of, open_file, read_bytes

EMBEDDED = "embedded"
INDEX = "model_index.json"
_LONGEST_JSON = 64 << 20  # bytes
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HUB_ID = re.compile(
    r"(https?://huggingface\.co/|hf://)?(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@[\w.-]+|/.*)?", re.ASCII
)  # owner/name


@dataclass(frozen=True)
class Layout:
    """The sub-folders ("parts") that a family of models is made of.

    required  parts that every model has
    optional  parts that are read where they are there
    weights   the parts that have weights, and the name of their file without .safetensors
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    weights: Mapping[str, str]


def open_folder(model: str, layout: Layout) -> Path:
    """The folder of `model` ("embedded" or a path), checked: its parts are there, stay inside it, and hold readable safetensors.

    Raises BadInput naming the file and the remedy.
    """
    folder = Path(str(resources.files("dreamfusion_mesh.guidance") / "prior")) if model == EMBEDDED else Path(os.path.expanduser(model))
    if (kind := kind_of(folder, f"guidance {model!r}")) != "folder":
        raise BadInput(f"guidance {model!r}: {_no_folder(model, folder, kind, layout)}, or use guidance.model={EMBEDDED}")
    for part in layout.required:
        if kind_of(folder / part, f"guidance {model!r}: {part}") != "folder":
            raise BadInput(f"guidance {model!r}: has no {part}/; a model's folder in the diffusers layout has {_shown(layout)}")
    _check_files(model, folder, folder / INDEX)
    for part in parts_of(folder, layout):
        _check_files(model, folder, folder / part)
        if part in layout.weights:
            for file in _part_files(model, folder, part, layout.weights[part]):
                _check_safetensors(model, folder, file)
    return folder


def parts_of(folder: Path, layout: Layout) -> list[str]:
    """Names of the sub-folders that are read."""
    return [*layout.required, *(part for part in layout.optional if (folder / part).is_dir())]


def weight_files(model: str, folder: Path, layout: Layout) -> list[Path]:
    """The safetensors files of all parts: of each a single one, or the shards its index names. Raises BadInput where a part has none."""
    parts = [part for part in parts_of(folder, layout) if part in layout.weights]
    return [file for part in parts for file in _part_files(model, folder, part, layout.weights[part])]


def read_json(model: str, folder: Path, name: str) -> dict[str, Any]:
    """The object in the JSON file `name` of `folder`. Raises BadInput where it is missing or not a JSON object."""
    try:
        content = read_bytes(folder / name, _LONGEST_JSON, f"guidance {model!r}: {name}")
    except MissingFile:
        raise BadInput(f"guidance {model!r}: {name} is missing; download the model again") from None
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"guidance {model!r}: {name} is not readable JSON ({reason(error)}); download the model again") from None
    if not isinstance(values, dict):
        raise BadInput(f"guidance {model!r}: {name} holds a {type(values).__name__}, expected an object; download the model again")
    return values


def fingerprint(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_file(file) as descriptor:
        while block := os.read(descriptor, 1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _no_folder(model: str, folder: Path, kind: str, layout: Layout) -> str:
    """Why `folder`, which is of `kind`, is none, and how to come by one."""
    if kind:
        return f"is a {kind}; name a folder in the diffusers layout, which has {_shown(layout)}"
    found = _HUB_ID.fullmatch(model)
    if found and (found[1] or not found[3] or found[3][0] == "@") and not folder.parent.exists():
        name = found["id"].partition("/")[2]
        return (
            f"is no folder but looks like the id of a model on a hub, and only local folders are read; get it by "
            f"`hf download {found['id']} --local-dir {name}` and set guidance.model={name}"
        )
    return f"does not exist; name a folder in the diffusers layout, which has {_shown(layout)}"


def _shown(layout: Layout) -> str:
    *most, last = (f"{part}/" for part in layout.required)
    return f"{', '.join(most)} and {last}"


def _check_files(model: str, folder: Path, part: Path) -> None:
    """Whether all below `part` stays inside `folder` and is a folder or regular file: of a pipe the libraries would wait for its writer."""

    def unreadable(error: OSError) -> None:
        raise cannot_read(error.filename, error, f"guidance {model!r}: {Path(error.filename).relative_to(folder)}")

    root = os.path.realpath(folder)
    walk = os.walk(part, onerror=unreadable) if part.is_dir() else ()
    below = (Path(above) / name for above, folders, files in walk for name in (*folders, *files))
    for path in (part, *below):
        where = f"guidance {model!r}: {path.relative_to(folder)}"
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise BadInput(
                f"{where} points out of the folder; put the real file there "
                "(a hub's cache holds links: download with a local folder named instead)"
            )
        if (kind := kind_of(path, where)) not in ("file", "folder", ""):
            raise BadInput(f"{where} is a {kind}, expected a file; download the model again")
        if kind == "file":
            with open_file(path, where):  # the libraries take one that may not be read for one that is missing
                pass


def _part_files(model: str, folder: Path, part: str, stem: str) -> list[Path]:
    index = folder / part / f"{stem}.safetensors.index.json"
    single = folder / part / f"{stem}.safetensors"
    if index.is_file():
        return _shards(model, folder, index)
    if single.is_file():
        return [single]
    pickles = sorted(entry.name for entry in single.parent.iterdir() if entry.suffix in _PICKLES)
    if pickles:
        raise BadInput(
            f"guidance {model!r}: {part}/{pickles[0]} is a pickle, which can run code when it is opened; only safetensors are read: "
            f"get {part}/{single.name}, or save the model again with safe_serialization=True"
        )
    raise BadInput(f"guidance {model!r}: {part}/{single.name} is missing; download the model's safetensors files")


def _shards(model: str, folder: Path, index: Path) -> list[Path]:
    shown = index.relative_to(folder).as_posix()
    named = read_json(model, folder, shown).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise BadInput(f"guidance {model!r}: {shown} has no weight_map from tensors to files; download the model again")
    files = []
    for name in sorted(set(named.values())):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise BadInput(f"guidance {model!r}: {shown} names {name!r}; only .safetensors files beside it are read")
        if not (index.parent / name).is_file():
            raise BadInput(f"guidance {model!r}: {shown} names {name!r}, which is missing; download the model again")
        files.append(index.parent / name)
    return files


def _check_safetensors(model: str, folder: Path, file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as tensors:
            empty = not list(tensors.keys())
    except (SafetensorError, OSError) as error:
        shown = file.relative_to(folder).as_posix()
        raise BadInput(f"guidance {model!r}: {shown} is not a readable safetensors file ({reason(error)}); download it again") from None
    if empty:
        raise BadInput(f"guidance {model!r}: {file.relative_to(folder).as_posix()} holds no tensors; download it again")
