"""Every parameter is stepped by the rule that it falls under, and the moments come back by name."""

import pytest
import torch
from torch import nn

from tools.prior.judge import JUDGES, Judge
from tools.prior.model import RECIPES, Prior
from tools.prior.optimiser import Optimiser


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(4, 6, 3)
        self.conv_in = nn.Linear(3, 3)


def gradients(network, seed):
    draws = torch.Generator().manual_seed(seed)
    for value in network.parameters():
        value.grad = torch.randn(value.shape, generator=draws)


def test_a_matrix_steps_alike_in_all_directions_and_as_far_as_the_rate_says():
    network = Two()
    optimiser, before = Optimiser(network, fused=False), network.body.weight.detach().clone()
    gradients(network, 0)
    optimiser.step(1e-3)
    moved = (network.body.weight.detach() - before).flatten(1) + 1e-3 * 0.01 * before.flatten(1)  # the decay undone
    lengths = torch.linalg.svdvals(moved)
    assert lengths.max() < 2 * lengths.min()  # five Newton-Schulz steps leave singular values in about 0.7 to 1.2
    random = torch.linalg.svdvals(torch.randn(moved.shape, generator=torch.Generator().manual_seed(1)))
    assert random.max() > 2 * random.min()
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2e-3, rel=0.25)  # AdamW's usual step, arXiv:2502.16982


def test_embeddings_first_and_last_layers_and_biases_take_adamw_steps():
    network = Two()
    optimiser, before = Optimiser(network, fused=False), {name: value.detach().clone() for name, value in network.named_parameters()}
    gradients(network, 0)
    signs = {name: value.grad.sign() for name, value in network.named_parameters()}
    optimiser.step(1e-3)
    for name in ("body.bias", "conv_in.weight", "conv_in.bias"):
        expected = before[name] * (1 - 1e-5) - 1e-3 * signs[name]
        assert torch.allclose(dict(network.named_parameters())[name], expected, atol=1e-6), name
    assert all(value.grad is None for value in network.parameters())


@pytest.mark.parametrize("network", [Prior(RECIPES["tiny"].size), Judge(JUDGES["tiny"].channels, 32, 1)], ids=["prior", "judge"])
def test_maps_are_matrices_and_tables_are_not(network):
    optimiser = Optimiser(network, fused=False)
    names = {name for name, _ in network.named_parameters()}
    assert set(optimiser.matrices) | set(optimiser.others) == names
    assert not set(optimiser.matrices) & set(optimiser.others)
    tables = {name for name in names if "token_embedding" in name or "position_embedding" in name}
    assert tables
    assert tables <= set(optimiser.others)
    assert all("weight" in name for name in optimiser.matrices)


def test_moments_come_back_by_name():
    torch.manual_seed(0)
    one, two = Two(), Two()
    first, second = Optimiser(one, fused=False), Optimiser(two, fused=False)
    for step in range(3):
        gradients(one, step)
        first.step(1e-2)
    two.load_state_dict(one.state_dict())
    second.load(first.state(), 3)
    for step in range(3, 6):
        for network, optimiser in ((one, first), (two, second)):
            gradients(network, step)
            optimiser.step(1e-2)
    for name, value in one.named_parameters():
        assert torch.equal(value, dict(two.named_parameters())[name]), name
