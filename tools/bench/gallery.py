"""A gallery of many rows: seconds to write it, and in headless Chromium, which draws in software, to open it and to filter it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dreamfusion_mesh.audit.engines.three import MODULES_VARIABLE, find_three
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.view.gallery import LARGEST_EMBEDDED, write_gallery
from tools.bench.batch import in_chunks
from tools.bench.machine import ROOT
from tools.bench.records import Figure, in_milliseconds, missing

from evaluated_runs import done, make_run  # isort: skip  # of tests/support, which tools.bench.batch has put on the path
from gallery_batches import preview, turntable  # isort: skip

ROWS = 10_000
WRITTEN, OPENED = 30.0, 1.0  # targets, seconds
_TAGS = ("kitchen", "garden", "street")
_BROWSER = ROOT / "tests" / "browser"


def measure(rounds: int) -> Iterator[Figure]:
    """Of rows with tags, audits and pictures; their assets are too large together to lie in the page, as real ones are."""
    with tempfile.TemporaryDirectory() as folder:
        batch = many_rows(Path(folder) / "out", ROWS)
        written = [_seconds_to_write(batch) for _ in range(rounds)]
        yield Figure(f"writing a gallery of {ROWS:,} rows", "s", tuple(written), target=WRITTEN)
        yield from _looks(batch.path / "gallery.html", rounds)


def many_rows(path: Path, rows: int) -> BatchFolder:
    """A batch of so many rows that are done."""
    path.mkdir(parents=True)
    sample = make_run(path / "row-0", "a red mug, number 0")
    more = {"preview.png": preview(), "turntable.webp": turntable(), "asset.glb": bytes(2 * LARGEST_EMBEDDED // ROWS)}
    for name, content in more.items():
        (sample / name).write_bytes(content)
    files = {file.name: file.read_bytes() for file in sample.iterdir() if file.is_file()}
    for number in range(1, rows):
        folder = path / f"row-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    for numbers in in_chunks(rows):
        entries = (done(f"row-{number}", f"a red mug, number {number}", number) for number in numbers)
        Manifest(path / "manifest.jsonl").append(replace(entry, tags=(_TAGS[entry.seed % 3],)) for entry in entries)
    return BatchFolder(path)


def _seconds_to_write(batch: BatchFolder) -> float:
    started = time.perf_counter()
    write_gallery(batch)
    return time.perf_counter() - started


def _looks(page: Path, rounds: int) -> Iterator[Figure]:
    """From disk, until the rows are there, and until the picture after each filter is drawn."""
    if (ROOT / "tests" / "engines" / "node_modules").is_dir():
        os.environ.setdefault(MODULES_VARIABLE, str(ROOT / "tests" / "engines"))
    if (browser := find_three()) is None:
        yield missing("opening and filtering it", "Chromium, node or puppeteer-core is missing; `make browser-tests` installs them")
        return
    asked = json.dumps({"browser": browser[0], "url": page.as_uri()})
    command = ["node", str(_BROWSER / "drive.cjs"), str(browser[1]), str(_BROWSER / "times.cjs"), asked]
    answers = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(rounds)]
    found = [json.loads(answer.removeprefix("FOUND ")) for answer in answers]
    yield in_milliseconds("opening it in Chromium", [each["ready"] / 1e3 for each in found], OPENED)
    for name in ("text", "tag", "order"):
        yield in_milliseconds(f"its answer to a change of {name}", [each[name]["painted"] / 1e3 for each in found], OPENED)
