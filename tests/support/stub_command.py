"""The command line over a pipeline that does nothing but wait, so that a process of it starts in a fraction of a second.

python stub_command.py WHEN ARGUMENTS    WHEN: start | begun | checkpoint | swallowed | destructor | threads | done
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

from dreamfusion_mesh import process


def ready() -> None:
    """Tell the test that the signal may come, and wait for it."""
    sys.stderr.write("ready\n")
    time.sleep(60)


def generate(config: object, out: Path, *, report) -> object:
    when = sys.argv[0]
    if when == "start":
        ready()
    (out / "checkpoints").mkdir(parents=True)
    (out / "run.yaml").write_text("")
    if when == "begun":
        ready()
    (out / "checkpoints" / "coarse.part.safetensors").write_text("")
    if when == "destructor":
        dropped = Dropped()
        del dropped
    if when == "swallowed":
        try:
            ready()
        except BaseException:
            sys.stderr.write("swallowed\n")
    if when == "threads":
        with ThreadPoolExecutor(1) as pool:  # as a checkpoint that is written in the background
            pool.submit(slow_write, out)
            ready()
    if when == "checkpoint":
        try:
            ready()
        finally:
            sys.stderr.write("cleaning\n")
            time.sleep(1)
            (out / "cleaned").write_text("")
    report("coarse", 1, 2, {}, None)
    audit = SimpleNamespace(rows=(), table=lambda: "table")
    return SimpleNamespace(warnings=(), audit=audit, folder=out, files={"asset.glb": out / "asset.glb"})


class Dropped:
    def __del__(self) -> None:
        ready()


def slow_write(out: Path) -> None:
    time.sleep(0.5)
    (out / "written").write_text("")


if __name__ == "__main__":
    stub = ModuleType("dreamfusion_mesh.pipeline")
    stub.generate = stub.export = generate  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    sys.argv = sys.argv[1:]

    def command_line() -> None:
        from dreamfusion_mesh import cli

        cli.main()

    process.run(command_line)
