"""What a stage leaves behind to go on from: a flat mapping of tensors with a schema version, and who writes it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from dreamfusion_mesh.errors import BadInput

State = dict[str, Tensor]

SCHEMA = 2
_CHANGES = "optimisers and the field's heads have names, the surface's `seen` is `lookup_sdf`"  # since schema 1, which had no number
_BACKGROUND_BYTES = 2**25  # states from this size on are written by a thread: 32 MiB take about as long as a step


def schema_state() -> State:
    """The entry that every stage's state begins with."""
    return {"fit.schema": torch.tensor([SCHEMA])}


def check_schema(state: State, stage: str) -> None:
    """Raises BadInput, saying what changed, where another schema than SCHEMA wrote `state`."""
    found = int(state["fit.schema"]) if "fit.schema" in state else 1
    if found != SCHEMA:
        reason = _CHANGES if found < SCHEMA else "a later version wrote it"
        raise BadInput(
            f"{stage}: its checkpoint has schema {found}, this version reads {SCHEMA} ({reason}); "
            "delete the run's checkpoints to redo it, or go on with the version that began it"
        )


def module_state(state: State, name: str) -> State:
    """The part of a state that belongs to the module `name`."""
    prefix = f"module.{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def snapshot(value: Tensor) -> Tensor:
    """A copy on the CPU that later steps do not change."""
    return value.detach().to("cpu", copy=True)


class CheckpointWriter:
    """Hands states to `save`, large ones from a thread so that the stage goes on meanwhile; at most one is under way.

    What `save` raises comes out of the next `put` or of leaving the context, which waits for the last state. Where the context is left
    by another error, that one stays.
    """

    def __init__(self, save: Callable[[State], None], background_bytes: int = _BACKGROUND_BYTES) -> None:
        self._save = save
        self._background_bytes = background_bytes
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def put(self, state: State) -> None:
        """Write `state`, which nobody changes any more, once the one before it is written."""
        self._wait()
        if sum(value.nbytes for value in state.values()) < self._background_bytes:
            self._save(state)
        else:
            self._pending = self._pool.submit(self._save, state)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._wait()
        except Exception:
            if kind is None:
                raise
        finally:
            self._pool.shutdown()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
