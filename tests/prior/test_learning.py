"""Training comes to what it must: gradients point downhill, and models whose optimum is known in closed form reach it.

How far the real networks come in a few steps follows the CPU, so nothing here asks for that; each test runs in float32 and in bfloat16.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from dreamfusion_mesh.evaluate.precision import pick
from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import plain_views
from tools.prior import judge, model, tokens, train
from tools.prior.captions import Scene, Thing
from tools.prior.data import Pictures
from tools.prior.model import Prior, alpha_bar
from tools.prior.parts import Draw
from tools.prior.renders import render, words_of
from tools.prior.runs import Batch, Pace, Run
from tools.prior.sampling import sample
from tools.prior.world import build

TINY = model.RECIPES["tiny"]
CPU = torch.device("cpu")
RUNS = {
    "each view alone": lambda folder, dtype: train.start_run(folder, dataclasses.replace(TINY, joint=0.0), CPU, dtype=dtype),
    "four views together": lambda folder, dtype: train.start_run(folder, dataclasses.replace(TINY, joint=1.0), CPU, dtype=dtype),
    "judge": lambda folder, dtype: judge.start_run(folder, judge.JUDGES["tiny"], CPU, dtype),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_small_step_against_the_gradient_lowers_the_loss_by_what_it_predicts(kind, dtype, tmp_path, pictures):
    """f(w - e g) = f(w) - e |g|^2 + O(e^2): of the same batch, noise and words, measured in float32."""
    ids = tokens.encode(pictures.captions)
    run, exact = RUNS[kind](tmp_path, dtype), RUNS[kind](tmp_path, torch.float32)
    run.gradients(pictures, ids)
    before = float(exact.gradients(pictures, ids))
    gradient = {name: value.grad for name, value in run.network.named_parameters()}
    squared = sum(float(grad.double().square().sum()) for grad in gradient.values())
    fall = 0.003 * before
    with torch.no_grad():
        for name, value in exact.network.named_parameters():
            value -= fall / squared * gradient[name]
    assert before - float(exact.gradients(pictures, ids)) == pytest.approx(fall, rel=0.15)
    idle = {name for name, grad in gradient.items() if not grad.any()}
    assert all("class_embedding.linear_1" in name for name in idle), "all learn, but what stands before weights that begin at zero"


@pytest.mark.parametrize("views", [1, 4])
def test_the_network_sees_unit_noise_and_the_words_and_cameras_of_its_batch(views, pictures):
    prior, shares, received = Prior(TINY.size), alpha_bar(), {}
    batch = Batch(pictures.images, tokens.encode(pictures.captions), pictures.angles)
    clean = prior.fold(batch.images)

    def forward(noisy, t, ids, cameras, together):
        received.update(noisy=noisy, t=t, ids=ids, cameras=cameras, views=together)
        return clean

    recipe = dataclasses.replace(TINY, joint=float(views > 1), drop=0.25, blank=0.25)
    loss = train.denoising_loss(prior, forward, recipe, CPU)
    assert float(loss(batch, torch.Generator().manual_seed(3))) == 0, "the clean images are what is asked for"
    left = shares[received["t"]][:, None, None, None]
    noise = (received["noisy"] - left.sqrt() * clean) / (1 - left).sqrt()
    assert abs(float(noise.mean())) < 0.01
    assert noise.std((1, 2, 3)) == pytest.approx(torch.ones(len(noise)), abs=0.05)
    assert received["views"] == views
    groups = received["t"].reshape(-1, views)
    assert (groups == groups[:, :1]).all(), "views seen together share their time"
    assert len(groups.unique()) > len(groups) // 2
    if views > 1:
        assert torch.equal(received["cameras"], camera_numbers(*batch.angles.unbind(1)))
    empty, changed = (received["ids"] == tokens.encode([""])).all(1), received["ids"] != batch.ids
    assert 0 < int(empty.sum()) < len(empty) / 2
    assert (empty.reshape(-1, views) == empty.reshape(-1, views)[:, :1]).all(), "texts are left out of whole groups"
    blanked = changed.sum(1)[~empty]
    assert set(blanked.tolist()) == {0, 1}
    assert (received["ids"][~empty][changed[~empty]] == tokens.UNKNOWN).all()


class Lookup(torch.nn.Module):
    """One learnt answer a caption and, for views seen together, one a camera: a convex loss, least where the answers are the pictures."""

    size, fold, unfold = TINY.size, Prior.fold, Prior.unfold

    def __init__(self, ids, cameras, numbers):
        super().__init__()
        self.ids, self.cameras = ids, cameras
        self.embed_captions = torch.nn.Parameter(torch.zeros(len(ids) + 1, numbers))  # the last: of words that are no caption
        self.embed_cameras = torch.nn.Parameter(torch.zeros(len(cameras), numbers))
        self.dtypes = set()  # of the products
        self.matrix = torch.nn.Parameter(torch.eye(2))  # the optimiser wants one

    def forward(self, noisy, t, ids, cameras=None, views=1):
        if views == 1:
            alike = (ids[:, None] == self.ids[None]).all(-1)
            choice, table = torch.cat((alike, ~alike.any(1, keepdim=True)), 1), self.embed_captions
        else:
            choice, table = cameras[:, None].sub(self.cameras).abs().sum(-1).argmin(1)[:, None] == torch.arange(4), self.embed_cameras
        answer = choice.float() @ table
        self.dtypes.add(answer.dtype)
        return answer.unflatten(1, noisy.shape[1:])


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four things from four sides, each with its caption."""
    draw, held = Draw(torch.Generator().manual_seed(1)), Pictures(tmp_path_factory.mktemp("none"), "cpu")
    scenes = [build(Scene(Thing(*look)), draw) for look in (("apple", "red"), ("box", "blue"), ("tree", "yellow"), ("car", "green"))]
    turns = torch.arange(4) * torch.pi / 2
    cameras = orbit(turns, torch.full((4,), 0.35), torch.full((4,), 2.6), torch.full((4,), 0.7), 64, 64)
    views = plain_views(cameras, Shading.LAMBERTIAN, (0.9, 0.9, 0.9), 0.35, 0.7)
    images, _ = render(scenes, torch.arange(4), views, resolve_rasterizer("auto", "cpu"), 1)
    held.images, held.captions = (images * 255).round().to(torch.uint8), words_of(scenes, torch.arange(4), views)
    held.angles = torch.stack((cameras.azimuth, cameras.elevation), 1)
    return held


def test_samples_come_out_as_their_captions_and_cameras_say(four, dtype, tmp_path):
    """Words, cameras, noise, loss, optimiser, average and sampler together, around a model that can learn by heart."""
    ids = tokens.encode(four.captions)
    lookup = Lookup(ids, camera_numbers(*four.angles.unbind(1)), 3 * 64 * 64)
    pace = Pace(batch=16, rate=0.1, steps=160, warm=1, cool=0.9, keep=0.9, together=4)
    run = Run(tmp_path, lookup, train.denoising_loss(lookup, lookup, TINY, CPU), pace, CPU, dtype)
    for _ in range(pace.steps):
        run.advance(four, ids)
    learnt, images = run.averaged(), four.images.float() / 255
    for angles in (None, four.angles.repeat(2, 1)):
        made = sample(learnt, four.captions * 2, seed=0, steps=8, scale=1.0, angles=angles, dtype=dtype)
        assert (made - images.repeat(2, 1, 1, 1)).abs().max() < 0.05
    assert lookup.dtypes == learnt.dtypes == {dtype}


class LinearJudge(torch.nn.Module):
    """A linear image tower on the colours of the four quarters beside fixed texts, a bag of words each: nearly logistic regression."""

    def __init__(self):
        super().__init__()
        count = len(tokens.word_ids())
        self.tower, self.words = torch.nn.Linear(12, count), torch.nn.Linear(12, count)
        self.log_scale = torch.nn.Parameter(torch.tensor(2.7))
        self.dtypes = set()  # of the products

    def see(self, images):
        return functional.avg_pool2d(images.permute(0, 3, 1, 2), 32).flatten(1) - 0.5

    def project(self, seen):
        towards = self.tower(seen)
        self.dtypes.add(towards.dtype)
        return functional.normalize(towards.float(), dim=1)

    def pictures(self, images):
        return self.project(self.see(images))

    def texts(self, ids):
        bags = torch.zeros(len(ids), len(tokens.word_ids())).scatter_(1, ids, 1.0)
        bags[:, : tokens.END + 1] = 0
        return functional.normalize(bags, dim=1)


def learns_by_heart(run, four, right):
    """Train until the averaged network gets all four right; whether it did within the run's steps."""
    ids = tokens.encode(four.captions)
    while run.step < run.pace.steps:
        for _ in range(40):
            run.advance(four, ids)
        if right(run.averaged()):
            return True
    return False


@pytest.mark.sweep
def test_the_prior_learns_four_pictures_by_heart(four, dtype, tmp_path):
    """The networks themselves; 160 steps were enough in float32 with AVX2, and six times as many are allowed."""
    pace = dataclasses.replace(TINY.pace, steps=960, batch=16, warm=20, keep=0.97)
    run, images = train.start_run(tmp_path, dataclasses.replace(TINY, pace=pace), CPU, dtype=dtype), four.images.float() / 255

    def right(network):
        for angles in (None, four.angles.repeat(2, 1)):
            made = sample(network, four.captions * 2, seed=0, steps=12, scale=1.0, angles=angles, dtype=dtype)
            far = torch.cdist(made.flatten(1), images.flatten(1)) / (64 * 64 * 3) ** 0.5
            if far.argmin(1).tolist() != [0, 1, 2, 3] * 2 or far.min(1).values.max() > 0.2:
                return False
        return True

    assert learns_by_heart(run, four, right)


@torch.no_grad()
def chosen(network, images, texts):
    return pick(network.pictures(images), network.texts(tokens.encode(texts)))


@pytest.mark.sweep
def test_the_judge_learns_four_pictures_by_heart(four, dtype, tmp_path):
    """The networks themselves; 40 steps were enough from each of three first weights, and six times as many are allowed."""
    tiny = judge.JUDGES["tiny"]
    recipe = dataclasses.replace(tiny, pace=dataclasses.replace(tiny.pace, steps=240))
    images, bare = four.images.float() / 255, [caption.rsplit(",", 1)[0] for caption in four.captions]

    def right(network):
        return all(chosen(network, images, texts).tolist() == [0, 1, 2, 3] for texts in (four.captions, bare))

    assert learns_by_heart(judge.start_run(tmp_path, recipe, CPU, dtype), four, right)


def halves():
    """Four captioned pictures that are bright in one half, each in another: far apart however they are spoilt."""
    held = Pictures(Path("none"), "cpu")
    held.captions = ["a red apple, front view", "a blue box, side view", "a yellow tree, back view", "a green car, overhead view"]
    held.images, held.angles = torch.full((4, 64, 64, 3), 40, dtype=torch.uint8), torch.zeros(4, 2)
    for image, half in zip(held.images, (np.s_[:32], np.s_[32:], np.s_[:, :32], np.s_[:, 32:]), strict=True):
        image[half] = 215
    return held


def test_a_judge_comes_to_choose_each_pictures_caption(dtype, tmp_path):
    """Spoiling, losses, optimiser, average and choice together, around a model that tells the pictures apart by one linear map."""
    torch.manual_seed(0)
    network, pictures = LinearJudge(), halves()
    ids, images = tokens.encode(pictures.captions), pictures.images.float() / 255
    pace = Pace(batch=16, rate=0.05, steps=60, warm=5, keep=0.9)
    run = Run(tmp_path, network, judge.judging_loss(network), pace, CPU, dtype)
    for _ in range(pace.steps):
        run.advance(pictures, ids)
    learnt = run.averaged()
    assert network.dtypes == {dtype}
    for texts in (pictures.captions, [caption.rsplit(",", 1)[0] for caption in pictures.captions]):
        assert chosen(learnt, images, texts).tolist() == [0, 1, 2, 3]
