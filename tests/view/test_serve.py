"""The gallery's server hands out files of its folder, to this machine alone."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from commands import caller, check_refused, signals_arrive
from gallery_batches import gallery_batch

from dreamfusion_mesh.view.serve import LOOPBACK, Files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a server of tmp_path / out."""
    (tmp_path / "out" / "mug").mkdir(parents=True)
    (tmp_path / "out" / "gallery.html").write_text("<p>gallery")
    (tmp_path / "out" / "mug" / "asset.glb").write_bytes(b"glTF")
    with ThreadingHTTPServer((LOOPBACK, 0), partial(Files, (tmp_path / "out").resolve())) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def asked(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes, str]:
    """Status, body and type of what is answered."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read(), answer.headers.get("Content-Type", "")
    finally:
        connection.close()


def test_files_of_the_folder_are_handed_out(port: int) -> None:
    assert asked(port, "/") == (200, b"<p>gallery", "text/html; charset=utf-8")
    assert asked(port, "/mug/asset.glb?x=1") == (200, b"glTF", "model/gltf-binary")
    assert asked(port, "/mug/asset.glb", "HEAD")[:2] == (200, b"")
    assert asked(port, "/m%75g/asset.glb", host=f"localhost:{port}")[0] == 200
    assert asked(port, "/", host="localhost")[0] == 200  # as browsers ask at port 80


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "//etc/hostname.txt", "/link.txt", "/mug", "/mug/", "/key.pem", "/none.png", "/%00.png"],
)
def test_nothing_else_is(path: str, port: int, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "out" / "key.pem").write_text("secret")
    os.symlink(tmp_path / "secret.txt", tmp_path / "out" / "link.txt")
    status, body, _ = asked(port, path)
    assert status == 404
    assert b"secret" not in body.replace(b"secret.txt", b"")


def test_other_pages_may_not_show_its_files(port: int) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    connection.request("GET", "/mug/asset.glb")
    answer = connection.getresponse()
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
    connection.close()


def test_a_foreign_name_that_is_pointed_at_this_machine_is_refused(port: int) -> None:
    assert asked(port, "/", host=f"evil.example:{port}")[0] == 404
    assert asked(port, "/", "POST")[0] == 501


def test_a_port_in_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    gallery_batch(tmp_path / "out")
    with socket.create_server((LOOPBACK, 0)) as taken:
        number = taken.getsockname()[1]
        call = caller(monkeypatch, capfd, tmp_path)
        ended = call("gallery", "out", "--serve", "--port", str(number))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: --port {number}: cannot be listened on (")
    assert len(ended.stderr.splitlines()) == 1
    check_refused(call("gallery", "nowhere"), "nowhere")


def test_the_command_listens_on_loopback_alone_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    gallery_batch(tmp_path / "out")
    command = [sys.executable, "-u", "-m", "dreamfusion_mesh", "gallery", str(tmp_path / "out"), "--serve"]
    with signals_arrive(), subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"{tmp_path / 'out' / 'gallery.html'}: 4 rows\n"
            address = process.stdout.readline().split()[0]
            listening = [found.laddr for found in psutil.Process(process.pid).net_connections() if found.status == psutil.CONN_LISTEN]
            assert [place.ip for place in listening] == ["127.0.0.1"]
            assert address == f"http://127.0.0.1:{listening[0].port}/gallery.html"
            assert asked(listening[0].port, "/box-red/asset.glb")[0] == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
