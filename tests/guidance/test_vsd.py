"""Variational score distillation: its gradient in closed form, which mode it seeks, and a LoRA that learns beside a U-Net that stays."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian, Mixture
from guided import bind, column, normal, views_around
from loss_steps import step_of
from tiny_folders import edit_json, write_folder
from torch import Tensor, nn

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.config.distillation import VsdSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.losses.vsd import VariationalScore, denoising_target
from dreamfusion_mesh.guidance.models import low_rank
from dreamfusion_mesh.guidance.models.load import check_served
from dreamfusion_mesh.records.diffusion import Answers

SPANS = (0.1, 0.1), (0.9, 0.5)
SETTINGS = GuidanceSettings(loss="vsd", weighting="one_minus_alpha_bar")


class Learned(nn.Module):
    """An adapter that knows Gaussian data, and learns their mean."""

    def __init__(self, mean: float, spread: float, spoil: float = 0.0) -> None:
        super().__init__()
        self.mean, self.spread, self.spoil = nn.Parameter(torch.tensor(mean, dtype=torch.float64)), spread, spoil

    def forward(self, noisy: Tensor, t: Tensor, views: object) -> Answers:
        return Answers("epsilon", Gaussian(self.mean, self.spread).eps(noisy, t) + self.spoil)


class Model:
    """A ScoreModel in closed form whose latents are the images."""

    schedule, together, patch, warnings = SCHEDULE, 1, 1, ()

    def __init__(self, data: Any, learned: Learned) -> None:
        self.data, self.learned = data, learned

    def adapter(self, rank: int, draws: torch.Generator) -> Learned:
        return self.learned

    def encode(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2)

    def answer(self, noisy: Tensor, t: Tensor, views: object) -> Answers:
        return Answers("epsilon", self.data.eps(noisy, t))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_gradient_is_the_difference_of_two_scores_and_has_no_noise_in_it() -> None:
    model = Model(Gaussian(0.5, 0.4), Learned(-0.2, 0.4))
    images = normal(2, 4, 4, 3, dtype=torch.float64).requires_grad_()
    found = VariationalScore(model, SETTINGS, draws())(step_of(images, views_around(2), *SPANS, 0.25, draws()))
    found.loss.backward()
    signal, sigma = (column(values[found.t]) for values in (SCHEDULE.signal, SCHEDULE.noise))
    both = sigma * signal * (-0.2 - 0.5) / (signal**2 * 0.16 + sigma**2)  # the scores of two means differ by this at each x_t
    expected = (sigma**2 * both).expand(2, 3, 4, 4).permute(0, 2, 3, 1) / images.numel()
    torch.testing.assert_close(images.grad, expected, rtol=1e-9, atol=1e-12)
    assert found.residual == pytest.approx(float(both.expand(2, 3, 4, 4).square().mean().sqrt()), rel=1e-9)


def test_renders_that_the_lora_knows_rest_where_the_model_agrees() -> None:
    found = VariationalScore(Model(Gaussian(0.5, 0.4), Learned(0.5, 0.4)), SETTINGS, draws())(
        step_of(normal(2, 4, 4, 3, dtype=torch.float64).requires_grad_(), views_around(2), *SPANS, 0.25, draws())
    )
    assert found.residual < 1e-12


def test_the_lora_learns_from_the_step_and_the_step_not_from_the_lora() -> None:
    images = torch.full((8, 4, 4, 3), 0.7, dtype=torch.float64, requires_grad=True)
    adapter = Learned(0.0, 0.1)
    loss = VariationalScore(
        Model(Gaussian(0.5, 0.4), adapter), SETTINGS.model_copy(update={"vsd": VsdSettings(learning_rate=0.02)}), draws()
    )
    (optimizer,) = loss.optimizers().values()
    for step in range(120):
        found = loss(step_of(images, views_around(8), *SPANS, 0.25, draws(step)))
        (by_images,) = torch.autograd.grad(found.training["lora"], images, allow_unused=True, retain_graph=True)
        assert by_images is None
        optimizer.zero_grad()
        found.training["lora"].backward()
        optimizer.step()
    assert float(adapter.mean.detach()) == pytest.approx(0.7, abs=0.03)


def test_of_two_modes_it_seeks_the_nearer_one() -> None:
    """Renders and their LoRA go there together, and stay: at the mode both scores agree."""
    model = Model(Mixture(Gaussian(-1.0, 0.2), Gaussian(1.0, 0.2)), Learned(0.5, 0.2))
    settings = SETTINGS.model_copy(update={"vsd": VsdSettings(learning_rate=0.05)})
    loss = VariationalScore(model, settings, draws())
    (optimizer,) = loss.optimizers().values()
    images = torch.full((2, 4, 4, 3), 0.5, dtype=torch.float64)
    for step in range(200):
        images.requires_grad_()
        found = loss(step_of(images, views_around(2), (0.1, 0.1), (0.3, 0.2), step / 199, draws(step)))
        (gradient,) = torch.autograd.grad(found.loss, images)
        images = images.detach() - 0.1 * gradient * images.numel()
        optimizer.zero_grad()
        found.training["lora"].backward()
        optimizer.step()
    assert float((images - 1).abs().median()) < 0.1
    assert float(model.learned.mean.detach()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_a_lora_that_answers_nonsense_is_told_and_harmless(spoil: float) -> None:
    images = normal(2, 4, 4, 3, dtype=torch.float64).requires_grad_()
    loss = VariationalScore(Model(Gaussian(0.5, 0.4), Learned(0.0, 0.4, spoil)), SETTINGS, draws())
    found = loss(step_of(images, views_around(2), *SPANS, 0.25, draws()))
    found.loss.backward()
    assert not found.finite
    assert found.training == {}
    assert torch.equal(images.grad, torch.zeros_like(images))


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_target_is_what_the_model_predicts(kind: Any) -> None:
    latents, noise, t = normal(2, 3, 4, 4, dtype=torch.float64), normal(2, 3, 4, 4, seed=1, dtype=torch.float64), torch.tensor([300, 700])
    signal, sigma = SCHEDULE.at(t, latents)
    expected = {"epsilon": noise, "sample": latents, "v_prediction": signal * noise - sigma * latents}[kind]
    assert torch.equal(denoising_target(kind, latents, noise, SCHEDULE, t), expected)


@pytest.mark.parametrize(("folder", "settings"), [("epsilon", {}), ("latent", {}), ("multiview", {"multiview": True})])
def test_a_lora_is_at_first_the_model_and_leaves_it_alone(folders: dict[str, Path], folder: str, settings: dict[str, Any]) -> None:
    model = bind(folders[folder], loss="vsd", **settings)
    kept = {name: value.clone() for name, value in model.model.denoiser.network.state_dict().items()}
    adapter = model.adapter(2, draws())
    images = torch.rand(4, 16, 16, 3, generator=draws(1))
    noisy, t, views = model.encode(images), torch.full((4,), 300), views_around(4)
    text = model.answer(noisy, t, views).text
    found = adapter(noisy, t, views)
    torch.testing.assert_close(found.text, text, rtol=1e-4, atol=1e-5)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=0.1)
    for _ in range(2):  # in the first step A has no gradient, since B is zero
        optimizer.zero_grad()
        adapter(noisy, t, views).text.square().mean().backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    assert not torch.allclose(adapter(noisy, t, views).text, text, atol=1e-3)
    assert torch.equal(model.answer(noisy, t, views).text, text)
    still = model.model.denoiser.network.state_dict()
    assert {name: torch.equal(value, kept[name]) for name, value in still.items()} == dict.fromkeys(kept, True)


def test_a_loras_gradients_do_not_vanish_in_a_float16_network(folders: dict[str, Path]) -> None:
    """The mean over the values of a large picture, here of a small one, has gradients below float16's least number."""
    noisy, t, views = normal(2, 3, 8, 8), torch.full((2,), 300), views_around(2)
    found = []
    for kind in (torch.float32, torch.float16):
        model = bind(folders["epsilon"], loss="vsd")
        model.model.denoiser.network.to(kind)
        adapter = model.adapter(2, draws())
        (1e-5 * adapter(noisy, t, views).text.square().mean()).backward()
        found.append(torch.cat([value.grad.flatten() for name, value in adapter.named_parameters() if "lora_B" in name]))
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 0.02


def test_the_loras_weights_are_drawn_and_are_all_of_its_state(folders: dict[str, Path]) -> None:
    model = bind(folders["epsilon"], loss="vsd")
    first, again, other = (make_loss(model, model.settings, 16, draws(seed)).state_dict() for seed in (1, 1, 2))
    assert first.keys() == again.keys() == other.keys()
    assert all(name.startswith("lora.weights.") for name in first)
    assert len(first) == 2 * 4 * 2 * 4  # A and B of four layers, of self- and cross-attention, of four blocks
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {torch.equal(first[name], other[name]) for name in first if "lora_A" in name} == {False}
    assert all(not value.any() for name, value in first.items() if "lora_B" in name)


def test_a_model_without_room_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    edit_json(
        folder / "unet" / "config.json",
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        mid_block_type="UNetMidBlock2D",
    )
    with pytest.raises(
        BadInput, match=r"^guidance.loss vsd: guidance '.*' has no room for a LoRA: no block of unet/config.json has attention"
    ):
        check_served(GuidanceSettings(loss="vsd", model=str(folder)), "sphere")


def test_without_peft_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, embedded: Any) -> None:
    def missing(find: Callable[[str], Any], name: str) -> Any:
        return None if name == "peft" else find(name)

    find = importlib.util.find_spec
    monkeypatch.setattr(low_rank.importlib.util, "find_spec", lambda name: missing(find, name))
    message = r'^guidance.loss vsd: needs the package peft, .*; install it with pip install "dreamfusion-mesh\[vsd\]", or use another loss$'
    with pytest.raises(BadInput, match=message):
        check_served(GuidanceSettings(loss="vsd"), "sphere")
    with pytest.raises(BadInput, match=message):
        embedded.for_prompt("a red mug", GuidanceSettings(loss="vsd"))
