"""Whether a state is one that a stage can go on from: names, shapes, types and values, checked before any of it is used."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.stages.checkpoint import State, module_state

REDO = "delete it to redo its stage"
REACH = 4.0  # scene units: the object lies inside [-1, 1]^3, and the lattice round it is wider by a cell


class Layout(NamedTuple):
    """Shape (None: any length) and type of a tensor, and the least value in it, if there is one."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype
    least: float | None = None


LOSS = "loss"  # the module that guides, in every stage
COUNTS = "fit.counts"  # steps done and skipped
DRAWS = "fit.draws"
OF_FIT = {COUNTS: Layout((2,), torch.int64, 0), DRAWS: Layout((None,), torch.uint8)}  # what every state of a fit holds


@contextmanager
def fits(where: str, remedy: str = REDO) -> Iterator[None]:
    """Turns a ValueError about the tensors of the checkpoint `where` into BadInput that names it and the remedy."""
    try:
        yield
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{where}: does not fit this run ({reason(error)}); {remedy}") from None


def check_names(found: Collection[str], expected: Collection[str]) -> None:
    """Raises ValueError naming a tensor that is missing, or one that is not expected."""
    for name in sorted(set(expected) ^ set(found)):
        raise ValueError(f"{name}: {'is missing' if name in expected else 'is no tensor of this checkpoint'}")


def check_tensor(name: str, value: Tensor, like: Layout) -> None:
    """Raises ValueError naming `name` unless `value` has the layout, and floats that are finite."""
    shape, dtype, least = like
    same_shape = value.dim() == len(shape) and all(want in (None, have) for have, want in zip(value.shape, shape, strict=True))
    if not same_shape or value.dtype != dtype:
        wanted = ["?" if length is None else length for length in shape]
        raise ValueError(f"{name}: {value.dtype} {list(value.shape)}, expected {dtype} {wanted}")
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise ValueError(f"{name}: holds NaN or infinity")
    if least is not None and bool((value < least).any()):
        raise ValueError(f"{name}: holds values below {least}")


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Layout]) -> None:
    """Raises ValueError unless `found` has the expected names, and each tensor its layout, with floats that are finite."""
    check_names(found.keys(), expected.keys())
    for name, like in expected.items():
        check_tensor(name, found[name], like)


def layout_of_modules(modules: Mapping[str, nn.Module]) -> dict[str, Layout]:
    """What a state holds of modules."""
    return {key: Layout(tuple(value.shape), value.dtype) for key, value in tensors_of_modules(modules).items()}


def tensors_of_modules(modules: Mapping[str, nn.Module]) -> State:
    """The tensors that a state holds of modules, by their names there; not copied."""
    return {f"module.{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def load_modules(modules: Mapping[str, nn.Module], state: State) -> None:
    """Give modules the values that a checked state holds of them."""
    for name, module in modules.items():
        module.load_state_dict(module_state(state, name))


def step_counts(state: State) -> tuple[int, int]:
    """Steps done and skipped. Raises ValueError where the state does not say."""
    check_names([COUNTS] if COUNTS in state else [], [COUNTS])
    check_tensor(COUNTS, state[COUNTS], OF_FIT[COUNTS])
    done, skipped = state[COUNTS].tolist()
    if skipped > done:
        raise ValueError(f"{COUNTS}: {done} steps are done and {skipped} of them skipped")
    return done, skipped


def load_draws(draws: torch.Generator, state: State) -> None:
    """Put the generator where the state left it. Raises ValueError where that is no place of it."""
    try:
        draws.set_state(state[DRAWS])
    except RuntimeError as error:
        raise ValueError(f"{DRAWS}: {error}") from None


def load_mesh(state: State, prefix: str, reach: float = math.inf) -> Mesh:
    """The mesh that a state holds as `prefix`vertices and `prefix`faces.

    reach  the largest coordinate allowed
    Raises ValueError where it is none, has no faces or lies further out.
    """
    vertices, faces = f"{prefix}vertices", f"{prefix}faces"
    check_names([name for name in (vertices, faces) if name in state], (vertices, faces))
    check_tensor(vertices, state[vertices], Layout((None, 3), torch.float32))
    check_tensor(faces, state[faces], Layout((None, 3), torch.int64))
    if not state[faces].numel():
        raise ValueError(f"{faces}: no faces, expected 1 or more")
    low, high = (int(end) for end in state[faces].aminmax())
    if low < 0 or high >= len(state[vertices]):
        raise ValueError(f"{faces}: corners from {low} to {high}, of {len(state[vertices])} vertices")
    furthest = float(state[vertices].abs().max())
    if furthest > reach:
        raise ValueError(f"{vertices}: coordinates up to {furthest:.4g}, expected at most {reach:.4g}")
    return Mesh(state[vertices], state[faces])
