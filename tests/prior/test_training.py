"""A run lowers its loss, goes on exactly where it stopped, and writes its table and curve."""

import dataclasses
import math

import pytest
import torch

from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.guidance.weights.folder import fingerprint
from tools.prior import judge, tokens
from tools.prior.checkpoint import Average, values_of
from tools.prior.data import Pictures
from tools.prior.files import draw_curve, read_rows
from tools.prior.model import RECIPES, TIMES, alpha_bar, loss_of
from tools.prior.runs import Pace, Run, fastest_dtype, train
from tools.prior.train import main, start_run

TINY = RECIPES["tiny"]
CPU = torch.device("cpu")


def paced(**changes):
    return dataclasses.replace(TINY, pace=dataclasses.replace(TINY.pace, **changes))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_is_the_recurrence():
    layer = torch.nn.Linear(1, 1, bias=False)
    average, expected = Average(layer, 0.5), layer.weight.item()
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight.fill_(step**0.5)
        average.update(layer, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step**0.5
    average.put_into(layer)
    assert layer.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.sweep
def test_thirty_steps_lower_the_loss_of_a_fixed_batch(tmp_path, pictures, dtype):
    """Over first weights and both dtypes it fell to between 0.28 and 0.33 of what it was: half of what is allowed."""
    run, ids = start_run(tmp_path, TINY, CPU, dtype=dtype), tokens.encode(pictures.captions)
    draws = torch.Generator().manual_seed(1)
    clean = run.network.fold(pictures.images[:16])
    cameras = camera_numbers(*pictures.angles[:16].unbind(1))
    t = torch.randint(TIMES, (4,), generator=draws).repeat_interleave(4)
    fixed = (clean, torch.ones_like(clean), t, torch.randn(clean.shape, generator=draws), alpha_bar())

    def losses(network):
        with torch.no_grad():
            alone = loss_of(lambda noisy, at: network(noisy, at, ids[:16]), *fixed)
            together = loss_of(lambda noisy, at: network(noisy, at, ids[:16], cameras, 4), *fixed)
        return torch.stack((alone, together))

    before = losses(run.network)
    for _ in range(30):
        run.advance(pictures, ids)
    assert (losses(run.network) < 0.6 * before).all()
    assert (losses(run.averaged()) < 0.8 * before).all()


def start_prior(folder, steps, dtype):
    return start_run(folder, paced(steps=steps), CPU, dtype=dtype)


def start_judge(folder, steps, dtype):
    recipe = judge.JUDGES["tiny"]
    return judge.start_run(folder, dataclasses.replace(recipe, pace=dataclasses.replace(recipe.pace, steps=steps)), CPU, dtype)


@pytest.mark.parametrize("start", [start_prior, start_judge], ids=["prior", "judge"])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, shards, pictures, start, dtype):
    straight = start(tmp_path / "straight", 9, dtype)
    train(straight, Pictures(shards, "cpu"), minutes=math.inf)
    first, ids = start(tmp_path / "halved", 9, dtype), tokens.encode(pictures.captions)
    for _ in range(5):
        first.advance(pictures, ids)
    first.save()
    second = start(tmp_path / "halved", 9, dtype)
    assert second.step == 5
    assert same(values_of(first.network), values_of(second.network))
    train(second, Pictures(shards, "cpu"), minutes=math.inf)
    assert second.step == straight.step == 9
    assert same(values_of(straight.network), values_of(second.network))
    assert same(straight.average.values, second.average.values)
    assert not same(values_of(first.network), values_of(second.network))
    written = [fingerprint(tmp_path / name / "checkpoint.safetensors") for name in ("straight", "halved")]
    assert written[0] == written[1]
    assert {file.suffix for file in (tmp_path / "halved").iterdir()} <= {".safetensors", ".csv", ".png"}


def test_bfloat16_is_chosen_where_the_machine_multiplies_it(monkeypatch):
    for name in ("avx512_bf16", "amx_bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {"avx2": True, name: True})
        assert fastest_dtype(CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert fastest_dtype(CPU) is torch.float32
    assert fastest_dtype(torch.device("cuda")) is torch.bfloat16


def test_the_rate_rises_holds_and_falls_to_nothing(tmp_path):
    run = start_run(tmp_path, paced(rate=1.0, warm=10, steps=100, cool=0.25), CPU)
    rates = []
    for run.step in range(100):
        rates.append(run.rate())
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:76] == pytest.approx([1.0] * 67)
    assert rates[75:] == pytest.approx([(100 - step) / 25 for step in range(75, 100)])


def test_a_cpu_is_not_compiled_for(tmp_path, shards, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path / "run"), "--data", str(shards), "--compile", "--device", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--compile: on a CPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_batch_is_of_whole_groups():
    with pytest.raises(ValueError, match="batch 6: expected a multiple of the 4"):
        paced(batch=6)


def small_run(folder):
    """Forty-five steps of a linear map, which cost nothing."""
    network = torch.nn.Linear(2, 1)
    return Run(folder, network, lambda batch, draws: network(batch.angles).square().mean(), Pace(4, 1e-3, 45, warm=5), CPU)


def test_the_table_and_curve_are_written(tmp_path, pictures):
    run, ids = small_run(tmp_path), tokens.encode(pictures.captions)
    for _ in range(45):
        run.advance(pictures, ids)
        run.log(1.0, len(pictures))
    run.save()
    rows = read_rows(tmp_path / "loss.csv")
    assert [row["step"] for row in rows] == [20, 40]
    assert all(row["loss"] > 0 and row["images"] == 64 for row in rows)
    from PIL import Image

    draw_curve(rows, "loss", tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (720, 360)
        assert (0, 0, 255) in {pixel for _, pixel in picture.getcolors(100_000)}


def test_a_resumed_table_means_the_steps_that_were_taken(tmp_path, pictures):
    first, ids = small_run(tmp_path), tokens.encode(pictures.captions)
    for _ in range(18):
        first.advance(pictures, ids)
    first.save()
    second, taken = small_run(tmp_path), []
    for _ in range(2):
        second.advance(pictures, ids)
        taken.append(float(second.losses[second.step - 1]))
        second.log(1.0, len(pictures))
    assert [row["step"] for row in second.rows] == [20]
    assert second.rows[0]["loss"] == pytest.approx(sum(taken) / 2)
