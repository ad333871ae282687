"""Guidance where memory is short: images are encoded one by one, and a call that does not fit is made in two halves."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from guided import PROMPT, asked, bind, load, normal, views_around
from loss_steps import step_of
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.guidance.models.text_encoder import Reader


def counted(module: torch.nn.Module) -> list[int]:
    """Batch sizes of the module's calls from here on."""
    sizes: list[int] = []
    module.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    return sizes


def distilled(model: PromptedDiffusion) -> tuple[Tensor, Tensor]:
    images = torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    step = step_of(images, views_around(3), (0.02, 0.02), (0.9, 0.9), 0.5, torch.Generator().manual_seed(5))
    found = distill(model, step, model.settings)
    found.loss.backward()
    assert images.grad is not None
    return found.loss.detach(), images.grad


def test_a_checkpointed_encoder_sees_one_image_at_a_time_and_gives_the_same_gradient(folders: Any) -> None:
    plain, checkpointed = (bind(folders["latent"], checkpoint_encoder=way) for way in (False, True))
    sizes = [counted(model.model.latents.vae.encoder) for model in (plain, checkpointed)]  # type: ignore[union-attr]
    wanted, found = distilled(plain), distilled(checkpointed)
    assert sizes == [[3], [1] * 6], "forwards, and once more backwards"
    for value, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        checkpointed.encode(torch.zeros(3, 16, 16, 3))
    assert sizes[1][6:] == [3], "without a gradient there is nothing to save"


def short_of_memory(model: PromptedDiffusion, monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """The network takes `most` images in a call, no more; gives the sizes of all calls."""
    denoiser, sizes = model.model.denoiser, []
    call = denoiser.call

    def limited(network: torch.nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        sizes.append(len(given[0]))
        if len(given[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return call(network, *given, views=views)

    monkeypatch.setattr(denoiser, "call", limited)
    return sizes


@pytest.mark.parametrize(("kind", "more", "halves"), [("epsilon", {}, [4, 4]), ("multiview", {"multiview": True}, [4, 4])])
def test_a_call_that_does_not_fit_is_made_in_two_halves_from_then_on(
    kind: str, more: dict[str, Any], halves: list[int], folders: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, noisy, t, views = bind(folders[kind], **more), normal(4, 3, 8, 8), torch.full((4,), 300), views_around(4)
    wanted = model.answer(noisy, t, views)
    sizes = short_of_memory(model, monkeypatch, 4)
    with caplog.at_level(logging.WARNING):
        found = [model.answer(noisy, t, views) for _ in range(2)]
    assert sizes == [8, *halves, *halves]
    assert [record.message for record in caplog.records if "memory" in record.message] == [
        "guidance: the memory does not hold 8 images in one call of the network; half of them from here"
    ]
    for answers in found:
        torch.testing.assert_close(answers.text, wanted.text)
        torch.testing.assert_close(answers.uncond, wanted.uncond)


def test_views_that_are_seen_together_are_not_parted(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bind(folders["multiview"], multiview=True)
    text = model.text.states[:1].expand(4, -1, -1)
    sizes = short_of_memory(model, monkeypatch, 3)
    with pytest.raises(torch.OutOfMemoryError):
        asked(model, normal(4, 3, 8, 8), torch.full((4,), 300), text, torch.zeros(4, 5), 4)
    assert sizes == [4]


def test_where_not_even_half_fits_memory_has_run_out(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bind(folders["epsilon"])
    sizes = short_of_memory(model, monkeypatch, 2)
    with pytest.raises(torch.OutOfMemoryError):
        model.answer(normal(4, 3, 8, 8), torch.full((4,), 300), views_around(4))
    assert sizes == [8, 4], "one retry, no more"


def test_another_error_is_not_tried_again(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bind(folders["epsilon"])

    def broken(*given: Any, **named: Any) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(model.model.denoiser, "call", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        model.answer(normal(4, 3, 8, 8), torch.full((4,), 300), views_around(4))
    assert not model.model.shortage.met


@pytest.mark.parametrize(("most", "sizes"), [(5, [9, 5, 4]), (3, [9, 5])])
def test_texts_that_do_not_fit_are_read_in_two_halves(
    most: int, sizes: list[int], saved: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(saved("xl"))
    settings = GuidanceSettings(model=model.model)
    wanted, found = model.encode_prompt(PROMPT, settings), []
    read = Reader._read

    def limited(self: Reader, network: Any, ids: Tensor, mask: Tensor) -> TextCondition:
        if self.part == "text_encoder_2":
            found.append(len(ids))
            if len(ids) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return read(self, network, ids, mask)

    monkeypatch.setattr(Reader, "_read", limited)
    if len(sizes) == 2:
        with pytest.raises(torch.OutOfMemoryError):
            model.encode_prompt(PROMPT, settings)
    else:
        with caplog.at_level(logging.WARNING):
            made = model.encode_prompt(PROMPT, settings)
        for values, expected in ((made.states, wanted.states), (made.pooled, wanted.pooled)):
            torch.testing.assert_close(values, expected)
        (line,) = caplog.messages
        assert line == "guidance: the memory does not hold 9 texts in one call of text_encoder_2/; half of them are read at once"
    assert found == sizes
