"""The estimate of memory grows with the settings as the work does, within a factor of two; it warns by stage, and refuses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from smoke_runs import CONFIG
from tensor_ledger import Ledger

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run import memory
from dreamfusion_mesh.run.memory import STAGES, advice, available, estimate, warn_where_memory_is_short, warn_where_processes_are_many
from dreamfusion_mesh.stages.coarse import fit_field, new_coarse
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.start import start_from_field

CPU = torch.device("cpu")


def config(*changes: str) -> RunConfig:
    return load_config("smoke", ["device=cpu", "coarse.steps=2", "fine.steps=1", *changes], {"prompt": "a red mug"})


def own(settings: RunConfig, stage: str) -> int:
    """The estimate without the libraries and the model."""
    found = estimate(settings)
    return found[stage] - found["model"]


def coarse_peak(settings: RunConfig, guidance) -> int:
    """Bytes of the tensors that the coarse stage holds at once."""
    model = guidance.for_prompt(settings.prompt, settings.guidance)
    with Ledger() as held:
        fit_field(model, settings.coarse, settings.views, settings.guidance, torch.Generator().manual_seed(0), CPU)
    return held.peak


def fine_peak(settings: RunConfig, guidance) -> int:
    """As `coarse_peak`, of the conversion and the fine stage, from a field that is not fitted."""
    draws = torch.Generator().manual_seed(0)
    model = guidance.for_prompt(settings.prompt, settings.guidance)
    coarse, rasterizer = new_coarse(settings.coarse, draws, CPU), resolve_rasterizer("warp", CPU)
    with Ledger() as held:
        start = start_from_field(coarse, settings.coarse.samples, settings.fine, settings.views, settings.mesh.smallest_part, draws)
        fit_surface(start, coarse.field, model, rasterizer, settings.fine, settings.views, settings.guidance, draws)
    return held.peak


@pytest.mark.parametrize(
    ("stage", "peak", "small", "large"),
    [
        ("coarse", coarse_peak, "coarse.size=32", "coarse.size=96"),
        ("coarse", coarse_peak, "coarse.samples=32", "coarse.samples=256"),
        ("fine", fine_peak, "fine.tet_size=24", "fine.tet_size=64"),
    ],
)
def test_what_a_setting_adds_is_within_a_factor_of_two_of_the_tensors_that_it_adds(
    stage: str, peak: Callable[..., int], small: str, large: str, guidance
) -> None:
    """Differences, because the rest is not in tensors: libraries, their scratch memory, what allocators keep."""
    few, many = config(small, "fine.threshold=1.0"), config(large, "fine.threshold=1.0")
    added = peak(many, guidance) - peak(few, guidance)
    assert added / 2 < own(many, stage) - own(few, stage) < added * 2


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("coarse", "coarse.size=64"),
        ("coarse", "coarse.samples=64"),
        ("coarse", "coarse.views=4"),
        ("coarse", "coarse.field.table_size_log2=20"),
        ("fine", "fine.tet_size=32"),
        ("fine", "fine.size=512"),
        ("fine", "fine.surface_subdivisions=1"),
        ("fine", "fine.views=4"),
        ("bake", "texture.size=1024"),
    ],
)
def test_each_setting_counts_in_its_stage(stage: str, change: str) -> None:
    fine_grid = "coarse.field.finest=256"  # so that tables of 2^12 rows are hashed
    assert own(config(fine_grid, change), stage) > own(config(fine_grid), stage)


def test_stages_that_are_done_are_left_out() -> None:
    assert list(estimate(CONFIG)) == ["model", "coarse", "fine", "bake"]
    assert list(estimate(CONFIG, ["coarse"])) == ["model", "fine", "bake"]
    assert list(estimate(CONFIG, ["coarse", "fine"])) == ["bake"]


def test_the_advice_names_settings_that_exist_with_their_values() -> None:
    for stage in STAGES:
        assert advice(stage, CONFIG)
    assert advice("bake", CONFIG) == "lower texture.size (256) or mesh.triangles (1000) with `export --set`"


def test_processes_that_do_not_fit_together_are_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Eight have room; the limit that is lower counts."""
    fit, delivery = max(estimate(CONFIG)[stage] for stage in ("coarse", "fine")), estimate(CONFIG, ["coarse", "fine"])["bake"]
    monkeypatch.setattr(memory, "_shared_limits", lambda: [(2**50, "on this machine"), (4 * (fit + delivery), "in this control group")])
    with caplog.at_level(logging.WARNING):
        warn_where_processes_are_many(CONFIG, 4)
        assert caplog.messages == []
        warn_where_processes_are_many(CONFIG, 5)
    (line,) = caplog.messages
    assert line.startswith("memory: 10 processes take about ")
    assert line.endswith(" in this control group; lower --workers (5), or settings such as fine.tet_size, texture.size")


def test_a_stage_that_does_not_fit_is_warned_of_and_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    large = load_config("smoke", ["fine.tet_size=256"], {"prompt": "a red mug"})
    monkeypatch.setattr(memory, "available", lambda: (2 * 2**30, "on this machine"))
    with caplog.at_level(logging.WARNING):
        warn_where_memory_is_short(CONFIG, CPU, [])
        assert caplog.messages == []
        warn_where_memory_is_short(large, CPU, [])
    assert len(caplog.messages) == 1  # the delivery after it takes less
    wanted = memory.readable(estimate(large)["fine"])
    assert caplog.messages[0].startswith(f"memory: the stage fine takes about {wanted}, and 2.0 GiB are available on this machine; ")
    assert "lower fine.tet_size (256), fine.size (64) or fine.views (2)" in caplog.messages[0]


def test_on_a_card_its_own_memory_counts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**20, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(is_integrated=0))
    with caplog.at_level(logging.WARNING):
        warn_where_memory_is_short(CONFIG, torch.device("cuda"), ["coarse", "fine"])
    assert "1.0 MiB are available on cuda" in caplog.text


@pytest.mark.parametrize(
    ("listed", "folder", "files"),
    [
        (
            "0::/job/step\n",
            "job",
            {"memory.max": "1000000", "memory.current": "600000", "memory.stat": "anon 5\ninactive_file 80000\nactive_file 20000"},
        ),
        ("0::/\n", ".", {"memory.max": "1000000", "memory.current": "500000"}),
        (
            "5:devices:/x\n4:cpu,memory:/job\n0::/\n",
            "memory/job",
            {
                "memory.limit_in_bytes": "1000000",
                "memory.usage_in_bytes": "800000",
                "memory.stat": "active_file 7\ntotal_inactive_file 100000\ntotal_active_file 200000",
            },
        ),
    ],
    ids=["version 2, above", "version 2, container", "version 1"],
)
def test_limits_of_control_groups_are_found(listed: str, folder: str, files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (tmp_path / folder / name).write_text(text)
    assert memory._control_groups(tmp_path, listed) == [(1_000_000, 500_000)]


def test_a_control_group_without_a_limit_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5")
    assert memory._control_groups(tmp_path, "0::/\n") == []


def test_the_smallest_limit_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = 2**28
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=own))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**32))
    monkeypatch.setattr(memory, "_control_groups", lambda root, listed: [(2**40, 2**20)])
    monkeypatch.setattr(memory, "address_space_limit", lambda: None)
    assert available() == (2**32 + own, "on this machine")
    monkeypatch.setattr(memory, "address_space_limit", lambda: 2**30 + memory._ADDRESS_SPACE)
    assert available() == (2**30, "below the limit of the address space (ulimit -v)")
    monkeypatch.setattr(memory, "_control_groups", lambda root, listed: [(2**40, 2**20), (2**29, 2**29 - 5)])
    assert available() == (own + 5, "in this control group")
    monkeypatch.setattr(memory, "_control_groups", lambda root, listed: [(2**20, 2**40)])
    assert available() == (0, "in this control group")


def test_what_this_machine_has_is_found() -> None:
    free, where = available()
    assert 0 < free < 2**50
    assert where
