"""What a model's licence allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamfusion_mesh.errors import BadInput


def check_commercial_use(guidance: Mapping[str, Any]) -> None:
    """Raises BadInput where a model's provenance names a licence that is known to bar commercial use; an unknown one passes."""
    licence = str(guidance.get("licence", ""))
    words = licence.lower().replace("noncommercial", "nc").replace("non-commercial", "nc").replace("_", "-").split("-")
    if "nc" in words or "research" in words or licence.lower().startswith("deepfloyd"):
        model = guidance.get("model")
        raise BadInput(f"guidance.model {model!r}: refused with --commercial (its licence is {licence!r}); name another model")
