"""A batch of stub rows as a program of its own, to be killed and interrupted.

OUT NOTES OPTIONS NAME=PROMPT ...    OPTIONS: JSON, of Options; a line for each event, then the totals, on standard output
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from stub_rows import StubRows, job

from dreamfusion_mesh.batch.records import Event, Options
from dreamfusion_mesh.batch.run import run_batch

ROOT = Path(__file__).parents[2]


def watch(event: Event) -> None:
    sys.stdout.write(f"{event.kind} {event.name}\n")
    sys.stdout.flush()


def main() -> None:
    out, notes, options, *prompts = sys.argv[1:]
    jobs = [job(name, prompt, seed) for seed, (name, _, prompt) in enumerate(text.partition("=") for text in prompts)]
    totals = run_batch(jobs, Path(out), Options(**json.loads(options)), watch, StubRows(Path(notes)))
    sys.stdout.write(json.dumps(asdict(totals)) + "\n")


def start(out: Path, notes: Path, prompts: dict[str, str], own_group: bool = False, **options: object) -> subprocess.Popen[str]:
    """The program, with its output in pipes; `own_group`: with its processes in a group of their own."""
    notes.mkdir(exist_ok=True)
    words = [f"{name}={prompt}" for name, prompt in prompts.items()]
    command = [sys.executable, "-c", _CODE, str(out), str(notes), json.dumps(options), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=own_group)


_PATHS = [str(ROOT), str(ROOT / "tests" / "support")]
_CODE = f"import sys; sys.path[:0] = {_PATHS!r}; from dreamfusion_mesh import process; process.run(lambda: __import__('stub_batch').main())"
