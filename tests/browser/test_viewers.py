"""The viewers in a browser: `view` with its lists, and a run while it is fitted. `make browser-tests` installs what this needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import Browser, found_by, pixels
from gallery_batches import gallery_batch
from smoke_runs import CONFIG

from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.pipeline import fit
from dreamfusion_mesh.view.live import Viewer, rows_of
from dreamfusion_mesh.view.live_run import LiveRun
from dreamfusion_mesh.view.serve import LOOPBACK

pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
LOOKED = "seen"  # the folder of files that a scenario leaves when it has looked


def object_color(picture: str) -> np.ndarray:
    """[3] the mean of the pixels that are not of the background."""
    found = pixels(picture)
    return found[np.abs(found - found[0, 0]).max(axis=2) > 20].mean(axis=0)


def test_an_asset_is_seen_in_each_look_and_another_one_and_its_hulls(browser: Browser, tmp_path: Path) -> None:
    steps = [
        ("look", "clay", "box-blue/asset.glb: 12 triangles"),
        ("look", "wireframe", "box-blue/asset.glb: 12 triangles"),
        ("look", "textured", "box-blue/asset.glb: 12 triangles"),
        ("asset", "box-red", "box-red/asset.glb: 12 triangles"),
        ("file", "hulls", "box-red/asset_collision.glb: 12 triangles"),
    ]
    viewer = Viewer(rows_of(gallery_batch(tmp_path).path), 0)
    try:
        url = f"http://{LOOPBACK}:{viewer.port}"
        found = browser.look("view", url, first="box-blue/asset.glb: 12 triangles", steps=steps)
    finally:
        viewer.stop()
    textured, clay, _, again, red, hulls = map(object_color, found["pictures"])
    assert textured[2] > 1.2 * textured[:2].max()  # blue
    assert np.ptp(clay) < 12  # grey
    assert np.abs(again - textured).max() < 2
    assert red[0] > 1.2 * red[1:].max()
    assert np.abs(hulls - red).max() > 20
    shares = [(np.abs(pixels(each) - 255).max(axis=2) > 20).mean() for each in found["pictures"]]
    assert 0.1 < shares[0] < 0.6  # the whole box, with room around it
    assert shares[2] < 0.3 * shares[1], "a wireframe is lines"
    assert all(asked.startswith((url, "blob:", "data:")) for asked in found["requests"])


def test_a_run_is_seen_while_it_is_fitted(browser: Browser, guidance: GuidanceModel, tmp_path: Path) -> None:
    steps = [f"{stage}: step {total} of {total}" for stage, total in (("coarse", CONFIG.coarse.steps), ("fine", CONFIG.fine.steps))]
    (tmp_path / LOOKED).mkdir()
    live = LiveRun(0, share=math.inf)

    def report(stage: str, done: int, total: int, *more: Any) -> None:
        wait_until(lambda: live.watched)
        live.report(stage, done, total, *more)
        assert live._sending is not None
        live._sending.result()  # so that the next step finds it sent
        if done == total:
            wait_until((tmp_path / LOOKED / f"{stage}: step {done} of {total}").exists)

    def wait_until(true: Callable[[], bool]) -> None:
        while not true():
            assert looking.poll() is None, found_by(looking)
            time.sleep(0.1)

    try:
        looking = browser.begin("live", live.address, steps=steps, seen=str(tmp_path / LOOKED))
        fit(CONFIG, tmp_path / "run", guidance=guidance, report=report)
        found = found_by(looking)
    finally:
        live.close()
    coarse, fine = found["pictures"]
    for picture in (coarse, fine):
        share = (np.abs(pixels(picture) - 255).max(axis=2) > 20).mean()
        assert 0.03 < share < 0.6
        assert object_color(picture).std() > 1  # in colour
    assert np.abs(pixels(coarse) - pixels(fine)).max() > 20
    sides = [(322, 160), (386, 192)]  # two views side by side, of 32 pixels times 5 and of 64 times 3
    assert [[tuple(size) for size in sizes] for sizes in found["views"]] == [[sides[0]], [sides[1]]]
    assert found["plots"] == [["residual, coarse stage"], ["residual, coarse stage", "residual, fine stage"]]
