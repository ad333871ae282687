"""An evaluation as text, at most 100 letters wide for names of a usual length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dreamfusion_mesh.evaluate.evaluation import Evaluation, GroupFigures
from dreamfusion_mesh.evaluate.measures import BY_NAME, Measure, difference_text, mean_text, write
from dreamfusion_mesh.out_of_memory import readable
from dreamfusion_mesh.terminal import cut, one_line

_LONGEST_NAME = 24
_BLOCKS = (
    ("quality", "colour", "textureless", "views"),
    ("janus", "fit", "clay_fit", "diversity"),
    ("seconds", "failed", "audit", "parts", "holes"),
)


def table(found: Evaluation) -> str:
    """Means with standard errors, what differs from the first group, and what failed."""
    names = [cut(one_line(group.name), _LONGEST_NAME) for group in found.groups]
    lines = list(_head(found))
    for block in _BLOCKS:
        shown = [BY_NAME[name] for name in block if any(name in group.means for group in found.groups)]
        lines += ["", *_rows(names, shown, [[mean_text(group.means.get(each.name), each) for each in shown] for group in found.groups])]
        if len(names) > 1:
            against = [[difference_text(group.against.get(each.name), each) for each in shown] for group in found.groups[1:]]
            lines += [f"minus {names[0]}, and p:", *_rows(names[1:], shown, against)[1:]]
    return "\n".join([*lines, *_notes(found, names)])


def _head(found: Evaluation) -> Iterator[str]:
    asked = {each.prompt.text for group in found.groups for each in group.judged}
    chance = " and ".join(f"{write(value, BY_NAME[name])} % {name}" for name, value in found.chance.items())
    yield f"{len(asked)} of the {len(found.prompts)} prompts have runs; judge {one_line(str(found.judge.get('model', '')))}"
    yield f"means over prompts with standard errors; a guess has {chance}"


def _rows(names: Sequence[str], shown: Sequence[Measure], cells: Sequence[Sequence[str]]) -> list[str]:
    """The columns' names, then a line for each group."""
    first = max(len(name) for name in names)
    heads = [f"{measure.short} %" if measure.unit == "share" else measure.short for measure in shown]
    widths = [max(15, len(head), *(len(row[at]) for row in cells)) for at, head in enumerate(heads)]
    lines = [("", heads), *zip(names, cells, strict=True)]
    return [f"{name:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for name, row in lines]


def _notes(found: Evaluation, names: Sequence[str]) -> Iterator[str]:
    """A line a group: its runs, and what failed; then what it took."""
    yield ""
    for name, group in zip(names, found.groups, strict=True):
        yield f"{name}: {'; '.join(_counts(group))}"


def _counts(group: GroupFigures) -> Iterator[str]:
    prompts = len({each.prompt.text for each in group.judged})
    yield _number(len(group.judged), "run") + f" of {_number(prompts, 'prompt')}"
    if group.unfinished:
        yield f"{len(group.unfinished)} not done and left out"
    if group.failures.kinds:
        yield "failed: " + ", ".join(f"{one_line(kind)} {count}" for kind, count in group.failures.kinds.items())
    if group.failures.rows:
        yield "audit rows failed: " + ", ".join(f"{name} {count}" for name, count in group.failures.rows.items())
    if group.memory:
        yield "at most " + ", ".join(f"{readable(value)} {kind}" for kind, value in group.memory.items())


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
