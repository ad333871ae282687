"""What runs in coacd's own process (see worker.py): it takes seconds to minutes and cannot be interrupted."""

from __future__ import annotations

import numpy as np

_SEED = 0


def decompose(vertices: np.ndarray, faces: np.ndarray, counts: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a solid into nearly convex parts.   Source: Wei et al., "Approximate convex decomposition ...", 2022 (CoACD).

    vertices [V, 3] float64, faces [F, 3] int32
    counts     hulls at most, iterations of the tree search, its nodes, 1 where the surface has to be closed first
    threshold  concavity that is left
    Gives the hulls' vertices [N, 3] float64, one hull behind the other, and how many each has [H] int64.
    """
    import coacd

    coacd.set_log_level("error")
    most, iterations, nodes, close = (int(value) for value in counts)
    parts = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=float(threshold),
        max_convex_hull=most,
        preprocess_mode="on" if close else "off",
        mcts_iterations=iterations,
        mcts_nodes=nodes,
        seed=_SEED,
    )
    points = [np.asarray(part, dtype=np.float64).reshape(-1, 3) for part, _ in parts]
    return np.concatenate([np.zeros((0, 3)), *points]), np.array([len(part) for part in points], dtype=np.int64)
