"""A network whose blocks are compiled answers the same; where compiling fails or takes too long, it goes on as it is, with one warning."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind, normal, views_around
from privileges import permissions_hold

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import compiled
from dreamfusion_mesh.guidance.models.compiled import VARIABLE, CompiledBlocks, keep_compiled
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Nothing that torch has compiled before is used."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def answer_of(model: PromptedDiffusion, count: int = 2) -> torch.Tensor:
    noisy, t = normal(count, model.model.latents.channels, 8, 8), torch.full((count,), 300)
    return model.answer(noisy, t, views_around(count)).text


def compile_model(model: PromptedDiffusion, *more: Any, **named: Any) -> CompiledBlocks:
    made = CompiledBlocks(model.model.denoiser.network, *more, **named)
    object.__setattr__(model.model, "compiled", made)
    return made


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many operations each graph has that the backend "counted" is given, which leaves them as they are."""
    found: list[int] = []
    own = torch._dynamo.lookup_backend

    def counted(graph: torch.fx.GraphModule, examples: Any) -> Callable[..., Any]:
        found.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: counted if name == "counted" else own(name))
    return found


@pytest.mark.parametrize(("family", "backend"), [("sd3", "aot_eager"), ("pixart", "counted"), ("prx", "counted"), ("xl", "counted")])
def test_a_compiled_network_answers_the_same(
    family: str, backend: str, saved: Callable[[str], Path], graphs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    wanted, model = answer_of(bind(saved(family), image_size=16)), bind(saved(family), image_size=16)
    compile_model(model, 60, backend)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(answer_of(model), wanted, rtol=1e-5, atol=1e-6)
    assert bool(graphs) == (backend == "counted")
    assert warnings_of(caplog) == []


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if line.startswith("guidance.compile: ")]


def test_where_nothing_can_be_compiled_the_network_is_called_as_it_is(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """By the setting, and a machine without a compiler."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    given = {"image_size": 16}
    wanted = answer_of(bind(saved("sd3"), **given))

    def no_compiler(graph: Any, examples: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nin torch._inductor.config.cpp.cxx")

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: no_compiler)
    model = bind(saved("sd3"), compile=True, **given)
    assert model.model.recorded is None
    with caplog.at_level(logging.WARNING):
        found = [answer_of(model, count)[:2] for count in (2, 2, 3)]
    for answers in found[:2]:
        torch.testing.assert_close(answers, wanted)
    (line,) = warnings_of(caplog)
    assert "No working C++ compiler found" in line
    assert line.isprintable()
    assert line.endswith("; what is not compiled goes on without")


def test_a_compiled_block_that_fails_is_called_as_it_is(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted, model = answer_of(bind(saved("sd3"), image_size=16)), bind(saved("sd3"), image_size=16)

    def broken(*given: Any) -> Any:
        raise RuntimeError("an illegal instruction was encountered")

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: lambda graph, examples: broken)
    compile_model(model, 60)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(answer_of(model), wanted)
    (line,) = warnings_of(caplog)
    assert "a compiled block fails (RuntimeError: an illegal instruction was encountered)" in line


def test_memory_that_runs_out_in_a_compiled_block_is_no_fault_of_it(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = bind(saved("sd3"), image_size=16)
    wanted = answer_of(model)

    def limited(graph: Any, examples: Any) -> Any:
        def call(*given: Any) -> Any:
            if any(isinstance(value, torch.Tensor) and len(value) > 2 and value.dim() == 3 for value in given):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return graph.forward(*given)

        return call

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: limited)
    compile_model(model, 60)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(answer_of(model), wanted)
    assert warnings_of(caplog) == []
    assert "half of them from here" in caplog.text


def test_once_the_time_is_spent_no_further_block_is_compiled(
    saved: Callable[[str], Path], graphs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """The one under way is finished: seconds pass in each."""
    model, passed = bind(saved("sd3"), image_size=16), iter(range(0, 10_000, 40))
    wanted = answer_of(model)
    compile_model(model, 30, "counted", clock=lambda: float(next(passed)))
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(answer_of(model), wanted)
    assert len(graphs) == 1
    assert warnings_of(caplog) == [
        "guidance.compile: its limit of time (guidance.compile_seconds) is spent; what is not compiled goes on without"
    ]


def test_a_block_that_fails_once_the_time_is_spent_is_called_as_it_is(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, passed = bind(saved("sd3"), image_size=16), iter(range(0, 10_000, 40))
    wanted, calls = answer_of(model), []

    def failing_later(graph: Any, examples: Any) -> Any:
        def call(*given: Any) -> Any:
            calls.append(len(given))
            if len(calls) > 1:
                raise RuntimeError("an illegal instruction was encountered")
            return graph.forward(*given)

        return call

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: failing_later)
    compile_model(model, 30, clock=lambda: float(next(passed)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            torch.testing.assert_close(answer_of(model), wanted)
    assert [line.split("(")[0] for line in warnings_of(caplog)] == [
        "guidance.compile: its limit of time ",
        "guidance.compile: a compiled block fails ",
    ]


def test_a_lora_is_put_on_blocks_that_are_not_compiled(saved: Callable[[str], Path], graphs: list[int]) -> None:
    model = bind(saved("sd3"), image_size=16)
    compile_model(model, 60, "counted")
    adapter = model.adapter(2, torch.Generator().manual_seed(0))
    found = adapter(normal(2, 4, 8, 8), torch.full((2,), 300), views_around(2)).text
    assert found.requires_grad
    assert graphs == []


@pytest.mark.parametrize("before", ["", str(Path(tempfile.gettempdir()) / "torchinductor_root")])
def test_what_is_compiled_is_kept_in_the_users_cache(before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a library has had torch name its own temporary folder."""
    monkeypatch.setenv(VARIABLE, before)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_compiled()
    assert os.environ[VARIABLE] == str(tmp_path / "cache" / "dreamfusion-mesh" / "inductor")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    keep_compiled()
    assert os.environ[VARIABLE] == str(tmp_path / "own"), "the environment's own"


@pytest.mark.parametrize("kind", ["a file in its place", "may not be written", "no home"])
def test_a_cache_that_cannot_be_written_is_told_and_stops_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    home = tmp_path / "home"
    if kind == "a file in its place":
        home.write_text("")
    if kind == "may not be written":
        home.mkdir(mode=0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", "" if kind == "no home" else str(home))
    monkeypatch.setattr(compiled.os.path, "expanduser", lambda path: path)
    with permissions_hold(), caplog.at_level(logging.WARNING):
        keep_compiled()
    assert os.environ[VARIABLE] == ""
    (line,) = warnings_of(caplog)
    assert line.endswith(f"; name a folder in {VARIABLE}")


def test_weights_that_come_and_go_are_not_compiled() -> None:
    with pytest.raises(BadInput, match=r"guidance: compile takes weights that stay .* set offload=none, or compile=false \(given layers\)"):
        load_config("smoke", ["guidance.compile=true", "guidance.offload=layers"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_card_a_network_is_compiled_by_inductor(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    card = torch.device("cuda")
    plain, fast = (bind(saved("sd3"), device=card, image_size=16, half_precision=False, compile=way) for way in (False, True))
    given = normal(2, 4, 8, 8).to(card), torch.full((2,), 300, device=card), views_around(2, device=card)
    torch.testing.assert_close(fast.answer(*given).text, plain.answer(*given).text, rtol=1e-3, atol=1e-3)
    assert any(tmp_path.rglob("*")), "what was compiled lies there"
