"""The Khronos glTF validator (npm package gltf-validator, run by node), where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import kind_of, shown

VALIDATOR_VARIABLE = "DREAMFUSION_MESH_GLTF_VALIDATOR"
VALIDATOR_SECONDS = 120

_SCRIPT = """
const [validator, file] = process.argv.slice(1);
const fs = require('fs'), path = require('path');
const home = fs.realpathSync(path.dirname(file)) + path.sep;
const read = (uri) => new Promise((resolve, reject) => {
  const found = fs.realpathSync(path.resolve(home, decodeURIComponent(uri)));
  const readable = found.startsWith(home) && fs.statSync(found).isFile();
  readable ? resolve(new Uint8Array(fs.readFileSync(found))) : reject('no file inside the folder');
});
require(validator)
  .validateBytes(new Uint8Array(fs.readFileSync(file)), {maxIssues: 1000, externalResourceFunction: read})
  .then((report) => process.stdout.write(JSON.stringify(report.issues)))
  .catch((error) => { process.stderr.write(String(error)); process.exit(3); });
"""


def find_validator() -> Path | None:
    """The folder of the package gltf-validator, None where it, or node, is not installed.

    Looked for in node_modules of the folder that DREAMFUSION_MESH_GLTF_VALIDATOR names, and nowhere else where that is set; otherwise
    in node's global folders, never in the working folder, which is not trusted: absolute folders of NODE_PATH, then the global packages of
    node's prefix (where `npm install -g` puts them unless npm has another prefix).
    Sources: https://nodejs.org/api/modules.html (NODE_PATH), https://docs.npmjs.com/cli/configuring-npm/folders (prefix).
    Raises BadInput where the environment names a folder without it.
    """
    node, named = shutil.which("node"), os.environ.get(VALIDATOR_VARIABLE)
    if named:
        kind_of(Path(named), f"{VALIDATOR_VARIABLE}: {shown(named)}")  # a folder that may not be entered is not one without it
    folders = [Path(named) / "node_modules"] if named else _node_folders(node)
    found = [folder / "gltf-validator" for folder in folders if os.path.isfile(folder / "gltf-validator" / "package.json")]
    if node and found:
        return found[0].resolve()
    if named:
        raise BadInput(
            f"{VALIDATOR_VARIABLE}: {shown(named)} has no node_modules/gltf-validator, or node is missing; npm install gltf-validator there"
        )
    return None


def _node_folders(node: str | None) -> list[Path]:
    listed = [Path(entry) for entry in os.environ.get("NODE_PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    if node is None:
        return listed
    beside = Path(node).resolve().parent
    return [*listed, beside / "node_modules" if os.name == "nt" else beside.parent / "lib" / "node_modules"]


def khronos_report(path: Path, validator: Path) -> tuple[int, int, list[str]]:
    """Errors, warnings and their texts by the validator, the folder of its package. Raises BadInput where it does not answer."""
    command = ["node", "-e", _SCRIPT, "--", str(validator), str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=VALIDATOR_SECONDS, check=True, stdin=subprocess.DEVNULL)
        issues = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise BadInput(f"gltf-validator: no answer within {VALIDATOR_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BadInput(f"gltf-validator: {lines[-1][:200] if lines else f'ended with code {error.returncode}'}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"gltf-validator: did not run ({error})") from None
    texts = [f"{m.get('code')} {m.get('pointer', '')}".strip() for m in issues["messages"] if m.get("severity", 3) <= 1]
    return int(issues["numErrors"]), int(issues["numWarnings"]), texts
