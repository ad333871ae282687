"""An evaluation as JSON: the same runs, prompts and judge give the same bytes. README describes it, under "Evaluating"."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dreamfusion_mesh import __version__
from dreamfusion_mesh.config.schema import KEY
from dreamfusion_mesh.evaluate.evaluation import Evaluation, GroupFigures
from dreamfusion_mesh.evaluate.failures import asked_parts
from dreamfusion_mesh.evaluate.measures import MEASURES, Judged
from dreamfusion_mesh.evaluate.pictures import AZIMUTHS, ELEVATION

SCHEMA = 1
_DIGITS = 6  # after the point


def document(found: Evaluation) -> dict[str, Any]:
    """Plain values, for json.dumps."""
    return _rounded(
        {
            KEY: SCHEMA,
            "generator": f"dreamfusion_mesh {__version__}",
            "judge": dict(found.judge),
            "views": {"azimuths": AZIMUTHS, "elevation_degrees": math.degrees(ELEVATION)},
            "pool": {"prompts": len(found.prompts), "shapes": found.shapes, "sha256": _digest(found), "chance": found.chance},
            "measures": {each.name: {"title": each.title, "unit": each.unit, "better": each.better} for each in MEASURES},
            "groups": [_group(group) for group in found.groups],
            "runs": [_run(group.name, each) for group in found.groups for each in group.judged],
        }
    )


def document_bytes(found: Evaluation) -> bytes:
    """`document` in UTF-8; half a surrogate pair, which that does not have, becomes a question mark."""
    return (json.dumps(document(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def _digest(found: Evaluation) -> str:
    """Tells two pools apart."""
    return hashlib.sha256(json.dumps([asdict(prompt) for prompt in found.prompts]).encode()).hexdigest()


def _group(group: GroupFigures) -> dict[str, Any]:
    return {
        "name": group.name,
        "runs": len(group.judged),
        "unfinished": list(group.unfinished),
        "means": {name: asdict(mean) for name, mean in group.means.items()},
        "against_first": {name: asdict(compared) for name, compared in group.against.items()},
        "failures": group.failures.kinds,
        "audit_rows": group.failures.rows,
        "seconds": dict(group.seconds),
        "memory": dict(group.memory),
    }


def _run(group: str, judged: Judged) -> dict[str, Any]:
    run, scores = judged.run, judged.scores
    values = {measure.name: value for measure in MEASURES if (value := measure.of(judged)) is not None}
    seen = {"taken_for": scores.taken_for, "clay_taken_for": scores.clay_taken_for, "front_sectors": scores.front_sectors} if scores else {}
    return {
        "group": group,
        "name": run.name,
        "prompt": run.prompt,
        "seed": run.seed,
        "failure": run.failure,
        "message": run.message,
        "values": values,
        **seen,
        "parts": {"found": run.parts, "asked": asked_parts(judged.prompt)},
        "holes": {"found": run.holes, "asked": judged.prompt.holes},
        "audit": dict(run.audit),
        "seconds": dict(run.seconds),
        "memory": dict(run.memory),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {str(key): _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value
