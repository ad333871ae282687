"""A training run in a folder, whatever is trained: exact resumption, averaged weights, a table and a curve of the loss.

RUN/checkpoint.safetensors is written every two minutes and at the end. A step's draws are made from its number, so a run that was stopped
comes to the same weights as one that was not (the same shards, device and versions granted).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tools.prior import checkpoint, tokens
from tools.prior.data import Pictures
from tools.prior.files import draw_curve, read_rows, write_rows
from tools.prior.optimiser import Optimiser

N = TypeVar("N", bound=nn.Module)

_SAVE_SECONDS, _LOOK_SECONDS, _LOG_STEPS, _PRINT_STEPS = 120.0, 30.0, 20, 200


@dataclass(frozen=True, eq=False)
class Batch:
    """images [B, 64, 64, 3] uint8; ids [B, L] of their captions' tokens; angles [B, 2] of their cameras, in radians."""

    images: Tensor
    ids: Tensor
    angles: Tensor


Loss = Callable[[Batch, torch.Generator], Tensor]


@dataclass(frozen=True)
class Pace:
    """How a network is trained, whatever it is.

    rate      the highest learning rate; it rises over `warm` steps, falls to nothing over the last share `cool` of `steps`
    keep      share of the average kept at a step
    together  pictures in a row that a batch takes at a time

    Raises ValueError unless `batch` is a multiple of `together`.
    """

    batch: int
    rate: float
    steps: int
    warm: int = 500
    cool: float = 0.25
    keep: float = 0.9995
    together: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch % self.together:
            raise ValueError(f"batch {self.batch}: expected a multiple of the {self.together} pictures that are taken together")


class Run(Generic[N]):
    """`loss` takes a batch and the step's draws to a scalar. dtype is that of matrix products; None takes the device's fastest."""

    def __init__(self, folder: Path, network: N, loss: Loss, pace: Pace, device: torch.device, dtype: torch.dtype | None = None) -> None:
        self.folder, self.loss, self.pace, self.device = folder, loss, pace, device
        self.dtype = fastest_dtype(device) if dtype is None else dtype
        self.network = network.to(device)
        self.average = checkpoint.Average(self.network, pace.keep)
        self.optimiser = Optimiser(self.network, fused=device.type == "cuda")
        self.step, self.losses = 0, torch.full((_LOG_STEPS,), torch.nan, device=device)  # nan: of steps before this process
        if self.file.exists():
            self.step = checkpoint.load(self.file, self.network, self.average, self.optimiser)
        self.rows = [row for row in read_rows(folder / "loss.csv") if row["step"] <= self.step]

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.folder / "checkpoint.safetensors"

    def rate(self) -> float:
        """Learning rate of the step to come."""
        pace, left = self.pace, self.pace.steps - self.step
        return pace.rate * min(1.0, (self.step + 1) / pace.warm, max(0.0, left / (pace.cool * pace.steps)))

    def advance(self, pictures: Pictures, ids: Tensor) -> None:
        """One step; `ids` [len(pictures), L] are the tokens of the pictures' captions."""
        loss = self.gradients(pictures, ids)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step(self.rate())
        self.losses[self.step % _LOG_STEPS] = loss
        self.step += 1
        self.average.update(self.network, self.step)

    def gradients(self, pictures: Pictures, ids: Tensor) -> Tensor:
        """Add the gradients of the step to come to the network's parameters; its loss, detached. Takes what `advance` takes."""
        draws = torch.Generator(self.device).manual_seed(7919 * self.step + 1)
        group = self.pace.together
        firsts = torch.randint(len(pictures) // group, (self.pace.batch // group,), generator=draws, device=self.device)
        rows = (group * firsts[:, None] + torch.arange(group, device=self.device)).flatten()
        with mixed_precision(self.device, self.dtype), _attention(self.device):
            loss = self.loss(Batch(pictures.images[rows], ids[rows], pictures.angles[rows]), draws)
            loss.backward()
        return loss.detach()

    def log(self, seconds: float, images: int) -> None:
        """A row of the table every few steps."""
        if self.step % _LOG_STEPS == 0:
            loss = float(self.losses.nanmean())
            row = {"step": self.step, "loss": loss, "rate": self.rate(), "seconds": round(seconds, 2), "images": images}
            self.rows.append(row)

    def save(self) -> None:
        """Checkpoint, table, curve."""
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(self.file, self.network, self.average, self.optimiser, self.step)
        if self.rows:
            write_rows(self.rows, self.folder / "loss.csv")
            draw_curve(self.rows, "loss", self.folder / "loss.png")

    def averaged(self) -> N:
        """The network with averaged weights."""
        made = copy.deepcopy(self.network)
        self.average.put_into(made)
        return made.eval()


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where its products are faster, on every GPU and on a CPU with instructions for them; float32 elsewhere."""
    native = device.type == "cuda" or any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if native else torch.float32


def mixed_precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Matrix products in `dtype`, float32 or bfloat16, of weights that stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """The CPU's fused attention is several times slower backward than plain products, on as few places as ours."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def train(run: Run[N], pictures: Pictures, minutes: float, least: int = 1) -> None:
    """Advance until the pace's steps or the minutes are over; waits for the first `least` images. Prints the table as it grows."""
    started = saved = looked = time.monotonic()
    pictures.refresh()
    while len(pictures) < least:
        time.sleep(1.0)
        pictures.refresh()
    ids = tokens.encode(pictures.captions).to(run.device)
    while run.step < run.pace.steps and time.monotonic() - started < 60 * minutes:
        run.advance(pictures, ids)
        now = time.monotonic()
        run.log(now - started, len(pictures))
        if run.step % _PRINT_STEPS == 0:
            print("  ".join(f"{name} {value:.6g}" for name, value in run.rows[-1].items()), flush=True)
        if now - looked > _LOOK_SECONDS:
            looked, known = now, len(pictures)
            if pictures.refresh():
                ids = torch.cat((ids, tokens.encode(pictures.captions[known:]).to(run.device)))
        if now - saved > _SAVE_SECONDS:
            saved = now
            run.save()
    run.save()
