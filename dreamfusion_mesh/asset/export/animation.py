"""Pictures one after the other as a film that goes round: WebP by Pillow, MP4 by the ffmpeg of imageio-ffmpeg (extra [video])."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.errors import BadInput, RunFailed

FRAME_MILLISECONDS = 100
_QUALITY = 80  # of 100: a turntable of 256 pixels has about 100 kB
_CODEC = ("-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2")
_SAME_BYTES = ("-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1")  # no date, no count of cores
_TURNS = 3  # of an MP4, which does not say that it is to be repeated


def check_video(settings: AssetSettings) -> None:
    """Raises BadInput where `settings` ask for an MP4 and imageio-ffmpeg is missing, or has no ffmpeg for this machine."""
    if settings.video:
        _ffmpeg()


def webp_bytes(frames: Sequence[np.ndarray]) -> bytes:
    """Frames [H, W, 3] uint8 sRGB as an animated WebP that repeats without end. The same frames give the same bytes."""
    from PIL import Image

    first, *rest = map(Image.fromarray, frames)
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0, quality=_QUALITY, method=4)
    return file.getvalue()


def mp4_bytes(frames: Sequence[np.ndarray]) -> bytes:
    """Frames [H, W, 3] uint8 sRGB, _TURNS times over, as H.264 in MP4; an odd side gets a black row or column more.

    The same frames and the same ffmpeg give the same bytes. Raises BadInput as `check_video` does, RunFailed where ffmpeg fails.
    """
    height, width = frames[0].shape[:2]
    read = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{1000 / FRAME_MILLISECONDS:g}", "-i", "-")
    with tempfile.TemporaryDirectory(prefix="dreamfusion_mesh_video_") as folder:
        target = Path(folder) / "film.mp4"
        command = [_ffmpeg(), "-loglevel", "error", *read, *_CODEC, *_SAME_BYTES, "-movflags", "+faststart", str(target)]
        ended = subprocess.run(command, input=b"".join(map(bytes, frames)) * _TURNS, capture_output=True, check=False)
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"exit code {ended.returncode}"
            raise RunFailed(f"asset.video: ffmpeg failed ({reason}); leave it out with --set asset.video=false")
        return target.read_bytes()


def _ffmpeg() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        remedy = "pip install 'dreamfusion-mesh[video]', or leave it out with --set asset.video=false"
        raise BadInput(f"asset.video: needs imageio-ffmpeg, which cannot be used ({error}); {remedy}") from None
