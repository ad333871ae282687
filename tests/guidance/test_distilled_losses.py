"""Each loss as a run calls it: what it asks of a model, its gradient, which mode of two it seeks, and what it does with nonsense."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian, Mixture
from guided import asked, bind, column, views_around
from guided import normal as normal_of
from loss_steps import step_of
from setting_ranges import all_numbers
from tiny_folders import edit_json, write_folder
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses import csd, ism, sdi, sds
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.models.load import check_served, load_guidance
from dreamfusion_mesh.guidance.schedule import flow_matching
from dreamfusion_mesh.records.diffusion import Answers, Schedule

LOSSES = {"sds": sds.distill, "csd": csd.distill, "sdi": sdi.distill, "ism": ism.distill}
SPANS = (0.1, 0.1), (0.9, 0.5)
WORDS, ALL, NEGATIVE = Gaussian(0.5, 0.4), Gaussian(0.0, 0.9), Gaussian(-0.8, 0.6)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return normal_of(*shape, seed=seed, dtype=torch.float64)


@dataclasses.dataclass
class Model:
    """A ScoreModel in closed form whose latents are the images; `spoil` is added to the answers of that name."""

    text: Any = WORDS
    uncond: Any = ALL
    negative: Any = None
    spoil: dict[str, float] = dataclasses.field(default_factory=dict)
    schedule, together, warnings = SCHEDULE, 1, ()

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, Tensor, Tensor]] = []

    def encode(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2)

    def _eps(self, name: str, noisy: Tensor, t: Tensor) -> Tensor | None:
        data = getattr(self, name)
        return None if data is None else data.eps(noisy, t) + self.spoil.get(name, 0.0)

    def answer(self, noisy: Tensor, t: Tensor, views: object) -> Answers:
        self.seen.append(("answer", noisy, t))
        text = self._eps("text", noisy, t)
        assert text is not None
        return Answers("epsilon", text, self._eps("uncond", noisy, t), negative=self._eps("negative", noisy, t))

    def answer_without_words(self, noisy: Tensor, t: Tensor, views: object) -> Answers:
        self.seen.append(("without", noisy, t))
        if self.uncond is None:
            raise BadInput("no answer without words")
        return Answers("epsilon", self.uncond.eps(noisy, t) + self.spoil.get("without", 0.0))


def step(model: Model, images: Tensor, loss: str, progress: float = 0.25, seed: int = 0, **settings: Any) -> Any:
    draws = torch.Generator().manual_seed(seed)
    chosen = GuidanceSettings(loss=loss, weighting="one_minus_alpha_bar", **settings)
    return LOSSES[loss](model, step_of(images, views_around(len(images)), *SPANS, progress, draws), chosen)


def gradient_of(found: Any, images: Tensor) -> Tensor:
    return torch.autograd.grad(found.loss, images)[0].permute(0, 3, 1, 2)


def test_csd_weighs_the_words_score_at_the_time_and_noise_that_sds_would_draw() -> None:
    images, model, other = normal(2, 4, 4, 3).requires_grad_(), Model(negative=NEGATIVE), Model()
    found = step(model, images, "csd", csd={"negative": [0.9, 0.1]})
    step(other, images, "sds")
    (_, noisy, t), (_, wanted, _) = *model.seen, *other.seen
    assert torch.equal(noisy, wanted)
    share = 0.9 - 0.8 * 0.25
    score = WORDS.eps(noisy, t) - share * NEGATIVE.eps(noisy, t) - (1 - share) * ALL.eps(noisy, t)
    expected = column(SCHEDULE.noise[t] ** 2) * score / (2 * 4 * 4 * 3)
    torch.testing.assert_close(gradient_of(found, images), expected, rtol=1e-9, atol=1e-12)
    assert found.residual == pytest.approx(float(score.square().mean().sqrt()))
    assert torch.equal(found.t, t)


def test_sdi_without_inversions_is_sds_with_the_weight_noise_over_signal() -> None:
    """Its limit: the inverted noise replaced by fresh noise. At the same times and noise both are the same but for the weight."""
    images = normal(3, 4, 4, 3).requires_grad_()
    found = step(Model(), images, "sdi", sdi={"inversions": 0})
    plain = step(Model(), images, "sds", t_schedule="deterministic")
    assert torch.equal(found.t, plain.t)
    signal, noise = column(SCHEDULE.signal[found.t]), column(SCHEDULE.noise[found.t])
    torch.testing.assert_close(gradient_of(found, images), gradient_of(plain, images) / (signal * noise), rtol=1e-12, atol=1e-15)
    assert found.residual == plain.residual


@pytest.mark.parametrize("inversions", [1, 3, 10])
def test_sdi_goes_towards_the_clean_image_that_the_model_sees_after_inversion(inversions: int) -> None:
    images, model = normal(2, 4, 4, 3).requires_grad_(), Model()
    found = step(model, images, "sdi", scale=7.5, sdi={"inversions": inversions})
    _, noisy, t = model.seen[-1]
    assert t.tolist() == [800, 800], "t_max alone: one time for all views, 0.9 - 0.4 progress"
    assert len(model.seen) == 1 + max(1, math.ceil(0.8 * inversions))
    eps = ALL.eps(noisy, t) + 7.5 * (WORDS.eps(noisy, t) - ALL.eps(noisy, t))
    clean = (noisy - column(SCHEDULE.noise[t]) * eps) / column(SCHEDULE.signal[t])
    expected = (images.detach().permute(0, 3, 1, 2) - clean) / images.numel()
    torch.testing.assert_close(gradient_of(found, images), expected, rtol=1e-9, atol=1e-12)


def test_sdi_inverts_with_its_own_scale() -> None:
    """One inversion and no noise: the step by hand."""
    images, model = normal(1, 4, 4, 3), Model()
    step(model, images, "sdi", sdi={"inversions": 1, "inversion_scale": -3.0, "inversion_noise": 0.0})
    (_, start, begin), (_, noisy, t) = model.seen
    eps = ALL.eps(start, begin) - 3 * (WORDS.eps(start, begin) - ALL.eps(start, begin))
    latents = images.permute(0, 3, 1, 2)
    clean = (SCHEDULE.signal[begin] * latents - SCHEDULE.noise[begin] * eps) / SCHEDULE.signal[begin]
    found = (noisy - SCHEDULE.signal[t] * latents) / SCHEDULE.noise[t]  # the noise found at the end, which was put on at t
    ends = [time for time in range(1000) if torch.allclose(found, _noise_at(time, clean, eps, latents), rtol=1e-9, atol=1e-9)]
    assert len(ends) == 1
    assert ends[0] >= 800, "at the time drawn, or a part of a step beyond"


def _noise_at(time: int, clean: Tensor, eps: Tensor, latents: Tensor) -> Tensor:
    signal, noise = SCHEDULE.signal[time], SCHEDULE.noise[time]
    return (signal * clean + noise * eps - signal * latents) / noise


def test_ism_weighs_its_interval_and_draws_no_noise() -> None:
    images, model = normal(2, 4, 4, 3).requires_grad_(), Model()
    found = step(model, images, "ism", scale=3.0, ism={"inversions": 4, "interval": 0.06})
    assert [name for name, *_ in model.seen] == ["without"] * 5 + ["answer"]
    (_, before, s), (_, noisy, t) = model.seen[-2:]
    assert (t - s).tolist() == [60, 60]
    eps = ALL.eps(noisy, t) + 3 * (WORDS.eps(noisy, t) - ALL.eps(noisy, t))
    expected = column(SCHEDULE.noise[t] / SCHEDULE.signal[t]) * (eps - ALL.eps(before, s)) / images.numel()
    torch.testing.assert_close(gradient_of(found, images), expected, rtol=1e-9, atol=1e-12)


ENDS = [
    pytest.param(number.name, number.low if end == "low" else number.high, number.spot, id=f"{number.name}-{number.spot}-{end}")
    for number in all_numbers()
    for end in ("low", "high")
    if number.name.rpartition(".")[0] in ("guidance.csd", "guidance.sdi", "guidance.ism")
]


@pytest.mark.parametrize(("name", "value", "spot"), ENDS)
def test_the_ends_of_the_ranges_give_finite_gradients(name: str, value: float, spot: int | None) -> None:
    _, loss, setting = name.split(".")
    images = normal(2, 4, 4, 3).requires_grad_()
    found = step(Model(negative=NEGATIVE), images, loss, **{loss: {setting: value if spot is None else [value, value]}})
    assert found.finite
    assert gradient_of(found, images).abs().sum() > 0


@pytest.mark.parametrize("loss", ["sds", "csd", "sdi", "ism"])
def test_a_flow_gives_finite_gradients_from_pure_noise_on(loss: str) -> None:
    """At its last time there is no signal, and noise / signal is infinite."""
    schedule = flow_matching(torch.linspace(0.001, 1, 1000, dtype=torch.float64))
    model = Model(_Flow(WORDS, schedule), _Flow(ALL, schedule))
    model.schedule = schedule  # type: ignore[misc]
    images, draws = normal(2, 4, 4, 3).requires_grad_(), torch.Generator().manual_seed(0)
    seen = step_of(images, views_around(2), (1.0, 1.0), (1.0, 1.0), 0.0, draws)
    found = LOSSES[loss](model, seen, GuidanceSettings(loss=loss))
    assert found.finite
    assert gradient_of(found, images).isfinite().all()


@dataclasses.dataclass
class _Flow:
    """eps_hat of Gaussian data by the schedule of a flow."""

    data: Gaussian
    schedule: Schedule

    def eps(self, noisy: Tensor, t: Tensor) -> Tensor:
        signal, noise = self.schedule.at(t, noisy)
        return noise * (noisy - signal * self.data.mean) / (signal**2 * self.data.spread**2 + noise**2)


SPOILED = [("csd", name) for name in ("text", "uncond", "negative")] + [("sdi", "text"), ("sdi", "uncond")]
SPOILED += [("ism", name) for name in ("text", "uncond", "without")]


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
@pytest.mark.parametrize(("loss", "name"), SPOILED)
def test_nonsense_in_any_answer_is_reported_and_harmless(loss: str, name: str, spoil: float) -> None:
    images = normal(2, 4, 4, 3).requires_grad_()
    found = step(Model(negative=NEGATIVE, spoil={name: spoil}), images, loss)
    assert not found.finite
    assert float(found.loss.detach()) == 0
    assert torch.equal(gradient_of(found, images), torch.zeros(2, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("loss", ["csd", "ism"])
def test_a_model_of_the_text_alone_is_refused_in_one_line(loss: str) -> None:
    with pytest.raises(BadInput) as caught:
        step(Model(uncond=None), normal(2, 4, 4, 3), loss)
    assert str(caught.value).isprintable()


def test_sdi_takes_a_model_of_the_text_alone_as_it_is() -> None:
    assert step(Model(uncond=None), normal(2, 4, 4, 3).requires_grad_(), "sdi").finite


BOTH = Mixture(Gaussian(-1.0, 0.1), Gaussian(1.0, 0.1))


@pytest.mark.parametrize(("loss", "scale"), [("sds", 5.0), ("csd", 5.0), ("sdi", 7.5), ("ism", 7.5)])
def test_each_loss_leads_from_the_other_mode_to_the_one_that_the_words_name(loss: str, scale: float) -> None:
    value = torch.full((8, 1, 1, 1), -1.0, dtype=torch.float64, requires_grad=True)
    optimiser, model = torch.optim.Adam([value], lr=0.05), Model(BOTH.second, BOTH)
    for turn in range(120):
        optimiser.zero_grad()
        step(model, value.expand(8, 1, 1, 3), loss, turn / 119, turn, scale=scale).loss.backward()
        optimiser.step()
    assert value.min() > 0.4, value.flatten().tolist()


def test_the_same_seed_gives_the_same_bits() -> None:
    images = normal(2, 4, 4, 3)
    for loss in LOSSES:
        first, again = (step(Model(negative=NEGATIVE), images, loss, seed=3).loss for _ in range(2))
        assert torch.equal(first, again)


def test_a_unet_answers_with_negative_words_and_without_any(folders: dict[str, Path]) -> None:
    noisy, t, views = normal_of(2, 3, 8, 8), torch.tensor([100, 700]), views_around(2)
    model = bind(folders["epsilon"], loss="csd", negative_prompt="a blue table")
    found, words = model.answer(noisy, t, views), model.model.text.encode(["", "a blue table"]).states
    for predicted, text in ((found.uncond, words[:1]), (found.negative, words[1:])):
        torch.testing.assert_close(predicted, asked(model, noisy, t, text.expand(2, -1, -1)), rtol=1e-5, atol=1e-6)
    assert bind(folders["epsilon"], loss="csd").answer(noisy, t, views).negative is None
    assert bind(folders["epsilon"], negative_prompt="a blue table").answer(noisy, t, views).negative is None


@pytest.mark.parametrize("changed", [{}, {"negative_prompt": "a blue table"}, {"loss": "csd", "negative_prompt": "a blue table"}])
@pytest.mark.parametrize("kind", ["sample", "multiview"])
def test_a_unets_answer_without_words_is_the_one_beside_the_texts(folders: dict[str, Path], kind: str, changed: dict[str, Any]) -> None:
    noisy, t, views = normal_of(4, 3, 8, 8), torch.full((4,), 400), views_around(4)
    model = bind(folders[kind], multiview=kind == "multiview", perp_neg=1.0, **changed)
    alone, beside = model.answer_without_words(noisy, t, views), model.answer(noisy, t, views)
    assert alone.uncond is None
    assert beside.uncond is not None
    torch.testing.assert_close(alone.text, beside.uncond, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["csd", "ism"])
def test_a_model_distilled_from_guidance_is_refused(loss: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "distilled")
    edit_json(folder / "unet" / "config.json", time_cond_proj_dim=256)
    with pytest.raises(
        BadInput, match=rf"^guidance.loss {loss}: compares the words with none, and .* is distilled from guidance"
    ) as caught:
        check_served(GuidanceSettings(loss=loss, model=str(folder)), "sphere")
    assert "\n" not in str(caught.value)


def test_a_model_that_was_loaded_for_another_loss_is_asked_again(tmp_path: Path) -> None:
    model = load_guidance(GuidanceSettings(model=str(write_folder(tmp_path / "plain"))), "cpu")
    model.denoiser.network.register_to_config(time_cond_proj_dim=256)
    settings = GuidanceSettings(model=model.model, loss="csd")
    with pytest.raises(BadInput, match="is distilled from guidance"):
        model.for_prompt("a red mug", settings)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_that_the_settings_name_is_the_one_that_runs(loss: str) -> None:
    images, draws = normal(2, 4, 4, 3), torch.Generator().manual_seed(0)
    settings = GuidanceSettings(loss=loss, weighting="one_minus_alpha_bar")
    found = make_loss(Model(), settings, 8, draws)(step_of(images, views_around(2), *SPANS, 0.25, draws))
    assert torch.equal(found.loss, step(Model(), images, loss).loss)
