"""The parts of a U-Net model, built from a folder that `folder.open_folder` has checked. Every failure is BadInput in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import safe_open

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.guidance.models.multiview import CAMERA_NUMBERS
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, parts_of, read_json, weight_files
from dreamfusion_mesh.records.diffusion import Prediction, Schedule

LAYOUT = Layout(
    required=("unet", "text_encoder", "tokenizer", "scheduler"),
    optional=("vae",),  # of a model that works on latents
    weights={"unet": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"},
)
_KINDS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_CONDITIONS = {  # inputs that a U-Net may need beside noise, time and text
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None, "text_proj"),
    "class_embed_type": (None, "projection"),  # the latter of a multi-view model's cameras, and of nothing else
    "num_class_embeds": (None,),
}
_LARGEST_SIDE = 4096  # of the pictures or latents that a model sees
_MOST_TIMES = 100_000  # of a noise schedule
_DEPTHS = ("layers_per_block", "num_hidden_layers", "transformer_layers_per_block")  # of config.json: how many modules are made
_WIDTHS = (  # of config.json: how large their tensors are
    *("in_channels", "out_channels", "latent_channels", "block_out_channels", "cross_attention_dim", "encoder_hid_dim"),
    *("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"),
)


def load_networks(model: str, folder: Path, dtype: torch.dtype) -> tuple[Any, Any, Any | None]:
    """U-Net, text encoder and VAE (None for a pixel-space model), frozen, on the CPU; the U-Net in `dtype`. Raises BadInput.

    The text encoder runs once a prompt and some known VAEs overflow in half precision: both are float32.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    configs = {part: read_json(model, folder, f"{part}/config.json") for part in parts_of(folder, LAYOUT) if part in LAYOUT.weights}
    _check_kinds(model, configs)
    _check_extent(model, folder, configs)
    with _no_library_output():
        text_encoder = _load(model, folder, "text_encoder", CLIPTextModel, torch.float32)
        unet = _load(model, folder, "unet", UNet2DConditionModel, dtype, low_cpu_mem_usage=False)
        vae = _load(model, folder, "vae", AutoencoderKL, torch.float32, low_cpu_mem_usage=False) if "vae" in configs else None
    return unet, text_encoder, vae


def load_schedule(model: str, folder: Path) -> tuple[Schedule, Prediction]:
    """The noise schedule and the kind of prediction, whatever sampler the folder names. Raises BadInput."""
    from diffusers import DDPMScheduler

    name = "scheduler/scheduler_config.json"
    config = read_json(model, folder, name)
    kinds = get_args(Prediction)
    kind = config.get("prediction_type", "epsilon")  # what the first models, written before the key was, predict
    if kind not in kinds:
        raise BadInput(f"guidance {model!r}: {name} has prediction_type {kind!r}; {', '.join(kinds)} are read")
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise BadInput(f"guidance {model!r}: {name} has no beta_schedule; only models of the DDPM family are read, not flow matching")
    wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    try:
        if config.get("num_train_timesteps", 0) > _MOST_TIMES:
            raise ValueError(f"num_train_timesteps is over {_MOST_TIMES}")
        scheduler: Any = DDPMScheduler(**{key: config[key] for key in wanted if key in config})
        alpha_bar = scheduler.alphas_cumprod
    except Exception as error:
        raise _load_error(model, name, error) from error
    if alpha_bar.dim() != 1 or not len(alpha_bar) or not ((alpha_bar >= 0) & (alpha_bar <= 1)).all():  # not so of a NaN either
        raise BadInput(f"guidance {model!r}: {name} gives shares of signal outside [0, 1]; download the model again")
    return variance_preserving(alpha_bar.float()), cast(Prediction, kind)


def load_tokenizer(model: str, folder: Path) -> Any:
    """A fast tokenizer from tokenizer.json, or from CLIP's vocab.json and merges.txt. Raises BadInput."""
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    config = read_json(model, folder, "tokenizer/tokenizer_config.json")
    whole = folder / "tokenizer" / "tokenizer.json"
    if not whole.is_file() and not all((whole.parent / name).is_file() for name in ("vocab.json", "merges.txt")):
        raise BadInput(f"guidance {model!r}: tokenizer/ has neither tokenizer.json nor vocab.json and merges.txt; download the model again")
    try:
        with _no_library_output():
            if whole.is_file():
                marks = {key: config.get(key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
                given = {key: mark for key, mark in marks.items() if mark is not None}
                marks = {key: mark["content"] if isinstance(mark, dict) else mark for key, mark in given.items()}
                longest = config.get("model_max_length", math.inf)
                tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(whole), model_max_length=longest, **marks)
            else:
                tokenizer = CLIPTokenizer.from_pretrained(str(whole.parent), local_files_only=True)
    except Exception as error:
        raise _load_error(model, "tokenizer/", error) from error
    if tokenizer.pad_token_id is None:
        raise BadInput(f"guidance {model!r}: tokenizer/tokenizer_config.json names no pad_token that the tokenizer has; add it")
    longest = tokenizer.model_max_length
    if not isinstance(longest, (int, float)) or not longest >= 1:
        raise BadInput(f"guidance {model!r}: tokenizer/tokenizer_config.json has model_max_length {longest!r:.60}; expected a number")
    return tokenizer


def check_sizes(model: str, unet: Any, text: Any, tokenizer: Any, vae: Any | None) -> tuple[int, int]:
    """Whether the parts fit together, from their configs. Returns (patch, size) as documented at UNetModel. Raises BadInput."""
    channels, made, who = unet.in_channels, unet.out_channels, f"guidance {model!r}: "
    if made not in (channels, 2 * channels):
        raise BadInput(f"{who}unet/ makes {made} channels of {channels}; expected as many, or twice with a learned variance")
    if vae is None:
        patch = scale = math.isqrt(max(channels, 0) // 3)
        if patch < 1 or channels != 3 * patch * patch:
            raise BadInput(f"{who}unet/ takes {channels} channels; without vae/ expected 3 p^2 (3, 12, 27, 48, ...); add vae/")
    else:
        patch, scale = 0, 2 ** (len(vae.block_out_channels) - 1)
        if channels != vae.latent_channels:
            raise BadInput(f"{who}unet/ takes {channels} channels, vae/ makes {vae.latent_channels}; they belong to different models")
    width = unet.encoder_hid_dim or unet.cross_attention_dim
    if width != text.hidden_size:
        raise BadInput(f"{who}unet/ reads words {width} wide, text_encoder/ makes {text.hidden_size}; they belong to different models")
    if len(tokenizer) > text.vocab_size:
        raise BadInput(f"{who}tokenizer/ has {len(tokenizer)} words, text_encoder/ {text.vocab_size}; they belong to different models")
    side = unet.sample_size
    side = side[0] if isinstance(side, (list, tuple)) and len(set(side)) == 1 else side
    if not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
        allowed = f"expected one whole number up to {_LARGEST_SIDE}, the side of a square"
        raise BadInput(f"{who}unet/config.json has sample_size {side!r:.60}; {allowed}")
    return patch, side * scale


def is_multiview(model: str, folder: Path, unet: Any) -> bool:
    """Whether this is a multi-view model (see multiview.py): its U-Net takes cameras and model_index.json says so. Raises BadInput."""
    if unet.class_embed_type is None:
        return False
    views = read_json(model, folder, INDEX).get("multiview")
    numbers = unet.projection_class_embeddings_input_dim
    if (views, numbers) != (MULTIVIEW, CAMERA_NUMBERS):
        raise BadInput(
            f"guidance {model!r}: unet/config.json has class_embed_type 'projection' of {numbers!r} numbers and {INDEX} multiview "
            f"{views!r}: it needs more than the prompt, and cameras only where these are {CAMERA_NUMBERS} and {MULTIVIEW}; not supported"
        )
    return True


def _check_kinds(model: str, configs: dict[str, dict[str, Any]]) -> None:
    for part, wanted in _KINDS.items():
        found = configs[part].get("_class_name") if part in configs else wanted
        if found != wanted:
            raise BadInput(f"guidance {model!r}: {part}/ is a {found}; only {wanted} is read")
    found = configs["text_encoder"].get("model_type")
    if found != "clip_text_model":
        raise BadInput(f"guidance {model!r}: text_encoder/ is a {found}; only CLIP text encoders (clip_text_model) are read")
    for key, readable in _CONDITIONS.items():
        value = configs["unet"].get(key)
        if value not in readable:
            raise BadInput(f"guidance {model!r}: unet/config.json has {key} {value!r}: it needs more than the prompt; not supported")


def _check_extent(model: str, folder: Path, configs: dict[str, dict[str, Any]]) -> None:
    """Whether the weights can hold what the configs ask for: the libraries would build the rest for hours, or until the memory is full."""
    for part, config in configs.items():
        tensors, widest = _extent(weight_files(model, folder, Layout((part,), (), {part: LAYOUT.weights[part]})))
        for keys, most in ((_DEPTHS, tensors), (_WIDTHS, widest)):
            for key in keys:
                value = config.get(key)
                numbers = value if isinstance(value, list) else [value]
                if any(isinstance(number, (int, float)) and number > most for number in numbers):
                    holds = f"its weights are {tensors} tensors, at most {widest} wide"
                    raise BadInput(f"guidance {model!r}: {part}/config.json has {key} {value!r:.60}, but {holds}; download the model again")


def _extent(files: list[Path]) -> tuple[int, int]:
    """How many tensors there are, and the longest side of any."""
    tensors, widest = 0, 0
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            sides = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118  no mapping
        tensors, widest = tensors + len(sides), max([widest, *(side for shape in sides for side in shape)])
    return tensors, widest


def _load(model: str, folder: Path, part: str, kind: Any, dtype: torch.dtype, **more: Any) -> Any:
    if (folder / part / "adapter_config.json").exists():
        raise BadInput(f"guidance {model!r}: {part}/adapter_config.json: adapters are not read; merge it into the model and take it away")
    try:
        network, report = kind.from_pretrained(
            str(folder / part), use_safetensors=True, local_files_only=True, torch_dtype=dtype, output_loading_info=True, **more
        )
    except Exception as error:
        raise _load_error(model, f"{part}/", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInput(f"guidance {model!r}: {part}/ lacks {len(missing)} tensors that its config.json asks for, such as {missing[0]}")
    return network.eval().requires_grad_(False)


def _load_error(model: str, what: str, error: Exception) -> Exception:
    if isinstance(error, (MemoryError, BadInput)):
        return error
    return BadInput(f"guidance {model!r}: {what} cannot be loaded ({type(error).__name__}: {reason(error)}); download the model again")


@contextmanager
def _no_library_output() -> Iterator[None]:
    """Both libraries write bars and warnings to the terminal while they load; only errors matter, and they are raised."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    kept = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in (diffusers_log, transformers_log)]
    for log, _, _ in kept:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, verbosity, bars in kept:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
