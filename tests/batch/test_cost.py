"""What is left of a batch costs, told from the records of the rows that are done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamfusion_mesh.batch.cost import Cost, Pace, cost, measured_pace
from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.plan import Todo
from dreamfusion_mesh.batch.records import Attempt, Job, Outcome
from dreamfusion_mesh.config import load_config

PACE = Pace(coarse=2.0, fine=3.0, delivery=10.0, jobs=1)


def todo(coarse: int, fine: int, fitted: bool = False) -> Todo:
    settings = load_config("smoke", [f"coarse.steps={coarse}", f"fine.steps={fine}"])
    return Todo(Attempt(Job("mug", "a red mug", 0, settings, "key")), "new", fitted)


def done(folder: Path, name: str, record: object) -> Entry:
    (folder / name).mkdir()
    (folder / name / "provenance.json").write_text(json.dumps(record))
    return make_entry(Attempt(Job(name, "a red mug", 0, load_config("smoke"), "key")), "done", Outcome())


def record(coarse: float, fine: float, delivery: float, steps: tuple[int, int] = (10, 5)) -> dict[str, object]:
    seconds = {"coarse": coarse, "fine": fine, "tidy": delivery / 2, "unwrap": 0.0, "audit": delivery / 2}
    return {"seconds": seconds, "settings": {"coarse": {"steps": steps[0]}, "fine": {"steps": steps[1]}}, "schema": 1}


def test_the_pace_is_a_median_of_each_stage(tmp_path: Path) -> None:
    records = [record(10, 5, 4), record(400, 20, 6, (20, 10)), record(30, 5, 100)]
    latest = {f"mug-{number}": done(tmp_path, f"mug-{number}", values) for number, values in enumerate(records)}
    assert measured_pace(BatchFolder(tmp_path), latest) == Pace(3.0, 1.0, 6.0, 3)


@pytest.mark.parametrize(
    "broken", [{}, [], {"seconds": {"coarse": 1.0}}, {**record(1, 1, 1), "seconds": {"coarse": "x", "fine": 1}}, record(1, 1, 1, (0, 1))]
)
def test_records_that_tell_nothing_are_left_out(broken: object, tmp_path: Path) -> None:
    latest = {"mug": done(tmp_path, "mug", broken)}
    assert measured_pace(BatchFolder(tmp_path), latest) is None
    latest["jug"] = done(tmp_path, "jug", record(10, 5, 4))
    latest["gone"] = make_entry(Attempt(Job("gone", "a keg", 0, load_config("smoke"), "key")), "done", Outcome())
    latest["half"] = make_entry(Attempt(Job("half", "a keg", 0, load_config("smoke"), "key")), "started")
    assert measured_pace(BatchFolder(tmp_path), latest) == Pace(1.0, 1.0, 4.0, 1)


def test_steps_scale_the_fits_and_deliveries_run_beside_them() -> None:
    assert cost([todo(10, 2)], PACE, 1) == Cost(1, 12, 20 + 6 + 10)
    assert cost([todo(10, 2)] * 4, PACE, 1) == Cost(4, 48, 4 * 26 + 10)
    assert cost([todo(10, 2)] * 4, PACE, 2) == Cost(4, 48, 2 * 26 + 10)
    assert cost([todo(1, 1)] * 4, PACE, 1) == Cost(4, 8, 4 * 10 + 5)  # the deliveries take longer: all of them after the first fit
    assert cost([todo(10, 2, fitted=True), todo(10, 2)], PACE, 1) == Cost(2, 12, 26 + 10)


def test_no_time_is_told_without_a_pace() -> None:
    assert cost([todo(10, 2)] * 3, None, 1) == Cost(3, 36, None)
    assert cost([], None, 1) == Cost(0, 0, 0.0)
    assert cost([], PACE, 2) == Cost(0, 0, 0.0)
