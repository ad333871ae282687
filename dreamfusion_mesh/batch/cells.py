"""The cells of a table's own columns: numbers and tags. Each fault begins with its column."""

from __future__ import annotations

import re

from dreamfusion_mesh.config.messages import shown
from dreamfusion_mesh.config.yaml_text import control_character, read_yaml
from dreamfusion_mesh.errors import BadInput

MOST_TAGS = 50
LONGEST_TAG = 60  # characters
_DIGITS = re.compile(r"[0-9]{1,18}")


def read_number(column: str, text: str, least: int, most: int) -> int:
    """A whole number, written as a setting's would be. Raises BadInput."""
    value = int(text) if _DIGITS.fullmatch(text) else read_yaml(text, column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{column}: expected a whole number from {least} to {most} (given {shown(value)})")
    return value


def read_tags(text: str) -> tuple[str, ...]:
    """Words between spaces, commas or semicolons, each once. Raises BadInput."""
    if (letter := control_character(text)) is not None:
        raise BadInput(f"tags: has the control character U+{ord(letter):04X}; plain text is allowed: take it out")
    tags = tuple(dict.fromkeys(tag for tag in re.split(r"[\s,;]+", text) if tag))
    if len(tags) > MOST_TAGS:
        raise BadInput(f"tags: {len(tags)} tags, at most {MOST_TAGS} are allowed")
    for tag in tags:
        if len(tag) > LONGEST_TAG:
            raise BadInput(f"tags: {len(tag)} characters in a tag, at most {LONGEST_TAG} are allowed (given {shown(tag)})")
    return tags
