"""A stage run on a device that this machine need not have, where every tensor on another device is a fault.

`OneDevice` pretends: a tensor moved to `PRETENDED` is computed on the CPU but says that it lies on another device, as one on a card would.
So a machine without a card finds what would stop a run on one, or slow it down: tensors made without `device=`, results that come back on
the CPU, numpy asked without `.cpu()`, an index or a generator on the wrong side, a kernel handed a CPU tensor.

    with OneDevice(edges=[unwrap]) as one:                       # a function or a module that may compute on the CPU
        image = bake(mesh.to(one.device), field.to(one.device))
    assert_on(PRETENDED, image)

What it cannot find: branches on `device.type == "cuda"`, and how CUDA itself rounds or orders.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType, ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from dreamfusion_mesh.kernels import launch

PRETENDED = torch.device("lazy", 0)  # a device type that torch knows without a start-up of its own, and runs backward for without a thread
_PACKAGE = "dreamfusion_mesh"
_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_JOINS = {_aten.cat.default, _aten.stack.default}  # take no scalar from another device

Edge = Callable[..., Any] | type | ModuleType


class WrongDevice(AssertionError):
    """A tensor was made on, copied to or mixed with another device than the stage's."""


class Pretended(Tensor):
    """A CPU tensor, `held`, that says it lies on PRETENDED."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=PRETENDED
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.held!r})"

    def numpy(self, *_: Any, **__: Any) -> np.ndarray:
        raise WrongDevice(f"numpy asked of a tensor {list(self.shape)} on {self.device}; use .cpu() first")

    def tolist(self) -> Any:
        """Plain numbers are read from any device."""
        return self.held.tolist()


class OneDevice(TorchDispatchMode):
    """The context in which everything belongs on `device`. Raises WrongDevice at the line of the package, or of the test, that differs.

    edges  functions, classes or modules in which, and in what they call, tensors may be made on the CPU and copied to it, and kernels
           run there: where numpy, files or seeded draws ask for that. Name the smallest that will do.
    Copies from the CPU to the device are free, and so are scalars (tensors without dimensions), which torch takes from the CPU too.
    Tensors on the CPU and on the device never meet, in edges neither.
    """

    device = PRETENDED

    def __init__(self, edges: Sequence[Edge] = ()) -> None:
        super().__init__()
        self._edges = tuple(_name(edge) for edge in edges)
        self._entered: list[ExitStack] = []

    def __enter__(self) -> OneDevice:
        stack = ExitStack()
        stack.enter_context(_lifting_on_the_cpu())
        stack.enter_context(patch.object(launch, "_view", self._for_kernels(launch._view)))
        self._entered.append(stack)
        return super().__enter__()

    def __exit__(self, *problem: Any) -> None:
        super().__exit__(*problem)
        self._entered.pop().close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _check_inputs(func, args, kwargs)
        out = _computed(func, args, kwargs)
        if not func.is_view:  # lift_fresh is one too: torch.tensor makes on the CPU, then copies to the device that it was asked for
            for part in tree_flatten(out)[0]:
                if isinstance(part, Tensor) and not isinstance(part, Pretended) and part.dim() > 0:
                    self._check_edges(func, part)
        return out

    def _check_edges(self, func: Any, made: Tensor) -> None:
        if not self._in_an_edge():
            raise WrongDevice(f"{func} gives {made.dtype} {list(made.shape)} on {made.device}, expected {PRETENDED}; {_line(_caller())}")

    def _in_an_edge(self) -> bool:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = f"{frame.f_globals.get('__name__')}:{_qualname(frame)}"
            if any(name == edge or name.startswith((f"{edge}.", f"{edge}:")) for edge in self._edges):
                return True
            frame = frame.f_back
        return False

    def _for_kernels(self, from_torch: Callable[..., Any]) -> Callable[..., Any]:
        def unwrapped(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if isinstance(tensor, Pretended):
                return from_torch(tensor.held, *args, **kwargs)
            if self._in_an_edge():
                return from_torch(tensor, *args, **kwargs)
            raise WrongDevice(f"a kernel is handed {tensor.dtype} {list(tensor.shape)} on {tensor.device}; {_line(_caller())}")

        return unwrapped


def assert_on(device: torch.device, *tensors: Tensor) -> None:
    """Every tensor lies on `device`."""
    astray = [f"{list(tensor.shape)} on {tensor.device}" for tensor in tensors if tensor.device != device]
    assert not astray, f"{', '.join(astray)}, expected {device}"


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What `func` gives, computed on the CPU; on PRETENDED where that is asked for, or an input lies there and nothing else is asked."""
    inputs = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Pretended)]
    there = bool(inputs) if kwargs.get("device") is None else _asks_for_it(kwargs)
    if func is _aten.copy_.default:
        there = isinstance(args[0], Pretended)
    if _asks_for_it(kwargs):
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map_only(Pretended, lambda part: part.held, (args, kwargs))
    out = func(*args, **kwargs)
    if not there:
        return out
    by_held = {id(part.held): part for part in inputs}
    return tree_map_only(Tensor, lambda part: _wrapped(func, part, by_held), out)


def _wrapped(func: Any, part: Tensor, by_held: dict[int, Pretended]) -> Pretended:
    known = by_held.get(id(part))
    if known is None:
        return Pretended(part)
    if known.shape != part.shape or known.stride() != part.stride():
        raise NotImplementedError(f"{func}: changes a tensor's shape in place, which a pretended tensor cannot follow")
    return known


def _check_inputs(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    parts = tree_flatten((args, kwargs))[0]
    there = any(isinstance(part, Pretended) for part in parts)
    if (there or _asks_for_it(kwargs)) and any(isinstance(part, torch.Generator) for part in parts):
        raise WrongDevice(f"{func}: a generator on the CPU draws on {PRETENDED}; {_line(_caller())}")
    if not there or func in _COPIES:
        return
    for part in parts:
        if isinstance(part, Tensor) and not isinstance(part, Pretended) and (part.dim() > 0 or func in _JOINS):
            raise WrongDevice(f"{func}: {part.dtype} {list(part.shape)} on {part.device} meets tensors on {PRETENDED}; {_line(_caller())}")


def _asks_for_it(kwargs: dict[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == PRETENDED.type


@contextmanager
def _lifting_on_the_cpu() -> Iterator[None]:
    """torch.tensor(..., device=) makes its values on the CPU and copies them in an operation that a mode sees, as FakeTensorMode has it."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _caller() -> FrameType | None:
    """The innermost frame of the package or of a test; libraries in between are passed over."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _ours(frame):
        frame = frame.f_back
    return frame


def _ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] == _PACKAGE or ("/tests/" in frame.f_code.co_filename and name != __name__)


def _name(edge: Edge) -> str:
    return edge.__name__ if isinstance(edge, ModuleType) else f"{edge.__module__}:{edge.__qualname__}".replace(".<locals>", "")


def _qualname(frame: FrameType) -> str:
    return frame.f_code.co_qualname.replace(".<locals>", "")


def _line(frame: FrameType | None) -> str:
    return "unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {_qualname(frame)}"
