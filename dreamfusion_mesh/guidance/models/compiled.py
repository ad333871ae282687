"""A network's repeated blocks compiled by torch, each kind once, within a limit of time; what cannot be compiled is called as it is.

Compiling happens in the call that needs it and cannot be interrupted soundly, neither in a thread nor by a signal. So it is parted: blocks
are compiled one by one as they are first called, in seconds each, and once the limit is spent no further one is begun.

Source: https://docs.pytorch.org/tutorials/recipes/regional_compilation.html
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import reason
from dreamfusion_mesh.out_of_memory import describe

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_configuration_tutorial.html
_BLOCKS = (  # of all families that are read
    *("BasicTransformerBlock", "JointTransformerBlock", "PRXBlock", "Flux2TransformerBlock", "Flux2SingleTransformerBlock"),
)
_OWN = "torchinductor_"  # how the folder begins that torch puts into VARIABLE itself, in the temporary one
_SHAPES = 64  # of one kind of block, which torch would else give up after eight

_log = logging.getLogger(__name__)


class CompiledBlocks:
    """The calls of one network whose blocks are compiled.

    No further block is compiled, with one warning, where compiling fails or once the limit of time is spent. Where a compiled block fails,
    then or later, all are called as they are, with a warning of its own.
    """

    def __init__(
        self, network: torch.nn.Module, seconds: float, backend: str = "inductor", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """seconds: of compiling, all blocks together; the one under way when they are spent is still finished."""
        self._left, self._backend, self._clock = float(seconds), backend, clock
        self._compiles, self._called_compiled = True, True  # whether further blocks are; whether those that are, are called
        self._blocks = [block for block in network.modules() if type(block).__name__ in _BLOCKS] or [network]
        _allow_shapes()
        for block in self._blocks:
            block.compile(backend=self._compile, dynamic=False)

    def __call__(self, call: Callable[..., Tensor], given: Sequence[Tensor], variant: Hashable = None) -> Tensor:
        """What `call(*given)` returns; `variant` tells nothing here. Raises what the call does where nothing is compiled."""
        try:
            return call(*given)
        except Exception as error:
            if not self._called_compiled or describe(error) is not None:
                raise
            self._give_up(f"a compiled block fails ({type(error).__name__}: {reason(error)})")
        self._called_compiled = False
        for block in self._blocks:
            block.compile(disable=True)
        return call(*given)

    def _compile(self, graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
        """A backend of torch.compile: the graph compiled, or as it is."""
        from torch._dynamo import lookup_backend

        if self._compiles and self._left <= 0:
            self._give_up("its limit of time (guidance.compile_seconds) is spent")
        if not self._compiles:
            return graph.forward
        started = self._clock()
        try:
            return lookup_backend(self._backend)(graph, examples)
        except Exception as error:
            self._give_up(f"{type(error).__name__}: {reason(error)}")
            return graph.forward
        finally:
            self._left -= self._clock() - started

    def _give_up(self, why: str) -> None:
        self._compiles = False
        _log.warning("guidance.compile: %s; what is not compiled goes on without", why)


def compiled_blocks(network: torch.nn.Module, settings: GuidanceSettings) -> CompiledBlocks | None:
    """The network's calls, compiled, with what is compiled kept for later runs; None where these settings do not ask for it."""
    if not settings.compile:
        return None
    keep_compiled()
    return CompiledBlocks(network, settings.compile_seconds)


def keep_compiled() -> None:
    """Have torch keep what it compiles in the user's cache, unless the environment names a folder.

    Where that cannot be written, it lies in torch's own temporary folder.
    """
    given = Path(os.environ.get(VARIABLE, ""))
    if given.name and not (given.name.startswith(_OWN) and given.parent == Path(tempfile.gettempdir())):
        return
    named = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(named) / "dreamfusion-mesh" / "inductor"
    try:
        if not folder.is_absolute():
            raise OSError("this user has no home folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            os.environ[VARIABLE] = str(folder)
    except OSError as error:
        problem = f"{folder}: {error.strerror or error}"
        _log.warning("guidance.compile: what is compiled is not kept for later runs (%s); name a folder in %s", problem, VARIABLE)


def _allow_shapes() -> None:
    from torch._dynamo import config

    for name in ("recompile_limit", "cache_size_limit"):  # the latter before torch 2.7
        if hasattr(config, name):
            setattr(config, name, max(getattr(config, name), _SHAPES))
