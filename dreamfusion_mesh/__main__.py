"""`dreamfusion-mesh` and `python -m dreamfusion_mesh`: signals are handled before the command line and its packages are imported."""

from __future__ import annotations

from typing import NoReturn

from dreamfusion_mesh import process


def main() -> NoReturn:
    """The command line as this process."""
    process.run(_command_line)


def _command_line() -> None:
    from dreamfusion_mesh.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
