"""Write a model's card: `python -m tools.prior.card MODEL --run RUN --evaluation FOLDER [--assets FILE] [--trained "on what"]
[--guides] [--command LINE ...]`.

MODEL is a prior's folder, a judge's, or, with --guides, that of the CLIP of the baselines, which is made as a judge is; --command is a line
that made it. Every figure is read from the files that training and evaluation wrote, and from the JSON of `dreamfusion-mesh evaluate` of
one group of assets; evaluation's sheets are copied beside a prior's card.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from dreamfusion_mesh.guidance.weights.folder import fingerprint
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


_SHEETS = {
    "held_out.png": "The 153 held-out prompts in the file's order; front, side, back and overhead views by turns",
    "multiview.png": "Every fourth held-out prompt, four to a line: its front, side, back and overhead views, made together",
    "unconditional.png": "No words",
    "nearest.png": "Samples, each above the training render nearest to it",
}


def write_card(model: Path, run: Path, evaluation: dict[str, Any], trained: str, assets: dict[str, Any] | None = None) -> str:
    """The card's text, in Markdown with the metadata that loaders read the licence from; shows the sheets that lie in `model`."""
    unet = json.loads((model / "unet" / "config.json").read_text(encoding="utf-8"))
    text = json.loads((model / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    patch = 64 // unet["sample_size"]
    sections = [
        "---\nlicense: apache-2.0\nlibrary_name: diffusers\n---\n# The embedded prior\n",
        "A small text-to-image diffusion model that travels with the package, so that the whole way from words to mesh runs without a "
        "download. It draws a world of toy objects and nothing else. Licence: Apache-2.0.\n",
        "## What it is\n",
        _table(
            ["part", "what"],
            [
                ["`unet/`", "`UNet2DConditionModel`; predicts the clean image (`prediction_type: sample`)"],
                ["`text_encoder/`", f"`CLIPTextModel`, {text['num_hidden_layers']} layers; all tokens are read, without an attention mask"],
                ["`tokenizer/`", f'word level, lower case; texts are padded to {text["max_position_embeddings"]} tokens, "" is no text'],
                ["`scheduler/`", "1000 times, cosine betas (`squaredcos_cap_v2`)"],
            ],
        ),
        f"Images are 64 x 64 RGB in [-1, 1], folded by `pixel_unshuffle({patch})` into {unet['in_channels']} channels of "
        f"{unet['sample_size']} x {unet['sample_size']}; there is no VAE. The pooled text is added to the time embedding.\n",
        "It sees each image alone, or four views of one object together (`guidance.multiview`), as MVDream does: then self-attention spans "
        f"the four, and the cameras are given as {unet['projection_class_embeddings_input_dim']} numbers each; without them these are 0.\n",
        "## Where it comes from\n",
        _origin(run, trained),
        "## Words it knows\n",
        *_words(),
        "## Views and light it was taught\n",
        *_views(),
        "## How well it does\n",
        *_shares(evaluation),
        *_assets(assets),
        *[f"![{text}]({name})\n*{text}.*\n" for name, text in _SHEETS.items() if (model / name).is_file()],
        "## Limits\n",
        "- Anything outside the lists above is outside what it has seen.\n"
        "- The judge was trained on the same world: it shows how far samples are like it, not how good they are. Many of the 153 prompts "
        "have colours that no other has, so it may pick them by colours alone; the clay figures are those of shape.\n",
        *_files(model),
    ]
    return "\n".join(sections)


_JUDGE = (
    "# The judge\n",
    "A small CLIP that measures how well 64 x 64 pictures and captions of the prior's world fit. It evaluates the prior and the assets "
    "made with it, and never guides. Licence: Apache-2.0.\n",
    "Its renders are other ones than the prior's, show the held-out looks too, and are moved, blurred, compressed, tinted and made "
    "noisy; it shares no weights with the prior.\n",
)
_GUIDE = (
    "# The CLIP of the baselines\n",
    "A small CLIP that guides where `guidance.loss` is `clip`, as Dream Fields and CLIP-Mesh are guided. It is not the judge, and never "
    "evaluates: it has another seed and other data, and is smaller. Licence: Apache-2.0.\n",
    "Its renders are other ones than the prior's and the judge's, show none of the held-out looks, and are moved, blurred, compressed, "
    "tinted and made noisy; it shares no weights with either. The world and its words it shares with both.\n",
)


def write_judge_card(
    model: Path, run: Path, evaluation: dict[str, Any], trained: str, guides: bool = False, commands: Sequence[str] = ()
) -> str:
    """The judge's card, likewise, or that of a CLIP that guides; `commands` made it."""
    title, use, renders = _GUIDE if guides else _JUDGE
    image, text = (json.loads((model / part / "config.json").read_text(encoding="utf-8")) for part in ("image", "text"))
    world = {name: share for name, share in evaluation.items() if name in ("each", "world", "turned")}
    sections = [
        f"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n{title}",
        use,
        f"`image/` is a `ResNetForImageClassification` of {', '.join(map(str, image['hidden_sizes']))} channels whose classifier is the "
        f"projection to {text['projection_dim']} numbers, `text/` a `CLIPTextModelWithProjection` of {text['num_hidden_layers']} layers, "
        f"{text['hidden_size']} wide: the prior's words, in at most {text['max_position_embeddings']} tokens.\n",
        "## Where it comes from\n",
        _origin(run, trained),
        renders,
        *["".join(f"    {command}\n" for command in commands)] * bool(commands),
        "## How well it does\n",
        *_shares(world, "Its" if guides else "The judge's"),
        "It knows this world alone: its results for other pictures or words mean nothing.\n",
        *_files(model),
    ]
    return "\n".join(sections)


def _origin(run: Path, trained: str) -> str:
    rows = read_rows(run / "loss.csv")
    last = rows[-1] if rows else {}
    return (
        f"Trained from scratch {trained} on renders of procedural objects that `tools/prior` draws: "
        f"{last.get('step', 0):.0f} steps, {last.get('images', 0):.0f} renders, last loss {last.get('loss', float('nan')):.4g}. "
        "No images, weights or texts of others went into it.\n"
    )


def _files(model: Path) -> list[str]:
    return ["## Files\n", _table(["file", "SHA-256"], [[f"`{name}`", f"`{fingerprint(model / name)}`"] for name in _weights(model)])]


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


def _shares(evaluation: dict[str, Any], who: str = "The judge's") -> list[str]:
    apart = f", Perp-Neg {evaluation.get('perp_neg', 0.0):g}"
    names = {
        "world": "real renders from anywhere",
        "prior": "samples from words alone",
        "prior apart": "samples from words alone" + apart,
        "turned": "real renders from four set cameras",
        "multiview": "samples of these four together",
        "multiview apart": "samples of these four together" + apart,
    }
    held = {name: evaluation[name] for name in names if name in evaluation}
    if not held:
        return ["Not measured.\n"]
    rows = [[text, *(f"{shares[key]:.1%}" for shares in held.values())] for key, text in _SHARES.items()]
    guided = f", guidance {evaluation['scale']:g}" if "prior" in held else ""
    lines = [
        f"{who} pick is right for this share of pictures; 153 held-out prompts, whose look the prior's training never "
        f"showed; pictures each: {evaluation['each']}{guided}.\n",
        _table(["right", *(names[name] for name in held)], rows),
    ]
    if "prior apart" in held:
        lines.append("Perp-Neg guides away from what the words of other views would give (`guidance.perp_neg`).\n")
    if "nearest" in evaluation:
        near = evaluation["nearest"]
        lines.append(
            f"Of {near['renders']} training renders, the nearest to each of 32 samples differs by a root mean square of "
            f"{near['least']:.3f} at least and {near['median']:.3f} in the middle.\n"
        )
    return lines


def _assets(assets: dict[str, Any] | None) -> list[str]:
    if assets is None:
        return []
    (group,) = assets["groups"]
    shares = {name: f"{group['means'][name]['value']:.1%}" for name in ("colour", "textureless")}
    rows = [
        [run["prompt"], *(f"{run['values'][name]:.0%}" for name in shares), run.get("taken_for", "-"), run.get("clay_taken_for", "-")]
        for run in assets["runs"]
    ]
    return [
        f"{len(rows)} assets that `generate` made with it: R-Precision among {assets['pool']['prompts']} prompts, over "
        f"{assets['views']['azimuths']} sides each, {shares['colour']} in colour, {shares['textureless']} textureless.\n",
        _table(["asset", "colour", "textureless", "mostly taken for", "as clay for"], rows),
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--assets", type=Path, help="JSON of `dreamfusion-mesh evaluate` of one group")
    parser.add_argument("--trained", default="")
    parser.add_argument("--guides", action="store_true")
    parser.add_argument("--command", action="append", default=[])
    arguments = parser.parse_args()
    evaluation = json.loads((arguments.evaluation / "evaluation.json").read_text(encoding="utf-8"))
    model, run, trained = arguments.model, arguments.run, arguments.trained
    if (model / "unet").is_dir():
        assets = None if arguments.assets is None else json.loads(arguments.assets.read_text(encoding="utf-8"))
        for name in _SHEETS:
            if (arguments.evaluation / name).is_file():
                shutil.copyfile(arguments.evaluation / name, model / name)
        text = write_card(model, run, evaluation, trained, assets)
    else:
        text = write_judge_card(model, run, evaluation, trained, arguments.guides, arguments.command)
    (model / "README.md").write_text(text, encoding="utf-8")
    print(model / "README.md")


if __name__ == "__main__":
    main()
