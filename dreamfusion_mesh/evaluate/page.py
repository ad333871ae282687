"""An evaluation as one HTML page that needs no other file and no network: plots, tables, the worst and the best assets' pictures.

Names and prompts are not trusted: all text is escaped, see web_page.py.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape

from dreamfusion_mesh import __version__
from dreamfusion_mesh.evaluate.evaluation import Evaluation, GroupFigures
from dreamfusion_mesh.evaluate.failures import asked_parts, failed_rows
from dreamfusion_mesh.evaluate.measures import BY_NAME, MEASURES, Judged, difference_text, mean_text, write
from dreamfusion_mesh.evaluate.plots import bars
from dreamfusion_mesh.out_of_memory import readable
from dreamfusion_mesh.web_page import Page

_CASES = 4  # worst assets of each group that are shown, and as many of the best

_STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif }
body { max-width: 1200px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: .5em 0 1.5em; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #8886; padding: .25em .7em; text-align: left; vertical-align: top }
td.n { text-align: right; white-space: nowrap }
#runs th { cursor: pointer }
figure { display: inline-block; margin: .5em 1em .5em 0; vertical-align: top }
figcaption { max-width: 512px }
svg { font-size: 12px; max-width: 100% } svg text { fill: currentColor }
img { width: 512px; max-width: 100%; image-rendering: auto }
"""
_SCRIPT = """
for (const head of document.querySelectorAll('#runs th')) head.addEventListener('click', () => {
  const body = document.querySelector('#runs tbody'), at = head.cellIndex, down = head.dataset.down !== '1';
  const value = row => row.cells[at].dataset.value ?? row.cells[at].textContent;
  const rows = [...body.rows].sort((a, b) => value(a).localeCompare(value(b), undefined, {numeric: true}));
  head.dataset.down = down ? '1' : '0';
  body.append(...(down ? rows : rows.reverse()));
});
"""


_PAGE = Page("dreamfusion_mesh evaluation", "Evaluation", _STYLE, [_SCRIPT])
MARK = _PAGE.beginning


def page_bytes(found: Evaluation) -> bytes:
    """The page; the same evaluation gives the same bytes."""
    parts = (part for parts in (_summary(found), _plots(found), _spent(found), _cases(found), _runs(found)) for part in parts)
    return b"".join(_PAGE.blocks(parts))


def _summary(found: Evaluation) -> Iterator[str]:
    asked = len({each.prompt.text for group in found.groups for each in group.judged})
    yield "<h1>Evaluation</h1>"
    text = (
        f"{asked} of the {len(found.prompts)} prompts have runs; the judge, {found.judge.get('model', '')}, picks among all of them. "
        "Means over prompts (seeds of a prompt first) with standard errors; differences from the first group, and p by a paired "
        f"permutation test over the prompts that both have. dreamfusion_mesh {__version__}."
    )
    yield f"<p>{escape(text)}</p>"
    yield _open_table(["measure", *(group.name for group in found.groups)])
    for measure in MEASURES:
        unit = ", %" if measure.unit == "share" else ""
        cells = [_number(_with_difference(group, measure.name)) for group in found.groups]
        yield f"<tr><td>{escape(measure.title)}{unit} ({measure.better} is better)</td>{''.join(cells)}</tr>"
    yield _CLOSE_TABLE


def _with_difference(group: GroupFigures, name: str) -> str:
    measure = BY_NAME[name]
    text = mean_text(group.means.get(name), measure)
    return f"{text} ({difference_text(group.against[name], measure)})" if name in group.against else text


def _plots(found: Evaluation) -> Iterator[str]:
    names, chance = [group.name for group in found.groups], found.chance
    for measure in MEASURES:
        means = [group.means.get(measure.name) for group in found.groups]
        if any(mean is not None for mean in means):
            dashed = f"; dashed: chance, {write(chance[measure.name], measure)}" if measure.name in chance else ""
            title = f"{measure.title}{', %' if measure.unit == 'share' else ''}{dashed}"
            svg = bars(measure, names, means, chance.get(measure.name))
            yield f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _spent(found: Evaluation) -> Iterator[str]:
    """What failed, and what the runs took."""
    yield "<h2>Failures</h2>"
    yield _open_table(["group", "runs", "not done, left out", "failed runs", "failed rows of the audit"])
    for group in found.groups:
        told = [_listed(group.failures.kinds), _listed(group.failures.rows)]
        counts = [_number(str(len(group.judged))), _number(str(len(group.unfinished)))]
        yield f"<tr><td>{escape(group.name)}</td>{''.join(counts)}{''.join(f'<td>{escape(text)}</td>' for text in told)}</tr>"
    yield _CLOSE_TABLE
    stages = list(dict.fromkeys(stage for group in found.groups for stage in group.seconds))
    yield "<h2>Seconds an asset, and memory</h2>"
    yield _open_table(["group", *stages, "resident, at most", "card, at most"])
    for group in found.groups:
        seconds = [f"{group.seconds[stage]:.1f}" if stage in group.seconds else "-" for stage in stages]
        memory = [readable(group.memory[kind]) if kind in group.memory else "-" for kind in ("resident", "card")]
        yield f"<tr><td>{escape(group.name)}</td>{''.join(map(_number, (*seconds, *memory)))}</tr>"
    yield _CLOSE_TABLE


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _cases(found: Evaluation) -> Iterator[str]:
    """Pictures of each group's worst and best assets, every asset once."""
    for group in found.groups:
        ranked = sorted((each for each in group.judged if each.scores is not None), key=_rank)
        worst, rest = ranked[:_CASES], ranked[_CASES:]
        for title, cases in (("worst", worst), ("best", rest[::-1][:_CASES])):
            if cases:
                yield f"<h2>The {title} of {escape(group.name)}</h2>"
                yield "".join(map(_case, cases))


def _rank(judged: Judged) -> tuple[float, float, str]:
    """The worst first: by the shares that are known, then by the fit."""
    assert judged.scores is not None
    return judged.scores.quality, judged.scores.fit, judged.run.name


def _case(judged: Judged) -> str:
    assert judged.scores is not None
    assert judged.picture is not None
    scores, image = judged.scores, base64.b64encode(judged.picture).decode()
    taken = f"taken for {scores.taken_for}; clay for {scores.clay_taken_for}"
    text = f"{judged.run.name}: {judged.prompt.text}, seed {judged.run.seed}. {_shares(judged)}; {taken}"
    return f'<figure><img alt="" src="data:image/png;base64,{image}"><figcaption>{escape(text)}</figcaption></figure>'


def _shares(judged: Judged) -> str:
    values = [(name, BY_NAME[name].of(judged)) for name in ("colour", "textureless", "views")]
    return ", ".join(f"{name} {write(value, BY_NAME[name])} %" for name, value in values if value is not None)


_COLUMNS = (
    *("group", "name", "prompt", "seed", "colour %", "textureless %", "views %", "taken for", "clay taken for"),
    *("fit", "clay fit", "fronts", "parts (asked)", "holes (asked)", "failed rows", "seconds", "failure"),
)


def _runs(found: Evaluation) -> Iterator[str]:
    """A row a run, which a click on a column's name sorts."""
    yield "<h2>Runs</h2>"
    yield _open_table(_COLUMNS, "runs")
    for group in found.groups:
        for judged in group.judged:
            yield f"<tr>{''.join(_run_cells(group.name, judged))}</tr>"
    yield _CLOSE_TABLE


def _run_cells(group: str, judged: Judged) -> Iterator[str]:
    run, scores, prompt = judged.run, judged.scores, judged.prompt
    values = {name: "" if (value := BY_NAME[name].of(judged)) is None else write(value, BY_NAME[name]) for name in BY_NAME}
    yield from (f"<td>{escape(text)}</td>" for text in (group, run.name, run.prompt))
    yield from map(_number, (str(run.seed), values["colour"], values["textureless"], values["views"]))
    yield from (f"<td>{escape(text)}</td>" for text in ((scores.taken_for, scores.clay_taken_for) if scores else ("", "")))
    fronts = "" if scores is None or scores.front_sectors is None else str(scores.front_sectors)
    parts = "" if run.parts is None else f"{run.parts} ({asked_parts(prompt)})"
    holes = "" if run.holes is None else f"{run.holes} ({'any' if prompt.holes is None else prompt.holes})"
    yield from map(_number, (values["fit"], values["clay_fit"], fronts, parts, holes))
    yield f"<td>{escape(', '.join(failed_rows(run)))}</td>"
    yield _number(values["seconds"])
    yield f"<td>{escape(f'{run.failure}: {run.message}' if run.failure else '')}</td>"


def _open_table(columns: Sequence[str], name: str = "") -> str:
    heads = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f"<table{f' id={name!r}' if name else ''}><thead><tr>{heads}</tr></thead><tbody>"


_CLOSE_TABLE = "</tbody></table>"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'
