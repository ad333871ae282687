"""A log never bars a run: damaged lines are dropped, and what cannot be written is done without."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from smoke_runs import CONFIG, stop_at

from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.metrics import MetricsLog


def line(stage: str, step: int) -> str:
    return json.dumps({"stage": stage, "step": step})


def opened(folder: Path) -> MetricsLog:
    return RunFolder(folder).metrics


def test_lines_of_steps_done_again_are_dropped(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for stage, steps in (("coarse", 3), ("fine", 4)):
        for step in range(1, steps + 1):
            log.add({"stage": stage, "step": step})
    log.trim("fine", 2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == [line(stage, step) for stage, step in [("coarse", 1), ("coarse", 2), ("coarse", 3), ("fine", 1), ("fine", 2)]]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"stage": "coarse", "st',
        b'{"stage": "coarse", "step": 2, }',
        b'{"stage": "coarse\xff", "step": 2}',
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"stage": "coarse"}',
        b'{"stage": "coarse", "step": "2"}',
        b'{"stage": "coarse", "step": true}',
        b'{"stage": 1, "step": 2}',
        b"\0" * 4096,
        b"[" * 100_000,
        b'{"stage": "coarse", "step": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda damage: repr(damage[:40]),
)
def test_a_damaged_line_is_dropped_with_one_warning_and_the_rest_stays(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, file = opened(tmp_path), tmp_path / "metrics.jsonl"
    file.write_bytes(b"\n".join([line("coarse", 1).encode(), damage, line("coarse", 2).encode(), damage]))
    log.trim("coarse", 2)
    log.trim("fine", 0)
    assert file.read_text() == f"{line('coarse', 1)}\n{line('coarse', 2)}\n"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "metrics.jsonl: 2 damaged lines are dropped" in caplog.text


def test_a_last_line_without_its_end_is_kept_and_the_next_one_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, file = opened(tmp_path), tmp_path / "metrics.jsonl"
    file.write_text(line("coarse", 1))
    log.trim("coarse", 1)
    log.add({"stage": "coarse", "step": 2})
    assert file.read_text() == f"{line('coarse', 1)}\n{line('coarse', 2)}\n"
    assert not caplog.records


def folder(file: Path) -> None:
    file.mkdir()


def fifo(file: Path) -> None:
    os.mkfifo(file)


def broken_link(file: Path) -> None:
    file.symlink_to("nowhere/metrics.jsonl")


def link_to_itself(file: Path) -> None:
    file.symlink_to(file.name)


@pytest.mark.parametrize("make", [folder, fifo, broken_link, link_to_itself])
def test_a_log_that_is_no_file_is_done_without_after_one_warning(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "metrics.jsonl"
    make(file)
    log = opened(tmp_path)
    for stage in ("coarse", "fine"):
        log.trim(stage, 0)
        log.add({"stage": stage, "step": 1})
    assert [record.getMessage() for record in caplog.records] == [caplog.records[0].getMessage()]
    assert re.fullmatch(rf"{file}: .*; the run goes on without this log", caplog.records[0].getMessage())
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_log_that_cannot_be_written_is_done_without_after_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk, which the checkpoints notice, or where the file is another user's."""
    log = opened(tmp_path)
    monkeypatch.setattr(os, "open", refuse_to_open)
    for step in (1, 2):
        log.add({"stage": "coarse", "step": step})
    wanted = "metrics.jsonl: cannot be written (Input/output error); name another place; the run goes on without this log"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}/{wanted}"]


def refuse_to_open(*arguments: object, **named: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_log_that_cannot_be_replaced_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    (tmp_path / "metrics.jsonl").write_text("damaged\n")
    log = opened(tmp_path)
    monkeypatch.setattr(os, "replace", refuse_to_open)
    log.trim("coarse", 0)
    log.add({"stage": "coarse", "step": 1})
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Input/output error" in caplog.text
    assert (tmp_path / "metrics.jsonl").read_text() == "damaged\n"


@pytest.mark.parametrize("content", [b'{"stage": "coarse", "st\n[]\n\xff\n' + b"\0" * 64, b""], ids=["damaged", "cut"])
def test_a_damaged_log_does_not_bar_a_run(content: bytes, fitted: Path, guidance: GuidanceModel) -> None:
    """The fine stage is done again; its lines follow what is left of the log."""
    lines = (fitted / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (fitted / "metrics.jsonl").write_bytes(b"".join(lines[:5]) + content)
    (fitted / "checkpoints" / "fine.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, fitted, guidance=guidance, report=stop_at("fine", 2))
    again = [json.loads(line) for line in (fitted / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in again] == [*(("coarse", step) for step in range(1, 6)), ("fine", 1), ("fine", 2)]


@pytest.mark.parametrize("make", [folder, link_to_itself])
def test_a_log_that_is_no_file_does_not_bar_a_run(
    make: Callable[[Path], None], fitted: Path, guidance: GuidanceModel, delivered_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    (fitted / "metrics.jsonl").unlink()
    make(fitted / "metrics.jsonl")
    (fitted / "checkpoints" / "fine.safetensors").unlink()
    result = generate(CONFIG, fitted, guidance=guidance)
    assert generate(CONFIG, fitted) == result
    assert "metrics.jsonl" not in result.files
    assert caplog.text.count("the run goes on without this log") == 1
