"""Compare settings: `python -m tools.eval --prompts FILE --settings FILE.yaml --seeds 0,1 --out DIR [--preset demo] [--count K]
[--workers N]`.

Every prompt with every setting of the list and every seed goes through `batch`; DIR/<setting>/ is the batch of a setting. The same command
goes on where it was stopped, and leaves what is done alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dreamfusion_mesh.batch.records import LARGEST_SEED, Options
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.evaluate.prompts import read_prompts
from dreamfusion_mesh.process import Stopped, stop_line
from dreamfusion_mesh.terminal import logged_warnings
from tools.eval.runs import run_settings, spread
from tools.eval.settings import FOLDER, read_list


def main() -> None:
    with logged_warnings():
        try:
            _run(_arguments())
        except BadInput as error:
            _fail(error.lines, 2)
        except RunFailed as error:
            _fail([str(error)], 1)
        except Stopped as stop:
            _fail([stop_line(stop)], stop.exit_code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="a prompt a line (.txt), or .csv as `evaluate` reads it"
    )
    lists = ", ".join(file.stem for file in sorted(FOLDER.glob("*.yaml")))
    parser.add_argument("--settings", required=True, metavar="LIST", help=f"a .yaml file, or one of {lists}")
    parser.add_argument("--seeds", default="0", metavar="SEED,...")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--count", type=int, metavar="K", help="of the prompts, spread; the judge picks among all of the file")
    parser.add_argument("--workers", type=int, metavar="N", help="as for `batch`")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> None:
    prompts = [prompt.text for prompt in read_prompts(arguments.prompts)]
    chosen = prompts if arguments.count is None else [prompts[row] for row in spread(len(prompts), arguments.count)]
    path = Path(arguments.settings)
    listed = read_list(path if path.suffix else FOLDER / f"{path}.yaml", arguments.preset)
    run_settings(listed, chosen, read_seeds(arguments.seeds), arguments.out, Options(arguments.workers))


def read_seeds(text: str) -> list[int]:
    """Seeds with commas between them. Raises BadInput."""
    seeds = []
    for each in text.split(","):
        if not each.strip().isdecimal() or not each.isascii() or int(each) > LARGEST_SEED:
            raise BadInput(f"--seeds {text}: expected whole numbers from 0 to {LARGEST_SEED} with commas between them, such as 0,1")
        if int(each) in seeds:
            raise BadInput(f"--seeds {text}: {int(each)} is there twice; name each seed once")
        seeds.append(int(each))
    return seeds


def _fail(lines: list[str] | tuple[str, ...], code: int) -> None:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
