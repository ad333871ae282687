"""The connection to a Ray cluster: one of its own on this machine, which listens on loopback alone, or one that runs already.

What can be wrong is found before the batch writes anything: no Ray, no answer, other versions, storage that a node does not share.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any

from dreamfusion_mesh import __version__
from dreamfusion_mesh.batch.cluster import probe
from dreamfusion_mesh.batch.cluster.hosts import Hosts, thread_variables
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.errors import BadInput, RunFailed, reason
from dreamfusion_mesh.files import remove_file, shown, write_file

LOCAL = "local"
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")
_ANSWER = 5.0  # seconds, of the address
_HEALTH = 30.0  # seconds, of the cluster, and for Ray to be imported once more
_LOOK = 60.0  # seconds, for every node to look at the folder
_LONGEST = 200  # characters of an error
_LEAST_STORE = 80 << 20  # bytes, of the object store: nothing large is put there
_LOOPBACK = "127.0.0.1"
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def connected(address: str, folder: BatchFolder, devices: Set[str], workers: int | None) -> Iterator[Hosts]:
    """Workers on the cluster at `address` (host:port, or "local"), for rows that want these devices.

    workers  that are asked for; None: as many as there are GPUs, or CPUs' nodes
    Raises BadInput where the cluster, or the batch's folder on it, cannot be used.
    """
    variables = thread_variables()
    with started(address, workers) as ray:
        gpus, room = _room(ray, address, devices, workers)
        _check_nodes(ray, address, folder)
        hosts = Hosts(ray, gpus, workers or room, variables)
        try:
            yield hosts
        finally:
            hosts.close()


@contextmanager
def started(address: str, workers: int | None) -> Iterator[Any]:
    """The package ray, connected to the cluster at `address`. Raises BadInput as `connected` does."""
    check_address(address)
    with ExitStack() as stack:
        if address == LOCAL:
            stack.enter_context(_own_settings())
        ray = _import_ray()
        if address != LOCAL:
            _check_health(address)
        _initialise(ray, address, workers, stack)
        yield ray


def check_address(address: str) -> None:
    """Raises BadInput for what is no address, or where nothing answers."""
    if address == LOCAL:
        return
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise BadInput(f"--ray {shown(address)}: expected HOST:PORT of a cluster's head, or nothing, for one on this machine")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _ANSWER).close()
    except OSError as error:
        advice = "start it with `ray start --head` there, or give no address for a cluster on this machine"
        raise BadInput(f"--ray {address}: does not answer ({reason(error)}); {advice}") from error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BadInput(f'--ray: Ray cannot be imported ({reason(error)}); pip install "dreamfusion-mesh[ray]"') from error
    return ray


def _check_health(address: str) -> None:
    """Raises BadInput where what answers is no Ray cluster of the same version that lets this user in.

    In a process of its own: Ray prints a line for each try, and never gives up on what is no cluster.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_HEALTH)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"--ray {address}: answers, but not as a Ray cluster within {_HEALTH:g} s; name a head's port, 6379 by default"
        ) from None
    if found.returncode:
        printed = found.stdout + found.stderr
        cause = _last_line(printed)
        if "InvalidAuthToken" in printed:
            cause = "its token is another one: set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH as on its head"
        raise BadInput(f"--ray {address}: cannot be used ({cause}); see docs/cluster.md")


def _last_line(printed: str) -> str:
    return printed.strip().rpartition("\n")[2][:_LONGEST] or "its health check fails"


def _initialise(ray: Any, address: str, workers: int | None, stack: ExitStack) -> None:
    """Connect, quietly, with this program's handlers of signals in the place of Ray's, and have `stack` undo it."""
    own: dict[str, Any] = {}
    if address == LOCAL:
        folder = tempfile.mkdtemp(prefix="dm-ray-", dir="/tmp")  # a socket's path has 107 bytes at most
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        processors = max(workers or 1, os.cpu_count() or 1)
        inner = os.path.join(folder, "r")  # which Ray opens to all users; the one around it is this user's alone
        own = {"_temp_dir": inner, "num_cpus": processors, "object_store_memory": _LEAST_STORE, "include_dashboard": False}
    handlers = {number: signal.getsignal(number) for name in _SIGNALS if (number := getattr(signal, name, None)) is not None}
    stack.callback(ray.shutdown)
    ray._private.worker._worker_logs_enabled = False  # what Ray says of dead workers, on standard output, the batch says itself
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        raise BadInput(f"--ray {address}: cannot be used ({reason(error)}); see docs/cluster.md") from error
    finally:
        with suppress(ValueError):  # outside the main thread
            for number, handler in handlers.items():
                signal.signal(number, handler)
    if address == LOCAL and (at := ray.util.get_node_ip_address()) != _LOOPBACK:
        raise RunFailed(f"--ray: Ray listens on {at}, since it was imported before this batch; start that in a process of its own")


@contextmanager
def _own_settings() -> Iterator[None]:
    """Variables of a cluster of this program's own, which Ray reads as it is imported.

    A token that nobody else has, which Ray else writes into HOME; no statistics; and loopback as the machine's address, which Ray has by
    itself on Windows and macOS alone: given as an argument, it is replaced by that of the network.
    """
    before = {**os.environ}
    for name in [name for name in before if name.startswith("RAY_AUTH_")]:  # the user's are for other clusters
        del os.environ[name]
    os.environ.update(RAY_AUTH_TOKEN=_token(), RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@cache
def _token() -> str:
    """Of this process: Ray reads it once."""
    return secrets.token_hex(32)


def _room(ray: Any, address: str, devices: Set[str], workers: int | None) -> tuple[int, int]:
    """GPUs of each worker, and how many workers are started where nobody says. Raises BadInput where there is no room for those asked."""
    has = ray.cluster_resources()
    cards, processors = int(has.get("GPU", 0)), int(has.get("CPU", 0))
    if "cuda" in devices and not cards:
        raise BadInput(f"--ray {address}: device=cuda needs a GPU, and its nodes have none; start them with `ray start --num-gpus`")
    gpus = 1 if cards and devices != {"cpu"} else 0
    most = min(cards, processors) if gpus else processors
    if (workers or 1) > most:
        raise BadInput(f"--workers {workers or 1}: --ray {address} has room for {most} ({cards} GPUs, {processors} CPUs); lower --workers")
    return gpus, most if gpus else min(most, len(_nodes(ray)))


def _nodes(ray: Any) -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def _check_nodes(ray: Any, address: str, folder: BatchFolder) -> None:
    """Raises BadInput where a node has another version of this package, or does not share the folder."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(probe)
    content = secrets.token_bytes(16)
    file = folder.path / f".cluster.{secrets.token_hex(4)}.part"
    write_file(file, content)
    try:
        look = ray.remote(num_cpus=0, max_retries=0)(probe.look)
        places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in _nodes(ray)]
        asked = [look.options(scheduling_strategy=place).remote(os.path.abspath(file), content) for place in places]
        answers = ray.get(asked, timeout=_LOOK)
    except ray.exceptions.RayError as error:
        raise BadInput(f"--ray {address}: a node does not answer ({reason(error)}); see `ray status`") from error
    finally:
        ray.cloudpickle.unregister_pickle_by_value(probe)
        for left in folder.path.glob(f"{file.name}*"):
            remove_file(left)
    for answer in answers:
        _check_answer(address, folder, probe.Found(*answer))


def _check_answer(address: str, folder: BatchFolder, found: probe.Found) -> None:
    if found.version != __version__:
        has = f"dreamfusion-mesh {found.version}" if found.version else "no dreamfusion-mesh"
        raise BadInput(f"--ray {address}: node {found.node} has {has}, this is {__version__}; install the same version on every node")
    if not (found.sees and found.writes):
        what = "cannot write there" if found.sees else "does not see it"
        raise BadInput(f"--out {shown(folder.path)}: node {found.node} of the cluster {what}; name a folder that all nodes share")
