"""How far the work is: for people on standard error, for machines as JSON lines on standard output."""

from dreamfusion_mesh.progress.run import progress

__all__ = ["progress"]
