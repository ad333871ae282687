"""One case under way: its random choices, the real files that it copies into its folder, and what it changes there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tools.fuzz.mutate.files import mutate_file
from tools.fuzz.runs import change_run


@dataclass
class Draw:
    """One case under way: random choices, the corpus, and the case's folder, in which the command will run."""

    rng: Random
    corpus: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    read_only: bool = False  # whether the command may change nothing at all
    changed: list[str] = field(default_factory=list)  # names of the files that are no more as they were

    def copy(self, name: str, to: str = "") -> Path:
        """A copy of a file or a folder of the corpus, by default of the same name."""
        source, target = self.corpus / name, self.folder / (to or Path(name).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return target

    def mutate(self, *files: Path) -> None:
        """Change one of the files."""
        others = [file for part in ("finished", "meshes") for file in sorted((self.corpus / part).rglob("*")) if file.is_file()]
        file = self.rng.choice(files)
        mutate_file(self.rng, file, others)
        self.changed.append(file.name)

    def mutate_run(self, run: Path) -> None:
        """Change a run's folder."""
        self.changed += [file.name for file in change_run(self.rng, run, self.mutate)]
