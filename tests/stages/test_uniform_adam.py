"""Adam with one step size for a tensor."""

from __future__ import annotations

import torch

from dreamfusion_mesh.stages.uniform_adam import UniformAdam


def _moved(gradients: list[torch.Tensor], smooth=lambda gradient: gradient) -> torch.Tensor:
    parameter = torch.nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = UniformAdam(parameter, 0.1, smooth)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def test_equal_gradients_move_as_adam_moves_them() -> None:
    parameter = torch.nn.Parameter(torch.zeros(5))
    adam = torch.optim.Adam([parameter], 0.1, (0.9, 0.99), eps=1e-15)
    gradients = [torch.full((5,), float(value)) for value in torch.randn(6, generator=torch.Generator().manual_seed(0))]
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
    torch.testing.assert_close(_moved(gradients), parameter.detach())


def test_a_weak_gradient_makes_a_small_step_and_its_scale_does_not_count() -> None:
    gradient = torch.tensor([1.0, -1.0, 0.01, 0.0])
    once = _moved([gradient])
    torch.testing.assert_close(once / once[0], gradient)
    torch.testing.assert_close(_moved([gradient * 1e-6]), once)


def test_elements_that_never_had_a_gradient_do_not_count() -> None:
    few = _moved([torch.tensor([1.0, 2.0])])
    among = _moved([torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0])])
    torch.testing.assert_close(among[:2], few)


def test_the_gradient_is_smoothed_before_it_is_sized() -> None:
    moved = _moved([torch.tensor([1.0, 0.0])], lambda gradient: gradient.mean().expand_as(gradient))
    torch.testing.assert_close(moved, torch.full((2,), -0.1))


def test_without_a_gradient_nothing_moves() -> None:
    assert torch.equal(_moved([torch.zeros(3), torch.zeros(3)]), torch.zeros(3))
