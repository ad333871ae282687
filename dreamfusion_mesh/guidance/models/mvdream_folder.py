"""The two layouts in which MVDream is published, and its parameters in either. Every failure is BadInput in one line.

One is the original checkpoint, a single file that holds U-Net, autoencoder and text encoder; it comes without a tokenizer, which lies
beside it in tokenizer/. The other is its port to diffusers' folders, whose unet/ keeps the original names. That port runs code from its
folder; here no code of a folder is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text
from dreamfusion_mesh.guidance.models import mvdream_keys as keys
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, read_json

CAMERA_DIM = 16  # a 4 x 4 matrix
_PICKLES = (".pt", ".ckpt", ".pth")
_LONGEST_YAML = 1 << 20  # bytes
_MOST = {"num_res_blocks": 8, "transformer_depth": 16}  # of what makes modules; all else is bounded by the tensors that are there
_LARGEST = 1 << 14
_NUMBERS = ("timesteps", "linear_start", "linear_end", "scale_factor")
_OWN_YAML = "take MVDream's own mvdream/configs/sd-v2-base.yaml, or take the file away"
_ONE_FILE = "that holds MVDream's checkpoint as one .safetensors file, and in tokenizer/ the tokenizer of Stable Diffusion 2.1"
PORT = Layout(
    name="with MVDream in the diffusers layout, which has unet/, vae/, text_encoder/, tokenizer/ and scheduler/",
    required=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    optional=(),
    weights={"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"},
)
# What mvdream/configs/sd-v2-base.yaml of github.com/bytedance/MVDream says; a copy of that file beside the checkpoint is read in its place.
PUBLISHED: dict[str, Any] = {
    "timesteps": 1000,
    "linear_start": 0.00085,
    "linear_end": 0.0120,
    "scale_factor": 0.18215,
    "unet": {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_head_channels": 64,
        "transformer_depth": 1,
        "context_dim": 1024,
        "camera_dim": CAMERA_DIM,
    },
    "vae": {"ch": 128, "ch_mult": [1, 2, 4, 4], "z_channels": 4, "num_res_blocks": 2},
}


def mvdream_layout(source: Source) -> Layout | None:
    """Which layout of MVDream the folder of `source` has; None where it holds another model, or nothing.

    Raises BadInput where it is MVDream's checkpoint as a pickle, with how to convert it.
    """
    folder = source.folder
    if os.path.isdir(folder / "unet"):
        return PORT if _names_cameras(source, folder) else None
    names = _entries(folder)
    if "text_encoder" in names:
        return None
    files = [name for name in names if name.endswith(".safetensors") and os.path.isfile(folder / name)]  # to open a pipe waits
    for name in files:
        if _has_cameras(folder / name):
            return Layout(_ONE_FILE, ("", "tokenizer"), (), {"": name.removesuffix(".safetensors")})
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles and not files:
        raise BadInput(
            f"{source}: {pickles[0]} is a pickle, which can run code when it is opened; only safetensors are read: if it is MVDream's "
            f"checkpoint, convert it once: {_conversion(pickles[0])}"
        )
    return None


def read_settings(source: Source, folder: Path) -> tuple[str, dict[str, Any]]:
    """Where the checkpoint's settings are from, and what they are: those of the .yaml file beside it, or the published ones."""
    files = sorted(file for file in folder.iterdir() if file.suffix == ".yaml")
    if not files:
        return "the published configuration", PUBLISHED
    where = f"{source}: {files[0].name}"
    values = read_yaml(read_text(files[0], _LONGEST_YAML, where), where)
    params = _mapping(where, values, "model", "params")
    for key in _NUMBERS:
        if key not in params:
            raise BadInput(f"{where} has no model.params.{key}; {_OWN_YAML}")
    unet = _mapping(where, values, "model", "params", "unet_config", "params")
    vae = _mapping(where, values, "model", "params", "first_stage_config", "params", "ddconfig")
    return files[0].name, {**{key: params[key] for key in _NUMBERS}, "unet": unet, "vae": vae}


def _mapping(where: str, values: Any, *names: str) -> dict[str, Any]:
    """What lies below these names, which is a mapping. Raises BadInput."""
    for place, name in enumerate(names, 1):
        values = values.get(name) if isinstance(values, dict) else None
        if not isinstance(values, dict):
            found = "nothing" if values is None else f"a {type(values).__name__}"
            raise BadInput(f"{where} has {found} as {'.'.join(names[:place])}, expected a mapping; {_OWN_YAML}")
    return {**values}


def checked_params(source: Source, where: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same parameters. Raises BadInput where one is missing, or no number that a network could be built of."""
    wanted = PUBLISHED["vae"] if "ch_mult" in params else PUBLISHED["unet"]
    for key, example in wanted.items():
        value = params.get(key)
        numbers = value if isinstance(value, list) else [value]
        sound = all(isinstance(number, int) and 0 < number <= _MOST.get(key, _LARGEST) for number in numbers)
        if not sound or isinstance(value, list) != isinstance(example, list) or not 0 < len(numbers) <= _MOST["num_res_blocks"]:
            raise BadInput(f"{source}: {where} has {key} {value!r:.60}; expected such as {example}, as MVDream is published")
    if params.get("camera_dim", CAMERA_DIM) != CAMERA_DIM:
        raise BadInput(f"{source}: {where} has camera_dim {params['camera_dim']}; only {CAMERA_DIM}, a camera's matrix, is read")
    if params.get("ip_dim"):
        raise BadInput(f"{source}: {where} has ip_dim {params['ip_dim']!r:.60}: it needs a picture (ImageDream); not supported")
    return params


def _entries(folder: Path) -> list[str]:
    """Names of what a folder holds; none where it is none, or cannot be listed, which `open_folder` says."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _names_cameras(source: Source, folder: Path) -> bool:
    """Whether unet/ is the port's; False where its config cannot be read, which `open_folder` says."""
    try:
        return "camera_dim" in read_json(source, folder, "unet/config.json")
    except BadInput:
        return False


def _has_cameras(file: Path) -> bool:
    """Whether a checkpoint is MVDream's; False for one that cannot be read."""
    try:
        with safe_open(str(file), framework="pt") as opened:
            return keys.CAMERA in opened.keys()  # noqa: SIM118  no mapping
    except Exception:  # safetensors has errors of several kinds
        return False


def _conversion(name: str) -> str:
    """The command that makes safetensors of a checkpoint of plain tensors, without running what a pickle may hold."""
    code = (
        f"import torch; from safetensors.torch import save_file; found = torch.load('{name}', weights_only=True, map_location='cpu'); "
        f"save_file({{key: value.clone().contiguous() for key, value in found.items()}}, '{Path(name).stem}.safetensors')"
    )
    return f'python -c "{code}"'
