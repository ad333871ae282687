"""What every group of settings shares.

A range is that in which the code holds, both ends included; tests/config/ tries the ends. Settings take what they are made of and nothing
like it: no word or truth value for a number, no number for words. The words below a field are its entry in docs/SETTINGS.md (page.py).
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

MOST_STEPS = 1_000_000  # a hundred times what papers take; metrics.jsonl has about 300 bytes a step
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]  # of a loss: beyond it float32 sums keep nothing of the other terms
Rate = Annotated[float, Field(ge=0, le=1)]  # a learning rate of Adam, about how far a value moves in a step; 0 leaves it as it is
Angle = Annotated[float, Field(ge=-90, le=90)]  # degrees from the horizon
Count = Annotated[int, Field(ge=1, le=64)]
Words = Annotated[str, Field(max_length=10_000)]  # characters, so that run.yaml can be read again
Span = tuple[float, float]
_LONGEST_SHOWN = 60  # characters of words that are refused


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        """YAML has no whole numbers with exponents (1e2 is 100.0) and no tuples."""
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            return int(value)
        return tuple(value) if isinstance(value, list) else value


def check_placeholders(words: str, names: Sequence[str]) -> None:
    """Raise ValueError where words to be formatted have a placeholder of another name, or one with a format of its own."""
    allowed = (
        f"allowed {'are' if len(names) > 1 else 'is'} {' and '.join(f'{{{name}}}' for name in names)} (given {words[:_LONGEST_SHOWN]!r})"
    )
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(words) if name is not None]
    except ValueError as error:
        raise ValueError(f"{error}; {allowed}") from None
    for name, spec, conversion in fields:
        if name not in names or spec or conversion:
            raise ValueError(f"unknown placeholder {'{' + name[:_LONGEST_SHOWN] + '}'!r}; {allowed}")


def rising(name: str, span: Span) -> None:
    """Raise ValueError unless the first value of the span is not above the second."""
    if span[0] > span[1]:
        raise ValueError(f"{name}: the first value is the lower one (given {list(span)})")


def times_apart(t_min: Span, t_max: Span) -> None:
    """Raise ValueError unless the lowest time to draw is below the highest at the first step and at the last."""
    if any(low >= high for low, high in zip(t_min, t_max, strict=True)):
        raise ValueError(f"t_min stays below t_max at the first and at the last step (given t_min {list(t_min)}, t_max {list(t_max)})")
