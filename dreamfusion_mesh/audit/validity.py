"""Is it valid glTF? Checks of our own, always; the Khronos validator (npm package gltf-validator, run by node) where it is to be found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.maps import decode
from dreamfusion_mesh.audit.readers.gltf import Gltf, accessor, image_bytes, item, items, mapping
from dreamfusion_mesh.errors import BadInput

VALIDATOR_VARIABLE = "DREAMFUSION_MESH_GLTF_VALIDATOR"
VALIDATOR_SECONDS = 120
MOST_DECODED = 4 << 30  # bytes of accessors read in all, so that many over the same bytes cannot hold the audit up
_UNIT = 6.74e-3  # how far a normal's length may be from 1; the Khronos validator's figure
_ATTRIBUTES = {"POSITION": 3, "NORMAL": 3, "TANGENT": 4, "TEXCOORD_0": 2, "TEXCOORD_1": 2}

_SCRIPT = """
const [folder, file] = process.argv.slice(1);
const fs = require('fs'), path = require('path');
const home = fs.realpathSync(path.dirname(file)) + path.sep;
const read = (uri) => new Promise((resolve, reject) => {
  const found = fs.realpathSync(path.resolve(home, decodeURIComponent(uri)));
  found.startsWith(home) ? resolve(new Uint8Array(fs.readFileSync(found))) : reject('outside the folder');
});
require(path.join(folder, 'node_modules', 'gltf-validator'))
  .validateBytes(new Uint8Array(fs.readFileSync(file)), {maxIssues: 1000, externalResourceFunction: read})
  .then((report) => process.stdout.write(JSON.stringify(report.issues)))
  .catch((error) => { process.stderr.write(String(error)); process.exit(3); });
"""


def structure_problems(gltf: Gltf, most: int = 20) -> list[str]:
    """What is wrong with the file by our own reading, one line each, at most `most`; empty where nothing is."""
    problems: list[str] = []
    for problem in _problems(gltf):
        problems.append(problem)
        if len(problems) >= most:
            break
    return problems


def find_validator() -> Path | None:
    """The folder whose node_modules holds gltf-validator: the environment's choice, else this checkout's tests/gltf.

    Raises BadInput where the environment names a folder without it.
    """
    named = os.environ.get(VALIDATOR_VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "tests" / "gltf"
    found = (folder / "node_modules" / "gltf-validator" / "package.json").is_file() and shutil.which("node") is not None
    if named and not found:
        raise BadInput(
            f"{VALIDATOR_VARIABLE}: {named} has no node_modules/gltf-validator, or node is missing; npm install gltf-validator there"
        )
    return folder.resolve() if found else None


def khronos_report(path: Path, folder: Path) -> tuple[int, int, list[str]]:
    """Errors, warnings and their texts by the Khronos validator in `folder`. Raises BadInput where it does not answer."""
    command = ["node", "-e", _SCRIPT, "--", str(folder), str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=VALIDATOR_SECONDS, check=True, stdin=subprocess.DEVNULL)
        issues = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise BadInput(f"gltf-validator: no answer within {VALIDATOR_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BadInput(f"gltf-validator: {said[-1][:200] if said else f'ended with code {error.returncode}'}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"gltf-validator: did not run ({error})") from None
    texts = [f"{m.get('code')} {m.get('pointer', '')}".strip() for m in issues["messages"] if m.get("severity", 3) <= 1]
    return int(issues["numErrors"]), int(issues["numWarnings"]), texts


def _problems(gltf: Gltf) -> Iterator[str]:
    version = mapping(gltf.document, "asset", "document").get("version")
    if version != "2.0":
        yield f"asset.version: {str(version)[:20]!r}, expected '2.0'"
    if gltf.document.get("extensionsRequired"):
        yield f"extensionsRequired: {str(gltf.document['extensionsRequired'])[:80]}; a game-ready file needs none"
    yield from _accessor_problems(gltf)
    for m, mesh in enumerate(items(gltf.document, "meshes")):
        primitives = mesh.get("primitives")
        if not isinstance(primitives, list) or not primitives:
            yield f"meshes[{m}].primitives: expected at least one"
            continue
        for p, primitive in enumerate(primitives):
            yield from _caught(_primitive_problems, gltf, primitive, f"meshes[{m}].primitives[{p}]")
    for i in range(len(items(gltf.document, "images"))):
        yield from _caught(_image_problems, gltf, i)
    for t, texture in enumerate(items(gltf.document, "textures")):
        yield from _caught(_texture_problems, gltf, texture, f"textures[{t}]")


def _caught(check: Any, *arguments: Any) -> Iterator[str]:
    """A check's problems; the first thing it cannot read is one of them."""
    try:
        yield from check(*arguments)
    except BadInput as error:
        yield str(error)


def _accessor_problems(gltf: Gltf) -> Iterator[str]:
    decoded = 0
    for index, entry in enumerate(items(gltf.document, "accessors")):
        try:
            values = accessor(gltf, index, "accessors")
        except BadInput as error:
            yield str(error)
            continue
        decoded += values.size * 8
        if decoded > MOST_DECODED:
            yield f"accessors: more than {MOST_DECODED} bytes in all"
            return
        yield from _value_problems(values, entry, f"accessors[{index}]")


def _value_problems(values: np.ndarray, entry: dict[str, Any], name: str) -> Iterator[str]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        yield f"{name}: has {int((~np.isfinite(values)).sum())} numbers that are not finite"
        return
    for key, true in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
        if key not in entry:
            continue
        try:
            said = np.array(entry[key], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            said = np.empty(0)
        with np.errstate(over="ignore"):
            holds = said.shape == true.shape and np.array_equal(said.astype(np.float32), true.astype(np.float32))
        if not holds:
            yield f"{name}.{key}: {str(entry[key])[:80]}, but the values' is {true.tolist()}"


def _primitive_problems(gltf: Gltf, primitive: Any, where: str) -> Iterator[str]:
    if not isinstance(primitive, dict):
        yield f"{where}: expected an object"
        return
    attributes = mapping(primitive, "attributes", where)
    positions = accessor(gltf, attributes.get("POSITION"), f"{where}.POSITION")
    entry = item(gltf, "accessors", attributes["POSITION"], where)
    if "min" not in entry or "max" not in entry:
        yield f"{where}.POSITION: min and max are required"
    for name, index in attributes.items():
        yield from _attribute_problems(gltf, name, index, len(positions), where)
    if "indices" in primitive:
        yield from _index_problems(gltf, primitive["indices"], len(positions), where)
    elif len(positions) % 3:
        yield f"{where}: {len(positions)} vertices without indices, not a multiple of 3"
    if "material" in primitive:
        item(gltf, "materials", primitive["material"], where)


def _attribute_problems(gltf: Gltf, name: str, index: Any, count: int, where: str) -> Iterator[str]:
    values = accessor(gltf, index, f"{where}.{name}")
    if len(values) != count:
        yield f"{where}.{name}: {len(values)} values for {count} vertices"
    if name in _ATTRIBUTES and values.shape[1] != _ATTRIBUTES[name]:
        yield f"{where}.{name}: {values.shape[1]} numbers a vertex, expected {_ATTRIBUTES[name]}"
        return
    if name in ("POSITION", "NORMAL", "TANGENT") and values.dtype.kind != "f":
        yield f"{where}.{name}: {values.dtype}, expected float32"
    if values.strides[0] % 4:
        yield f"{where}.{name}: {values.strides[0]} bytes a vertex, expected a multiple of 4"
    if name in ("NORMAL", "TANGENT"):
        lengths = np.linalg.norm(values[:, :3].astype(np.float64), axis=1)
        off = int((np.abs(lengths - 1) > _UNIT).sum())
        if off:
            yield f"{where}.{name}: {off} vectors are not of unit length"
    if name == "TANGENT" and not np.isin(values[:, 3], (-1.0, 1.0)).all():
        yield f"{where}.TANGENT: w is not always 1 or -1"


def _index_problems(gltf: Gltf, index: Any, count: int, where: str) -> Iterator[str]:
    values = accessor(gltf, index, f"{where}.indices")
    if values.dtype.kind != "u" or values.shape[1] != 1:
        yield f"{where}.indices: expected unsigned whole numbers"
        return
    if len(values) % 3:
        yield f"{where}.indices: {len(values)}, not a multiple of 3"
    if int(values.max()) >= min(count, np.iinfo(values.dtype).max):  # the type's largest restarts a primitive
        yield f"{where}.indices: up to {int(values.max())}, with {count} vertices"
    if "byteStride" in item(gltf, "bufferViews", item(gltf, "accessors", index, where)["bufferView"], where):
        yield f"{where}.indices: its bufferView has a byteStride"


def _image_problems(gltf: Gltf, index: int) -> Iterator[str]:
    name = f"images[{index}]"
    picture = decode(image_bytes(gltf, index, name), name)
    entry = item(gltf, "images", index, name)
    said = entry.get("mimeType")
    if "bufferView" in entry and said is None:
        yield f"{name}.mimeType: required beside bufferView"
    if said is not None and said != picture.mime:
        yield f"{name}.mimeType: {str(said)[:40]!r}, but it is {picture.mime}"


def _texture_problems(gltf: Gltf, texture: dict[str, Any], where: str) -> list[str]:
    item(gltf, "images", texture.get("source"), where)
    if "sampler" in texture:
        item(gltf, "samplers", texture["sampler"], where)
    return []
