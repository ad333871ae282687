"""What a case does: which real files it copies and changes, and with which arguments it calls the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tools.fuzz.arguments import NO_MODEL, any_arguments, audit_changes, delivery_changes, run_changes, work_changes
from tools.fuzz.batches import batch_folder, batch_table, evaluate
from tools.fuzz.draw import Draw
from tools.fuzz.mutate.raw import random_bytes
from tools.fuzz.values import INSIDE

_MESHES = ("binary.ply", "text.ply", "binary.stl", "text.stl", "asset.off")


def _audit_file(draw: Draw, *names: str) -> list[str]:
    """An audit of the first of the files, of which one is changed; sometimes with settings, a preset, or a report."""
    files = [draw.copy(f"meshes/{name}") for name in names]
    draw.mutate(*files)
    more = ["--preset", "smoke"] if draw.rng.random() < 0.2 else []
    if draw.rng.random() < 0.1:
        more += ["--json", draw.rng.choice(("found.json", "new/found.json", "found.json", names[0], *INSIDE))]
    draw.read_only = "--json" not in more
    return ["audit", names[0], *more]


def audit_glb(draw: Draw) -> list[str]:
    draw.mutate(draw.copy("finished/asset.glb"))
    draw.read_only = True
    return ["audit", "asset.glb"]


def audit_gltf(draw: Draw) -> list[str]:
    return _audit_file(draw, *(("rich.glb",) if draw.rng.random() < 0.4 else ("asset.gltf", "asset.bin", "color.png")))


def audit_obj(draw: Draw) -> list[str]:
    images = sorted(file.name for file in (draw.corpus / "meshes").glob("asset*.png"))
    return _audit_file(draw, "asset.obj", "asset.mtl", *images)


def audit_mesh(draw: Draw) -> list[str]:
    return _audit_file(draw, draw.rng.choice(_MESHES))


def audit_rubbish(draw: Draw) -> list[str]:
    """Noise, a folder or another kind of file under a suffix that is read."""
    name = "x" + draw.rng.choice((".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".OBJ", ".png", ""))
    draw.read_only = True
    if draw.rng.random() < 0.1:
        draw.rng.choice((os.mkdir, os.mkfifo))(draw.folder / name)
    elif draw.rng.random() < 0.3:
        draw.copy(f"meshes/{draw.rng.choice((*_MESHES, 'asset.obj', 'asset.bin', 'color.png'))}", name)
    else:
        (draw.folder / name).write_bytes(random_bytes(draw.rng))
    draw.changed.append(name)
    return ["audit", name]


def audit_in_run(draw: Draw) -> list[str]:
    """A file in a run's folder, which is measured against that run's settings and surface."""
    run = draw.copy("finished", "run")
    draw.mutate(run / "run.yaml", run / "checkpoints/reference.safetensors", run / "asset.glb")
    draw.read_only = True
    return [
        "audit",
        f"run/{draw.rng.choice(('asset.glb', 'asset.glb', 'asset.obj'))}",
        *(audit_changes(draw.rng) if draw.rng.random() < 0.2 else []),
    ]


def audit_settings(draw: Draw) -> list[str]:
    draw.copy("finished/asset.glb")
    draw.read_only = True
    if draw.rng.random() < 0.3:
        draw.copy("presets")
        draw.mutate(*sorted((draw.folder / "presets").iterdir()))
        return ["audit", "asset.glb", "--preset", "presets/preset.yaml"]
    return ["audit", "asset.glb", *audit_changes(draw.rng)]


def generate_preset(draw: Draw) -> list[str]:
    """A new run by a changed preset, which ends where the model is loaded."""
    presets = draw.copy("presets")
    draw.mutate(*sorted(presets.iterdir()))
    name = draw.rng.choice(("preset.yaml", "base.yaml"))
    return ["generate", "a red mug", "--preset", f"presets/{name}", "--out", "run", *NO_MODEL]


def generate_set(draw: Draw) -> list[str]:
    return ["generate", "a red mug", "--preset", "smoke", "--out", "run", *run_changes(draw.rng), *NO_MODEL]


def generate_work(draw: Draw) -> list[str]:
    """A whole small run with unusual settings."""
    draw.copy("presets")
    return ["generate", "a red mug", "--preset", "presets/base.yaml", "--out", "run", *work_changes(draw.rng)]


def generate_model(draw: Draw) -> list[str]:
    """A whole small run by a changed model's folder."""
    draw.copy("presets")
    folder = draw.copy(draw.rng.choice(("model", "model", "latent")), "model")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    draw.mutate(*([file for file in files if file.suffix != ".txt"] if draw.rng.random() < 0.8 else files))
    commercial = ["--commercial"] if draw.rng.random() < 0.3 else []
    return ["generate", "a red mug", "--preset", "presets/base.yaml", "--out", "run", "--set", "guidance.model=model", *commercial]


def _in_changed_run(draw: Draw, run: str, arguments: list[str]) -> list[str]:
    draw.mutate_run(draw.copy(run, "run"))
    return arguments


def go_on_stopped(draw: Draw) -> list[str]:
    return _in_changed_run(draw, "stopped", ["generate", "--out", "run"])


def go_on_fitted(draw: Draw) -> list[str]:
    return _in_changed_run(draw, "fitted", ["generate", "--out", "run"])


def answer_finished(draw: Draw) -> list[str]:
    return _in_changed_run(draw, "finished", ["generate", "--out", "run"])


def export(draw: Draw) -> list[str]:
    return _in_changed_run(draw, draw.rng.choice(("finished", "fitted")), ["export", "run"])


def export_set(draw: Draw) -> list[str]:
    draw.copy("fitted", "run")
    return ["export", "run", *delivery_changes(draw.rng)]


def doctor(draw: Draw) -> list[str]:
    names = ("DREAMFUSION_MESH_GLTF_VALIDATOR", "NODE_PATH", "PATH", "COLUMNS", "TERM", "LANG")
    draw.environment = {draw.rng.choice(names): draw.rng.choice([path for path in INSIDE if path.isprintable()])}
    return ["doctor"]


def arguments(draw: Draw) -> list[str]:
    draw.copy("meshes/binary.stl", "x.stl")
    return any_arguments(draw.rng)


Target = Callable[[Draw], list[str]]
TARGETS: dict[str, tuple[int, Target]] = {  # by name: in how many of a hundred cases or so it is drawn
    "audit-glb": (14, audit_glb),
    "audit-gltf": (12, audit_gltf),
    "audit-obj": (12, audit_obj),
    "audit-mesh": (14, audit_mesh),
    "audit-rubbish": (4, audit_rubbish),
    "audit-in-run": (5, audit_in_run),
    "audit-settings": (5, audit_settings),
    "generate-preset": (7, generate_preset),
    "generate-set": (7, generate_set),
    "generate-work": (1, generate_work),
    "generate-model": (7, generate_model),
    "go-on-stopped": (3, go_on_stopped),
    "go-on-fitted": (2, go_on_fitted),
    "answer-finished": (4, answer_finished),
    "export": (3, export),
    "export-set": (2, export_set),
    "batch-table": (6, batch_table),
    "batch-folder": (5, batch_folder),
    "evaluate": (4, evaluate),
    "doctor": (1, doctor),
    "arguments": (4, arguments),
}


@dataclass(frozen=True)
class Case:
    """One case, made in its folder.

    arguments    of the command line
    environment  its changes
    read_only    whether it may change nothing
    changed      names of the files that were changed
    """

    number: int
    target: str
    arguments: list[str]
    environment: dict[str, str]
    read_only: bool
    changed: list[str]

    def command(self) -> str:
        """The command as one line of ASCII."""
        return " ".join(
            json.dumps(word)[1:-1] if word.isascii() and word and " " not in word else json.dumps(word) for word in self.arguments
        )[:500]


def target_of(seed: int, number: int) -> str:
    """Which target the case has; it depends on the seed and the case's number alone."""
    weights = [weight for weight, _ in TARGETS.values()]
    return Random(f"target {seed} {number}").choices(list(TARGETS), weights)[0]


def make_case(seed: int, number: int, corpus: Path, folder: Path) -> Case:
    """Put the files of a case into `folder`, which is there and empty."""
    target = target_of(seed, number)
    draw = Draw(Random(f"case {seed} {number}"), corpus, folder)
    words = TARGETS[target][1](draw)
    return Case(number, target, [_passable(word) for word in words], draw.environment, draw.read_only, draw.changed)


def _passable(word: str) -> str:
    """The word as a process gets it: without NUL, and what is no UTF-8 as Python decodes it."""
    return os.fsdecode(word.encode("utf-8", "surrogatepass").replace(b"\0", b""))
