"""Rows of a batch that do next to nothing, so that their processes start in a fraction of a second; and jobs for them.

What a job's prompt says is done, one word after the other:
    fail-fit, fail-delivery   an exception      bad      BadInput         memory   MemoryError
    hang-fit, hang-delivery   sleeps for ever   die-fit, die-delivery     killed by SIGKILL
    hang-end, die-end         likewise, but when all is done
    sleep                     takes a second
    exit-fit                  ends its process  full     a full disk, the first time
    empty                     PoorOutcome of the attempts whose number is below that in the prompt: "empty 2"
    steps                     many steps with checkpoints, until it is stopped once: then it takes few
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dreamfusion_mesh.batch.finished import read_outcome
from dreamfusion_mesh.batch.messages import Role, Words
from dreamfusion_mesh.batch.records import Attempt, Job, Outcome
from dreamfusion_mesh.config import RunConfig, dump, load_config
from dreamfusion_mesh.errors import BadInput, PoorOutcome
from dreamfusion_mesh.run.lock import locked

SETTINGS = load_config("smoke", ["device=cpu"], {"prompt": "of the batch"})
FINE = "checkpoints/fine.safetensors"
STEPS = "steps.txt"
Report = Callable[[str, int, int, Mapping[str, float], object], None]


def job(name: str, prompt: str = "a red mug", seed: int = 0, settings: RunConfig = SETTINGS) -> Job:
    """A job with a key of its own."""
    key = hashlib.sha256(repr((prompt, seed, settings.model_dump(exclude={"device", "prompt", "seed"}))).encode()).hexdigest()
    return Job(name, prompt, seed, settings, key)


def asset_bytes(attempt: Attempt, size: int = 64) -> bytes:
    """What a stub row delivers as asset.glb: a function of prompt and seed."""
    block = hashlib.sha256(f"{attempt.job.prompt} {attempt.seed}".encode()).digest()
    return block * (size // len(block))


@cache
def _dumped(settings: str) -> str:
    return dump(RunConfig.model_validate_json(settings))


def run_yaml(attempt: Attempt) -> bytes:
    """The settings of an attempt as a run leaves them, but without the milliseconds that YAML takes."""
    shared = attempt.job.settings.model_copy(update={"prompt": "PROMPT", "seed": 987654321})
    text = _dumped(shared.model_dump_json())
    return text.replace("PROMPT", json.dumps(attempt.job.prompt)).replace("987654321", str(attempt.seed)).encode()


@dataclass
class StubRows:
    """See the module's text.

    notes   a folder in which the processes leave lines about what they did: one file for each of them, named by its id
    size    bytes of asset.glb
    broken  whether no process starts
    """

    notes: Path
    size: int = 64
    strict: bool = False
    broken: bool = False

    def start(self, role: Role) -> None:
        if self.broken:
            raise RuntimeError("planted in the start")
        card = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        self._note(f"start {role} on {card}" if card else f"start {role}")

    def load(self, settings: RunConfig) -> None:
        model = settings.guidance.model
        self._note(f"load {model}")
        if model == "missing":
            raise BadInput("guidance 'missing': is missing")
        if model == "full" and not (self.notes / "was full").exists():
            (self.notes / "was full").write_text("")
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        if model == "unloadable":
            raise RuntimeError("the model cannot be loaded now")
        if model == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)

    def encode(self, words: Sequence[Words]) -> None:
        self._note(f"encode {len(words)}")

    def fit(self, attempt: Attempt, folder: Path, report: Report, stop: Callable[[], bool]) -> bool:
        if (folder / FINE).exists():
            return True
        write_plainly(folder / "run.yaml", run_yaml(attempt))
        words = attempt.job.prompt.split()
        if "empty" in words and attempt.number < int(words[words.index("empty") + 1]):
            raise PoorOutcome("empty", "the field is empty")
        self._do("fit", words, folder)
        if "steps" in words and not self._step(folder, report, stop):
            return False
        write_plainly(folder / FINE, b"fitted")
        return True

    def deliver(self, attempt: Attempt, folder: Path, report: Report) -> Outcome:
        words = attempt.job.prompt.split()
        self._do("delivery", words, folder)
        poor = audit_failures(attempt)
        rows = [{"number": n, "property": "p", "status": "fail" if n < poor else "pass", "measured": {"triangles": 12}} for n in range(4)]
        write_plainly(folder / "asset.glb", asset_bytes(attempt, self.size))
        write_plainly(folder / "audit.json", json.dumps({"rows": rows}).encode())
        write_plainly(folder / "provenance.json", json.dumps({"seconds": {"coarse": 0.5}}).encode())
        write_plainly(folder / "result.json", json.dumps({"warnings": []}).encode())
        self._do("end", words, folder)
        outcome = read_outcome(folder, self.strict)
        assert outcome is not None
        return outcome

    def usable(self) -> bool:
        return True

    def _step(self, folder: Path, report: Report, stop: Callable[[], bool]) -> bool:
        """Steps until `stop` says so; a fit that goes on from there is done at once."""
        if (folder / STEPS).exists():
            return True
        for step in range(100_000):
            report("coarse", step, 100_000, {}, None)
            if stop():
                write_plainly(folder / STEPS, b"stopped")
                return False
            time.sleep(0.01)
        raise AssertionError("was not stopped")

    def _do(self, half: str, words: Sequence[str], folder: Path) -> None:
        if f"fail-{half}" in words:
            raise ValueError(f"planted in the {half}")
        if f"hang-{half}" in words:
            with locked(folder) as lock:
                lock.note_stage(half)
                time.sleep(3600)
        if f"die-{half}" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if f"exit-{half}" in words:
            os._exit(7)
        if half == "fit" and "sleep" in words:
            time.sleep(1.0)
        if half == "fit" and "bad" in words:
            raise BadInput("prompt: is bad")
        if half == "fit" and "memory" in words:
            raise MemoryError
        if half == "delivery" and "full" in words and not (self.notes / "was full").exists():
            (self.notes / "was full").write_text("")
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise BadInput(f"{folder}: cannot be written (No space left on device); free some space") from error

    def _note(self, line: str) -> None:
        with (self.notes / f"{os.getpid()}.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def write_plainly(path: Path, content: bytes) -> None:
    """Whole or not at all, for processes that are killed; without the wait for the disk, which a power cut alone needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid():08d}.part")
    part.write_bytes(content)
    part.replace(path)


def audit_failures(attempt: Attempt) -> int:
    """Rows of the audit that fail, of those whose prompt lists them by attempt, as "audit 3 1 2"."""
    words = attempt.job.prompt.split()
    return int(words[words.index("audit") + 1 + attempt.number]) if "audit" in words else 0


def notes(folder: Path) -> list[str]:
    """What all processes left there, in no order of theirs."""
    return [line for file in sorted(folder.glob("*.txt")) for line in file.read_text(encoding="utf-8").splitlines()]
