"""Text in, game-ready textured mesh out.

The whole way is `dreamfusion_mesh.pipeline.generate`; the data that flows is in `dreamfusion_mesh.records`.
"""

import os

__version__ = "0.1.0"

# Threads that wait for one another spin by default, and a step is then several times slower wherever another process wants a core.
# OpenMP reads this when torch is loaded, so it holds where this package is imported first; a value that is set already stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
