"""Cases of batches: their tables, what lies in their folders, and the evaluation of their runs."""

from __future__ import annotations

import shutil

from tools.fuzz import ROOT
from tools.fuzz.arguments import run_changes
from tools.fuzz.draw import Draw
from tools.fuzz.mutate.table import random_table
from tools.fuzz.values import INSIDE

JUDGE = ROOT / "dreamfusion_mesh" / "evaluate" / "judge"
_PROMPT = "a red mushroom with white parts"


def batch_table(draw: Draw) -> list[str]:
    """A table of prompts, sound or hostile, and what a batch of it would do."""
    (draw.folder / "prompts.csv").write_bytes(random_table(draw.rng))
    draw.changed.append("prompts.csv")
    draw.read_only = True
    more = run_changes(draw.rng) if draw.rng.random() < 0.1 else []
    return ["batch", "prompts.csv", "--out", "run", "--dry-run", "--preset", "smoke", *more]


def batch_folder(draw: Draw) -> list[str]:
    """A batch of a row that is done and some that are not, its manifest changed or a row's folder, and what shows or goes on with it."""
    # Here, since the worker that calls the command line stays small until that imports more.
    from evaluated_runs import done, failed, started

    from dreamfusion_mesh.batch.manifest import Manifest
    from dreamfusion_mesh.run.out import MANIFEST

    out = draw.folder / "out"
    draw.copy("finished", "out/one")
    rows = [done("one", _PROMPT), failed("two", "a blue chair"), done("gone", "a green box"), started("three", "a red mug")]
    Manifest(out / MANIFEST).append(rows)
    if draw.rng.random() < 0.6:
        draw.mutate(out / MANIFEST)
    else:
        draw.mutate_run(out / "one")
    if draw.rng.random() < 0.7:
        return [draw.rng.choice(("gallery", "summary")), "out"]
    (draw.folder / "prompts.csv").write_text(f"name,prompt\none,{_PROMPT}\ntwo,a blue chair\n")
    draw.read_only = True
    return ["batch", "prompts.csv", "--out", "out", "--dry-run", "--preset", "smoke"]


def evaluate(draw: Draw) -> list[str]:
    """Runs, of which one is changed, or the prompts are, or the judge."""
    runs = [draw.copy("finished", f"runs/{name}") for name in ("one", "two")]
    prompts, rng, more = draw.folder / "prompts.csv", draw.rng, list[str]()
    prompts.write_text("prompt,shape,front,parts,holes\na red mushroom with white parts,,no,1,0\na blue chair,a grey chair,yes,,\n")
    match rng.choice(("run", "run", "prompts", "table", "judge", "target")):
        case "run":
            draw.mutate_run(runs[0])
        case "prompts":
            draw.mutate(prompts)
        case "table":
            prompts.write_bytes(random_table(rng))
            draw.changed.append(prompts.name)
        case "judge":
            shutil.copytree(JUDGE, draw.folder / "judge")
            draw.mutate(*sorted(file for file in (draw.folder / "judge").rglob("*") if file.is_file()))
            more = ["--judge", "judge"]
        case "target":
            more = [rng.choice(("--json", "--report")), rng.choice(("found", "new/found", "runs/one/run.yaml", "prompts.csv", *INSIDE))]
    draw.read_only = more[:1] not in (["--json"], ["--report"])
    return ["evaluate", rng.choice(("runs", "runs/one", "runs/two")), "--prompts", "prompts.csv", *more]
