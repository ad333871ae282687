"""A step of guidance measured: the published sizes, the FLOPs that are counted, and what is shown of both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_mvdream import write_port
from torch.utils.flop_counter import FlopCounterMode

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from tools.bench import guidance
from tools.bench.random_models import SIZES, random_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "millions"), [("sd15", 859.5), ("sd21", 865.9), ("sdxl", 2567.5), ("if", 4304.7), ("mvdream", 867.6)])
def test_random_weights_are_as_many_as_are_published(name: str, millions: float) -> None:
    """860 M, 866 M and 2.6 G in the cards of these models; at 2 bytes each 8.61 GB, the file of IF-I-XL, and 1.74 GB, that of MVDream."""
    with torch.device("meta"):
        network = SIZES[name]().denoiser.network
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_a_step_counts_two_answers_of_each_view_and_the_encoding_forward_and_back() -> None:
    prompted = random_model("tiny", CPU, torch.float32, GuidanceSettings())
    with torch.device("meta"):
        built = SIZES["tiny"]()
        built.latents.vae.requires_grad_(False)
        given = [torch.empty(8, 4, 8, 8), torch.full((8,), 3), torch.empty(8, 16, 32)]
        pixels = torch.empty(4, 3, 16, 16, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            with torch.no_grad():
                built.denoiser.call(built.denoiser.network, *given)
            built.latents.encode(pixels).sum().backward()
    again = 2 * 4 * 64 * 64 * 32  # the autoencoder's attention, 64 places of 32 numbers, makes its scores once more on the way back
    assert guidance._Step(prompted, 4, 16, CPU).flops() == counter.get_total_flops() + again


def test_what_is_reached_is_shown_beside_what_the_device_can_do() -> None:
    found = {figure.name: figure for figure in guidance.measure("random-tiny", CPU, 2, 0, 1)}
    step, counted, share = (found[f"random-tiny: {name}"] for name in ("a step", "counted", "of the large product's rate"))
    assert step.note == "2 views at 16 pixels, float32"
    reached = counted.median / (step.median / 1e3)
    assert found["random-tiny: reached"].median == pytest.approx(reached)
    assert share.median == pytest.approx(100 * reached / found["one large product"].median)
    assert step.target is None, "the goal is one of a card"


def test_a_folder_is_measured_with_its_views_together(tmp_path: Path) -> None:
    folder = str(write_port(tmp_path / "mvdream"))
    found = {figure.name: figure for figure in guidance.measure(folder, CPU, 4, 0, 1)}
    assert found[f"{folder}: a step"].note == "4 views at 8 pixels, float32"


def test_other_names_are_refused() -> None:
    with pytest.raises(BadInput, match="--model 'random-sd12': no size has that name; did you mean 'sd21'"):
        next(guidance.measure("random-sd12", CPU, 4, 0, 1))
