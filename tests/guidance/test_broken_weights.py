"""Networks that load and give no finite answer: the run ends with one line that says so, by the real command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import caller
from safetensors.torch import load_file, save_file

UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"
ANSWER = "coarse: the model that guides gave no finite answer in any of the first 10 steps: its weights are broken, or half"


@pytest.mark.parametrize(
    ("part", "message"), [(UNET, ANSWER), (VAE, ANSWER), (TEXT, "text_encoder/ reads the prompt as numbers that are not finite; download")]
)
def test_weights_that_are_no_numbers_end_a_run_with_one_line(
    part: str,
    message: str,
    copied: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = copied("stable diffusion")
    file = folder / f"{part}.safetensors"
    save_file({name: torch.full_like(value, torch.nan) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    options = [each for change in ("device=cpu", "guidance.image_size=16") for each in ("--set", change)]
    ended = caller(monkeypatch, capfd, tmp_path)("generate", "a red mug", "--preset", "smoke", "--model", str(folder), *options)
    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in ended.stderr
