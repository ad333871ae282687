"""What the parent of a batch and its processes tell each other, pickled through a pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.records import Attempt, Outcome
from dreamfusion_mesh.config import GuidanceSettings

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.rows import Rows

Role = Literal["fit", "deliver"]


@dataclass(frozen=True, slots=True)
class Words:
    """What a prompt's encoding follows from, besides the model."""

    prompt: str
    settings: GuidanceSettings


@dataclass(frozen=True, slots=True)
class Setup:
    """What a process is told first: the batch's folder, and what is done with rows (see rows.py)."""

    folder: BatchFolder
    rows: Rows


@dataclass(frozen=True, slots=True)
class Task:
    """An attempt to fit or to deliver; `ahead` are the words of those that come after it, told once."""

    attempt: Attempt
    ahead: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What a process has to say.

    kind     of the process: ready: it takes tasks; loaded: it has the task's model.
             of its task: begun; stage: it is at `done` of `total` of `text`; and one of these at its end:
             fitted; delivered, failed: with an `outcome`; halted: asked to stop, it left a checkpoint;
             refused: its model cannot be used, `text` says why; unserved: the model could not be loaded now; disk full
             of either: warning: `text`
    """

    kind: Literal[
        "ready", "loaded", "begun", "stage", "warning", "fitted", "delivered", "failed", "halted", "refused", "unserved", "disk full"
    ]
    text: str = ""
    done: int = 0
    total: int = 0
    outcome: Outcome | None = None
