"""Fronts and backs: whether the judge names each view, and whether it finds more than one front (the Janus problem).

Sources: Poole et al., arXiv:2209.14988, sections 3.2 and 4; Armandpour et al., arXiv:2304.04968.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.prompts import view_words

FRONT = 0  # row of VIEW_SUFFIXES


def front_sectors(fits: Tensor) -> int:
    """Separate sectors of azimuths in which "front view" fits best of VIEW_SUFFIXES; two or more are a Janus.

    fits  [A, 4] cosines of the pictures from evenly spaced azimuths, all the way around, with the prompt from each view

    Each azimuth is averaged with its neighbours, weighted 1 : 2 : 1, so that a single doubtful picture makes no sector. A sector of more
    than half the way around counts as two: no single front is seen from there.
    """
    smooth = (fits.roll(1, 0) + 2 * fits + fits.roll(-1, 0)) / 4
    front = smooth.argmax(1) == FRONT
    wide = 2 * int(front.sum()) > len(front)
    starts = int((front & ~front.roll(1)).sum())
    return 2 if wide and starts < 2 else starts


def views_named(fits: Tensor, elevation: float) -> float:
    """Share of azimuths, the first at the front, whose view fits best as guidance words it at this elevation, radians; fits as above."""
    settings = GuidanceSettings()
    azimuth = torch.arange(len(fits)) * (2 * math.pi / len(fits))
    right = view_words(azimuth, torch.full_like(azimuth, elevation), settings.front_degrees, settings.overhead_degrees)
    return float((fits.cpu().argmax(1) == right).double().mean())
