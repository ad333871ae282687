"""What --ray is given and what a Ray cluster lacks, before any cluster is started."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from stub_rows import StubRows, job

from dreamfusion_mesh.batch.cluster import connect
from dreamfusion_mesh.batch.cluster.probe import Found, look
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.records import Options
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.cli.batch import _counted
from dreamfusion_mesh.cli.options import with_ray_address
from dreamfusion_mesh.errors import BadInput


def refused(out: Path, address: str) -> str:
    with pytest.raises(BadInput) as caught:
        run_batch([job("a")], out, Options(ray=address), rows=StubRows(out.parent))
    assert not out.exists()
    (line,) = caught.value.lines
    return line


def test_without_ray_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(tmp_path / "out", "local").endswith('; pip install "dreamfusion-mesh[ray]"')


def test_an_address_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert refused(tmp_path / "out", address).startswith(f"--ray {address}: does not answer (")


def test_what_answers_and_is_no_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    monkeypatch.setattr(connect, "_import_ray", lambda: None)  # in this process: a local cluster of another test wants to be the first to
    monkeypatch.setattr(connect, "_HEALTH", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert refused(tmp_path / "out", address).startswith(f"--ray {address}: answers, but not as a Ray cluster within 2 s; ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        ("W gcs_client.cc: RPC error: InvalidAuthToken: missing\nRuntimeError: Failed", "its token is another one: set RAY_AUTH_MODE"),
        ("RuntimeError: Ray version mismatch", "RuntimeError: Ray version mismatch"),
        ("", "its health check fails"),
    ],
)
def test_why_a_cluster_is_not_sound_is_one_line(printed: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], 1, "", printed)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(BadInput) as caught:
        connect._check_health("head:6379")
    (line,) = caught.value.lines
    assert line.startswith(f"--ray head:6379: cannot be used ({cause}")


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1", "127.0.0.1:x", "", ":6379", "host:999999"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    assert "expected HOST:PORT" in refused(tmp_path / "out", address)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Found("n7", "", False, False), "--ray local: node n7 has no dreamfusion-mesh, this is "),
        (Found("n7", connect.__version__, True, False), "node n7 of the cluster cannot write there; name a folder that all nodes share"),
    ],
)
def test_a_node_that_cannot_work_is_named(found: Found, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        connect._check_answer("local", BatchFolder(tmp_path), found)


def test_a_node_that_shares_the_folder_sees_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"here")
    assert look(str(tmp_path / "a"), b"here")[2:] == (True, True)
    assert look(str(tmp_path / "a"), b"other")[2:] == (False, True)
    assert look(str(tmp_path / "none" / "a"), b"here")[2:] == (False, False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("a.csv --ray", "a.csv --ray=local"),
        ("--ray a.csv --out o", "--ray=local a.csv --out o"),
        ("--ray --out o a.csv", "--ray=local --out o a.csv"),
        ("a.csv --ray head:6379", "a.csv --ray head:6379"),
        ("a.csv --ray=head:6379", "a.csv --ray=head:6379"),
        ("a.csv -- --ray", "a.csv -- --ray"),
    ],
)
def test_ray_takes_an_address_or_none(words: str, wanted: str) -> None:
    assert with_ray_address(["batch", *words.split()]) == ["batch", *wanted.split()]


def test_a_cluster_of_this_machine_has_as_many_workers_as_a_batch_without() -> None:
    for address in (None, "local"):
        with pytest.raises(BadInput, match=r"^--workers 257: expected at most 256 on one machine; "):
            _counted(257, address)
    assert _counted(257, "head:6379") == 257
