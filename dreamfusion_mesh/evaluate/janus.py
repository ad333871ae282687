"""The Janus problem: an asset whose front can be seen from more than one side. Sources: Poole et al., arXiv:2209.14988, section 4
(limitations); Armandpour et al., arXiv:2304.04968.
"""

from __future__ import annotations

from torch import Tensor

from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES

FRONT = 0  # row of VIEW_SUFFIXES


def front_sectors(fits: Tensor) -> int:
    """Separate sectors of azimuths in which "front view" fits best of VIEW_SUFFIXES.

    fits  [A, 4] cosines of the pictures from evenly spaced azimuths, all the way around
    """
    smooth = (fits.roll(1, 0) + 2 * fits + fits.roll(-1, 0)) / 4
    front = smooth.argmax(1) == FRONT
    return int(front[0]) if bool(front.all()) else int((front & ~front.roll(1)).sum())


def view_fits(images: Tensor, views: Tensor) -> Tensor:
    """[A, 4] cosines of images [A, D] with the prompt from each of VIEW_SUFFIXES [4, D]."""
    assert views.shape[0] == len(VIEW_SUFFIXES)
    fits: Tensor = images @ views.T
    return fits
