"""A turntable as a film: every frame is there, in order, goes round without end, and the same frames give the same bytes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamfusion_mesh.asset.export.animation import FRAME_MILLISECONDS, check_video, mp4_bytes, webp_bytes
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.errors import BadInput


def frames(width: int = 32, height: int = 32, count: int = 6) -> list[np.ndarray]:
    """A light bar that moves to the right over grey; no frame is another."""
    made = [np.full((height, width, 3), 69, np.uint8) for _ in range(count)]
    for at, frame in enumerate(made):
        frame[:, at * width // count : (at + 1) * width // count] = (230, 60, 40)
    return made


def shown(film: bytes) -> list[np.ndarray]:
    opened = Image.open(io.BytesIO(film))
    found = []
    for at in range(opened.n_frames):
        opened.seek(at)
        opened.load()
        assert opened.info["duration"] == FRAME_MILLISECONDS
        found.append(np.asarray(opened.convert("RGB")))
    return found


def closest(picture: np.ndarray, among: list[np.ndarray]) -> int:
    return int(np.argmin([np.abs(picture.astype(int) - other).mean() for other in among]))


@pytest.mark.parametrize("size", [(32, 32), (17, 33)])
def test_a_webp_holds_every_frame_in_order_and_repeats_without_end(size: tuple[int, int]) -> None:
    made = frames(*size)
    film = webp_bytes(made)
    assert [closest(picture, made) for picture in shown(film)] == list(range(len(made)))
    assert Image.open(io.BytesIO(film)).info["loop"] == 0
    assert shown(film)[0].shape == made[0].shape


def test_frames_that_are_alike_take_their_time() -> None:
    """The encoder joins them; a turn takes as long as any other. Where all are alike, there is nothing to move."""
    made = frames()
    film, seconds = Image.open(io.BytesIO(webp_bytes([made[0]] * 3 + [made[1]] * 2))), 0
    for at in range(film.n_frames):
        film.seek(at)
        film.load()
        seconds += film.info["duration"]
    assert seconds == 5 * FRAME_MILLISECONDS
    still = np.asarray(Image.open(io.BytesIO(webp_bytes([made[2]] * 5))).convert("RGB"))
    assert closest(still, made) == 2


def test_the_same_frames_give_the_same_webp() -> None:
    assert webp_bytes(frames()) == webp_bytes(frames())


@pytest.mark.parametrize("size", [(32, 32), (17, 33)], ids=["even", "odd"])
def test_an_mp4_holds_three_turns_at_the_speed_of_the_webp(size: tuple[int, int], tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed; pip install -e .[video]")
    made = frames(*size)
    film = mp4_bytes(made)
    assert film == mp4_bytes(made)
    (tmp_path / "film.mp4").write_bytes(film)
    read = ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    about = next(read)
    width, height = about["size"]
    assert (width, height) == tuple(side + side % 2 for side in size)
    assert (about["codec"], about["fps"]) == ("h264", 1000 / FRAME_MILLISECONDS)
    pictures = [np.frombuffer(frame, np.uint8).reshape(height, width, 3)[: size[1], : size[0]] for frame in read]
    assert [closest(picture, made) for picture in pictures] == 3 * list(range(len(made)))


def test_a_video_without_imageio_ffmpeg_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    check_video(AssetSettings())
    with pytest.raises(
        BadInput, match=r"^asset\.video: needs imageio-ffmpeg.*pip install 'dreamfusion-mesh\[video\]'.*asset\.video=false$"
    ):
        check_video(AssetSettings(video=True))
