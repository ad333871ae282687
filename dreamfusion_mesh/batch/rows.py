"""What the processes of a batch do with an attempt: the pipeline's two halves, with one loaded model for all attempts of a group."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dreamfusion_mesh.batch.finished import read_outcome
from dreamfusion_mesh.batch.messages import Role, Words
from dreamfusion_mesh.batch.records import Attempt, Outcome
from dreamfusion_mesh.config import RunConfig

if TYPE_CHECKING:
    from dreamfusion_mesh.stages.fit import Report

_PATIENCE = 30.0  # seconds, for the process of a batch that was killed to let its folder go


class Rows(Protocol):
    """The work of a batch's processes. It is pickled on the way to them, so what it loads stays out of its first state."""

    def start(self, role: Role) -> None:
        """Import what the role takes, before the first task."""
        ...

    def load(self, settings: RunConfig) -> None:
        """Load what attempts with these settings share, in the place of what was loaded before. Raises BadInput where none can run."""
        ...

    def encode(self, words: Sequence[Words]) -> None:
        """Make ready for attempts to come what follows from their words. Raises nothing for words that cannot be used."""
        ...

    def fit(self, attempt: Attempt, folder: Path, report: Report, stop: Callable[[], bool]) -> bool:
        """Up to where it can be delivered, going on with what is in `folder`; False where `stop` ended it, with a checkpoint left there."""
        ...

    def deliver(self, attempt: Attempt, folder: Path, report: Report) -> Outcome:
        """From there to its files and its result."""
        ...

    def usable(self) -> bool:
        """Whether this process can go on after an attempt has failed with an error."""
        ...


@dataclass
class PipelineRows:
    """Rows that run the pipeline.

    strict     a row of the audit that failed or was not measured fails the attempt
    encodings  folder for encoded texts that memory does not hold
    workers    of the batch
    """

    strict: bool
    encodings: Path
    workers: int = 1
    _model: Any = field(default=None, repr=False)

    def start(self, role: Role) -> None:
        """See Rows."""
        import dreamfusion_mesh.pipeline

        if role == "deliver":
            import dreamfusion_mesh.asset.uv.unwrap  # noqa: F401

    def load(self, settings: RunConfig) -> None:
        """See Rows."""
        import torch

        from dreamfusion_mesh.batch.encodings import EncodedModel, Encodings
        from dreamfusion_mesh.guidance.models.load import load_guidance
        from dreamfusion_mesh.run.device import resolve_device
        from dreamfusion_mesh.run.memory import warn_where_processes_are_many

        device = resolve_device(settings.device)
        if device.type == "cpu":
            warn_where_processes_are_many(settings, self.workers)
        self._model = None  # before the next one takes as much
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        model = load_guidance(settings.guidance, device)
        self._model = EncodedModel(model, Encodings(model, self.encodings))

    def encode(self, words: Sequence[Words]) -> None:
        """See Rows."""
        self._model.encodings.prepare(words)

    def fit(self, attempt: Attempt, folder: Path, report: Report, stop: Callable[[], bool]) -> bool:
        """See Rows."""
        from dreamfusion_mesh.pipeline import fit
        from dreamfusion_mesh.run.find import move_to_device
        from dreamfusion_mesh.stages.fit import Halted

        move_to_device(folder, attempt.config)
        try:
            fit(attempt.config, folder, guidance=self._model, report=report, stop=stop, patience=_PATIENCE)
        except Halted:
            return False
        return True

    def deliver(self, attempt: Attempt, folder: Path, report: Report) -> Outcome:
        """See Rows."""
        from dreamfusion_mesh.pipeline import generate
        from dreamfusion_mesh.run.find import move_to_device

        move_to_device(folder, attempt.config)  # a run that was fitted before this batch began is delivered at once
        result = generate(attempt.config, folder, report=report, patience=_PATIENCE)
        outcome = read_outcome(result.folder, self.strict)
        assert outcome is not None, f"{result.folder}: generate left no result"
        return outcome

    def usable(self) -> bool:
        """See Rows: a card on which a kernel has failed refuses all that follows in the same process."""
        import torch

        try:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        except RuntimeError:
            return False
        return True
