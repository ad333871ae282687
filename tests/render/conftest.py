"""Every rasterizer that this machine has passes the same tests, and so do the optional ones' adapters on stand-ins.

A back end is skipped where there is no card, its package is not installed or nothing can compile it; one that is there and fails is a
failure.
"""

from collections.abc import Iterator

import pytest
import stand_ins
import torch
from back_ends import resolve_or_skip
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Fragments
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

BACKENDS = ["warp", "warp on cuda", "nvdiffrast", "kaolin", "nvdiffrast stand-in", "kaolin stand-in"]


class Fitted:
    """A rasterizer whose tensors are moved to its device and precision, and back: tests are written for the CPU in float64."""

    def __init__(self, inner: Rasterizer, device: str, stand_in: bool = False) -> None:
        self.inner, self.device, self.limits, self.stand_in = inner, device, inner.limits, stand_in

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        found = self.inner.rasterize(self._to(clip), faces.to(self.device), size)
        return Fragments(found.face.to(clip.device), found.bary.to(clip), found.depth.to(clip))

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        return self.inner.interpolate(self._to(attributes), self._of(fragments), faces.to(self.device)).to(attributes)

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        return self.inner.antialias(self._to(image), self._of(fragments), self._to(clip), faces.to(self.device)).to(image)

    def _to(self, values: Tensor) -> Tensor:
        single = values.dtype == torch.float64 not in self.limits.precisions
        return values.to(self.device, torch.float32 if single else values.dtype)

    def _of(self, fragments: Fragments) -> Fragments:
        return Fragments(fragments.face.to(self.device), self._to(fragments.bary), self._to(fragments.depth))


def fitted(back_end: str) -> Fitted:
    """The back end of one of BACKENDS; skips where it is absent, fails where it is there and cannot be used."""
    name, _, kind = back_end.partition(" ")
    device = "cpu" if kind == "stand-in" or back_end == "warp" else "cuda"
    if kind == "on cuda" and not torch.cuda.is_available():
        pytest.skip("no card: torch found no CUDA device")
    with pytest.MonkeyPatch.context() as patch:
        if kind == "stand-in":
            stand_ins.install(patch, name)
            return Fitted(resolve_rasterizer(name, device), device, stand_in=True)
        return Fitted(resolve_or_skip(name, device), device)


@pytest.fixture(params=BACKENDS, scope="session")
def rasterizer(request: pytest.FixtureRequest) -> Fitted:
    return fitted(request.param)


@pytest.fixture(params=[name for name in BACKENDS if not name.startswith("nvdiffrast")], scope="session")
def precise_rasterizer(request: pytest.FixtureRequest) -> Fitted:
    """Those that draw in float64, which finite differences need."""
    return fitted(request.param)


@pytest.fixture(autouse=True)
def _stand_ins_on_one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """A stand-in is made of torch operations, whose backward adds in the order of the threads: one thread keeps its bits the same."""
    threads = torch.get_num_threads()
    drawn_with = [request.getfixturevalue(name) for name in ("rasterizer", "precise_rasterizer") if name in request.fixturenames]
    if any(isinstance(one, Fitted) and one.stand_in for one in drawn_with):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
