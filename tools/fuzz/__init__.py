"""Fuzzing of the command line: mutated real files and arguments to every command, many cases in one worker process."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))  # its runs, batches, model folders and glTF packing serve here too
