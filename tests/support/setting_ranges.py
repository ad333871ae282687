"""Every number among the settings with its range, found in the annotations: nothing is listed by hand, so none can be forgotten."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dreamfusion_mesh.config import RunConfig


@dataclass(frozen=True)
class Number:
    """A number that a setting takes. `spot` is None, or the value's place in a setting of several numbers."""

    name: str
    kind: type[int] | type[float]
    low: float | None
    high: float | None
    spot: int | None

    def value(self, number: float, default: Any) -> Any:
        """What the setting takes where this number is `number`; the others of several stay."""
        if self.spot is None:
            return number
        return [number if spot == self.spot else other for spot, other in enumerate(default)]

    def outside(self) -> Iterator[float]:
        """The nearest numbers that the range leaves out."""
        assert self.low is not None
        assert self.high is not None
        yield self.low - 1 if self.kind is int else math.nextafter(self.low, -math.inf)
        yield self.high + 1 if self.kind is int else math.nextafter(self.high, math.inf)


def all_numbers(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[Number]:
    """The numbers of all settings, groups in groups."""
    found: list[Number] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += all_numbers(kind, f"{prefix}{name}.")
        else:
            found += _numbers(kind, prefix + name, field.metadata, None)
    return found


def _numbers(kind: Any, name: str, bounds: list[Any], spot: int | None) -> list[Number]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = [bound for part in parts[1:] if isinstance(part, FieldInfo) for bound in part.metadata]
        return _numbers(parts[0], name, inner, spot)
    if origin in (Union, types.UnionType):
        return [number for part in parts for number in _numbers(part, name, bounds, spot)]
    if origin is tuple:
        return [number for spot, part in enumerate(parts) for number in _numbers(part, name, [], spot)]
    if origin is Literal or kind in (str, bool, types.NoneType):
        return []
    assert kind in (int, float), f"{name}: {kind} is a new kind of setting; say here which numbers it takes"
    low = next((bound.ge for bound in bounds if isinstance(bound, annotated_types.Ge)), None)
    high = next((bound.le for bound in bounds if isinstance(bound, annotated_types.Le)), None)
    return [Number(name, kind, low, high, spot)]


def default_of(name: str) -> Any:
    """The default of a setting by its dotted name."""
    value: Any = RunConfig()
    for part in name.split("."):
        value = getattr(value, part)
    return value
