"""Images to latents: exact where sizes match, means when shrinking, gradients that are the encoder's adjoint."""

import pytest
import torch
from guided import bind, load, normal, score, views_around


def test_images_of_the_models_size_are_only_mapped_and_folded(folders):
    plain, folded = load(folders["epsilon"]), load(folders["folded"])
    assert (plain.size, folded.size, load(folders["latent"]).size) == (8, 16, 16)
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    latents = folded.encode(images)
    for block_row, block_column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        channels = latents[:, 2 * block_row + block_column :: 4]
        expected = images[:, block_row::2, block_column::2].permute(0, 3, 1, 2) * 2 - 1
        torch.testing.assert_close(channels, expected, rtol=0, atol=1e-7)
    small = images[:, :8, :8]
    torch.testing.assert_close(plain.encode(small), small.permute(0, 3, 1, 2) * 2 - 1, rtol=0, atol=1e-7)


def test_larger_images_are_averaged_and_their_gradient_is_the_averages_adjoint(folders):
    plain = load(folders["epsilon"])
    images = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = plain.encode(images)
    means = images.detach().reshape(2, 8, 4, 8, 4, 3).mean(dim=(2, 4)).permute(0, 3, 1, 2) * 2 - 1
    torch.testing.assert_close(latents.detach(), means)
    weights = normal(2, 3, 8, 8)
    (latents * weights).sum().backward()
    spread = weights.permute(0, 2, 3, 1).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2) * 2 / 16
    torch.testing.assert_close(images.grad, spread)


@pytest.mark.parametrize("side", [5, 12, 50])
def test_other_sizes_keep_flat_colours_and_the_gradients_sum(folders, side):
    plain = load(folders["epsilon"])
    images = torch.tensor([0.2, 0.5, 0.9]).expand(1, side, side, 3).clone().requires_grad_()
    latents = plain.encode(images)
    torch.testing.assert_close(latents, torch.tensor([-0.6, 0.0, 0.8])[None, :, None, None].expand(1, 3, 8, 8))
    latents.sum().backward()
    assert float(images.grad.sum()) == pytest.approx(2 * 3 * 64, rel=1e-5)


def test_images_that_are_not_square_are_refused(folders):
    with pytest.raises(ValueError, match="images"):
        load(folders["epsilon"]).encode(torch.zeros(1, 8, 9, 3))


def test_a_latent_model_gets_the_vaes_scaled_mean_and_passes_gradients(folders):
    model = bind(folders["latent"])
    latent = model.model
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = latent.encode(images)
    mean = latent.latents.vae.encode(images.detach().permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents.detach(), 0.5 * mean)
    latents.square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in latent.latents.vae.parameters())
    assert score(model, latents.detach(), torch.tensor([100, 700]), views_around(2)).shape == (2, 4, 8, 8)
    assert sorted(latent.provenance()["files"]) == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_gradients_do_not_vanish_in_a_float16_autoencoder(folders, one_by_one):
    """As small as score distillation's are, which is a mean over all values: below float16's least number."""
    found = []
    for kind in (torch.float32, torch.float16):
        latent = load(folders["latent"])
        latent.latents.vae.to(kind)
        images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        (1e-8 * latent.encode(images, one_by_one=one_by_one) * normal(2, 4, 8, 8)).sum().backward()
        found.append(images.grad)
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 0.02
