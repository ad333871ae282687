"""`python -m dreamfusion_mesh.cli`."""

from __future__ import annotations

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.entry import main

if __name__ == "__main__":
    process.run(main)
