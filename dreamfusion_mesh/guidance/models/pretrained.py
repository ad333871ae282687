"""What transformers and diffusers build from a folder that `folder.open_folder` has checked. Every failure is BadInput in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from dreamfusion_mesh.errors import BadInput, RunFailed, reason
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, variant, weight_files
from dreamfusion_mesh.out_of_memory import describe

# Of config.json: how many modules are made, and how large their tensors are.
_DEPTHS = (
    *("layers_per_block", "num_hidden_layers", "transformer_layers_per_block", "depths"),
    *("num_layers", "num_decoder_layers", "num_single_layers", "depth"),
    *("num_encoder_blocks", "num_decoder_blocks"),
)
_WIDTHS = (
    *("in_channels", "out_channels", "latent_channels", "block_out_channels", "cross_attention_dim", "encoder_hid_dim"),
    *("encoder_block_out_channels", "decoder_block_out_channels"),
    *("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"),
    *("num_channels", "embedding_size", "hidden_sizes", "patch_size"),
    *("d_model", "d_ff", "joint_attention_dim", "pooled_projection_dim", "caption_channels", "context_in_dim"),
)


def load_network(source: Source, folder: Path, part: str, kind: Any, dtype: torch.dtype, **more: Any) -> Any:
    """The part's network, of the library's class `kind`, frozen, on the CPU. Raises BadInput."""
    if (folder / part / "adapter_config.json").exists():
        adapter = Path(part, "adapter_config.json").as_posix()
        raise BadInput(f"{source}: {adapter}: adapters are not read; merge it into the model and take it away")
    try:
        with no_library_output():
            network, report = kind.from_pretrained(
                str(folder / part),
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=dtype,
                output_loading_info=True,
                variant=variant(folder / part),
                **more,
            )
    except Exception as error:
        raise load_error(source, shown_part(part), error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        lacks = f"lacks {len(missing)} tensors that its config.json asks for, such as {missing[0]}"
        raise BadInput(f"{source}: {shown_part(part)} {lacks}")
    if kind.__module__.startswith("diffusers."):
        # A file's own type stays where the first buffer has it, too. The library's own `to` would warn of parts that none of these has.
        torch.nn.Module.to(network, dtype)
    return network.eval().requires_grad_(False)


def check_extent(
    source: Source, folder: Path, layout: Layout, configs: Mapping[str, Mapping[str, Any]], more: tuple[str, ...] = ()
) -> None:
    """Whether the weights can hold what the parts' configs ask for; `more` names further widths. Raises BadInput.

    The libraries would build the rest for hours, or until the memory is full.
    """
    for part, config in configs.items():
        tensors, widest = _extent(weight_files(source, folder, Layout("", (part,), (), {part: layout.weights[part]})))
        for key in (*_DEPTHS, *_WIDTHS, *more):
            if (value := config.get(key)) is not None:
                numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, (int, float))]
                modules = max(len(numbers), sum(numbers) if key in _DEPTHS else 0)
                if modules > tensors or max(numbers, default=0) > widest:
                    holds = f"its weights are {tensors} tensors, at most {widest} wide"
                    named = Path(part, "config.json").as_posix()
                    raise BadInput(f"{source}: {named} has {key} {value!r:.60}, but {holds}; download the model again")


def word_count(tokenizer: Any) -> int:
    """Rows that a text encoder needs for the tokenizer's ids: one more than the highest, be it a word's or a mark's."""
    return 1 + max([len(tokenizer) - 1, *tokenizer.get_vocab().values(), *tokenizer("").input_ids])


def load_error(source: Source, what: str, error: Exception) -> Exception:
    """What to raise for a library's error about the file or part `what`."""
    if isinstance(error, (MemoryError, BadInput)):
        return error
    return BadInput(f"{source}: {what} cannot be loaded ({type(error).__name__}: {reason(error)}); download the model again")


@contextmanager
def called(source: Source, what: str) -> Iterator[None]:
    """Raises RunFailed in one line where a network that could be loaded fails in its call, but for want of memory.

    The libraries take settings of a config.json as they are, and many show only then that they are none.
    """
    try:
        yield
    except Exception as error:
        if describe(error) is not None:
            raise
        found = f"{type(error).__name__}: {reason(error)}"
        raise RunFailed(f"{source}: {what} was loaded but fails in its call ({found}); its config.json does not fit it") from error


def shown_part(part: str) -> str:
    """A part as messages name it."""
    return f"{part}/" if part else "the folder"


@contextmanager
def no_library_output() -> Iterator[None]:
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


def _extent(files: list[Path]) -> tuple[int, int]:
    """How many tensors there are, and the longest side of any."""
    tensors, widest = 0, 0
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            sides = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118  no mapping
        tensors, widest = tensors + len(sides), max([widest, *(side for shape in sides for side in shape)])
    return tensors, widest
