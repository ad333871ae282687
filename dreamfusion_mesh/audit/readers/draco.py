"""Meshes that KHR_draco_mesh_compression packed, unpacked by DracoPy where that is installed.

In a process of its own with a limit of time and memory, since its C++ takes what the bytes claim.
Source: https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Khronos/KHR_draco_mesh_compression
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.extensions import extension, names, needs
from dreamfusion_mesh.audit.readers.gltf import Gltf, integer, is_integer, items, view_bytes
from dreamfusion_mesh.errors import BadInput, reason

NAME = "KHR_draco_mesh_compression"
SECONDS = 60
_MEMORY = 4 << 30  # bytes of address space
_MOST_BYTES = 256 << 20  # packed, in all
_WORKER = """
import io, json, struct, sys
sys.path[:] = json.loads(sys.argv[1])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
except (ImportError, ValueError, OSError):
    pass
import DracoPy, numpy
data, found = sys.stdin.buffer.read(), {}
while data:
    view, length = struct.unpack_from('<qq', data)
    part, data = data[16:16 + length], data[16 + length:]
    try:
        mesh = DracoPy.decode(part)
        found[f'{view}/faces'] = mesh.faces
        for attribute in mesh.attributes:
            found[f"{view}/{attribute['unique_id']}"] = attribute['data']
    except Exception as error:
        found[f'{view}/error'] = numpy.array(str(error)[:200])
out = io.BytesIO()
numpy.savez(out, **found)
sys.stdout.buffer.write(out.getvalue())
"""


def unpacked(gltf: Gltf, primitive: dict[str, Any], where: str) -> dict[str, np.ndarray] | None:
    """The faces ("indices", [3 F]) and attributes by name ([V, components]) of a packed primitive; None of one that is not packed.

    Raises Needs without DracoPy, BadInput where the bytes cannot be unpacked.
    """
    packed = extension(primitive, NAME, where)
    if packed is None:
        return None
    where, view = f"{where}.{NAME}", integer(packed, "bufferView", where)
    if importlib.util.find_spec("DracoPy") is None:
        raise needs(NAME, where)
    if view not in gltf.decoded:
        view_bytes(gltf, view, where)
        gltf.decoded.update(_decode(gltf))
    found, attributes = gltf.decoded[view], packed.get("attributes")
    if "error" in found or "faces" not in found:
        raise BadInput(f"{where}: cannot be unpacked ({str(found.get('error', 'no triangles'))[:120]})")
    if not isinstance(attributes, dict) or not all(str(index) in found for index in attributes.values()):
        raise BadInput(f"{where}.attributes: expected names, each of one of the packed attributes")
    return {"indices": found["faces"].reshape(-1), **{str(name): found[str(index)] for name, index in attributes.items()}}


def _decode(gltf: Gltf) -> dict[int, dict[str, Any]]:
    """Every packed view of the document at once, what it holds by its name there."""
    views = dict[int, memoryview]()
    for mesh in items(gltf.document, "meshes"):
        primitives = mesh.get("primitives")
        for primitive in primitives if isinstance(primitives, list) else ():
            index = primitive["extensions"][NAME] if isinstance(primitive, dict) and NAME in names(primitive) else None
            index = index.get("bufferView") if isinstance(index, dict) else None
            with suppress(BadInput):  # told where that primitive is read
                if is_integer(index):
                    views[index] = view_bytes(gltf, index, NAME)
    if sum(map(len, views.values())) > _MOST_BYTES:
        raise BadInput(f"{NAME}: more than the {_MOST_BYTES} packed bytes that are read")
    request = b"".join(view.to_bytes(8, "little") + len(data).to_bytes(8, "little") + data for view, data in views.items())
    command = [sys.executable, "-I", "-c", _WORKER, json.dumps(sys.path), str(_MEMORY)]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=SECONDS, check=True)
        arrays = np.load(io.BytesIO(done.stdout), allow_pickle=False)
        found: dict[int, dict[str, Any]] = {view: {} for view in views}
        for name in arrays.files:
            view, _, key = name.partition("/")
            found[int(view)][key] = arrays[name]
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        cause = f"took more than {SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else reason(error)
        raise BadInput(f"{NAME}: cannot be unpacked ({cause if len(cause) < 60 else 'the decoder ended early'})") from None
    return found
