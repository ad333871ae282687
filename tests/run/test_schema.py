"""Files that outlive a version: older ones are read or refused by name, newer ones refused with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from dreamfusion_mesh.config import dump, load_config, schema
from dreamfusion_mesh.config.schema import Migration, migrate
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.find import find_run
from dreamfusion_mesh.run.folder import RunFolder

CONFIG = load_config("smoke", overrides={"prompt": "a red mug"})
TWO_MIGRATIONS = (
    Migration(),
    Migration(
        renamed={"coarse.pace": "coarse.learning_rate", "look.size": "texture.size"},
        dropped=("coarse.chatty",),
        refused={"fine.magic": "choose fine.tet_size", "guidance.old": "use guidance.scale"},
    ),
)


def settings(**values: object) -> dict[str, object]:
    return {"prompt": "a red mug", **values}


def test_settings_say_their_schema_and_it_is_no_setting(tmp_path: Path) -> None:
    run = find_run(tmp_path, CONFIG)
    run.keep_config(CONFIG)
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["schema"] == schema.SCHEMA == 1
    assert run.config() == CONFIG
    assert load_config(str(tmp_path / "run.yaml")) == CONFIG
    with pytest.raises(BadInput, match="schema: unknown setting"):
        load_config("smoke", ["schema=1"])


def test_a_preset_made_from_a_run_may_be_a_base(tmp_path: Path) -> None:
    RunFolder(tmp_path).keep_config(CONFIG)
    (tmp_path / "mine.yaml").write_text(f"base: {tmp_path / 'run.yaml'}\nseed: 7\n")
    assert load_config(str(tmp_path / "mine.yaml")) == CONFIG.model_copy(update={"seed": 7})


def test_settings_without_a_schema_are_read_as_the_oldest(tmp_path: Path) -> None:
    values = yaml.safe_load(dump(CONFIG))
    del values["schema"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    assert RunFolder(tmp_path).config() == CONFIG
    assert load_config(str(tmp_path / "run.yaml")) == CONFIG


@pytest.mark.parametrize("found", [None, 0, 1])
def test_older_settings_are_renamed_and_dropped(found: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", TWO_MIGRATIONS)
    values = settings(coarse={"pace": 0.5, "chatty": True, "steps": 3}, look={"size": 512})
    old = values if found is None else {"schema": found, **values}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(old))
    config = RunFolder(tmp_path).config()
    assert (config.coarse.learning_rate, config.coarse.steps, config.texture.size) == (0.5, 3, 512)
    assert load_config(str(tmp_path / "run.yaml")) == config
    assert migrate(old, "x") == settings(coarse={"learning_rate": 0.5, "steps": 3}, texture={"size": 512})
    assert values == settings(coarse={"pace": 0.5, "chatty": True, "steps": 3}, look={"size": 512})


def test_current_settings_are_not_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", TWO_MIGRATIONS)
    values = settings(coarse={"pace": 0.5})
    assert migrate({"schema": 2, **values}, "x") == values  # an unknown setting, which its reader refuses


def test_settings_without_an_equivalent_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", TWO_MIGRATIONS)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings(schema=1, fine={"magic": 1}, guidance={"old": 2})))
    with pytest.raises(BadInput) as caught:
        RunFolder(tmp_path).config()
    changed = "since schema 1 these have changed: fine.magic (choose fine.tet_size), guidance.old (use guidance.scale)"
    assert str(caught.value) == f"{tmp_path / 'run.yaml'}: {changed}; this version reads schema 2"


@pytest.mark.parametrize("values", [{"coarse": 3, "look": None}, {"texture": 3, "look": {"size": 5}}, {"fine": [1]}])
def test_groups_that_are_no_groups_are_left_to_the_reader(values: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", TWO_MIGRATIONS)
    assert migrate(values, "x").get("coarse") == values.get("coarse")
    with pytest.raises(BadInput):
        open_values(migrate(values, "x"))


def open_values(values: dict[str, object]) -> None:
    from dreamfusion_mesh.config import resolve

    resolve(values)


@pytest.mark.parametrize("found", [2, 99])
def test_settings_of_a_newer_schema_are_refused_with_the_remedy(found: int, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(dump(CONFIG).replace("schema: 1", f"schema: {found}"))
    wanted = f"run.yaml.*: is of schema {found}, this version reads up to 1; install the one that wrote it, or name another preset"
    for read in (RunFolder(tmp_path).config, lambda: load_config(str(tmp_path / "run.yaml")), lambda: find_run(tmp_path, CONFIG)):
        with pytest.raises(BadInput, match=wanted):
            read()


@pytest.mark.parametrize("found", ["one", "1.5", "-1", "true", "[1]"])
def test_a_schema_is_a_whole_number(found: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(dump(CONFIG).replace("schema: 1", f"schema: {found}"))
    with pytest.raises(BadInput, match=r"schema: expected a whole number from 0 to 1 .*; name another preset"):
        RunFolder(tmp_path).config()


def test_checkpoints_carry_a_schema_and_notes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_state("fine", {"a": torch.zeros(2)}, {"guidance": {"model": "embedded"}, "seconds": {"fine": 1.5}})
    with safe_open(tmp_path / "checkpoints" / "fine.safetensors", "pt") as file:
        assert file.metadata()["schema"] == "2"
    assert run.load_notes("fine") == {"guidance": {"model": "embedded"}, "seconds": {"fine": 1.5}}
    assert set(run.load_state("fine") or {}) == {"a"}


@pytest.mark.parametrize(
    ("notes", "wanted"),
    [
        ({"schema": "3"}, "is of schema 3, this version reads up to 2; install the one that wrote it, or delete it to redo its stage"),
        (
            {"schema": "1"},
            "is of schema 1, this version reads 2 .optimisers and the field's heads have names, `seen` is `lookup_sdf`, "
            "notes lie with the tensors.; use the one that wrote it, or delete it to redo its stage",
        ),
        ({"schema": "first"}, "schema: expected a whole number from 0 to 2 .given 'first'.; delete it to redo its stage"),
        ({"schema": "2", "guidance": "{"}, "its notes cannot be read .*; delete it to redo its stage"),
    ],
)
def test_checkpoints_of_another_schema_or_with_broken_notes_are_refused(notes: dict[str, str], wanted: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    save_file({"a": torch.zeros(2)}, tmp_path / "checkpoints" / "coarse.safetensors", notes)
    with pytest.raises(BadInput, match=rf"coarse\.safetensors: {wanted}"):
        RunFolder(tmp_path).load_state("coarse")
