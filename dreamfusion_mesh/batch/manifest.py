"""manifest.jsonl, what became of a batch's jobs: JSON lines that are only ever appended, the first one with the schema.

A line is on the disk before what it says is acted on. A process that is killed while it writes leaves half a last line, which is dropped. A
line that is broken otherwise is kept in manifest.broken.jsonl: the job's folders tell what it said.
"""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dreamfusion_mesh import __version__
from dreamfusion_mesh.batch.entry import LONGEST_LINE, Entry, entry_line, line_reader
from dreamfusion_mesh.config.schema import KEY, schema_version
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import MissingFile, append_file, cannot_write, open_file, shown, sync_folder, write_file
from dreamfusion_mesh.run.out import BROKEN

SCHEMA = 1

_LOG = logging.getLogger(__name__)
_KIND = "batch manifest"
_REMEDY = "name another folder, or move this file away: the jobs' folders then tell what is done"
_BLOCK = 1 << 20  # bytes that are copied at a time
_SHOWN = 5  # numbers of lines in a message


@dataclass
class _Contents:
    """latest   entry of each job
    broken   line number, first byte and end of each line that is no entry
    end      of the last whole line, bytes; `size` is beyond it where half a line follows
    """

    latest: dict[str, Entry] = field(default_factory=dict)
    broken: list[tuple[int, int, int]] = field(default_factory=list)
    end: int = 0
    size: int = 0


@dataclass(frozen=True)
class Manifest:
    """The manifest at `path` for the one process that holds the batch's folder."""

    path: Path

    def recover(self) -> dict[str, Entry]:
        """The latest entry of each job, by name, after half a last line was dropped and broken lines were moved to BROKEN, with a warning.

        Raises BadInput as `read_manifest` does, and where the files cannot be written.
        """
        contents = _read(self.path)
        if contents.broken:
            self._move_broken(contents)
            kept = f"kept in {BROKEN}; the jobs' folders tell what they said"
            _LOG.warning("%s: %s; %s", shown(self.path), _describe(contents.broken), kept)
        elif contents.end < contents.size:
            try:
                os.truncate(self.path, contents.end)
            except OSError as error:
                raise cannot_write(self.path, error) from error
        return contents.latest

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries, all or none of them; the disk holds them then. Raises BadInput, whose cause is an OSError, where that fails."""
        lines = b"".join(map(entry_line, entries))
        if not lines:
            return
        if not os.path.lexists(self.path):
            head = {KEY: SCHEMA, "generator": f"dreamfusion_mesh {__version__}", "kind": _KIND}
            write_file(self.path, (json.dumps(head) + "\n").encode())
            sync_folder(self.path.parent)
        append_file(self.path, lines, durable=True)

    def _move_broken(self, contents: _Contents) -> None:
        """First the broken lines, then the others: what is killed in between keeps a broken line twice, and loses none."""
        with open_file(self.path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            aside = self.path.with_name(BROKEN)
            for _, start, end in contents.broken:
                for block in _copy(file, start, end):
                    append_file(aside, block, durable=True)
            sync_folder(aside.parent)
            write_file(self.path, _between(file, contents))
            sync_folder(self.path.parent)


def read_manifest(path: Path) -> dict[str, Entry]:
    """The latest entry of each job, by name, none where there is no manifest; writes nothing, and reads while a batch appends.

    Half a last line is passed over, and broken lines with a warning. Raises BadInput where the file is another program's, of a newer
    schema, or cannot be read.
    """
    contents = _read(path)
    if contents.broken:
        _LOG.warning("%s: %s, passed over", shown(path), _describe(contents.broken))
    return contents.latest


def _read(path: Path) -> _Contents:
    contents = _Contents()
    with suppress(MissingFile), open_file(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file, _no_collection():
        _fill(contents, path, file)
    return contents


def _fill(contents: _Contents, path: Path, file: BinaryIO) -> None:
    latest, read = contents.latest, line_reader()
    for number, (line, start, end) in enumerate(_lines(file), 1):
        contents.size = end
        if not line.endswith(b"\n"):
            break
        contents.end = end
        if number == 1:
            _check_head(path, line)
            continue
        try:
            entry = read(line)
        except ValueError:
            contents.broken.append((number, start, end))
        else:
            latest[entry.name] = entry
    if not contents.end:
        _check_head(path, b"")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for cycles, of which a million entries have none: it would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Each line with its first byte and its end; of one that is longer than LONGEST_LINE, its last byte."""
    start = 0
    while line := file.readline(LONGEST_LINE):
        end = start + len(line)
        while not line.endswith(b"\n") and (more := file.readline(LONGEST_LINE)):
            line, end = more[-1:], end + len(more)
        yield line, start, end
        start = end


def _check_head(path: Path, line: bytes) -> None:
    """Raises BadInput where the first line is not that of a manifest which this version reads."""
    try:
        head = json.loads(line.decode())
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("kind") != _KIND or KEY not in head:
        raise BadInput(f"{shown(path)}: is not a batch's, or its first line is broken; {_REMEDY}")
    if schema_version(shown(path), head[KEY], SCHEMA, _REMEDY) < SCHEMA:
        raise BadInput(f"{shown(path)}: is of schema {head[KEY]!r}, this version reads {SCHEMA}; {_REMEDY}")


def _between(file: BinaryIO, contents: _Contents) -> Iterator[bytes]:
    """The whole lines that are not broken, in blocks."""
    at = 0
    for _, start, end in [*contents.broken, (0, contents.end, contents.end)]:
        yield from _copy(file, at, start)
        at = end


def _copy(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (block := file.read(min(end - start, _BLOCK))):
        start += len(block)
        yield block


def _describe(broken: Sequence[tuple[int, int, int]]) -> str:
    numbers = ", ".join(str(number) for number, _, _ in broken[:_SHOWN])
    if len(broken) == 1:
        return f"line {numbers} is broken"
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    return f"lines {numbers}{more} are broken"
