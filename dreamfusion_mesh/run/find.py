"""Whether a folder can take a run, and what to do where the run in it has other settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from dreamfusion_mesh.config import DELIVERY_GROUPS, RunConfig, dump
from dreamfusion_mesh.config.yaml_text import write_value
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.out import LOCK, check_out, generate_command, operand
from dreamfusion_mesh.run.settings import SETTINGS, Differences, describe, differences, group


def find_run(path: Path, config: RunConfig) -> RunFolder:
    """A folder that can take a run of `config`: new, empty, or with this very run. Writes nothing.

    Raises BadInput for another run, naming what differs; where the delivery alone does, with the two commands that go on.
    """
    run = RunFolder(path)
    check_out(path)
    if os.path.lexists(path / SETTINGS):
        differing = differences(run.config(), config)
        if differing and all(group(name) in DELIVERY_GROUPS for name in differing):
            raise BadInput(_two_ways_on(run, differing))
        if differing:
            raise BadInput(f"--out {shown(path)}: holds another run ({describe(differing)}); name another folder, or delete this one first")
    elif path.is_dir() and not all(_is_leftover(entry.name) for entry in path.iterdir()):
        raise BadInput(f"--out {shown(path)}: is not empty and holds no run; name a new or empty folder")
    return run


def check_changes(found: RunConfig, wanted: RunConfig, groups: Sequence[str]) -> None:
    """Raises BadInput where settings outside `groups` differ from those that the run was made with."""
    fixed = {name: values for name, values in differences(found, wanted).items() if group(name) not in groups}
    if fixed:
        raise BadInput(f"export: {describe(fixed)}; only settings of {', '.join(groups)} may change here")


def move_to_device(path: Path, config: RunConfig) -> None:
    """Where run.yaml has the settings of `config` but for the device, give it that of `config`: its checkpoints go on there.

    Only where nobody else works in the folder. Raises BadInput where run.yaml cannot be read, or written.
    """
    run = RunFolder(path)
    if os.path.lexists(path / SETTINGS) and set(differences(run.config(), config)) == {"device"}:
        run.write(SETTINGS, dump(config).encode())


def _two_ways_on(run: RunFolder, differing: Differences) -> str:
    """The message for a run whose delivery was asked for otherwise: what differs, and a command for either wish."""
    keep = generate_command(run.path)
    deliver = shlex.join(["dreamfusion-mesh", "export", operand(run.path), *_options(differing)])
    when = "" if run.has_state("fine") else ", once its fine stage is finished"
    return (
        f"--out {shown(run.path)}: holds this run with other settings of its delivery ({describe(differing)}); "
        f"`{keep}` goes on with it as it is there, `{deliver}` delivers it with the settings asked for now{when}"
    )


def _options(differing: Differences) -> list[str]:
    """The options of `export` that give each setting its value here."""
    options: list[str] = []
    for name, (_, here) in differing.items():
        match name, here:
            case "device", _:
                options += ["--device", here]
            case "commercial", True:
                options += ["--commercial"]
            case _:
                options += ["--set", f"{name}={write_value(here)}"]
    return options


def _is_leftover(name: str) -> bool:
    """Whether a file is what a process that was killed before run.yaml was there has left."""
    return name == LOCK or (name.startswith(f".{SETTINGS}.") and name.endswith(".part"))
