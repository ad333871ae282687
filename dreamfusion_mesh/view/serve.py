"""A folder's gallery over HTTP, for browsers that refuse pages from disk to read other files; to this machine alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_to_bytes

from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.files import open_file
from dreamfusion_mesh.run.out import GALLERY

LOOPBACK = "127.0.0.1"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".glb": "model/gltf-binary",
    ".png": "image/png",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".usdz": "model/vnd.usdz+zip",
    **dict.fromkeys((".obj", ".mtl", ".json", ".yaml", ".txt"), "text/plain; charset=utf-8"),
}


def serve_folder(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve the files of `folder` on loopback until a signal ends this process; 0 takes a free port.

    ready  is told the gallery's address
    Raises BadInput where the port cannot be taken.
    """
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), partial(Files, Path(os.path.realpath(folder))))
    except (OSError, OverflowError) as error:
        cause = reason(error) if isinstance(error, OSError) else str(error)
        raise BadInput(f"--port {port}: cannot be listened on ({cause}); name another one, or 0 for a free one") from error
    server.daemon_threads = True
    with server:
        ready(f"http://{LOOPBACK}:{server.server_port}/{GALLERY}")
        server.serve_forever()


def names_this_machine(host: str) -> bool:
    """Whether a request's Host, with or without a port, is this machine's own: else it may be a foreign name that was pointed here."""
    return host.partition(":")[0] in (LOOPBACK, "localhost")


class Files(BaseHTTPRequestHandler):
    """Answers with files of a gallery that lie in the folder, links followed within it alone."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]  # which answers the request

    def do_GET(self) -> None:
        """The file that the path names."""
        self._answer(True)

    def do_HEAD(self) -> None:
        """As GET, without the file."""
        self._answer(False)

    def _answer(self, whole: bool) -> None:
        if self.path == "/favicon.ico":  # which browsers ask for by themselves
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
            return
        file = self._file() if names_this_machine(self.headers.get("Host", "")) else None
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            with open_file(file) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as opened:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", _TYPES[file.suffix])
                self.send_header("Content-Length", str(os.fstat(descriptor).st_size))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Cross-Origin-Resource-Policy", "same-origin")  # no other page may show them either
                self.end_headers()
                if whole:
                    shutil.copyfileobj(opened, self.wfile)
        except BadInput:  # no file is there, or the browser has gone
            self.close_connection = True

    def _file(self) -> Path | None:
        """The file that is asked for; None for one of another kind, or outside the folder."""
        path = os.fsdecode(unquote_to_bytes(self.path.partition("?")[0])).lstrip("/") or GALLERY
        if "\0" in path:
            return None
        file = Path(os.path.realpath(self.folder / path))
        return file if file.suffix in _TYPES and file.is_relative_to(self.folder) and file.is_file() else None

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the command's lines are for what went wrong."""
