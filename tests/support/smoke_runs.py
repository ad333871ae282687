"""The run that tests of the whole way share, and how to stop one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dreamfusion_mesh.config import load_config

PROMPT = "a red mushroom with white parts"
CONFIG = load_config("smoke", ["device=cpu"], {"prompt": PROMPT, "seed": 3})
SMALL_DELIVERY = ("texture.size=64", "asset.preview_size=32", "asset.lods=0", "asset.collision_hulls=0")  # half the time, rows may fail


def glb(folder: Path) -> bytes:
    return (folder / "asset.glb").read_bytes()


def stop_at(stage: str, step: int) -> Callable[..., None]:
    """A `Report` that interrupts the run when `stage` has done `step` steps."""

    def report(name: str, done: int, total: int, figures: object, scene: object) -> None:
        if (name, done) == (stage, step):
            raise KeyboardInterrupt

    return report
