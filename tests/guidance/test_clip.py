"""Both layouts of a CLIP hold one contract, and give what transformers' own classes give."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clips import SIDE, write_clip, write_towers

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.clip import Clip, load_clip
from dreamfusion_mesh.guidance.weights.folder import Source, fingerprint
from tools.prior import judge, tokens

WRITERS = {"whole": write_clip, "newer": lambda folder: write_clip(folder, newer=True), "towers": write_towers}
TEXTS = ["a red mug", "a brown rabbit on a green box, back view", ""]


def load(folder: Path) -> Clip:
    return load_clip(Source("judge", str(folder), "--judge", Path("nowhere")), "cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("clips")
    return {name: write(parent / name) for name, write in WRITERS.items()}


@pytest.fixture(params=WRITERS)
def clip(request, folders):
    return load(folders[request.param])


def pictures(side=SIDE, count=2):
    return torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(3))


def test_vectors_are_unit_and_of_one_space(clip):
    seen, read = clip.images(pictures()), clip.texts(TEXTS)
    assert clip.size == SIDE
    assert seen.shape == (2, 8)
    assert read.shape == (3, 8)
    for vectors in (seen, read):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    assert not read.requires_grad


def test_a_texts_vector_does_not_depend_on_the_texts_beside_it(clip):
    together = clip.texts([*TEXTS, *["a red mug"] * 300])
    torch.testing.assert_close(together[:3], torch.cat([clip.texts([text]) for text in TEXTS]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together[-1], together[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("side", [SIDE, 3 * SIDE, 10])
def test_the_gradient_in_the_images_is_that_of_finite_differences(clip, side):
    images, wanted = pictures(side).requires_grad_(True), clip.texts(TEXTS[:2])

    def fit(given):
        return (clip.images(given) * wanted).sum()

    (gradient,) = torch.autograd.grad(fit(images), images)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        slope = (fit(images + step) - fit(images - step)) / (2 * step.norm())
    torch.testing.assert_close(slope, gradient.norm(), rtol=2e-2, atol=0)
    assert not any(value.requires_grad for value in clip.texts(TEXTS))


@pytest.mark.parametrize("shape", [(2, SIDE, SIDE), (2, SIDE, SIDE + 1, 3), (2, 3, SIDE, SIDE)])
def test_images_that_are_not_square_rgb_are_refused(clip, shape):
    with pytest.raises(ValueError, match=r"images: shape \[2, .*expected \[B, H, H, 3\]"):
        clip.images(torch.zeros(shape))


def test_a_text_of_too_many_tokens_is_refused_never_cut(clip):
    fits = " ".join(["red"] * 22)
    clip.texts([fits])
    with pytest.raises(BadInput, match=r"^judge '.*': the text '.*' has 25 tokens .*at most 24 are read; shorten it by 1$"):
        clip.texts(["a red mug", f"{fits} red"])


def test_provenance_names_the_files_that_were_loaded(clip, folders):
    facts = clip.provenance()
    folder = clip.files.folder
    names = ["image/model.safetensors", "text/model.safetensors"] if folder == folders["towers"] else ["model.safetensors"]
    assert facts["files"] == {name: fingerprint(folder / name) for name in names}
    assert (facts["model"], facts["licence"]) == (folder.name, "unknown: see the model's card")


def pillow_processor():
    """The class that resizes with Pillow, which transformers 5 moved."""
    try:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    except ImportError:
        from transformers.models.clip.image_processing_clip import CLIPImageProcessor as CLIPImageProcessorPil
    return CLIPImageProcessorPil


@pytest.mark.parametrize(("resized", "side", "tolerance"), [(SIDE, SIDE, 1e-5), (SIDE, 48, 0.02), (20, 20, 1e-5), (20, 64, 0.02)])
def test_a_whole_clip_gives_what_transformers_gives(tmp_path, resized, side, tolerance):
    """Pixels are resized as Pillow does, which rounds them to bytes in between."""
    from transformers import CLIPModel, PreTrainedTokenizerFast

    folder = write_clip(tmp_path / "clip", resized=resized)
    clip, theirs = load(folder), CLIPModel.from_pretrained(str(folder)).eval()
    given = (pictures(side) * 255).round().byte()
    smooth = (torch.nn.functional.avg_pool2d(given.permute(0, 3, 1, 2).float(), 3, 1, 1).permute(0, 2, 3, 1)).round().byte()
    pixels = pillow_processor().from_pretrained(str(folder))([*smooth.numpy()], return_tensors="pt").pixel_values
    words = PreTrainedTokenizerFast.from_pretrained(str(folder))(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = theirs(input_ids=words.input_ids, attention_mask=words.attention_mask, pixel_values=pixels)
        torch.testing.assert_close(clip.pixels(smooth.float() / 255), pixels, rtol=0, atol=tolerance)
        torch.testing.assert_close(clip.networks.image(pixels), theirs.visual_projection(theirs.vision_model(pixels).pooler_output))
        torch.testing.assert_close(clip.images(smooth.float() / 255), found.image_embeds, rtol=0, atol=tolerance)
    torch.testing.assert_close(clip.texts(TEXTS), found.text_embeds, rtol=1e-5, atol=1e-6)
    assert np.abs(pixels.numpy()).max() > 0.5


def test_the_small_towers_give_what_the_judge_gave_that_was_exported(tmp_path):
    torch.manual_seed(5)
    made = judge.Judge((8, 16), 16, 1).eval()
    judge.export(made, tmp_path)
    clip, images = load(tmp_path), pictures(64)
    theirs = made.half().float()  # as exported
    with torch.no_grad():
        torch.testing.assert_close(clip.images(images), theirs.pictures(images), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(clip.texts(TEXTS), theirs.texts(tokens.encode(TEXTS)), rtol=1e-5, atol=1e-6)
    assert clip.size == 64
