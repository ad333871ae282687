"""docs/SETTINGS.md has every setting as the models have it, and can be reached from --help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import caller

from dreamfusion_mesh.config import RunConfig, load_config, setting_schemas
from dreamfusion_mesh.config.page import settings_page
from dreamfusion_mesh.errors import BadInput

PAGE = Path(__file__).parents[2] / "docs" / "SETTINGS.md"
ENTRY = re.compile(r"^- `([\w.]+)` = `(.*?)`; (.*?)\. (\S.*)$", re.DOTALL)


def entries(text: str) -> list[tuple[str, str, str, str]]:
    """Name, default, what is allowed and what it is, of each entry of a page."""
    items = [" ".join(item.split()) for item in re.split(r"\n(?=- |\n)", text) if item.startswith("- ")]
    found = [ENTRY.match(item) for item in items]
    assert all(found), [item for item, match in zip(items, found, strict=True) if match is None]
    return [match.groups() for match in found if match]  # type: ignore[misc]


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "write it anew: dreamfusion-mesh settings > docs/SETTINGS.md"


def test_every_setting_is_there_once_with_words_of_its_own() -> None:
    found = entries(settings_page())
    assert sorted(name for name, *_ in found) == sorted(setting_schemas())
    assert [name for name, *_, words in found if not words.endswith(".") or len(words) < 15] == []


def test_the_defaults_read_back() -> None:
    changes = [f"{name}={default}" for name, default, *_ in entries(settings_page())]
    assert load_config("default", changes) == RunConfig()


def test_ranges_and_papers_are_those_of_the_models() -> None:
    found = {name: (takes, words) for name, _, takes, words in entries(settings_page())}
    assert found["guidance.scale"][0] == "a number from 0 to 200"
    assert found["coarse.gradient_clip_by"][0] == "one of norm, value", "a setting of the group that it extends"
    assert found["fine.t_max"][0] == "two numbers from 0 to 1"
    assert found["coarse.warm_start.background"][0] == "three numbers from 0 to 1"
    assert found["audit.mip"][0] == "a whole number from 0 to 6 or auto"
    assert "[arXiv:2304.04968](https://arxiv.org/abs/2304.04968)" in found["guidance.perp_neg"][1]


@pytest.mark.parametrize("name", ["sdi", "csd", "ism"])
def test_the_settings_of_a_loss_name_its_paper(name: str) -> None:
    assert re.search(r"arXiv:\d{4}\.\d{5}", settings_page(f"guidance.{name}"))


def test_a_group_has_its_own_groups_and_a_setting_stands_alone() -> None:
    names = [name for name, *_ in entries(settings_page("coarse"))]
    assert names == [name for name in setting_schemas() if name.startswith("coarse.") and name.count(".") == 1] + [
        name for group in ("field", "warm_start") for name in setting_schemas() if name.startswith(f"coarse.{group}.")
    ]
    assert [name for name, *_ in entries(settings_page("coarse.field.finest"))] == ["coarse.field.finest"]
    assert [name for name, *_ in entries(settings_page("seed"))] == ["seed"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"^NAME: no setting or group is called 'coarse.stpes'; did you mean 'coarse.steps'\?$"):
        settings_page("coarse.stpes")
    with pytest.raises(BadInput, match=r"^NAME: no setting or group is called ''; groups: guidance, "):
        settings_page("")


def test_help_leads_to_the_page(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = caller(monkeypatch, capfd, tmp_path)
    assert "`dreamfusion-mesh settings`" in " ".join(command("generate", "--help").stdout.split())
    shown = command("settings", "guidance.sdi")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, settings_page("guidance.sdi"), "")
    refused = command("settings", "nothing.like.this")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: NAME: ")
