"""A model's folder in the diffusers layout, looked at before anything in it is trusted.

Every failure is BadInput in one line. Weights are safetensors alone: a pickle can run code when it is opened. No file may lead out of the
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

from dreamfusion_mesh.errors import BadInput

EMBEDDED = "embedded"
INDEX = "model_index.json"
PARTS = ("unet", "text_encoder", "tokenizer", "scheduler")  # and vae, where the model works on latents
_LAYOUT = f"a folder in the diffusers layout has {', '.join(f'{part}/' for part in PARTS)}"
_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


def open_folder(model: str) -> Path:
    """The folder of `model` ("embedded" or a path), checked: its parts are there, stay inside it, and hold readable safetensors.

    Raises BadInput naming the file and the remedy.
    """
    folder = Path(str(resources.files("dreamfusion_mesh.guidance") / "prior")) if model == EMBEDDED else Path(model).expanduser()
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise BadInput(f"guidance {model!r}: {found}; name {_LAYOUT}, or use guidance.model={EMBEDDED}")
    for part in PARTS:
        if not (folder / part).is_dir():
            raise BadInput(f"guidance {model!r}: has no {part}/; {_LAYOUT}")
    _stays_inside(model, folder, folder / INDEX)
    for part in parts_of(folder):
        _stays_inside(model, folder, folder / part)
        if part in _STEMS:
            for file in weight_files(model, folder, part):
                _check_safetensors(model, folder, file)
    return folder


def parts_of(folder: Path) -> list[str]:
    """Names of the sub-folders that are read."""
    return [*PARTS, "vae"] if (folder / "vae").is_dir() else list(PARTS)


def weight_files(model: str, folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part: a single one, or the shards its index names. Raises BadInput where there are none."""
    place, stem = folder / part, _STEMS[part]
    index = place / f"{stem}.safetensors.index.json"
    single = place / f"{stem}.safetensors"
    if index.is_file():
        return _shards(model, folder, index)
    if single.is_file():
        return [single]
    pickles = sorted(entry.name for entry in place.iterdir() if entry.suffix in _PICKLES)
    if pickles:
        raise BadInput(
            f"guidance {model!r}: {part}/{pickles[0]} is a pickle, which can run code when it is opened; only safetensors are read: "
            f"get {part}/{single.name}, or save the model again with safe_serialization=True"
        )
    raise BadInput(f"guidance {model!r}: {part}/{single.name} is missing; download the model's safetensors files")


def read_json(model: str, folder: Path, name: str) -> dict[str, Any]:
    """The object in the JSON file `name` of `folder`. Raises BadInput where it is missing or not a JSON object."""
    try:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"guidance {model!r}: {name} is missing; download the model again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"guidance {model!r}: {name} is not readable JSON ({one_line(error)}); download the model again") from None
    if not isinstance(values, dict):
        raise BadInput(f"guidance {model!r}: {name} holds a {type(values).__name__}, expected an object; download the model again")
    return values


def fingerprint(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def one_line(error: BaseException) -> str:
    """An error's text without line breaks, cut to a readable length."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _stays_inside(model: str, folder: Path, place: Path) -> None:
    root = folder.resolve()
    below = (Path(above) / name for above, folders, files in os.walk(place) for name in (*folders, *files))
    for path in (place, *below):
        if not path.resolve().is_relative_to(root):
            raise BadInput(
                f"guidance {model!r}: {path.relative_to(folder)} points out of the folder; put the real file there "
                "(a hub's cache holds links: download with a local folder named instead)"
            )


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
        raise BadInput(f"guidance {model!r}: {shown} is not a readable safetensors file ({one_line(error)}); download it again") from None
    if empty:
        raise BadInput(f"guidance {model!r}: {file.relative_to(folder).as_posix()} holds no tensors; download it again")
