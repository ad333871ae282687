"""The card says what is in the folder and what was measured, and nothing that was not."""

import hashlib

from dreamfusion_mesh.guidance.weights.licences import read_licences
from tools.prior import judge
from tools.prior.captions import COLOURS, FINISHES
from tools.prior.card import write_card, write_judge_card
from tools.prior.files import write_rows
from tools.prior.kinds import KINDS
from tools.prior.model import RECIPES, Prior, export

SHARES = {"prompt": 0.512, "kind": 0.623, "colour": 0.734, "part": 0.845, "clay": 0.956, "view": 0.401}


def test_the_card_holds_hashes_words_and_measured_shares(tmp_path):
    export(Prior(RECIPES["tiny"].size), tmp_path)
    write_rows([{"step": 1234, "loss": 0.5678, "images": 91011}], tmp_path / "loss.csv")
    world = {name: 0.99 for name in SHARES}
    measured = {
        "each": 4,
        "scale": 3.0,
        "perp_neg": 1.5,
        "world": world,
        "prior": SHARES,
        "multiview": world | {"view": 0.678},
        "multiview apart": world | {"view": 0.789},
        "nearest": {"least": 0.123, "median": 0.234, "renders": 4242},
    }
    seen = {"taken_for": "a pink cup", "clay_taken_for": "a bucket"}
    made = {"prompt": "a red mug", "values": {"colour": 0.375, "textureless": 0.625}, **seen}
    empty = {"prompt": "a blue hat", "values": {"colour": 0.0, "textureless": 0.0}}  # failed, so that nothing was seen of it
    means = {"colour": {"value": 0.391}, "textureless": {"value": 0.417}}
    assets = {"pool": {"prompts": 153}, "views": {"azimuths": 12}, "groups": [{"means": means}], "runs": [made, empty]}
    (tmp_path / "nearest.png").touch()
    card = write_card(tmp_path, tmp_path, measured, "on a bench", assets)
    for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        assert f"| `{name}` | `{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}` |" in card
    for word in (*KINDS, *COLOURS, *FINISHES, *(kind.part for kind in KINDS.values())):
        assert word in card
    for figure in (
        "on a bench",
        "guidance 3.\n",
        "four together, Perp-Neg 1.5 |",
        "1234 steps",
        "91011 renders",
        "0.5678",
        "51.2%",
        "62.3%",
        "73.4%",
        "84.5%",
        "95.6%",
        "40.1%",
        "67.8%",
        "78.9%",
        "0.123",
        "4242",
        "39.1%",
        "41.7%",
        "2 assets",
        "among 153 prompts",
        "over 12 sides",
        "| a red mug | 38% | 62% | a pink cup | a bucket |",
        "| a blue hat | 0% | 0% | - | - |",
        "(nearest.png)",
    ):
        assert figure in card
    assert "held_out.png" not in card  # is not there
    (tmp_path / "README.md").write_text(card)
    assert [licence["licence"] for licence in read_licences(tmp_path, [])] == [["apache-2.0"]]


def test_the_card_leaves_out_what_was_not_measured(tmp_path):
    export(Prior(RECIPES["tiny"].size), tmp_path)
    card = write_card(tmp_path, tmp_path, {}, "")
    assert "Not measured." in card
    assert "%  |" not in card
    assert "judge's pick" not in card


def test_the_judges_card_holds_its_hash_and_what_it_makes_of_real_renders_alone(tmp_path):
    recipe = judge.JUDGES["tiny"]
    judge.export(judge.Judge(recipe.channels, recipe.width, recipe.layers), tmp_path)
    write_rows([{"step": 1234, "loss": 0.5678, "images": 91011}], tmp_path / "loss.csv")
    measured = {"each": 4, "scale": 3.0, "world": dict.fromkeys(SHARES, 0.991), "prior": SHARES}
    card = write_judge_card(tmp_path, tmp_path, measured, "on a bench")
    for name in ("image/model.safetensors", "text/model.safetensors"):
        assert f"| `{name}` | `{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}` |" in card
    assert all(figure in card for figure in ("99.1%", "1234 steps", "8, 16, 32 channels", "on a bench"))
    assert "51.2%" not in card
    assert "never guides" in card
    other = write_judge_card(tmp_path, tmp_path, measured, "on a bench", guides=True, commands=["python -m a", "python -m b"])
    assert "It is not the judge" in other
    assert "    python -m a\n    python -m b\n" in other
    assert "The judge's pick" not in other
    assert other.splitlines()[-3:] == card.splitlines()[-3:], "the same files"
