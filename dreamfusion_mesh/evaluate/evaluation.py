"""An evaluation: every run judged, means over prompts with their standard errors, and each group against the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dreamfusion_mesh.contracts import ImageTextModel, Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.diversity import mean_distance
from dreamfusion_mesh.evaluate.failures import Failures, failures_of
from dreamfusion_mesh.evaluate.judges import refuse_guides
from dreamfusion_mesh.evaluate.measures import DIVERSITY, MEASURES, Judged, Measure
from dreamfusion_mesh.evaluate.pictures import pictures_of
from dreamfusion_mesh.evaluate.precision import Pool, encode_pool
from dreamfusion_mesh.evaluate.records import Group, Pictures, Prompt, Run
from dreamfusion_mesh.evaluate.score import score
from dreamfusion_mesh.evaluate.statistics import Comparison, Mean, by_prompt, compare, mean_of
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.out import ASSET
from dreamfusion_mesh.stages.fit import Report, no_progress

_SHOWN = 3  # prompts in a message
_LONGEST_SHOWN = 80  # characters of each
_SIDES = 4  # pictures of an asset that are kept


@dataclass(frozen=True, eq=False)
class GroupFigures:
    """What is known of a group.

    judged      its runs, in their order
    unfinished  names of rows that are not done
    means       over prompts, by the measure's name; without those that no run has
    against     the first group, likewise: this one's minus the first one's; empty for the first
    seconds     mean over its assets, by stage
    memory      bytes: the most that any of its runs had, by kind
    """

    name: str
    judged: tuple[Judged, ...]
    unfinished: tuple[str, ...]
    means: Mapping[str, Mean]
    against: Mapping[str, Comparison]
    failures: Failures
    seconds: Mapping[str, float]
    memory: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    judge    as its provenance names it
    prompts  the pool
    shapes   how many different things their clay is called
    """

    judge: Mapping[str, Any]
    prompts: tuple[Prompt, ...]
    shapes: int
    groups: tuple[GroupFigures, ...]

    @property
    def chance(self) -> dict[str, float]:
        """R-Precision of a judge that guesses."""
        return {"colour": 1 / len(self.prompts), "textureless": 1 / self.shapes}


def check_prompts(groups: Sequence[Group], prompts: Sequence[Prompt], file: str) -> None:
    """Raises BadInput where a run's prompt is none of the file's, or there is nothing to pick from."""
    if len(prompts) < 2:
        raise BadInput(f"{file}: holds one prompt, and the judge picks among two or more; add those that the asset may be taken for")
    known = {prompt.text for prompt in prompts}
    missing = list(dict.fromkeys(run.prompt for group in groups for run in group.runs if run.prompt not in known))
    if missing:
        named = ", ".join(repr(text[:_LONGEST_SHOWN]) for text in missing[:_SHOWN]) + (" and more" if len(missing) > _SHOWN else "")
        asked, them = (f"{len(missing)} prompts", "them") if len(missing) > 1 else ("1 prompt", "it")
        raise BadInput(f"{file}: lacks {asked} that runs were made for ({shown(named)}); add {them}: the judge picks among all of the file")


def evaluate(
    groups: Sequence[Group],
    prompts: Sequence[Prompt],
    judge: ImageTextModel,
    device: torch.device,
    report: Report = no_progress,
) -> Evaluation:
    """Judge every run of the groups, each of which has one at least, among all prompts; the first group is what others are compared with.

    Raises BadInput where a run's prompt is none of `prompts`, where the judge's weights guided a run or it cannot read a prompt, or where
    an asset cannot be drawn.
    """
    guides = {f"{run.group}/{run.name}": run.guidance for group in groups for run in group.runs}
    refuse_guides(judge, guides)
    pool = encode_pool(judge, prompts)
    rasterizer = resolve_rasterizer("warp", device)
    total, found = sum(len(group.runs) for group in groups), list[list[Judged]]()
    for group in groups:
        found.append([])
        for run in group.runs:
            found[-1].append(_judge(run, pool, judge, rasterizer, device))
            report("evaluate", sum(map(len, found)), total, {}, None)
    values = [_values_of(judged) for judged in found]
    figures = [_figures(group, judged, own, values[0]) for group, judged, own in zip(groups, found, values, strict=True)]
    return Evaluation(judge.provenance(), tuple(prompts), len(set(pool.shapes)), tuple(figures))


def _judge(run: Run, pool: Pool, judge: ImageTextModel, rasterizer: Rasterizer, device: torch.device) -> Judged:
    """A run's scores and its picture."""
    prompt = pool.prompts[pool.row(run.prompt)]
    if run.failure is not None or run.folder is None:
        return Judged(run, prompt)
    pictures = pictures_of(run.folder / ASSET, rasterizer, judge.size, device, engine=run.engine)
    return Judged(run, prompt, score(judge, pictures, run.prompt, pool), _sides(pictures))


def _sides(pictures: Pictures) -> bytes:
    """PNG of pictures from front, right, back and left: in colour, and below as clay."""
    from dreamfusion_mesh.asset.export.png import png_bytes

    step = max(1, len(pictures.colour) // _SIDES)
    rows = [torch.cat(list(images[::step][:_SIDES]), dim=1) for images in (pictures.colour, pictures.textureless)]
    return png_bytes((torch.cat(rows).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def _values_of(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """By the measure's name, by prompt; of seeds the mean."""
    found = {measure.name: _by_prompt(judged, measure) for measure in MEASURES}
    vectors: dict[str, list[torch.Tensor]] = {}
    for each in judged:
        if each.scores is not None:
            vectors.setdefault(each.prompt.text, []).append(each.scores.vector)
    distances = {text: mean_distance(torch.stack(own)) for text, own in vectors.items()}
    found[DIVERSITY.name] = {text: distance for text, distance in distances.items() if distance is not None}
    return found


def _by_prompt(judged: Sequence[Judged], measure: Measure) -> dict[str, float]:
    return by_prompt((each.prompt.text, value) for each in judged if (value := measure.of(each)) is not None)


def _figures(
    group: Group, judged: Sequence[Judged], values: dict[str, dict[str, float]], first: dict[str, dict[str, float]]
) -> GroupFigures:
    means = {name: mean_of(list(own.values())) for name, own in values.items() if own}
    compared = {} if values is first else {name: compare(first[name], own) for name, own in values.items()}
    return GroupFigures(
        name=group.name,
        judged=tuple(judged),
        unfinished=group.unfinished,
        means=means,
        against={name: found for name, found in compared.items() if found is not None},
        failures=failures_of(group.runs),
        seconds=_mean_seconds(group.runs),
        memory={kind: max(run.memory[kind] for run in group.runs if kind in run.memory) for kind in _kinds(group.runs)},
    )


def _mean_seconds(runs: Sequence[Run]) -> dict[str, float]:
    made = [run.seconds for run in runs if run.failure is None]
    stages = dict.fromkeys(stage for seconds in made for stage in seconds)
    found = {stage: [seconds[stage] for seconds in made if stage in seconds] for stage in stages}
    return {stage: sum(each) / len(each) for stage, each in found.items()}


def _kinds(runs: Sequence[Run]) -> list[str]:
    return sorted({kind for run in runs for kind in run.memory}, reverse=True)
