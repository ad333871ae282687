"""What a stage leaves behind to go on from: a flat mapping of tensors, and who writes it; its file is run/checkpoints.py's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from torch import Tensor

State = dict[str, Tensor]

_BACKGROUND_BYTES = 2**25  # states from this size on are written by a thread: 32 MiB take about as long as a step


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
