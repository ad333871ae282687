"""A viser server (extra [view]) that browsers on this machine alone can reach, and surfaces as it shows them."""

from __future__ import annotations

import logging
import socket
from typing import Any

import numpy as np

from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.view.serve import LOOPBACK, names_this_machine


def check_viser(asked: str) -> None:
    """Raises BadInput, which begins with what was `asked`, where viser cannot be imported."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{asked}: needs viser, which cannot be imported ({error}); pip install 'dreamfusion-mesh[view]'") from None


def start_server(port: int, option: str) -> Any:
    """A viser.ViserServer on loopback at that port, 0 for a free one, and at no other: viser takes the next one where it is in use.

    option  that names the port, for the message
    Raises BadInput where the port cannot be taken.
    """
    import rich
    import viser

    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # what a client does wrong is no warning of the command
    rich.reconfigure(quiet=True)  # the console to which viser's threads print, whatever it is told; nothing here prints to it
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError as error:
        raise BadInput(f"{option} {port}: cannot be listened on ({reason(error)}); name another one, or 0 for a free one") from error
    server: Any = viser.ViserServer(host=LOOPBACK, port=port, label="dreamfusion_mesh", verbose=False)
    server.gui.configure_theme(show_share_button=False)
    server.request_share_url = lambda *_, **__: None  # which opens a tunnel to this server from outside, for whoever asks without a button
    _refuse_other_origins(server)
    return server


def _refuse_other_origins(server: Any) -> None:
    """Close connections of pages that are not this server's: browsers let every page open a websocket, and send the page's origin along.

    Clients that send none are no browsers. The port may be another one than the server's, where it is forwarded.
    Source: RFC 6455, section 10.2; viser has no setting for it.
    """
    sockets = server._websock_server

    async def check(client: Any) -> None:
        connection = sockets._live_connections[client.client_id]
        asked = connection.request.headers
        host, origin = asked["Host"], asked.get("Origin")
        if origin is not None and not (names_this_machine(host) and origin == f"http://{host}"):
            await connection.close(1008, "this page is of another origin")  # before anything is sent

    sockets.on_client_connect(check)
    sockets.disconnect_all_clients()  # those that came before; pages connect again by themselves


def aim(server: Any, low: np.ndarray, high: np.ndarray) -> None:
    """Have cameras begin in front of a box [3], [3] in the scene, all of which they see: viser's field of view is 75 degrees."""
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low))
    server.scene.set_up_direction("+y")
    server.initial_camera.look_at = tuple(middle)
    server.initial_camera.position = tuple(middle + reach * np.array([0.27, 0.31, 0.76]))
    server.initial_camera.near, server.initial_camera.far = reach / 100, reach * 100
