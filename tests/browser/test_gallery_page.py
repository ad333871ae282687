"""The gallery in a browser, from disk and served: filtered, sorted, opened in its viewer. `make browser-tests` installs what it needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import Browser, pixels
from gallery_batches import HOSTILE, gallery_batch

from dreamfusion_mesh.view import gallery
from dreamfusion_mesh.view.gallery import write_gallery
from dreamfusion_mesh.view.serve import LOOPBACK, Files


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server of tmp_path."""
    with ThreadingHTTPServer((LOOPBACK, 0), partial(Files, tmp_path.resolve())) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}/gallery.html"
        server.shutdown()


def look(browser: Browser, url: str, **asked: Any) -> dict[str, Any]:
    """What the scenario of the gallery finds at an address."""
    return browser.look("gallery", url, **{"text": "BLUE box", "selects": [], **asked})


def test_from_disk_rows_are_filtered_and_sorted_and_one_opens(browser: Browser, tmp_path: Path) -> None:
    write_gallery(gallery_batch(tmp_path))
    filters = [("status", "failed"), ("tag", "cold"), ("tag", HOSTILE), ("audit", "failed")]
    selects = [*filters, ("order", "most triangles"), ("order", "fewest triangles")]
    found = look(browser, (tmp_path / "gallery.html").as_uri(), selects=selects, open="box-red")
    assert (found["title"], found["count"]) == ("Gallery", "4 of 4 rows")
    assert found["first"] == ["bad", "box-blue", "box-green", "box-red"]
    assert found["filtered"] == [["box-blue"], "1 of 4 rows"]
    shown = [found[f"{name}={value}"] for name, value in selects]
    assert shown[:4] == [["bad"], ["box-blue", "box-green"], ["box-green"], ["box-blue"]]
    assert shown[4:] == [["box-blue", "box-green", "box-red", "bad"], ["box-red", "box-green", "box-blue", "bad"]]
    assert found["models"] == ["Textured", "Clay", "Wireframe", "Full", "LOD 1", "Hulls", "Close"]
    assert found["turning"] == [["box-red/turntable.webp"], 0]  # while the pointer is there, and afterwards
    assert found["viewed"] == [f"box-red/{name}" for name in ("asset.glb", "asset.glb", "asset_LOD1.glb", "asset_collision.glb")]
    assert (found["note"], found["closed"]) == ("", True)
    assert all(url.startswith(("file:", "blob:")) for url in found["requests"])
    textured, clay, wireframe = (pixels(found["pictures"][name]) for name in ("Textured", "Clay", "Wireframe"))
    middle = tuple(side // 2 for side in textured.shape[:2])
    assert textured[middle][0] > 1.5 * textured[middle][1:].max()  # red
    assert np.ptp(clay[middle]) < 4  # grey
    assert np.abs(wireframe - clay).mean() > 0.2


def test_what_is_too_much_for_the_page_opens_where_it_is_served(
    browser: Browser, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "LARGEST_EMBEDDED", 0)
    write_gallery(gallery_batch(tmp_path))
    from_disk = look(browser, (tmp_path / "gallery.html").as_uri(), open="box-red")
    assert from_disk["note"].endswith(f"dreamfusion-mesh gallery '{tmp_path}' --serve")
    served = look(browser, address, open="box-red")
    assert served["viewed"][0] == "box-red/asset.glb"
    assert all(url.startswith((address.removesuffix("gallery.html"), "blob:")) for url in served["requests"])
    red = pixels(served["pictures"]["Textured"])
    middle = tuple(side // 2 for side in red.shape[:2])
    assert red[middle][0] > 1.5 * red[middle][1:].max()
