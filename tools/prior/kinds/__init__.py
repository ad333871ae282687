"""The kinds of object the world holds, by name."""

from __future__ import annotations

from tools.prior.kinds import animals, arms, buildings, food, furniture, plants, things, vehicles
from tools.prior.parts import Kind

KINDS: dict[str, Kind] = {
    name: kind for family in (furniture, vehicles, buildings, arms, food, plants, animals, things) for name, kind in family.KINDS.items()
}
