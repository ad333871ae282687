"""Models on the hub: which files are wanted, what its cache holds, and every way in which fetching fails; the hub itself is a stand-in."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from commands import Ended, caller, check_refused
from hub_cache import COMMIT, empty_cache, keep
from huggingface_hub import errors
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import transformer, unet
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.models.mvdream_folder import PORT
from dreamfusion_mesh.guidance.weights.hub import Published, cached, published, snapshot_name, wanted_files
from dreamfusion_mesh.guidance.weights.licences import read_licences

REPOSITORY = {
    "README.md": 100,
    "model_index.json": 10,
    "v1-5-pruned.safetensors": 7 * 10**9,
    "v1-5-pruned.ckpt": 7 * 10**9,
    "unet/config.json": 10,
    "unet/diffusion_pytorch_model.bin": 3 * 10**9,
    "unet/diffusion_pytorch_model.safetensors": 3 * 10**9,
    "unet/diffusion_pytorch_model.fp16.safetensors": 15 * 10**8,
    "unet/diffusion_pytorch_model.non_ema.safetensors": 3 * 10**9,
    "unet/mv_unet.py": 10,
    "safety_checker/config.json": 10,
    "safety_checker/model.safetensors": 10**9,
    "vae_1_0/diffusion_pytorch_model.safetensors": 10**8,
    "text_encoder/config.json": 10,
    "text_encoder/model-00001-of-00002.safetensors": 10**9,
    "text_encoder/model-00002-of-00002.safetensors": 10**9,
    "text_encoder/model.safetensors.index.json": 10,
    "tokenizer/merges.txt": 10,
    "tokenizer/spiece.model": 10,
    "vae/diffusion_pytorch_model.fp16.bin": 10**8,
    "vae/diffusion_pytorch_model.safetensors": 10**8,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path / "hub", monkeypatch)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    return caller(monkeypatch, capfd, tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub that has `REPOSITORY` alone, and raises `fails` where that is set; `fetched` is what it was asked for."""
    stand_in = SimpleNamespace(fetched=[], fails=None, files=REPOSITORY)

    def model_info(self: object, name: str, *, revision: str, files_metadata: bool) -> Any:
        if stand_in.fails:
            raise stand_in.fails
        siblings = [SimpleNamespace(rfilename=file, size=size) for file, size in stand_in.files.items()]
        return SimpleNamespace(sha=COMMIT, siblings=siblings, card_data=SimpleNamespace(license="openrail++"))

    def snapshot_download(name: str, **asked: Any) -> str:
        stand_in.fetched.append((name, asked))
        return f"/cache/{name}/{COMMIT}"

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return stand_in


def test_safetensors_and_descriptions_of_each_part_are_wanted_once() -> None:
    plain = wanted_files(list(REPOSITORY), None)
    assert plain == sorted(
        [
            *("README.md", "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
            *("text_encoder/config.json", "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors"),
            *("text_encoder/model.safetensors.index.json", "tokenizer/merges.txt", "tokenizer/spiece.model"),
            "vae/diffusion_pytorch_model.safetensors",
        ]
    )
    half = wanted_files(list(REPOSITORY), "fp16")
    assert set(half) - set(plain) == {"unet/diffusion_pytorch_model.fp16.safetensors"}
    assert set(plain) - set(half) == {"unet/diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize(
    ("names", "variant", "weights"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], None, ["model.safetensors"]),
        (
            [
                "text_encoder/model.fp16-00001-of-00002.safetensors",
                "text_encoder/model.safetensors.index.fp16.json",
                "text_encoder/model.safetensors",
            ],
            "fp16",
            None,
        ),
        (
            [
                "text_encoder/model-00001-of-00002.fp16.safetensors",
                "text_encoder/model.safetensors.index.fp16.json",
                "text_encoder/model.safetensors",
            ],
            "fp16",
            None,
        ),
        (["model_index.json", "all.safetensors"], None, []),
    ],
)
def test_weights_lie_in_parts_or_in_the_root_of_a_model_without_any(
    names: list[str], variant: str | None, weights: list[str] | None
) -> None:
    index = ["model_index.json"] if names[0].startswith("text_encoder/") else []
    wanted = [name for name in wanted_files([*index, *names], variant) if ".safetensors" in name]
    assert wanted == (sorted(names[:2]) if weights is None else weights)


def test_every_part_that_a_layout_reads_is_wanted() -> None:
    for layout in (unet.LAYOUT, transformer.LAYOUT, PORT):
        files = [f"{part}/config.json" for part in (*layout.required, *layout.optional)]
        assert wanted_files(["model_index.json", *files], None) == sorted(["model_index.json", *files])


def test_a_name_is_a_preset_or_an_id_with_or_without_a_revision() -> None:
    assert published("sd15") == Published(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14", "fp16", "sd15"
    )
    assert published("prx-256") == Published("Photoroom/prx-256-t2i", "main", None, "prx-256")
    assert published("a/b") == Published("a/b", "main", None, "a/b")
    assert published("hf://a/b@v2") == Published("a/b", "v2", None, "hf://a/b@v2")
    assert published("https://huggingface.co/a/b/tree/dev") == Published("a/b", "dev", None, "https://huggingface.co/a/b/tree/dev")
    for name in ("embedded", "a", "a/b/c", "/a/b", "./a/b", "~/b"):
        assert published(name) is None


def test_fetching_says_what_and_how_much_beforehand_and_fetches_these_files_alone(
    command: Callable[..., Ended], hub: SimpleNamespace
) -> None:
    ended = command("models", "--download", "sd15")
    assert ended.returncode == 0
    assert ended.stderr == (f"fetching stable-diffusion-v1-5/stable-diffusion-v1-5 at {COMMIT}: 11 files, 3.6 GB; licence: openrail++\n")
    ((name, asked),) = hub.fetched
    assert name == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert asked["revision"] == "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
    assert asked["allow_patterns"] == wanted_files(list(REPOSITORY), "fp16")
    assert "use it with: dreamfusion-mesh generate PROMPT --model sd15" in ended.stdout
    assert command("models", "--download", "a/b@v2").returncode == 0
    assert hub.fetched[1][1]["revision"] == "v2"


class ConnectError(Exception):
    """As the library's own client raises it, whose package is another from version to version."""


RESPONSE: Any = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.GatedRepoError("403", response=RESPONSE), "is gated: accept its licence at https://huggingface.co/a/b, then log in"),
        (errors.RepositoryNotFoundError("404", response=RESPONSE), "is not on the hub: it was deleted or renamed, is private"),
        (errors.DisabledRepoError("403", response=RESPONSE), "is not on the hub: it was deleted"),
        (errors.RevisionNotFoundError("404", response=RESPONSE), "has no revision 'v9'; name one that https://huggingface.co/a/b/commits"),
        (ConnectError("Name or service not known"), "cannot be fetched (ConnectError: Name or service not known); connect"),
        (errors.OfflineModeIsEnabled("HF_HUB_OFFLINE=1"), "cannot be fetched (OfflineModeIsEnabled: HF_HUB_OFFLINE=1); connect"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "cannot be written to the cache ([Errno 28] No space left on device); make space",
        ),
        (errors.HfHubHTTPError("502\nBad Gateway", response=RESPONSE), "cannot be fetched (HfHubHTTPError: 502 Bad Gateway)"),
    ],
)
def test_what_cannot_be_fetched_is_refused_in_one_line(
    command: Callable[..., Ended], hub: SimpleNamespace, error: Exception, message: str
) -> None:
    hub.fails = error
    check_refused(command("models", "--download", "a/b@v9"), f"model 'a/b@v9' (a/b): {message}")


def test_pickles_are_not_fetched(command: Callable[..., Ended], hub: SimpleNamespace) -> None:
    hub.files = {"model_index.json": 1, "unet/config.json": 1, "unet/diffusion_pytorch_model.bin": 10**9}
    check_refused(command("models", "--download", "a/b"), "model 'a/b': has no safetensors, and pickles are not fetched")
    assert hub.fetched == []


def test_a_model_in_the_cache_guides_by_its_name_though_the_cache_holds_links(cache: Path, tmp_path: Path) -> None:
    commit = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
    made = write_folder(tmp_path / "made")
    (made / "model_index.json").write_text("{}")
    snapshot = keep(made, cache, "stable-diffusion-v1-5/stable-diffusion-v1-5", commit)
    for name in (
        "sd15",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        f"stable-diffusion-v1-5/stable-diffusion-v1-5@{commit}",
        str(snapshot),
    ):
        facts = load_guidance(GuidanceSettings(model=name), "cpu").provenance()
        assert facts["model"] == f"stable-diffusion-v1-5/stable-diffusion-v1-5@{commit}"
        assert list(facts["files"]) == ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]
    assert snapshot_name(tmp_path) is None
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (snapshot / "unet" / "config.json").unlink()
    (snapshot / "unet" / "config.json").symlink_to(outside)
    with pytest.raises(BadInput, match="points out of the folder"):
        load_guidance(GuidanceSettings(model="sd15"), "cpu")


def test_the_cards_of_a_model_in_the_cache_are_read_though_the_cache_holds_links(cache: Path, tmp_path: Path) -> None:
    made = write_folder(tmp_path / "made")
    (made / "model_index.json").write_text("{}")
    (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    edit_json(made / "text_encoder" / "config.json", model_type="t5gemma")
    snapshot = keep(made, cache, "owner/model")
    licences = read_licences(snapshot, ["unet", "text_encoder"])
    assert [(each["component"], each["licence"]) for each in licences] == [("model", ["apache-2.0"]), ("text_encoder", ["gemma"])]
    (snapshot / "README.md").unlink()
    (snapshot / "README.md").symlink_to(tmp_path / "outside.md")
    (tmp_path / "outside.md").write_text("---\nlicense: mit\n---\n")
    assert read_licences(snapshot, [])[0]["licence"] == []


def test_another_revision_in_the_cache_is_not_taken_for_the_pinned_one(cache: Path, tmp_path: Path) -> None:
    made = write_folder(tmp_path / "made")
    (made / "model_index.json").write_text("{}")
    snapshot = keep(made, cache, "stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert cached(Published("stable-diffusion-v1-5/stable-diffusion-v1-5")) == snapshot
    assert cached(Published("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14")) is None
    with pytest.raises(
        BadInput, match=r"guidance 'sd15': is no folder, and the hub's local cache does not hold sd15 .*models --download sd15"
    ):
        load_guidance(GuidanceSettings(model="sd15"), "cpu")
