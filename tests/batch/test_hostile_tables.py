"""Whatever a file holds, it is read as jobs whose names are safe, or refused with at most 51 lines."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from dreamfusion_mesh.batch.jobs import read_jobs
from dreamfusion_mesh.batch.names import check_name, folded_name
from dreamfusion_mesh.batch.row_settings import Flags
from dreamfusion_mesh.errors import BadInput
from tools.fuzz.mutate.table import random_table


@pytest.mark.parametrize("part", range(4))
def test_a_table_is_read_or_refused(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # presets may be paths
    path, taken, refused = tmp_path / "prompts.csv", 0, 0
    for case in range(120):
        path.write_bytes(random_table(Random(f"table {part} {case}")))
        try:
            jobs = read_jobs(path, Flags("smoke"))
        except BadInput as error:
            refused += 1
            wrong = [line for line in error.lines if not line.startswith(str(path)) or not line.isprintable() or len(line) > 1000]
            if wrong or not 1 <= len(error.lines) <= 51:
                pytest.fail(f"case {part} {case}: {len(error.lines)} lines, {wrong}")
            continue
        taken += 1
        assert [check_name(job.name) for job in jobs] == [job.name for job in jobs]
        assert len({folded_name(job.name) for job in jobs}) == len(jobs) > 0
    assert min(taken, refused) > 10, (taken, refused)
    assert os.listdir(tmp_path) == ["prompts.csv"]
