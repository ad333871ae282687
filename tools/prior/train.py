"""Train the prior: `python -m tools.prior.train RUN --data FOLDER [--config full|small] [--minutes M] [--steps N] [--device auto]`.

Goes on where RUN left off (see runs.py). RUN/model is the folder that guidance reads, from the averaged weights; samples-*.png, loss.csv
and loss.png show how it went.

--steps sets where the rate has fallen to nothing (over the recipe's last share `cool`); it may be raised or lowered until the fall begins.
--batch and --rate (the highest learning rate) stand in for the recipe's.
--start FOLDER begins from the weights of an exported folder where RUN has no checkpoint.
--compile is for CUDA: in bfloat16 on a CPU, torch.compile of torch 2.13 leaves most gradients at nothing, the loss as it was.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.run.device import resolve_device
from tools.prior import held_out, tokens
from tools.prior.captions import caption_of
from tools.prior.data import Pictures
from tools.prior.model import RECIPES, Prior, Recipe, alpha_bar, export, loss_of, number_weights, read_weights, times_of
from tools.prior.runs import Batch, Loss, Run, train
from tools.prior.sampling import sample
from tools.prior.sheet import write_png

_VIEWS = 4


def start_run(
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    compiled: bool = False,
    start: Path | None = None,
    dtype: torch.dtype | None = None,
) -> Run[Prior]:
    """A run of the recipe in `folder`, begun or gone on with; `start` as in the command's help, dtype as in `Run`."""
    torch.manual_seed(0)  # the weights' first values
    prior = Prior(recipe.size)
    if start is not None:
        read_weights(prior, start)
    if device.type == "cuda":
        prior.unet.to(memory_format=torch.channels_last)
    prior.to(device)
    # a graph for each number of views that a step may see, none for any number
    forward: Any = torch.compile(prior, dynamic=False) if compiled else prior
    return Run(folder, prior, denoising_loss(prior, forward, recipe, device), recipe.pace, device, dtype)


def denoising_loss(prior: Prior, forward: Callable[..., Tensor], recipe: Recipe, device: torch.device) -> Loss:
    """The loss of a batch at times spread as `times_of` has them, texts blanked and left out as the recipe says.

    Views that are seen together share their time, and are all with or all without their texts; the network is given their cameras.
    """
    shares, null = alpha_bar().to(device), tokens.encode([""]).to(device)

    def loss(batch: Batch, draws: torch.Generator) -> Tensor:
        views = MULTIVIEW if float(torch.rand(1, generator=draws, device=device)) < recipe.joint else 1
        count, groups = len(batch.ids), len(batch.ids) // views
        spread = (torch.arange(groups, device=device) + torch.rand(groups, generator=draws, device=device)) / groups
        t = times_of(spread).repeat_interleave(views)
        dropped = (torch.rand(groups, generator=draws, device=device) < recipe.drop).repeat_interleave(views)
        blanked = torch.rand(count, generator=draws, device=device) < recipe.blank
        texts = torch.where(dropped[:, None], null, tokens.blank_one(batch.ids, blanked, draws))
        cameras = camera_numbers(*batch.angles.unbind(1)) if views > 1 else None
        clean = prior.fold(batch.images)
        weights = number_weights(batch.images, prior.size.patch)
        noise = torch.randn(clean.shape, generator=draws, device=device)
        return loss_of(lambda noisy, at: forward(noisy, at, texts, cameras, views), clean, weights, t, noise, shares)

    return loss


def show(run: Run[Prior], rows: int = 8) -> Path:
    """Samples of held-out prompts: a prompt a row, coloured from four sides, then as grey clay."""
    prompts = held_out.prompts()[:: len(held_out.prompts()) // rows][:rows]
    texts = [caption_of(prompt, view, clay) for prompt in prompts for clay in (False, True) for view in range(_VIEWS)]
    file = run.folder / f"samples-{run.step:06d}.png"
    write_png(sample(run.averaged(), texts, seed=0), 2 * _VIEWS, file, zoom=2)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", choices=sorted(RECIPES), default="full")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--least", type=int, default=1, help="images to wait for before the first step")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--start", type=Path)
    arguments = parser.parse_args()
    recipe, asked = RECIPES[arguments.config], {name: getattr(arguments, name) for name in ("steps", "batch", "rate")}
    pace = dataclasses.replace(recipe.pace, **{name: value for name, value in asked.items() if value is not None})
    name = str(resolve_device(arguments.device))
    if arguments.compile and torch.device(name).type == "cpu":
        parser.error("--compile: on a CPU most gradients come out as nothing; leave it out, or train on CUDA")
    torch.set_float32_matmul_precision("high")
    run = start_run(arguments.run, dataclasses.replace(recipe, pace=pace), torch.device(name), arguments.compile, arguments.start)
    began = run.step
    train(run, Pictures(arguments.data, name), arguments.minutes, arguments.least)
    export(run.averaged(), arguments.run / "model")
    shown = show(run)
    print(f"steps {began} to {run.step} of {pace.steps} on {name}; the model is in {arguments.run / 'model'}, samples in {shown}")


if __name__ == "__main__":
    main()
