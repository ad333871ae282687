"""Measure the judge and the prior: `python -m tools.prior.evaluate OUT [--judge FOLDER] [--prior FOLDER] [--data FOLDER] [--each K]
[--perp-neg SHARE]`.

OUT/evaluation.json holds the shares below for real renders of the world ("world": how far the judge is to be trusted) and for the prior's
samples ("prior"): each of the 153 held-out prompts `each` times, from the four views by turns. "multiview" is for those that it makes of a
prompt's four views together, their cameras given, and "turned" for real renders from these cameras: straight from the front, a side, the
back and high above another side, while "world" has any cameras, those between two views too. With --perp-neg, "prior apart" and "multiview
apart" are as "prior" and "multiview", guided away from other views by that share; the sheets of samples show these.

    prompt    coloured pictures whose own prompt the judge picks among all 153
    kind      those whose upper thing's kind is right in the prompt that it picks; `colour` and `part` likewise
    clay      grey clay pictures whose kind is right in the clay caption that it picks among all 153
    view      pictures whose view the judge picks among the four, the rest of the caption granted; of kinds that have sides alone

With --data, the nearest training render to each of 32 samples of "prior", by mean square error: OUT/nearest.png has samples above, renders
below.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW, ViewSettings
from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.evaluate.judges import load_judge
from dreamfusion_mesh.evaluate.precision import choose, clay_texts, share
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED
from dreamfusion_mesh.run.device import resolve_device
from tools.prior import held_out, model
from tools.prior.captions import caption_of, parse
from tools.prior.data import Pictures
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw
from tools.prior.renders import photograph
from tools.prior.sampling import sample
from tools.prior.sheet import write_png
from tools.prior.world import build

Draws = Callable[[Sequence[str], bool], tuple[Tensor, list[str]]]  # prompts, clay -> images [B, 64, 64, 3] and their captions, in order


def measure(eyes: ImageTextModel, draw: Draws, prompts: Sequence[str]) -> tuple[dict[str, float], Tensor]:
    """The shares of this module's head, and the coloured pictures."""
    images, captions = draw(prompts, False)
    wanted = [parse(caption).scene.thing for caption in captions]
    own = torch.arange(len(prompts)).repeat_interleave(len(images) // len(prompts))
    picked = choose(eyes, images, prompts)
    read = [parse(prompts[row]).scene.thing for row in picked.tolist()]
    shares = {"prompt": float((picked == own).float().mean())}
    for name in ("kind", "colour", "part"):
        shares[name] = share([getattr(a, name) == getattr(b, name) for a, b in zip(read, wanted, strict=True)])
    grey, grey_captions = draw(prompts, True)
    clay = clay_texts(prompts)
    chosen = [parse(clay[row]).scene.thing.kind for row in choose(eyes, grey, clay).tolist()]
    shares["clay"] = share([kind == parse(caption).scene.thing.kind for kind, caption in zip(chosen, grey_captions, strict=True)])
    shares["view"] = _views(eyes, torch.cat((images, grey)), captions + grey_captions)
    return shares, images


def _views(eyes: ImageTextModel, images: Tensor, captions: Sequence[str]) -> float:
    right = []
    for picture, caption in zip(images.split(1), captions, strict=True):
        view, thing = parse(caption).view, parse(caption).scene.thing
        if not KINDS[thing.kind].sided:
            continue
        assert view is not None
        bare = caption.removesuffix(VIEW_SUFFIXES[view])
        right.append(int(choose(eyes, picture, [bare + suffix for suffix in VIEW_SUFFIXES])[0]) == view)
    return share(right)


def turned_angles(views: Sequence[int]) -> Tensor:
    """[len(views), 2] azimuth and elevation in radians of cameras that see each of VIEW_SUFFIXES plainly, a quarter turn apart."""
    return torch.tensor([(view * math.pi / 2, math.radians(75 if view == len(VIEW_SUFFIXES) - 1 else 15)) for view in views])


def world_draws(each: int, seed: int, turned: bool = False) -> Draws:
    """Real renders of the prompts, unseen in training of either model. `turned`: from `turned_angles`, views by turns."""
    from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

    rasterizer = resolve_rasterizer("auto", "cpu")

    def draw(prompts: Sequence[str], clay: bool) -> tuple[Tensor, list[str]]:
        settings = ViewSettings(lambertian=0.0 if clay else 0.55, textureless=1.0 if clay else 0.0)
        chance, images, captions = Draw(torch.Generator().manual_seed(seed + clay)), [], []
        for row, prompt in enumerate(prompts):
            scene = build(parse(prompt).scene, chance)
            angles = turned_angles(_by_turns(row, each)) if turned else None
            made = photograph([scene], each, rasterizer, chance.generator, "cpu", settings=settings, angles=angles)
            images.append(made.rgb)
            captions += made.captions
        return torch.cat(images), captions

    return draw


def _by_turns(row: int, each: int) -> list[int]:
    return [(row + i) % len(VIEW_SUFFIXES) for i in range(each)]


def prior_draws(
    prior: model.Prior, each: int, seed: int, scale: float, together: bool = False, perp_neg: float = 0.0, steps: int = 40
) -> Draws:
    """The prior's samples, views by turns, over prompts too. `together`: four in a row are seen together, a quarter turn apart.

    scale, perp_neg and steps are as in `sample`.

    Raises ValueError for `together` unless `each` is a multiple of 4.
    """
    if together and each % MULTIVIEW:
        raise ValueError(f"each: {each}, expected a multiple of the {MULTIVIEW} views that are seen together")

    def draw(prompts: Sequence[str], clay: bool) -> tuple[Tensor, list[str]]:
        views = [view for row in range(len(prompts)) for view in _by_turns(row, each)]
        captions = [caption_of(prompts[i // each], view, clay) for i, view in enumerate(views)]
        angles = turned_angles(views) if together else None
        return sample(prior, captions, seed + clay, scale, steps, angles=angles, perp_neg=perp_neg), captions

    return draw


@torch.no_grad()
def nearest(samples: Tensor, pictures: Pictures, batch: int = 8192) -> tuple[Tensor, Tensor]:
    """For each of samples [S, 64, 64, 3] in [0, 1]: root of the least mean square difference to a training render, and that one's row."""
    flat = samples.flatten(1).to(pictures.images.device)
    best = torch.full((len(flat),), torch.inf, device=flat.device)
    row = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    for first in range(0, len(pictures), batch):
        part = pictures.images[first : first + batch].flatten(1).float() / 255
        far = torch.cdist(flat, part) / flat.shape[1] ** 0.5
        value, at = far.min(1)
        closer = value < best
        best, row = torch.where(closer, value, best), torch.where(closer, at + first, row)
    return best.cpu(), row.cpu()


def show_nearest(samples: Tensor, pictures: Pictures, file: Path) -> dict[str, float]:
    """The sheet of samples above their nearest renders, and the least and middle of the differences."""
    far, row = nearest(samples, pictures)
    close = pictures.images[row.to(pictures.images.device)].cpu().float() / 255
    rows = [part for pair in zip(samples.split(16), close.split(16), strict=True) for part in pair]
    write_png(torch.cat(rows), 16, file, zoom=2)
    return {"least": float(far.min()), "median": float(far.median()), "renders": len(pictures)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", default=EMBEDDED)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--perp-neg", type=float, default=0.0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    arguments = parser.parse_args()
    device = str(resolve_device(arguments.device))
    eyes, prompts, out = load_judge(arguments.judge, device), held_out.prompts(), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {"each": arguments.each, "scale": arguments.scale, "perp_neg": arguments.perp_neg}
    found["world"], _ = measure(eyes, world_draws(arguments.each, seed=71), prompts)
    found["turned"], _ = measure(eyes, world_draws(MULTIVIEW, 75, turned=True), prompts)
    if arguments.prior is not None:
        prior, scale = model.load(arguments.prior).to(device), arguments.scale
        drawn = {}
        for away in dict.fromkeys((0.0, arguments.perp_neg)):
            apart = " apart" if away else ""
            alone = prior_draws(prior, arguments.each, 72, scale, perp_neg=away)
            together = prior_draws(prior, MULTIVIEW, 74, scale, together=True, perp_neg=away)
            found["prior" + apart], drawn[away] = measure(eyes, alone, prompts)
            found["multiview" + apart], joint = measure(eyes, together, prompts)
        write_png(joint.unflatten(0, (-1, MULTIVIEW))[::MULTIVIEW].flatten(0, 1), 16, out / "multiview.png")
        write_png(drawn[arguments.perp_neg][:: arguments.each], 17, out / "held_out.png")
        write_png(sample(prior, [""] * 64, seed=73, scale=1.0), 16, out / "unconditional.png")
        if arguments.data is not None:
            pictures = Pictures(arguments.data, device)
            pictures.refresh()
            plain = drawn[0.0]  # these come closest
            picks = plain[torch.linspace(0, len(plain) - 1, 32).long()]
            found["nearest"] = show_nearest(picks, pictures, out / "nearest.png")
    (out / "evaluation.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
