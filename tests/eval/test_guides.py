"""A judge that would guide a setting is refused before anything is made."""

import pytest
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.evaluate.judges import SHIPPED
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from tools.eval.__main__ import main


def call(monkeypatch, capsys, tmp_path, clip, more=""):
    (tmp_path / "prompts.txt").write_text("a red mug\na blue chair\n")
    (tmp_path / "list.yaml").write_text(f"plain:\nclip: {{guidance.loss: clip, guidance.clip: {clip}}}\n{more}")
    words = ["--prompts", tmp_path / "prompts.txt", "--settings", tmp_path / "list.yaml", "--out", tmp_path / "out", "--preset", "smoke"]
    monkeypatch.setattr("sys.argv", ["tools.eval", *map(str, words)])
    monkeypatch.setattr("tools.eval.__main__.run_settings", lambda *_: pytest.fail("a batch began"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


def test_the_judge_may_not_guide_a_setting(monkeypatch, capsys, tmp_path):
    told = call(monkeypatch, capsys, tmp_path, SHIPPED).removesuffix("\n")
    assert told == "error: judge: its weights guide the setting clip (image/model.safetensors is the same file); name another with --judge"


def test_a_setting_whose_model_is_missing_is_told(monkeypatch, capsys, tmp_path):
    told = call(monkeypatch, capsys, tmp_path, tmp_path / "nowhere")
    assert told.count("\n") == 1
    assert "nowhere': does not exist" in told


def test_a_loss_that_the_model_cannot_serve_is_told(monkeypatch, capsys, tmp_path):
    edit_json(write_folder(tmp_path / "distilled") / "unet" / "config.json", time_cond_proj_dim=256)
    capsys.readouterr()  # what the libraries say of writing it
    told = call(monkeypatch, capsys, tmp_path, "embedded", f"csd: {{guidance.loss: csd, guidance.model: {tmp_path / 'distilled'}}}\n")
    assert told.startswith("error: guidance.loss csd: compares the words with none")
    assert told.count("\n") == 1


def test_the_weights_of_a_model_are_hashed_once_whatever_the_losses(monkeypatch, capsys, tmp_path):
    hashed, provenance = [], ModelFiles.provenance
    monkeypatch.setattr(ModelFiles, "provenance", lambda files: (hashed.append(files.source.name), provenance(files))[1])
    more = "".join(f"{loss}: {{guidance.loss: {loss}}}\n" for loss in ("csd", "cfd", "sdi"))
    call(monkeypatch, capsys, tmp_path, SHIPPED, more)
    assert hashed.count("embedded") == 2  # the judge of that name, and the diffusion model
