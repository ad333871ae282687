"""`view` finds what there is to see, shows it on loopback alone, and refuses what it cannot show in one line."""

from __future__ import annotations

import itertools
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from gallery_batches import gallery_batch

from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.view.live import LOOKS, Viewer, checkered, rows_of, serve_view
from dreamfusion_mesh.view.serve import LOOPBACK

FILES = ["full", "LOD 1", "hulls"]


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    return gallery_batch(tmp_path / "out").path


def test_a_batch_has_its_assets_and_each_has_its_files(batch: Path) -> None:
    found = rows_of(batch)
    assert list(found) == ["box-blue", "box-green", "box-red"]  # without the row that failed
    assert all(list(models) == FILES for models in found.values())


def test_a_run_and_a_file_are_one_asset_with_its_files(batch: Path) -> None:
    run = batch / "box-red"
    assert rows_of(run) == {"box-red": rows_of(batch)["box-red"]}
    assert rows_of(run / "asset_LOD1.glb") == {"asset_LOD1": {"full": run / "asset_LOD1.glb"}}
    assert rows_of(run / "asset.glb")["asset"] == rows_of(run)["box-red"]


def test_names_that_look_like_patterns_are_names(batch: Path) -> None:
    model = shutil.copy(batch / "box-red" / "asset.glb", batch / "box-red" / "a[s]*.glb")
    assert list(rows_of(Path(model))["a[s]*"]) == ["full"]


def test_what_holds_no_asset_is_refused(batch: Path, tmp_path: Path) -> None:
    (batch / "box-red" / "asset.glb").unlink()
    (tmp_path / "empty").mkdir()
    for path, message in (
        (batch / "box-red", r"box-red: has no asset.glb yet; `dreamfusion-mesh generate --out \S+box-red --live` goes on"),
        (tmp_path / "empty", "holds no batch"),
        (tmp_path / "no.glb", "is missing"),
    ):
        with pytest.raises(BadInput, match=message):
            rows_of(path)


def test_a_checker_has_squares_of_one_size_in_texels(batch: Path) -> None:
    file = batch / "box-red" / "asset.glb"
    written = read_model(file.read_bytes(), file)
    uvs = np.zeros((len(written.faces), 3, 2))
    made = checkered(SimpleNamespace(vertices=written.vertices, faces=written.faces, corner_uvs=uvs, corner_normals=None))  # type: ignore[arg-type]
    picture = np.asarray(made.visual.material.baseColorTexture.convert("L"))
    assert np.array_equal(picture[:16, :16], np.full((16, 16), 80))
    assert np.array_equal(picture[:16, 16:32], np.full((16, 16), 230))
    assert len(made.faces) == len(written.faces)
    with pytest.raises(BadInput, match="no UVs"):
        checkered(SimpleNamespace(corner_uvs=None))  # type: ignore[arg-type]


def test_without_viser_the_extra_is_named(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(BadInput, match=r"^view: needs viser.*pip install 'dreamfusion-mesh\[view\]'$"):
        serve_view(batch, 0, lambda address: None)


@pytest.fixture
def viewer(batch: Path) -> Iterator[Viewer]:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    made = Viewer(rows_of(batch), 0)
    yield made
    made.stop()


def test_it_listens_on_loopback_alone(viewer: Viewer) -> None:
    listening = [each.laddr for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
    assert [(LOOPBACK, viewer.port)] == [tuple(address) for address in listening]


def test_pages_of_other_origins_receive_nothing(viewer: Viewer) -> None:
    import viser
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    from websockets.typing import Origin, Subprotocol

    def first_message(host: str, origin: str | None) -> bytes | str:
        protocol, page = Subprotocol(f"viser-v{viser.__version__}"), None if origin is None else Origin(origin)
        with (
            socket.create_connection((LOOPBACK, viewer.port)) as sock,
            connect(f"ws://{host}", sock=sock, origin=page, subprotocols=[protocol]) as found,
        ):
            return found.recv(60)

    own = f"{LOOPBACK}:{viewer.port}"
    for host, origin in ((own, f"http://{own}"), ("localhost:9", "http://localhost:9"), (own, None)):  # 9: a forwarded port
        assert first_message(host, origin)
    foreign = f"evil.example:{viewer.port}"  # whose name may be pointed at this machine
    for host, origin in ((own, "http://evil.example"), (own, "http://localhost:3000"), (own, "null"), (foreign, f"http://{foreign}")):
        with pytest.raises(ConnectionClosed, match="another origin"):
            first_message(host, origin)


def test_a_port_in_use_is_refused_and_no_other_is_taken(batch: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"--port {port}: cannot be listened on .*in use"):
            Viewer(rows_of(batch), port)


def test_each_file_and_look_is_shown_and_a_broken_file_says_why_not(viewer: Viewer, batch: Path) -> None:
    for name, look in itertools.product(FILES, LOOKS):
        assert viewer.show("box-red", name, look).endswith(": 12 triangles")
    (batch / "box-red" / "asset_LOD1.glb").write_bytes(b"glTF")
    assert viewer.show("box-red", "LOD 1", "clay").startswith(str(batch / "box-red" / "asset_LOD1.glb"))
