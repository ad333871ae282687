"""A process that runs cases one after another: `python -m tools.fuzz.worker JSON`, asked by lines on standard input.

A line holds a case's number; the answer is a line of JSON. The command line's own entry is called with sys.argv set, both streams caught
as files, in the case's folder. What the process keeps from one case to the next (folder, environment, logging, signals) is put back.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from tools.fuzz import ROOT
from tools.fuzz.guard import Guard, contents, differences
from tools.fuzz.targets import Case, make_case
from tools.fuzz.verdict import Ended, blame, faults

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Worker:
    """Runs cases below `home`, whose folders `case`, `tmp` and `sentinel` are its own.

    entry      "module:function" of the command line
    allowance  bytes of memory that a case may ask for, beyond what the process has
    """

    def __init__(self, home: Path, corpus: Path, seed: int, entry: str, allowance: int) -> None:
        module, _, function = entry.partition(":")
        self._entry: Callable[[], Any] = getattr(importlib.import_module(module), function)
        self._home, self._corpus, self._seed, self._allowance = home, corpus, seed, allowance
        self._case, self._temporary, self._sentinel = home / "case", home / "tmp", home / "sentinel"
        for folder in (self._temporary, self._sentinel):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("secret.png", "secret.txt", "secret.bin"):
            (self._sentinel / name).write_bytes(b"not to be read, not to be changed")
        tempfile.tempdir = os.environ["TMPDIR"] = str(self._temporary)
        self._guard = Guard([self._case, self._temporary, *_kernel_caches()])

    def run(self, number: int) -> dict[str, Any]:
        """Make and run one case; what came of it as plain values."""
        for folder in (self._case, self._temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        case = make_case(self._seed, number, self._corpus, self._case)
        (self._home / "case.json").write_text(json.dumps(asdict(case)))  # for who finds this process dead
        around, inputs = contents(self._sentinel), contents(self._case) if case.read_only else {}
        ended, raised = self._call(case)
        found = faults(ended)
        if raised is not None:
            found = [f"traceback: {blame(raised, ROOT)}", *(fault for fault in found if fault != "traceback")]
        found += [f"outside its folder: {touched}" for touched in self._guard.touched[:3]]
        found += [f"outside its folder: sentinel/{name} changed" for name in differences(around, contents(self._sentinel))]
        if case.read_only:
            found += [f"read-only command changed {name}" for name in differences(inputs, contents(self._case))[:3]]
        answer = {"target": case.target, "command": case.command(), "code": ended.code, "faults": found, "changed": case.changed}
        if found:
            written = {"stdout": ended.stdout, "stderr": ended.stderr}
            (self._home / "case.json").write_text(json.dumps({**asdict(case), **answer, **written}, indent=1))
        return answer

    def _call(self, case: Case) -> tuple[Ended, BaseException | None]:
        """The command's end, and what it raised beside SystemExit."""
        raised: BaseException | None = None
        code: int | str | None = None
        as_before, memory, watch = warnings.catch_warnings(), _bounded_memory(self._allowance), self._guard.watch()
        with _as_it_was(), _caught_streams(self._home) as streams, as_before, memory, watch:
            os.environ.update(case.environment)
            os.chdir(self._case)
            sys.argv = ["dreamfusion-mesh", *case.arguments]
            try:
                code = self._entry() or 0
            except SystemExit as end:
                code = 0 if end.code is None else end.code
            except BaseException as error:
                raised = error
                traceback.print_exc()
        return Ended(code, *(path.read_text("utf-8", "replace") for path in streams)), raised


@contextmanager
def _caught_streams(home: Path) -> Iterator[tuple[Path, Path]]:
    """Both streams, and their file descriptors, which libraries in C write to, go to files."""
    paths = home / "stdout.txt", home / "stderr.txt"
    kept_streams, kept = (sys.stdout, sys.stderr), [os.dup(1), os.dup(2)]
    try:
        for descriptor, path in enumerate(paths, start=1):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            os.dup2(file, descriptor)
            os.close(file)
        sys.stdout, sys.stderr = _stream(1), _stream(2)
        yield paths
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.close()
        sys.stdout, sys.stderr = kept_streams
        for descriptor, copy in enumerate(kept, start=1):
            os.dup2(copy, descriptor)
            os.close(copy)


def _stream(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(os.dup(descriptor), "w"), "utf-8", "backslashreplace", write_through=True)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Put back the process's folder, environment, log handlers and signal handlers."""
    folder, environment, words, log = os.getcwd(), dict(os.environ), sys.argv, logging.getLogger()
    handlers, level, signals = log.handlers[:], log.level, [signal.getsignal(number) for number in _SIGNALS]
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, log.handlers[:] = words, handlers
        log.setLevel(level)
        for number, handler in zip(_SIGNALS, signals, strict=True):
            signal.signal(number, handler)


@contextmanager
def _bounded_memory(allowance: int) -> Iterator[None]:
    """Address space for so many bytes more, so that a huge allocation fails at once instead of filling the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + allowance, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _kernel_caches() -> list[Path]:
    """Where Warp keeps compiled kernels, once it is loaded."""
    warp = sys.modules.get("warp")
    return [Path(warp.config.kernel_cache_dir)] if warp is not None and warp.config.kernel_cache_dir else []


def warm_up() -> None:
    """Import what commands import where they use it, so that no case pays for it."""
    from dreamfusion_mesh import cli, doctor, pipeline  # noqa: F401
    from dreamfusion_mesh.kernels import launch  # noqa: F401  starts Warp

    import diffusers  # isort: skip  # noqa: F401
    import transformers  # isort: skip  # noqa: F401
    import trimesh  # isort: skip  # noqa: F401


def main() -> None:
    """Answer case numbers until standard input ends."""
    settings = json.loads(sys.argv[1])
    questions, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if settings["entry"].startswith("dreamfusion_mesh"):
        warm_up()
    worker = Worker(Path(settings["home"]), Path(settings["corpus"]), settings["seed"], settings["entry"], settings["allowance"])
    print("ready", file=answers, flush=True)
    for line in questions:
        print(json.dumps(worker.run(int(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
