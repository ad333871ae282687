"""What is asked of each node of a cluster before a batch writes anything. It is sent by value, so that a node needs nothing installed."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple


class Found(NamedTuple):
    """What a node answers.

    node     its name
    version  of this package there, empty where it has none
    sees     whether it reads the file that the driver has written
    writes   whether it can write beside that
    """

    node: str
    version: str
    sees: bool
    writes: bool


def look(file: str, content: bytes) -> Found:
    """Look from a node at `file`, which the driver has just written with `content`. Raises nothing."""
    try:
        import dreamfusion_mesh

        version = dreamfusion_mesh.__version__
    except ImportError:
        version = ""
    node, sees, writes = socket.gethostname(), False, False
    try:
        with open(file, "rb") as found:
            sees = found.read() == content
        own = f"{file}.{os.getpid()}"
        with open(own, "xb"):
            writes = True
        os.unlink(own)
    except OSError:
        pass
    return Found(node, version, sees, writes)
