"""Text in, game-ready textured mesh out.

The whole way is `dreamfusion_mesh.pipeline.generate`; the data that flows is in `dreamfusion_mesh.records`.
"""

__version__ = "0.1.0"
