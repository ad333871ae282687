"""A judge that would guide a setting is refused before anything is made."""

import pytest

from dreamfusion_mesh.evaluate.judges import SHIPPED
from tools.eval.__main__ import main


def call(monkeypatch, capsys, tmp_path, clip):
    (tmp_path / "prompts.txt").write_text("a red mug\na blue chair\n")
    (tmp_path / "list.yaml").write_text(f"plain:\nclip: {{guidance.loss: clip, guidance.clip: {clip}}}\n")
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
