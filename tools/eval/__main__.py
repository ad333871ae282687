"""Compare settings: `python -m tools.eval --prompts FILE --settings LIST --out DIR [--seeds 0,1] [--preset demo] [--count K]
[--workers N] [--judge embedded|MODEL]`.

Every prompt with every setting of the list and every seed goes through `batch`; DIR/<setting>/ is the batch of a setting. The same command
goes on where it was stopped, and leaves what is done alone. Then all are evaluated, the first setting being what others are compared with:
the table is printed, DIR/evaluation.json and DIR/evaluation.html are as `dreamfusion-mesh evaluate` writes them, DIR/evaluation.md has the
tables in Markdown. Of a batch with more rows, as earlier calls leave them, those that this call names are evaluated. Faulty lists, prompts,
seeds and judges are refused before anything is made, and so is a DIR that cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamfusion_mesh import process
from dreamfusion_mesh.batch.cells import read_number
from dreamfusion_mesh.batch.records import LARGEST_SEED, Options
from dreamfusion_mesh.cli.advice import advice, same_command
from dreamfusion_mesh.cli.batch import MOST_WORKERS
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.evaluate.prompts import MOST_PROMPTS, read_prompts
from dreamfusion_mesh.evaluate.records import Prompt
from dreamfusion_mesh.files import check_target, write_file
from dreamfusion_mesh.terminal import logged_warnings
from tools.eval.markdown import groups_table, runs_table
from tools.eval.runs import jobs, run_settings, spread
from tools.eval.settings import OUTPUTS, known_lists, list_file, read_list

_PROGRAM = "python -m tools.eval"


def main() -> None:
    with logged_warnings():
        try:
            arguments = _arguments()
            with advice(lambda: f"go on with: {same_command(_PROGRAM)}"):
                _run(arguments)
        except BadInput as error:
            _fail(error.lines, 2)
        except RunFailed as error:
            _fail([str(error)], 1)
        except process.Stopped as stop:
            _fail([process.stop_line(stop)], stop.exit_code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True, metavar="FILE", help="as of `dreamfusion-mesh evaluate`")
    parser.add_argument("--settings", required=True, metavar="LIST", help=f"a .yaml file, or one of {', '.join(known_lists())}")
    parser.add_argument("--seeds", default="0", metavar="SEED,...")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--count", metavar="K", help="so many of the prompts, spread; the judge picks among all of the file")
    parser.add_argument("--workers", metavar="N", help="of each batch")
    parser.add_argument("--judge", default="embedded", metavar="embedded|MODEL")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> None:
    for name in OUTPUTS:
        check_target(arguments.out / name)
    prompts, seeds = read_prompts(arguments.prompts), read_seeds(arguments.seeds)
    count = _whole("--count", arguments.count, MOST_PROMPTS) or len(prompts)
    options = Options(_whole("--workers", arguments.workers, MOST_WORKERS))
    chosen = [prompts[row].text for row in spread(len(prompts), count)]
    listed = read_list(list_file(arguments.settings), arguments.preset)
    judge = _judge(arguments.judge, prompts, arguments.prompts)
    _refuse_guides(judge, listed)
    run_settings(listed, chosen, seeds, arguments.out, options)
    rows = {job.name for config in listed.values() for job in jobs(chosen, seeds, config)}
    _evaluate(arguments.out, listed, rows, prompts, judge)


def _judge(name: str, prompts: Sequence[Prompt], file: Path) -> ImageTextModel:
    """Loaded before hours of work, and able to read the prompts."""
    from dreamfusion_mesh.evaluate.evaluation import check_prompts
    from dreamfusion_mesh.evaluate.judges import load_judge
    from dreamfusion_mesh.evaluate.precision import encode_pool
    from dreamfusion_mesh.run.device import resolve_device

    check_prompts([], prompts, str(file))
    judge = load_judge(name, resolve_device("auto"))
    encode_pool(judge, prompts)
    return judge


def _refuse_guides(judge: ImageTextModel, listed: dict[str, RunConfig]) -> None:
    """What the runs or `evaluate` would refuse, before they are made. Raises BadInput for models that are missing, too."""
    from dreamfusion_mesh.evaluate.judges import refuse_guides
    from dreamfusion_mesh.guidance.models.load import check_served, model_files

    settings = {name: config.guidance for name, config in listed.items()}
    keys = {name: (each.loaded_kind, each.loaded_model, each.autoencoder) for name, each in settings.items()}
    models = {keys[name]: each for name, each in settings.items()}
    notes = {key: model_files(each).provenance() for key, each in models.items()}  # hashes the weights, which may be large
    refuse_guides(judge, {name: notes[key] for name, key in keys.items()}, "guide the setting")
    for config in listed.values():
        check_served(config.guidance, config.coarse.start)


def _evaluate(out: Path, listed: Iterable[str], rows: set[str], prompts: Sequence[Prompt], judge: ImageTextModel) -> None:
    from dreamfusion_mesh.evaluate.document import document, document_bytes
    from dreamfusion_mesh.evaluate.evaluation import evaluate
    from dreamfusion_mesh.evaluate.page import page_bytes
    from dreamfusion_mesh.evaluate.runs import read_groups
    from dreamfusion_mesh.evaluate.table import table
    from dreamfusion_mesh.progress import progress
    from dreamfusion_mesh.run.device import resolve_device

    with progress() as (tell, _):
        found = evaluate(read_groups([out / name for name in listed], rows), prompts, judge, resolve_device("auto"), tell)
    plain = document(found)
    tables = f"{groups_table(plain)}\n{runs_table(plain)}".encode()
    for name, content in zip(OUTPUTS, (document_bytes(found), page_bytes(found), tables), strict=True):
        write_file(out / name, content)
    print(table(found))


def read_seeds(text: str) -> list[int]:
    """Seeds with commas between them. Raises BadInput."""
    seeds = []
    for each in text.split(","):
        seed = read_number("--seeds", each.strip(), 0, LARGEST_SEED)
        if seed in seeds:
            raise BadInput(f"--seeds: {seed} is there twice; name each seed once, with commas between them")
        seeds.append(seed)
    return seeds


def _whole(option: str, given: str | None, most: int) -> int | None:
    return None if given is None else read_number(option, given, 1, most)


def _fail(lines: Sequence[str], code: int) -> None:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    process.run(main)
