"""What an evaluation is of, and what it found: prompts, runs, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of the pool among which the judge picks.

    text   as it was given to `generate`
    shape  what grey clay of it has to be taken for, such as "mug": prompts of one shape count as each other's; None: that of prompts whose
           clay is called alike
    front  whether it has a front that can be distinguished from its sides and its back; None: not known, so Janus is not measured
    parts  separate solids that the words ask for; None: one, and one more for each "on"
    holes  holes through the solid that the words ask for; None: any number
    """

    text: str
    shape: str | None = None
    front: bool | None = None
    parts: int | None = None
    holes: int | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """One asset that was asked for, made or not.

    group    the setting that it belongs to: the name of the batch's folder, or of the run's parent
    folder   of the run; of one that failed, what is left of it, or None
    failure  None where the asset is there, else the kind of failure, as a batch names it
    message  the failure's line
    engine   by whose names the asset's file was written
    audit    status by the row's name
    parts    separate solids of the delivered surface; None: not known
    holes    through the solid, likewise
    seconds  by stage, and "all"
    memory   bytes by "resident" and "card": the most that its processes had (run/peak_memory.py); empty where it did not record them
    guidance  what provenance.json records of the model that guided it; empty where there is none
    """

    group: str
    name: str
    prompt: str
    seed: int
    folder: Path | None = None
    failure: str | None = None
    message: str = ""
    engine: str = "generic"
    audit: Mapping[str, str] = field(default_factory=dict)
    parts: int | None = None
    holes: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    guidance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one setting, under a name that no other group has.

    unfinished  names of rows that are under way, or were left by a stop
    """

    name: str
    runs: tuple[Run, ...]
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Pictures:
    """An asset seen from evenly spaced azimuths, the front first, at one elevation: in colour, and as grey clay.

    colour       [A, S, S, 3] in [0, 1]
    textureless  [A, S, S, 3] in [0, 1]
    """

    colour: Tensor
    textureless: Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """What the judge says of one asset's pictures.

    colour            share of azimuths from which it picks the asset's own prompt among all
    textureless       of the clay pictures, those whose shape is right in what it picks among all that clay of the prompts is called
    taken_for         the prompt that it picks from most azimuths
    clay_taken_for    the shape that it picks from most azimuths
    fit               mean cosine between the pictures in colour and the asset's own prompt
    clay_fit          of the clay pictures and what clay of the own prompt is called
    views             share of azimuths from which it names the view as guidance does; None where the prompt is not known to have a front
    front_sectors     separate sectors of azimuths in which "front view" fits best; None likewise
    vector            [D] unit, the mean of the pictures in colour in the judge's space
    """

    colour: float
    textureless: float
    taken_for: str
    clay_taken_for: str
    fit: float
    clay_fit: float
    views: float | None
    front_sectors: int | None
    vector: Tensor

    @property
    def quality(self) -> float:
        """Mean of the shares that are known: colour, textureless, views. By it the worst cases are found."""
        shares = [value for value in (self.colour, self.textureless, self.views) if value is not None]
        return sum(shares) / len(shares)
