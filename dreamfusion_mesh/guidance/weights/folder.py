"""A model's folder, looked at before anything in it is trusted.

Every failure is BadInput in one line. Weights are safetensors alone: a pickle can run code when it is opened. No file may lead out of the
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config.models import model_names
from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.files import MissingFile, cannot_read, kind_of, open_file, read_bytes
from dreamfusion_mesh.guidance.weights.hub import INDEX, cached, is_inside, published

EMBEDDED = "embedded"
_VARIANT, _INDEX_END = "fp16", ".safetensors.index.json"
_LONGEST_JSON = 64 << 20  # bytes
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True)
class Source:
    """Which model is meant, and how messages name it.

    use       what it is for, such as "guidance" or "judge"
    name      "embedded", or a folder's path
    setting   what names it, such as "guidance.model" or "--judge"
    embedded  the folder that "embedded" means; None: nothing comes with the package, and the setting may be empty
    """

    use: str
    name: str
    setting: str
    embedded: Path | None

    def __str__(self) -> str:
        return f"{self.use} {self.name!r}"

    @property
    def folder(self) -> Path:
        """The folder that is named, whether or not it is there: a path, or else a model in the hub's local cache."""
        if self.name == EMBEDDED and self.embedded is not None:
            return self.embedded
        path = Path(os.path.expanduser(self.name))
        model = None if os.path.lexists(path) else published(self.name)
        return path if model is None else cached(model) or path

    def same(self, name: str) -> bool:
        """Whether `name`, too, is the embedded model, or a path of the same folder."""
        if EMBEDDED in (name, self.name) or name == self.name:
            return name == self.name
        return os.path.realpath(self.folder) == os.path.realpath(replace(self, name=name).folder)


@dataclass(frozen=True)
class Layout:
    """The sub-folders ("parts") that a family of models is made of; "" is the folder itself.

    name      what to ask for: "in the diffusers layout, which has unet/ ..."
    required  parts that every model has
    optional  parts that are read where they are there
    weights   the parts that have weights, and the name of their file without .safetensors
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    weights: Mapping[str, str]


def open_folder(source: Source, layout: Layout) -> Path:
    """The folder of `source`, checked: its parts are there, stay inside it, and hold readable safetensors.

    Raises BadInput naming the file and the remedy.
    """
    folder = find_folder(source, layout.name)
    for part in layout.required:
        if kind_of(folder / part, f"{source}: {part}") != "folder":
            raise BadInput(f"{source}: has no {part}/; name a folder {layout.name}")
    _check_files(source, folder, folder / INDEX)
    for part in parts_of(folder, layout):
        _check_files(source, folder, folder / part)
        if part in layout.weights:
            for file in _part_files(source, folder, part, layout.weights[part]):
                _check_safetensors(source, folder, file)
    return folder


def find_folder(source: Source, wanted: str) -> Path:
    """The folder of `source`, which is there. Raises BadInput asking for a folder `wanted`, such as "in the diffusers layout"."""
    folder = source.folder
    if (kind := kind_of(folder, str(source))) != "folder":
        otherwise = f"leave {source.setting} empty" if source.embedded is None else f"use {source.setting}={EMBEDDED}"
        raise BadInput(f"{source}: {_no_folder(source, kind, wanted)}, or {otherwise}")
    return folder


def parts_of(folder: Path, layout: Layout) -> list[str]:
    """Names of the sub-folders that are read."""
    return [*layout.required, *(part for part in layout.optional if (folder / part).is_dir())]


def weight_files(source: Source, folder: Path, layout: Layout) -> list[Path]:
    """The safetensors files of all parts: of each a single one, or the shards its index names. Raises BadInput where a part has none."""
    parts = [part for part in parts_of(folder, layout) if part in layout.weights]
    return [file for part in parts for file in _part_files(source, folder, part, layout.weights[part])]


def variant(part: Path) -> str | None:
    """Which of the published variants of its weights the part's folder has, where it has no others: "fp16"; None: the plain ones."""
    names = {entry.name for entry in part.iterdir()} if part.is_dir() else set()
    plain = any(name.endswith((".safetensors", _INDEX_END)) and f".{_VARIANT}" not in name for name in names)
    marked = any(name.endswith((f".{_VARIANT}.safetensors", f".index.{_VARIANT}.json")) for name in names)
    return _VARIANT if marked and not plain else None


def read_json(source: Source, folder: Path, name: str) -> dict[str, Any]:
    """The object in the JSON file `name` of `folder`. Raises BadInput where it is missing or not a JSON object."""
    try:
        content = read_bytes(folder / name, _LONGEST_JSON, f"{source}: {name}")
    except MissingFile:
        raise BadInput(f"{source}: {name} is missing; download the model again") from None
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: {name} is not readable JSON ({reason(error)}); download the model again") from None
    if not isinstance(values, dict):
        raise BadInput(f"{source}: {name} holds a {type(values).__name__}, expected an object; download the model again")
    return values


def fingerprint(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_file(file) as descriptor:
        while block := os.read(descriptor, 1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _no_folder(source: Source, kind: str, wanted: str) -> str:
    """Why the folder of `source`, which is of `kind`, is none, and how to come by one."""
    if kind:
        return f"is a {kind}; name a folder {wanted}"
    model = published(source.name)
    if model is not None and (source.name in model_names() or not source.folder.parent.exists()):
        named = model.id if model.asked == model.id else f"{model.asked} ({model.id})"
        command = f"dreamfusion-mesh models --download {model.asked}"
        return f"is no folder, and the hub's local cache does not hold {named}; fetch it with `{command}`"
    return f"does not exist; name a folder {wanted}"


def _check_files(source: Source, folder: Path, part: Path) -> None:
    """Whether all below `part` stays inside `folder` and is a folder or regular file: of a pipe the libraries would wait for its writer."""

    def unreadable(error: OSError) -> None:
        raise cannot_read(error.filename, error, f"{source}: {Path(error.filename).relative_to(folder)}")

    walk = os.walk(part, onerror=unreadable) if part.is_dir() else ()
    below = (Path(above) / name for above, folders, files in walk for name in (*folders, *files))
    for path in (part, *below):
        where = f"{source}: {path.relative_to(folder)}"
        if not is_inside(path, folder):
            raise BadInput(
                f"{where} points out of the folder; put the real file there "
                "(a hub's cache holds links: download with a local folder named instead)"
            )
        if (kind := kind_of(path, where)) not in ("file", "folder", ""):
            raise BadInput(f"{where} is a {kind}, expected a file; download the model again")
        if kind == "file":
            with open_file(path, where):  # the libraries take one that may not be read for one that is missing
                pass


def _part_files(source: Source, folder: Path, part: str, stem: str) -> list[Path]:
    mark = "" if variant(folder / part) is None else f".{_VARIANT}"
    index = folder / part / f"{stem}.safetensors.index{mark}.json"
    single = folder / part / f"{stem}{mark}.safetensors"
    if index.is_file():
        return _shards(source, folder, index)
    if single.is_file():
        return [single]
    single = folder / part / f"{stem}.safetensors"
    pickles = sorted(entry.name for entry in single.parent.iterdir() if entry.suffix in _PICKLES)
    shown = single.relative_to(folder).as_posix()
    if pickles:
        found = Path(part, pickles[0]).as_posix()
        raise BadInput(
            f"{source}: {found} is a pickle, which can run code when it is opened; only safetensors are read: "
            f"get {shown}, or save the model again with safe_serialization=True"
        )
    raise BadInput(f"{source}: {shown} is missing; download the model's safetensors files")


def _shards(source: Source, folder: Path, index: Path) -> list[Path]:
    shown = index.relative_to(folder).as_posix()
    values = read_json(source, folder, shown)
    named = values.get("weight_map")
    if not isinstance(values.get("metadata"), dict):
        raise BadInput(f"{source}: {shown} has no metadata, an object that the libraries ask for; download the model again")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise BadInput(f"{source}: {shown} has no weight_map from tensors to files; download the model again")
    files = []
    for name in sorted(set(named.values())):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise BadInput(f"{source}: {shown} names {name!r}; only .safetensors files beside it are read")
        if not (index.parent / name).is_file():
            raise BadInput(f"{source}: {shown} names {name!r}, which is missing; download the model again")
        files.append(index.parent / name)
    return files


def _check_safetensors(source: Source, folder: Path, file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as tensors:
            empty = not list(tensors.keys())
    except (SafetensorError, OSError) as error:
        shown = file.relative_to(folder).as_posix()
        raise BadInput(f"{source}: {shown} is not a readable safetensors file ({reason(error)}); download it again") from None
    if empty:
        raise BadInput(f"{source}: {file.relative_to(folder).as_posix()} holds no tensors; download it again")
