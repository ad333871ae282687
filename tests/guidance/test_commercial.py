"""Licences through a whole run: what the user is shown, what provenance keeps, and what a later export goes by."""

import json

import pytest
from smoke_runs import SMALL_DELIVERY

from dreamfusion_mesh.cli import app
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.licences import judge_card
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.terminal import logged_warnings

LICENCES = [judge_card("model", {"license": "openrail++"}), judge_card("text_encoder", {"license": "other", "license_name": "gemma-terms"})]


class Relicensed:
    """The embedded model under other licences."""

    def __init__(self, model):
        self.inner, self.for_prompt = model, model.for_prompt

    def provenance(self):
        return {**self.inner.provenance(), "licences": LICENCES}


def _settings(**overrides):
    changes = ["device=cpu", "coarse.steps=2", "fine.steps=1", *SMALL_DELIVERY]
    return load_config("smoke", changes, {"prompt": "a red mug", **overrides})


def test_a_checked_licence_and_use_restrictions_are_shown_recorded_and_checked_again(embedded, tmp_path):
    model, folder = Relicensed(embedded), tmp_path / "run"
    with pytest.raises(BadInput, match=r"the licence of text_encoder/ is 'other' with license_name 'gemma-terms'\)"):
        generate(_settings(commercial=True), folder, guidance=model)
    assert not folder.exists()
    made = generate(_settings(commercial=True, licence_checked=True), folder, guidance=model)
    for shown in ("licence_checked=true: the licence of text_encoder/", "its use restrictions (Attachment A"):
        assert any(shown in line for line in made.warnings), shown
    notes = json.loads((folder / "provenance.json").read_text())
    assert notes["guidance"]["licences"] == LICENCES
    assert notes["settings"]["licence_checked"] is True
    with pytest.raises(BadInput, match="refused with --commercial"):
        export(folder, _settings(commercial=True))
    assert export(folder).warnings[:2] == made.warnings[:2]


def test_a_run_made_without_commercial_is_exported_commercially_once_its_licence_is_checked(embedded, tmp_path, capsys):
    folder = tmp_path / "run"
    generate(_settings(), folder, guidance=Relicensed(embedded))
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(BadInput, match=r"'gemma-terms'\).*use --set licence_checked=true$"):
        app(["export", str(folder), "--commercial"], standalone_mode=False)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    with logged_warnings():
        app(["export", str(folder), "--commercial", "--set", "licence_checked=true"], standalone_mode=False)
    assert "passes with --commercial because licence_checked=true: the licence of text_encoder/" in capsys.readouterr().err
    settings = json.loads((folder / "provenance.json").read_text())["settings"]
    assert (settings["commercial"], settings["licence_checked"]) == (True, True)
