"""Weights that stay off the card: the same answers, with one layer's weights at a time where it computes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.hooks.group_offloading import ModuleGroup
from guided import PROMPT, bind, load, normal, views_around
from tiny_pipelines import FAMILIES

from dreamfusion_mesh.config import GuidanceSettings, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import text_encoder
from dreamfusion_mesh.guidance.models.placement import Placement, move_by_layer
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.recorded import recorded_calls

CPU = torch.device("cpu")


class Ledger:
    """Bytes of weights that lie where networks compute: now, and at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.most, self.groups = 0, 0, set[int]()
        coming, going = ModuleGroup.onload_, ModuleGroup.offload_

        def onload(group: ModuleGroup) -> None:
            self._count(group, 1)
            coming(group)

        def offload(group: ModuleGroup) -> None:
            if id(group) in self.groups:  # all are offloaded as they are made
                self._count(group, -1)
            going(group)

        monkeypatch.setattr(ModuleGroup, "onload_", onload)
        monkeypatch.setattr(ModuleGroup, "offload_", offload)

    def _count(self, group: ModuleGroup, sign: int) -> None:
        self.groups.add(id(group))
        held = [*group.parameters, *group.buffers, *(weight for part in group.modules for weight in part.state_dict().values())]
        self.now += sign * sum(tensor.nbytes for tensor in held)
        self.most = max(self.most, self.now)


def answer_of(model: PromptedDiffusion, device: torch.device = CPU) -> torch.Tensor:
    channels, side = model.model.latents.channels, 8
    noisy, t = normal(2, channels, side, side).to(device), torch.full((2,), 300, device=device)
    return model.answer(noisy, t, views_around(2, device=device)).text.cpu()


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "v-prediction"])
def test_a_network_whose_weights_come_layer_by_layer_answers_the_same(
    family: str, saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"image_size": 8 if family == "deepfloyd" else 16}
    wanted, model = answer_of(bind(saved(family), **size)), bind(saved(family), **size)
    ledger = Ledger(monkeypatch)
    network = move_by_layer(model.model.denoiser.network, CPU, with_stream=False)
    assert torch.equal(answer_of(model), wanted)
    assert (ledger.now, ledger.most > 0) == (0, True), "what came has gone"
    assert ledger.most < 0.6 * sum(weight.nbytes for weight in network.parameters())


def test_a_text_encoder_whose_weights_come_layer_by_layer_reads_the_same(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = GuidanceSettings(model=str(saved("prx")))
    wanted = load(saved("prx")).encode_prompt(PROMPT, settings)
    monkeypatch.setattr(text_encoder, "_LARGEST_KEPT", 0)
    ledger = Ledger(monkeypatch)
    placed: list[Any] = []

    def place(self: Placement, network: Any) -> Any:
        placed.append(network)
        return move_by_layer(network, CPU, with_stream=False)

    monkeypatch.setattr(Placement, "place", place)
    model = load(saved("prx"))
    assert len(placed) == 1, "the network, and no encoder before it reads"
    found = model.encode_prompt(PROMPT, settings)
    assert torch.equal(found.states, wanted.states)
    assert ledger.most < 0.8 * sum(weight.nbytes for weight in placed[1].parameters()), "the words' vectors are most of a tiny one"


def test_a_text_encoder_whose_weights_come_layer_by_layer_is_freed_once_it_has_read(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoder, "_LARGEST_KEPT", 0)
    read: list[weakref.ref[torch.Tensor]] = []

    def place(self: Placement, network: Any) -> Any:
        read.extend(weakref.ref(weight) for weight in network.parameters())
        return move_by_layer(network, CPU, with_stream=False)

    model = load(saved("prx"), offload="layers")
    monkeypatch.setattr(Placement, "place", place)
    gc.disable()
    try:
        model.encode_prompt(PROMPT, GuidanceSettings(model=model.model, offload="layers"))
        assert len(read) > 0
        assert [weight for weight in read if weight() is not None] == []
    finally:
        gc.enable()


def test_on_a_cpu_there_is_nothing_to_move(saved: Callable[[str], Path]) -> None:
    model = bind(saved("sd3"), offload="layers", image_size=16)
    assert torch.equal(answer_of(model), answer_of(bind(saved("sd3"), image_size=16)))
    assert not hasattr(model.model.denoiser.network, "_diffusers_hook")


def test_weights_that_come_and_go_are_not_recorded() -> None:
    card = torch.device("cuda")
    assert recorded_calls(torch.nn.Linear(2, 2), Placement(card, by_layer=True)) is None
    assert recorded_calls(torch.nn.Linear(2, 2), Placement(card)) is not None


def test_a_loss_that_learns_through_the_network_is_refused() -> None:
    with pytest.raises(BadInput, match=r"guidance: loss vsd learns through the network, .* set offload=none \(given layers\)"):
        load_config("smoke", ["guidance.loss=vsd", "guidance.offload=layers"])


def test_a_model_that_was_loaded_whole_is_refused(saved: Callable[[str], Path]) -> None:
    model = load(saved("sd3"))
    with pytest.raises(BadInput, match=r"guidance.offload 'layers': .* was loaded with 'none'"):
        model.for_prompt(PROMPT, GuidanceSettings(model=model.model, offload="layers"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("family", ["xl", "sd3", "prx", "flux2"])
def test_on_a_cuda_card_the_weights_stay_in_the_machines_memory(family: str, saved: Callable[[str], Path]) -> None:
    card = torch.device("cuda")
    given = {"image_size": 16, "half_precision": False}
    moved, whole = bind(saved(family), device=card, offload="layers", **given), bind(saved(family), device=card, **given)
    assert moved.model.recorded is None
    for _ in range(3):  # from the second call on the next layer comes while one computes
        torch.testing.assert_close(answer_of(moved, card), answer_of(whole, card), rtol=1e-4, atol=1e-4)
        assert {weight.device.type for weight in moved.model.denoiser.network.parameters()} == {"cpu"}
