"""Write a prior's model card: `python -m tools.prior.card MODEL --run RUN --evaluation FILE [--trained "on what, for how long"]`.

Every figure in it is read from the files that training and evaluation wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.guidance.folder import fingerprint
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from tools.prior.captions import COLOURS, FINISHES, SIZES
from tools.prior.files import read_rows
from tools.prior.kinds import KINDS
from tools.prior.renders import VIEWS

_SHARES = {
    "prompt": "the whole prompt, among 153",
    "kind": "kind",
    "colour": "colour",
    "part": "part's colour",
    "clay": "kind, as grey clay, among 153",
    "view": "view, among four, of kinds that have sides",
}


def write_card(model: Path, run: Path, evaluation: dict[str, Any], trained: str) -> str:
    """The card's text, in Markdown with the metadata that loaders read the licence from."""
    unet = json.loads((model / "unet" / "config.json").read_text(encoding="utf-8"))
    text = json.loads((model / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    patch, rows = 64 // unet["sample_size"], read_rows(run / "loss.csv")
    last = rows[-1] if rows else {}
    sections = [
        "---\nlicense: apache-2.0\nlibrary_name: diffusers\n---\n# The embedded prior\n",
        "A small text-to-image diffusion model that travels with the package, so that the whole way from words to mesh runs without a "
        "download. It draws a world of toy objects and nothing else. Licence: Apache-2.0.\n",
        "## What it is\n",
        _table(
            ["part", "what"],
            [
                ["`unet/`", "`UNet2DConditionModel`; predicts the clean image (`prediction_type: sample`)"],
                ["`text_encoder/`", f"`CLIPTextModel`, {text['num_hidden_layers']} layers; all places are read, without an attention mask"],
                ["`tokenizer/`", f'word level, lower case; texts are padded to {text["max_position_embeddings"]} tokens, "" is no text'],
                ["`scheduler/`", "1000 times, cosine betas (`squaredcos_cap_v2`)"],
            ],
        ),
        f"Images are 64 x 64 RGB in [-1, 1], folded by `pixel_unshuffle({patch})` into {unet['in_channels']} channels of "
        f"{unet['sample_size']} x {unet['sample_size']}; there is no VAE. The pooled text is added to the time embedding.\n",
        "## Where it comes from\n",
        f"Trained from scratch {trained} on renders of procedural objects that `tools/prior` draws: "
        f"{last.get('step', 0):.0f} steps, {last.get('images', 0):.0f} renders, last loss {last.get('loss', float('nan')):.4g}. "
        "No images, weights or texts of others went into it.\n",
        "## Words it knows\n",
        *_words(),
        "## Views and light it was taught\n",
        *_views(),
        "## How well it does\n",
        *_shares(evaluation),
        "## Limits\n",
        "- Anything outside the lists above is outside what it has seen.\n"
        "- The judge was trained on the same world: it says how far samples are like it, not how good they are.\n",
        "## Files\n",
        _table(["file", "SHA-256"], [[f"`{name}`", f"`{fingerprint(model / name)}`"] for name in _weights(model)]),
    ]
    return "\n".join(sections)


def _weights(model: Path) -> list[str]:
    return sorted(file.relative_to(model).as_posix() for file in model.rglob("*.safetensors"))


def _words() -> list[str]:
    kinds = ", ".join(" or ".join(kind.words) for kind in KINDS.values())
    parts = ", ".join(f"{name}: {kind.part}" for name, kind in KINDS.items())
    finishes, sizes = (", ".join(" or ".join(words) for words in table.values()) for table in (FINISHES, SIZES))
    carriers = ", ".join(name for name, kind in KINDS.items() if kind.carries)
    return [
        f"- kinds: {kinds}\n- colours: {', '.join(COLOURS)}\n- finishes: {finishes}\n- sizes: {sizes}",
        f'- parts that may have a colour of their own, by these names or as "parts": {parts}',
        f'- phrases: "a red mug", "a small wooden chair with white legs", "a red mushroom with white parts", "a blue bird on a red box" '
        f"(on: {carriers})",
        f'- the textureless state: "a grey clay mug"\n- views, at the end: {", ".join(f"`{suffix}`" for suffix in VIEW_SUFFIXES)}\n',
    ]


def _views() -> list[str]:
    drawn: ViewSettings = VIEWS
    return [
        f"- distance {_span(drawn.distance)}, vertical field of view {_span(drawn.fov_y_degrees)} degrees, elevation "
        f"{_span(drawn.elevation_degrees)}, {drawn.overhead:.0%} from {_span(drawn.overhead_elevation_degrees)}; objects about 1.4 across",
        f"- flat colour, light ({drawn.lambertian:.0%}) or light on grey clay ({drawn.textureless:.0%}): ambient {drawn.ambient:g}, "
        f"diffuse {drawn.diffuse:g} from above the camera, with some stray; one plain background of any colour\n",
    ]


def _span(span: tuple[float, float]) -> str:
    return f"{span[0]:g} to {span[1]:g}"


def _shares(evaluation: dict[str, Any]) -> list[str]:
    held = {name: evaluation[name] for name in ("world", "prior") if name in evaluation}
    if not held:
        return ["Not measured.\n"]
    rows = [[text, *(f"{shares[key]:.1%}" for shares in held.values())] for key, text in _SHARES.items()]
    names = {"world": "real renders", "prior": "samples"}
    lines = [
        f"The judge's pick is right for this share of pictures; 153 held-out prompts, whose look training never showed, each "
        f"{evaluation['each']} times, guidance {evaluation['scale']:g}.\n",
        _table(["right", *(names[name] for name in held)], rows),
    ]
    if "nearest" in evaluation:
        near = evaluation["nearest"]
        lines.append(
            f"Of {near['renders']} training renders, the nearest to each of 32 samples differs by a root mean square of "
            f"{near['least']:.3f} at least and {near['median']:.3f} in the middle.\n"
        )
    return lines


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--trained", default="")
    arguments = parser.parse_args()
    evaluation = json.loads(arguments.evaluation.read_text(encoding="utf-8"))
    file = arguments.model / "README.md"
    file.write_text(write_card(arguments.model, arguments.run, evaluation, arguments.trained), encoding="utf-8")
    print(file)


if __name__ == "__main__":
    main()
