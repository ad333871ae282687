"""`generate --live`: the same bits as without, in its share of the time, on loopback alone, and whatever goes wrong the run goes on."""

from __future__ import annotations

import io
import itertools
import json
import logging
import math
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import trimesh
from cubes import cube
from safetensors.torch import load_file
from smoke_runs import CONFIG, stop_at
from viser_clients import viser_client

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import fit
from dreamfusion_mesh.records.color import srgb_to_linear
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.stages.scene import ColoredMesh, Scene
from dreamfusion_mesh.view.live_run import LiveRun, curve, glb_of, surface_of, tiled
from dreamfusion_mesh.view.serve import LOOPBACK

pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
websockets = pytest.importorskip("websockets", reason="comes with viser")
AT_ONCE = math.inf  # a share of the time that makes an update due in every step
WARM = ("coarse.start=views", "coarse.warm_start.draw_steps=3", "coarse.warm_start.image_steps=3", "coarse.steps=7", "fine.steps=1")
WHITE = torch.ones(2, 8, 8, 3)


class Watched(LiveRun):
    """A page at which somebody looks; `sent` are its updates, which are there when a report returns."""

    def __init__(self, **given: Any) -> None:
        super().__init__(0, **given)
        self.sent: list[Any] = []

    def report(self, *given: Any) -> None:
        super().report(*given)
        if self._sending is not None:
            wait([self._sending])

    @property
    def watched(self) -> bool:
        return True

    def _send(self, update: Any) -> float:
        self.sent.append(update)
        return super()._send(update)


@pytest.fixture
def pages() -> Iterator[Callable[..., Any]]:
    """Makes pages, and closes them."""
    made: list[LiveRun] = []

    def make(kind: Callable[..., LiveRun] = Watched, **given: Any) -> LiveRun:
        made.append(kind(**given))
        return made[-1]

    yield make
    for each in made:
        each.close()


def scene(ask: Callable[[], Any] = lambda: None) -> Scene:
    """A cube before white; `ask` is called where its pictures are asked for."""
    colors = torch.full((8, 3), 0.5, dtype=torch.float64)
    return Scene(lambda: (ask(), WHITE)[1], lambda: ColoredMesh(cube(), colors))


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "fine.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def warm_config() -> RunConfig:
    return load_config("smoke", ["device=cpu", *WARM], {"prompt": CONFIG.prompt, "seed": CONFIG.seed})


def test_a_run_that_is_shown_in_every_step_has_the_same_bits(
    finished: Result, guidance: GuidanceModel, tmp_path: Path, pages: Callable[..., Watched]
) -> None:
    live = pages(share=AT_ONCE)
    fit(CONFIG, tmp_path, guidance=guidance, report=live.report)
    assert_same(state(tmp_path), state(finished.folder))
    coarse, fine = live.sent[: CONFIG.coarse.steps], live.sent[CONFIG.coarse.steps :]
    assert [update.status.split(",")[0] for update in coarse] == [f"**coarse**: step {n} of 12" for n in range(1, 13)]
    assert len(fine) == CONFIG.fine.steps
    assert all(update.images.shape == (2, CONFIG.coarse.size, CONFIG.coarse.size, 3) for update in coarse)
    assert all(update.images.shape[1] == CONFIG.fine.size for update in fine)
    assert all(len(update.surface.faces) > 100 and update.surface.colors.std() > 0 for update in live.sent)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for stage, points in live.sent[-1].curves.items():
        found = [(line["step"], line["residual"]) for line in lines if line["stage"] == stage]
        assert [step for step, _ in points] == [step for step, _ in found]
        assert [value for _, value in points] == pytest.approx([value for _, value in found], abs=1e-6)


def test_a_run_that_goes_on_and_is_shown_has_the_same_bits(
    finished: Result, guidance: GuidanceModel, tmp_path: Path, pages: Callable[..., Watched]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(CONFIG, tmp_path, guidance=guidance, report=stop_at("coarse", 6))
    live = pages(share=AT_ONCE)
    fit(CONFIG, tmp_path, guidance=guidance, report=live.report)
    assert_same(state(tmp_path), state(finished.folder))
    assert 1 < live.sent[-1].curves["coarse"][0][0] <= 7  # from the step after the last checkpoint on


def test_a_warm_start_shows_the_views_while_they_are_drawn_and_has_the_same_bits(
    guidance: GuidanceModel, tmp_path: Path, pages: Callable[..., Watched]
) -> None:
    live = pages(share=AT_ONCE)
    fit(warm_config(), tmp_path / "shown", guidance=guidance, report=live.report)
    fit(warm_config(), tmp_path / "other", guidance=guidance)
    assert_same(state(tmp_path / "shown"), state(tmp_path / "other"))
    first, second, third = (update.images.astype(float) for update in live.sent[:3])
    assert len(first) == len(third) == 4
    assert np.abs(second - first).mean() > 1  # of 255: less noise with every step
    assert "coarse" not in live.sent[5].curves  # before score distillation there is no residual


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


class Costly(Watched):
    """Sending takes `seconds`, of nobody's time here."""

    seconds = 0.0

    def _send(self, update: Any) -> float:
        self.sent.append(update)
        return self.seconds


@pytest.mark.parametrize(("asking", "sending"), [(0.5, 0.0), (0.0, 0.5), (0.25, 0.25)])
def test_updates_take_no_more_than_their_share_of_the_time(pages: Callable[..., Costly], asking: float, sending: float) -> None:
    clock = Clock()
    live = pages(Costly, share=0.05, clock=clock)
    live.seconds = sending
    times: list[float] = []
    for step in range(1, 101):
        clock.spend(1.0)
        before = len(live.sent)
        live.report("coarse", step, 100, {"residual": 0.5, "step_ms": 500.0}, scene(lambda: clock.spend(asking)))
        times += [clock.now] * (len(live.sent) - before)
    assert times[0] == 11 + asking  # as if one before the first step had cost as much as that
    assert all(10 <= later - earlier - asking <= 12 for earlier, later in itertools.pairwise(times))
    assert 0.5 * len(times) <= 0.05 * clock.now
    assert [len(update.curves["coarse"]) for update in live.sent[:3]] == [round(at - n * asking) for n, at in enumerate(times[:3], 1)]


def test_nothing_is_asked_for_while_nobody_looks(pages: Callable[..., LiveRun]) -> None:
    def refuse() -> None:
        raise AssertionError("is not to be asked")

    live = pages(lambda: LiveRun(0, share=AT_ONCE))
    live.report("coarse", 1, 9, {"residual": 0.5}, scene(refuse))
    with viser_client(int(live.address.rpartition(":")[2])) as client:
        asked: list[int] = []
        step = 1
        while not asked:  # until the server has read what the client sent
            step += 1
            live.report("coarse", step, 9999, {"residual": 0.5}, scene(lambda: asked.append(1)))
        read = b"".join(client.recv() for _ in range(1))
    assert read


@pytest.mark.parametrize("where", ["asking", "sending"])
def test_what_goes_wrong_is_one_warning_and_the_last_update(
    where: str, pages: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        failed.append(1)
        raise RuntimeError("connection\nlost")

    failed: list[int] = []
    live = pages(share=AT_ONCE)
    if where == "sending":
        monkeypatch.setattr(live, "_send", fail)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 6):
            live.report("coarse", step, 9, {"residual": 0.5}, scene(fail if where == "asking" else lambda: None))
        live.close()
    assert len(failed) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "--live: shows nothing from here on (connection lost); the run goes on without it"
    ]


def test_a_signal_that_comes_in_an_update_ends_the_run(pages: Callable[..., Watched]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pages(share=AT_ONCE).report("coarse", 1, 9, {}, scene(interrupt))


def test_a_residual_that_is_not_finite_is_left_out(pages: Callable[..., Watched]) -> None:
    live = pages(share=AT_ONCE)
    for step, value in enumerate((0.5, float("nan"), float("inf"), 0.25), start=1):
        live.report("fine", step, 9, {"residual": value}, scene())
    live.report("deliver", 0, 9, {}, None)
    assert live.sent[-1].curves == {"fine": [(1, 0.5), (4, 0.25)]}
    assert live.sent[-1].status == "**deliver**: 0 of 9"


def test_it_listens_on_loopback_alone(pages: Callable[..., LiveRun]) -> None:
    live = pages()
    listening = [tuple(each.laddr) for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
    assert [f"http://{host}:{port}" for host, port in listening] == [live.address]
    assert listening[0][0] == LOOPBACK


def test_what_a_client_does_wrong_is_no_warning(pages: Callable[..., LiveRun], caplog: pytest.LogCaptureFixture) -> None:
    live = pages()
    port = int(live.address.rpartition(":")[2])
    with socket.create_connection((LOOPBACK, port)) as client:
        client.sendall(b"no HTTP\r\n\r\n")
        client.recv(100)  # until the server has answered or closed
    with viser_client(port) as other:
        other.send(b"\xff")
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            list(other)
    assert caplog.records == []


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"--live-port {port}: cannot be listened on .*in use"):
            LiveRun(port)


def test_a_surface_becomes_a_file_with_its_colours_in_linear_light() -> None:
    colors = torch.linspace(0, 1, 24, dtype=torch.float64).reshape(8, 3)
    surface = surface_of(Scene(lambda: WHITE, lambda: ColoredMesh(cube(), colors)))
    (mesh,) = trimesh.load(io.BytesIO(glb_of(surface)), file_type="glb", process=False).geometry.values()
    assert np.array_equal(mesh.faces, cube().faces.numpy())
    assert np.allclose(mesh.vertices, cube().vertices.numpy())
    expected = (srgb_to_linear(colors) * 255).round().numpy()
    assert np.array_equal(mesh.visual.vertex_attributes["color"][:, :3], expected)
    assert mesh.visual.material.metallicFactor == 0


def test_views_stand_side_by_side() -> None:
    images = np.stack([np.full((200, 300, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    sheet = tiled(images)
    assert sheet.shape == (402, 602, 3)
    places = ((0, 0), (199, 601), (401, 299), (401, 601), (200, 0), (0, 301))
    assert [int(sheet[place][0]) for place in places] == [10, 20, 30, 255, 255, 255]


def test_a_small_view_is_enlarged_pixel_by_pixel() -> None:
    image = np.arange(100 * 80, dtype=np.uint8).reshape(100, 80, 1).repeat(3, axis=2)
    assert np.array_equal(tiled(image[None]), image.repeat(4, axis=0).repeat(4, axis=1))


def test_a_long_curve_is_thinned_after_its_mean_is_taken() -> None:
    steps, values, mean = curve([(step, float(step % 2)) for step in range(1, 1001)])
    assert len(steps) == len(values) == len(mean) == 250
    assert steps[:3].tolist() == [1, 5, 9]
    assert np.allclose(mean[10:-10], 0.5, atol=0.02)  # of 41 steps each
    assert np.array_equal(values, np.ones(250))
