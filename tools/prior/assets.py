"""Make assets of held-out prompts and have the judge look at them: `python -m tools.prior.assets OUT [--model FOLDER] [--judge FOLDER]
[--count 12] [--preset demo] [--set NAME=VALUE ...]`.

OUT/<number>/ is the asset of the prompt of that number; one that is begun is gone on with. OUT/assets.png shows a prompt a row: four sides
textured, the same as clay. OUT/assets.json holds the R-Precision (DreamFusion, arXiv:2209.14988, section 4) of the eight pictures of each
asset's preview, and every asset's own share:

    colour        textured pictures whose own prompt the judge picks among all 153
    textureless   clay pictures whose kind is right in the clay caption that it picks among all 153
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings, load_config
from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.evaluate.judges import load_judge
from dreamfusion_mesh.evaluate.precision import choose
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.prompts import textureless_prompt
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.render.previews import COLUMNS, VIEWS
from dreamfusion_mesh.run.device import resolve_device
from tools.prior import held_out
from tools.prior.captions import parse
from tools.prior.renders import SIZE
from tools.prior.sheet import write_png


def chosen(count: int) -> list[int]:
    """Rows of held-out prompts, spread over all kinds and forms."""
    whole = len(held_out.prompts())
    step = -(-whole // count)
    return list(range(0, whole, step + (step % 3 == 0)))[:count]  # three forms a kind follow one another: a step of three would see one


def read_preview(file: Path) -> Tensor:
    """The views [16, 64, 64, 3] in [0, 1] of an asset's preview, averaged down: the textured ones, then the clay ones."""
    import numpy as np
    from PIL import Image

    with Image.open(file) as picture:
        sheet = picture.convert("RGB").resize((COLUMNS * SIZE,) * 2, Image.Resampling.BOX)
    tiles = torch.from_numpy(np.asarray(sheet).copy()).float() / 255
    rows = 2 * VIEWS // COLUMNS
    return tiles.reshape(rows, SIZE, COLUMNS, SIZE, 3).transpose(1, 2).reshape(-1, SIZE, SIZE, 3)


def precision(eyes: ImageTextModel, previews: Mapping[int, Tensor]) -> list[dict[str, object]]:
    """For the preview [16, 64, 64, 3] of each row of the prompts: its prompt, its shares, and what the judge took most pictures for."""
    prompts, words = held_out.prompts(), GuidanceSettings().textureless_words
    clay = [textureless_prompt(words, prompt) for prompt in prompts]
    found: list[dict[str, object]] = []
    for row, views in previews.items():
        picked = choose(eyes, views[:VIEWS], prompts)
        grey = choose(eyes, views[VIEWS:], clay)
        kinds = [parse(clay[at]).scene.thing.kind for at in grey.tolist()]
        right = [kind == parse(prompts[row]).scene.thing.kind for kind in kinds]
        found.append(
            {
                "prompt": prompts[row],
                "colour": float((picked == row).float().mean()),
                "textureless": sum(right) / len(right),
                "taken for": prompts[int(picked.mode().values)],
                "clay taken for": max(sorted(set(kinds)), key=kinds.count),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", default=EMBEDDED)
    parser.add_argument("--model", default=GuidanceSettings().model)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    rows, prompts = chosen(arguments.count), held_out.prompts()
    config = load_config(arguments.preset, [f"guidance.model={arguments.model}", *arguments.set])
    guidance, previews = load_guidance(config.guidance, resolve_device(config.device)), {}
    for row in rows:
        asked = config.model_copy(update={"prompt": prompts[row]})
        try:
            made = generate(asked, arguments.out / f"{row:03d}", guidance=guidance)
        except RunFailed as error:  # counts as wrong from all sides
            print(f"{prompts[row]}: {error}", flush=True)
            continue
        previews[row] = read_preview(made.folder / "preview.png")
        failed = [line.property for line in made.audit.rows if line.status == "fail"]
        print(f"{prompts[row]}: audit {'failed: ' + ', '.join(failed) if failed else 'passed'}", flush=True)
    found = precision(load_judge(arguments.judge, "cpu"), previews)
    shares = {name: sum(float(str(asset[name])) for asset in found) / len(rows) for name in ("colour", "textureless")}
    (arguments.out / "assets.json").write_text(json.dumps({**shares, "assets": found}, indent=2) + "\n", encoding="utf-8")
    sides = torch.arange(0, 2 * VIEWS, VIEWS // COLUMNS)
    write_png(torch.cat([views[sides] for views in previews.values()]), len(sides), arguments.out / "assets.png", zoom=2)
    for asset in found:
        print("  ".join(f"{name}: {value}" for name, value in asset.items()))
    print("R-Precision: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))


if __name__ == "__main__":
    main()
