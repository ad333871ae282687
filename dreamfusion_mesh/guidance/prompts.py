"""Texts for the model: the prompt, its view suffixes (DreamFusion, section 3.2), and the prompt of textureless renders."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from dreamfusion_mesh.config.yaml_text import control_character
from dreamfusion_mesh.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from dreamfusion_mesh.records import Views

VIEW_SUFFIXES = (", front view", ", side view", ", back view", ", overhead view")
_FRONT, _SIDE, _BACK, _OVERHEAD = range(4)

MAX_PROMPT_LENGTH = 1000  # characters; more than any text encoder here reads

_COLOR = (
    r"(?:(?:dark|light|bright|pale|deep)[ -])?(?:red|green|blue|yellow|purple|orange|white|brown|black|gr[ea]y|pink|cyan|magenta"
    r"|turquoise|violet|beige|teal|maroon|crimson|scarlet|golden|silver|colou?red|colou?rful)"
)
_COLORS = rf"(?<![\w-]){_COLOR}(?:(?: ?, ?| and | ?, and ){_COLOR})*(?![\w-])"
_ARTICLE = re.compile(r"^(?:an?|the|one|some) ", re.IGNORECASE)
_PICTURE = re.compile(r"^(?:\w+ )?(?:photo|photograph|picture|image|render|rendering) of ", re.IGNORECASE)
_COLORED_PARTS = re.compile(rf" with {_COLORS} (?:parts?|details?|accents?|trim|stripes?|spots?|dots?|patterns?)$", re.IGNORECASE)


def check_prompt(text: str) -> str:
    """The prompt with its white space collapsed. Raises BadInput where it is empty, too long, or has control characters."""
    if (letter := control_character(text)) is not None:
        raise BadInput(f"prompt: has the control character U+{ord(letter):04X}; plain text is allowed: take it out")
    clean = " ".join(text.split())
    if not clean:
        raise BadInput('prompt: is empty; say what to make, such as "a red mushroom with white parts"')
    if len(clean) > MAX_PROMPT_LENGTH:
        raise BadInput(f"prompt: {len(clean)} characters, at most {MAX_PROMPT_LENGTH} are allowed; shorten it")
    return clean


def view_words(azimuth: Tensor, elevation: Tensor, front_degrees: float, overhead_degrees: float) -> Tensor:
    """Rows [B] int64 of VIEW_SUFFIXES for azimuth and elevation [B] in radians; any number of turns.

    Overhead above overhead_degrees of elevation; else front within front_degrees of azimuth 0, back within as much of its opposite, side
    between. Source: DreamFusion, arXiv:2209.14988, section 3.2.
    """
    import torch  # here alone: prompts are checked before torch, which takes seconds, is imported

    turned = torch.remainder(azimuth.double() + math.pi, 2 * math.pi) - math.pi
    off_front = torch.rad2deg(turned).abs()
    rows = torch.full_like(azimuth, _SIDE, dtype=torch.int64)
    rows = torch.where(off_front <= front_degrees, _FRONT, rows)
    rows = torch.where(off_front >= 180 - front_degrees, _BACK, rows)
    return torch.where(torch.rad2deg(elevation.double()) > overhead_degrees, _OVERHEAD, rows)


def view_weights(azimuth: Tensor, elevation: Tensor, overhead_degrees: float) -> Tensor:
    """Shares [B, 4] of VIEW_SUFFIXES for azimuth and elevation [B] in radians, which add up to 1; any number of turns.

    Overhead alone above overhead_degrees of elevation; else linear between front at azimuth 0, side at 90 degrees and back at 180.
    Source: Perp-Neg, Armandpour et al., arXiv:2304.04968, its interpolated view prompts.
    """
    import torch  # as in view_words

    turned = torch.remainder(azimuth.double() + math.pi, 2 * math.pi) - math.pi
    quarters = turned.abs() / (math.pi / 2)
    front, back = (1 - quarters).clamp_min(0), (quarters - 1).clamp_min(0)
    around = torch.stack([front, 1 - front - back, back, torch.zeros_like(front)], dim=1)
    above = torch.eye(len(VIEW_SUFFIXES), dtype=around.dtype, device=around.device)[_OVERHEAD]
    return torch.where((torch.rad2deg(elevation.double()) > overhead_degrees)[:, None], above, around).to(azimuth.dtype)


def textureless_rows(views: Views) -> Tensor:
    """[B] int64: what to add to rows of VIEW_SUFFIXES, since a prompt's textureless texts follow the coloured ones."""
    from dreamfusion_mesh.records import Shading

    return len(VIEW_SUFFIXES) * (views.shading == Shading.TEXTURELESS)


def subject(prompt: str) -> str:
    """What the prompt is of, without colours: "a red mushroom with white parts" -> "mushroom".

    Dropped are a leading "a photo of", the article, colour words, and a last "with <colours> parts" (or stripes, details and the like);
    whatever else is named has a shape and stays. A prompt of nothing but colours keeps its last word: "an orange" -> "orange".
    """
    bare = _ARTICLE.sub("", _PICTURE.sub("", _ARTICLE.sub("", prompt.strip())))
    colorless = re.sub(_COLORS, "", _COLORED_PARTS.sub("", bare), flags=re.IGNORECASE)
    kept = re.sub(r" +(?=,|$)", "", " ".join(colorless.split())).strip(" ,")
    return kept or bare.split()[-1]


def textureless_prompt(words: str, prompt: str) -> str:
    """The prompt of textureless renders: `guidance.textureless_words` with {subject} and {prompt} filled in."""
    return words.format(subject=subject(prompt), prompt=prompt)
