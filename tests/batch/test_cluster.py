"""Batches on a Ray cluster of two workers on this machine: the same scheduler, with actors in the place of its own processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from smoke_runs import SMALL_DELIVERY
from stub_batch import start
from stub_batches import Batch, with_model
from stub_rows import SETTINGS, STEPS, StubRows, asset_bytes, job

from dreamfusion_mesh import __version__
from dreamfusion_mesh.batch.cluster import connect
from dreamfusion_mesh.batch.records import Attempt, Event, Options, Totals
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.process import Stopped
from dreamfusion_mesh.run.out import LOCK, METRICS_PICTURE

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
if find_spec("ray") is None:
    pytest.skip("ray is not installed", allow_module_level=True)  # not by importing it: it reads the settings of a cluster then
LONG = 60.0  # seconds, for what takes a few
TIME_LIMIT = 8.0  # seconds; a stub row takes some milliseconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One cluster for all tests here, since a start takes seconds; Ray writes nothing into HOME."""
    patch = pytest.MonkeyPatch()
    found = connect.started
    home = tmp_path_factory.mktemp("home")
    patch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"))  # of compiled kernels
    patch.setenv("HOME", str(home))
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))
    with found(connect.LOCAL, 2) as ray:
        patch.setattr(connect, "started", lambda address, workers: nullcontext(ray))
        yield connect.LOCAL
        patch.undo()
    assert not (home / ".ray").exists()


@pytest.fixture
def batch(tmp_path: Path, cluster: str) -> Batch:
    return Batch(tmp_path)


def run(batch: Batch, jobs: list[Any], **options: Any) -> Totals:
    return batch.run(jobs, ray=connect.LOCAL, **{"workers": 2, **options})


def once(kind: str, name: str, act: Callable[[], None], events: list[Event]) -> Callable[[Event], None]:
    """A watch that acts at the first event of a kind about a job."""

    def watch(event: Event) -> None:
        first = (kind, name) not in {(seen.kind, seen.name) for seen in events}
        events.append(event)
        if first and (event.kind, event.name) == (kind, name):
            act()

    return watch


def processes(batch: Batch) -> list[psutil.Process]:
    """Those of rows that live, by what they noted."""
    found = [int(file.stem) for file in (batch.out.parent / "notes").glob("*.txt")]
    return [psutil.Process(number) for number in found if psutil.pid_exists(number)]


def test_all_rows_are_done_once_and_then_skipped_and_the_local_run_goes_on(batch: Batch) -> None:
    jobs = [job(f"row-{number}", f"a mug {number}", number) for number in range(20)]
    assert run(batch, jobs[:15]) == Totals(0, 15, 0, 0)
    for each in jobs[:15]:
        assert batch.asset(each.name) == asset_bytes(Attempt(each))
        assert batch.kinds(each.name) == ["started", "fitted", "done"]
    assert [event.kind for event in batch.events].count("loaded") == 2
    assert run(batch, jobs[:15]) == Totals(15, 0, 0, 0)
    assert batch.run(jobs, workers=2) == Totals(15, 5, 0, 0)


def test_rows_fail_as_they_do_without_ray_and_the_others_go_on(batch: Batch) -> None:
    words = {"a": "fail-fit", "b": "memory", "c": "die-fit", "d": "hang-fit", "e": "bad", "f": "die-end", "g": "empty 1", "h": "a mug"}
    jobs = [job(name, prompt, seed) for seed, (name, prompt) in enumerate(words.items())]
    jobs.append(job("i", settings=with_model("missing")))
    assert run(batch, jobs, time_limit=TIME_LIMIT, retries=1) == Totals(0, 3, 6, 0)
    wanted = {"a": "error", "b": "error", "c": "crashed", "d": "time limit", "e": "bad input", "f": None, "g": None, "h": None}
    assert batch.failures() == {**wanted, "i": "bad input"}
    assert batch.message("b") == "out of memory"
    assert batch.message("c").startswith("its process was killed by SIGKILL, perhaps for want of memory; its log is ")


def test_a_row_whose_actor_is_killed_is_made_again_by_a_new_one(batch: Batch) -> None:
    jobs = [job("a", "steps"), job("b", seed=1), job("c", seed=2)]
    events: list[Event] = []

    def stop_steps() -> None:
        (batch.out / ".work" / "a" / STEPS).write_bytes(b"stopped")
        for process in processes(batch):
            process.parent().kill()

    totals = run(batch, jobs, watch=once("stage", "a", stop_steps, events))
    assert totals == Totals(0, 3, 0, 0)
    assert [event.kind for event in events if event.name == "a" and event.kind != "stage"] == ["started", "started", "fitted", "done"]
    assert batch.asset("a") == asset_bytes(Attempt(jobs[0]))


def test_an_attempt_that_takes_its_actor_along_again_and_again_fails(batch: Batch) -> None:
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if (event.kind, event.name) == ("started", "a"):
            for process in processes(batch):
                process.parent().kill()

    assert run(batch, [job("a", "hang-fit")], workers=1, watch=watch) == Totals(0, 0, 1, 0)
    assert [event.kind for event in events if event.name == "a"] == ["started", "started", "started", "failed"]
    assert "was lost with its Ray actor" in events[-1].message
    assert batch.failures() == {"a": "crashed"}


def test_an_actor_that_cannot_start_a_process_ends_the_batch(batch: Batch) -> None:
    with pytest.raises(RunFailed, match=r"came to nothing 3 times, .*could not be given work by its Ray actor \(.*no_such_module"):
        run_batch([job("a")], batch.out, Options(workers=1, ray=connect.LOCAL), rows=Unreadable(batch.out.parent))


class Unreadable(StubRows):
    """Rows that no other process can read."""

    def __reduce__(self) -> Any:
        return exec, ("raise ModuleNotFoundError(\"No module named 'no_such_module'\")",)


def test_a_batch_that_is_asked_to_end_leaves_checkpoints_and_nothing_runs_on(batch: Batch) -> None:
    found: list[psutil.Process] = []
    events: list[Event] = []

    def interrupt() -> None:
        found.extend(processes(batch))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(Stopped):
            run(batch, [job("a", "steps"), job("b", seed=1)], watch=once("stage", "a", interrupt, events))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (batch.out / ".work" / "a" / STEPS).read_bytes() == b"stopped"
    assert found
    assert not psutil.wait_procs(found, timeout=LONG)[1]
    totals = run(batch, [job("a", "steps"), job("b", seed=1)])
    assert (totals.before + totals.done, totals.failed, totals.left) == (2, 0, 0)


def test_a_batch_whose_driver_is_killed_leaves_nothing_at_work_and_goes_on(batch: Batch) -> None:
    notes = batch.out.parent / "notes"
    prompts = {"a": "a mug", "b": "hang-fit"}
    driver = start(batch.out, notes, prompts, workers=2, ray=connect.LOCAL)
    try:
        wait_until(lambda: (batch.out / "a").exists() and (batch.out / ".work" / "b" / LOCK).exists(), driver)
        left = [found for process in processes(batch) for found in (process, process.parent())]  # and the actors
    finally:
        driver.kill()
        driver.communicate()
    assert left
    assert not psutil.wait_procs(left, timeout=LONG)[1]
    made = (batch.out / "a" / "asset.glb").stat().st_mtime_ns
    jobs = [job(name, prompt, seed) for seed, (name, prompt) in enumerate(prompts.items())]
    assert run(batch, jobs, time_limit=TIME_LIMIT / 4) == Totals(1, 0, 1, 0)
    assert (batch.out / "a" / "asset.glb").stat().st_mtime_ns == made


def wait_until(there: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    until = time.monotonic() + LONG
    while not there():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_smoke_row_has_the_bytes_of_the_local_run(tmp_path: Path, cluster: str) -> None:
    settings = load_config("smoke", ["device=cpu", *SMALL_DELIVERY], {"prompt": "of the batch"})
    jobs = [job("a", settings=settings)]
    found = []
    for options in (Options(workers=1), Options(workers=1, ray=cluster)):
        out = tmp_path / str(options.ray)
        assert run_batch(jobs, out, options).done == 1
        # A picture of times is another one in each run.
        kept = [file for file in (out / "a").iterdir() if file.suffix in (".glb", ".png") and file.name != METRICS_PICTURE]
        found.append({file.name: file.read_bytes() for file in kept})
    assert {"asset.glb"} < found[0].keys()
    assert found[0] == found[1]


def test_a_cluster_of_another_version_is_refused_by_name(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "__version__", "9.9.9")
    with pytest.raises(BadInput, match=rf"has dreamfusion-mesh {re.escape(__version__)}, this is 9\.9\.9; install the same version"):
        run(batch, [job("a")])
    assert not batch.out.exists()


def test_storage_that_a_node_does_not_see_is_refused(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "write_file", lambda file, content: None)
    with pytest.raises(BadInput, match=r"^--out .*out.*: node .* of the cluster does not see it; name a folder that all nodes share"):
        run(batch, [job("a")])
    assert not batch.out.exists()


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        ({"workers": 500}, "cpu", "--workers 500: --ray local has room for .*; lower --workers"),
        ({}, "cuda", "--ray local: device=cuda needs a GPU, and its nodes have none"),
    ],
)
def test_what_a_cluster_has_no_room_for_is_refused(options: dict[str, Any], device: str, message: str, batch: Batch) -> None:
    with pytest.raises(BadInput, match=message):
        run(batch, [job("a", settings=SETTINGS.model_copy(update={"device": device}))], **options)
    assert not batch.out.exists()


def test_nothing_listens_on_anything_but_loopback(cluster: str) -> None:
    found = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found |= {each.laddr.ip for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
    assert found
    assert found <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_other_users_cannot_enter_the_clusters_folder(cluster: str) -> None:
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    (folder,) = [path for path in session.parents if path.parent == Path("/tmp")]
    assert folder.name.startswith("dm-ray-")
    assert folder.stat().st_mode & 0o777 == 0o700
