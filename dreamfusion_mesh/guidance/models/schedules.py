"""The noise schedule of a folder, whatever sampler it names. Every failure is BadInput in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.pretrained import load_error
from dreamfusion_mesh.guidance.schedule import flow_matching, variance_preserving
from dreamfusion_mesh.guidance.weights.folder import Source, read_json
from dreamfusion_mesh.records.diffusion import Prediction, Schedule

_NAME = "scheduler/scheduler_config.json"
_MOST_TIMES = 100_000


def load_schedule(source: Source, folder: Path) -> tuple[Schedule, Prediction]:
    """The noise schedule and the kind of prediction, whatever sampler the folder names. Raises BadInput."""
    config = read_json(source, folder, _NAME)
    kinds = tuple(kind for kind in get_args(Prediction) if kind != "flow")
    kind = config.get("prediction_type", "epsilon")  # what the first models, written before the key was, predict
    if kind not in kinds:
        raise BadInput(f"{source}: {_NAME} has prediction_type {kind!r}; {', '.join(kinds)} are read")
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise BadInput(f"{source}: {_NAME} has no beta_schedule; only models of the DDPM family are read, not flow matching")
    return ddpm_schedule(source, _NAME, config), cast(Prediction, kind)


def ddpm_schedule(source: Source, where: str, config: dict[str, Any]) -> Schedule:
    """The noise schedule that diffusers' DDPM sampler has with these settings, which `where` gives. Raises BadInput."""
    from diffusers import DDPMScheduler

    wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    try:
        _check_times(config)
        scheduler: Any = DDPMScheduler(**{key: config[key] for key in wanted if key in config})
        alpha_bar = scheduler.alphas_cumprod
    except Exception as error:
        raise load_error(source, where, error) from error
    if alpha_bar.dim() != 1 or not len(alpha_bar) or not ((alpha_bar >= 0) & (alpha_bar <= 1)).all():  # not so of a NaN either
        raise BadInput(f"{source}: {where} gives shares of signal outside [0, 1]; download the model again")
    return variance_preserving(alpha_bar.float())


def load_flow(source: Source, folder: Path) -> tuple[Schedule, Prediction]:
    """The times of a flow, shifted as the folder says: that of its t-th training time is the share of noise. Raises BadInput.

    Where the shift depends on the image, as that of FLUX.2, the times are not shifted.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = read_json(source, folder, _NAME)
    if "beta_schedule" in config or "FlowMatch" not in str(config.get("_class_name")):
        found = f"{_NAME} is a {config.get('_class_name')!s:.60}"
        raise BadInput(f"{source}: {found}; this network predicts a flow, which only a FlowMatch scheduler has; download the model again")
    try:
        _check_times(config)
        wanted = ("num_train_timesteps", "shift", "use_dynamic_shifting")
        scheduler: Any = FlowMatchEulerDiscreteScheduler(**{key: config[key] for key in wanted if key in config})
        times = scheduler.sigmas.float().flip(0)
    except Exception as error:
        raise load_error(source, _NAME, error) from error
    if times.dim() != 1 or not len(times) or not ((times > 0) & (times <= 1)).all():
        raise BadInput(f"{source}: {_NAME} gives shares of noise outside (0, 1]; download the model again")
    return flow_matching(times), "flow"


def _check_times(config: dict[str, Any]) -> None:
    if config.get("num_train_timesteps", 0) > _MOST_TIMES:
        raise ValueError(f"num_train_timesteps is over {_MOST_TIMES}")
