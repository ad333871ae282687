"""Feed mutated real files and arguments to every command: `python -m tools.fuzz`; exit 1 where a case does not end as README says.

A case is a seed and a number, and is made anew from them. Each runs the command line's own entry in a folder of its own. It fails where
the exit code is none that README states, a traceback appears, an error is not one line, anything outside the folder is changed, a
command that only reads changes a file, or the case takes too long, too much memory, or its process with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from tools.fuzz.corpus import make_corpus
from tools.fuzz.pool import ENTRY, Limits, Outcome, run_cases
from tools.fuzz.targets import TARGETS, target_of


def main(entry: str = ENTRY) -> None:
    """Run the fuzzing as the arguments say; `entry` is the command line that is tried, as "module:function"."""
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__, formatter_class=keep_lines)
    parser.add_argument("--cases", type=int, default=2000, help="how many; 2000 take about ten minutes on two cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="of work and sleep that a case may take")
    parser.add_argument("--only", action="append", choices=list(TARGETS), metavar="TARGET", help=f"may be repeated: {', '.join(TARGETS)}")
    parser.add_argument("--case", type=int, action="append", metavar="N", help="run this case alone; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy the folders of failing cases there")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="where the real files are kept from one call to the next")
    arguments = parser.parse_args()
    limits = Limits(arguments.seconds)
    numbers = arguments.case or list(islice(numbers_of(arguments.seed, arguments.only), arguments.cases))
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as folder:
        corpus = (arguments.corpus or Path(folder) / "corpus").absolute()
        if not corpus.is_dir():
            make_corpus(corpus)
        started, outcomes = time.monotonic(), []
        for outcome in run_cases(numbers, arguments.seed, corpus, arguments.jobs, limits, arguments.keep, entry):
            outcomes.append(outcome)
            if outcome.faults:
                print(describe(outcome, arguments.seed), flush=True)
        print("\n".join(summary(outcomes, time.monotonic() - started)))
    sys.exit(1 if any(outcome.faults for outcome in outcomes) else 0)


def numbers_of(seed: int, only: Sequence[str] | None = None) -> Iterator[int]:
    """Case numbers from 0; of the targets `only` where they are named."""
    return (number for number in count() if not only or target_of(seed, number) in only)


def describe(outcome: Outcome, seed: int) -> str:
    """A failing case in one line."""
    command = outcome.command if len(outcome.command) <= 200 else f"{outcome.command[:150]} ... {outcome.command[-40:]}"
    return f"{outcome.target}  {seed}/{outcome.number}  {command}  ->  {'; '.join(outcome.faults)}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> list[str]:
    """What came of all cases, in lines."""
    targets = Counter(outcome.target for outcome in outcomes)
    failing = Counter(outcome.target for outcome in outcomes if outcome.faults)
    codes = Counter(str(outcome.code) for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds, default=None)
    lines = [f"{len(outcomes)} cases in {seconds:.0f} s, {len(outcomes) / max(seconds, 1e-9):.1f} a second"]
    lines += [
        f"  {target:<16} {number:>5}{f'  {failing[target]} failing' if failing[target] else ''}"
        for target, number in sorted(targets.items())
    ]
    changed = Counter(Path(name).suffix or name for outcome in outcomes for name in set(outcome.changed))
    lines.append("changed files: " + ", ".join(f"{suffix} in {number}" for suffix, number in changed.most_common(12)))
    lines.append("exit codes: " + ", ".join(f"{code} in {number}" for code, number in sorted(codes.items())))
    if slowest is not None:
        lines.append(f"slowest: {slowest.seconds:.1f} s, {slowest.target} {slowest.number}")
    return [*lines, f"{sum(failing.values())} failing"]


if __name__ == "__main__":
    main()
