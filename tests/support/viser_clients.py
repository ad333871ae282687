"""A client of a viser server that is no browser: it says where its camera is, as browsers do, and reads what it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": (1.0, 0.0, 0.0, 0.0),
    "position": (0.0, 0.0, 3.0),
    "fov": 0.7,
    "near": 0.01,
    "far": 100.0,
    "image_height": 100,
    "image_width": 100,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 1.0, 0.0),
}


@contextmanager
def viser_client(port: int) -> Iterator[Any]:
    """A connection whose server counts it among its clients."""
    import msgspec
    import viser
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as socket:  # type: ignore[list-item]
        socket.send(msgspec.msgpack.encode(CAMERA))
        yield socket


if __name__ == "__main__":  # python viser_clients.py PORT: reads until the server ends; the bytes that came
    with viser_client(int(sys.argv[1])) as socket:
        print(sum(len(message) for message in socket))
