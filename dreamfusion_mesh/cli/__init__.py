"""The command line: it alone prints, with terminal.py and progress. Exit 0 done, 1 the work failed, 2 bad input, 128 + n by signal n."""

from dreamfusion_mesh.cli.app import app
from dreamfusion_mesh.cli.entry import main

__all__ = ["app", "main"]
